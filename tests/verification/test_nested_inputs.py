"""Models that take lists, dicts and tuples of tensors: exported, calibrated, checked and verified as others are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from executorch.export import ExportRecipe
from executorch.export import export as upstream_export
from torch import Tensor, nn

from arm_recipes import ArmRecipeType, CalibrationError, SimulationError, check, export, report, simulate, verify
from arm_recipes.upstream.graphs import nested

pytestmark = pytest.mark.usefixtures("one_sample_is_enough")


class _Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)


class _List(_Base):
    def forward(self, parts: list[Tensor]) -> Tensor:
        y: Tensor = self.conv(parts[0]) + parts[1]
        return y


class _Dict(_Base):
    def forward(self, x: Tensor, parts: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"sum": self.conv(x) + parts["first"], "other": parts["second"] * 0.5}


class _Tuple(_Base):
    def forward(self, pair: tuple[Tensor, dict[str, list[Tensor]]]) -> tuple[Tensor, Tensor]:
        x, rest = pair
        return self.conv(x), rest["deep"][1] + rest["deep"][0]


def _sample(model: type[nn.Module]) -> tuple[Any, ...]:
    x, y, z = torch.randn(1, 3, 8, 8), torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8)
    samples: dict[type[nn.Module], tuple[Any, ...]] = {
        _List: ([x, y],),
        _Dict: (x, {"first": y, "second": z}),
        _Tuple: ((x, {"deep": [y, z]}),),
    }
    return samples[model]


def _case(model: type[nn.Module]) -> tuple[nn.Module, list[tuple[Any, ...]]]:
    torch.manual_seed(0)
    return model().eval(), [_sample(model) for _ in range(3)]


@pytest.mark.parametrize("recipe", ["TOSA_INT8", "CORTEX_M55_INT8", "TOSA_FP"])
@pytest.mark.parametrize("model", [_List, _Dict, _Tuple])
def test_from_export_to_verify(model: type[nn.Module], recipe: str) -> None:
    network, samples = _case(model)
    calibration = None if recipe == "TOSA_FP" else samples
    session = export(network, ArmRecipeType[recipe], samples[0], calibration=calibration)
    (outcome,) = check(session, samples).methods
    assert (outcome.checked, outcome.wrong) == (True, ())
    verified = verify(session, samples, per_layer=True)
    assert (verified.failed_gates, verified.samples) == ((), 3)
    assert all(each.metrics["sqnr_db"] > 30 for each in verified.comparisons)
    assert report(session).methods[0].check is not None
    outputs = simulate(session)(*samples[1])
    wanted = torch.utils._pytree.tree_leaves(network(*samples[1]))
    got = outputs if isinstance(outputs, tuple) else (outputs,)
    assert [value.shape for value in got] == [value.shape for value in wanted]
    assert all(torch.allclose(own, its, atol=0.1) for own, its in zip(got, wanted, strict=True))


def test_in_the_standard_session() -> None:
    network, samples = _case(_Dict)
    session = upstream_export(network, samples, ExportRecipe.get_recipe(ArmRecipeType.TOSA_INT8))
    assert verify(session, samples).failed_gates == ()


def test_of_a_program() -> None:
    """Of whose arguments the names are not known."""
    network, samples = _case(_Dict)
    program = torch.export.export(network, samples[0], strict=True)
    turned = [(x, {"second": parts["second"], "first": parts["first"]}) for x, parts in samples]
    ptes = [
        bytes(export(model, ArmRecipeType.TOSA_INT8, samples[0], calibration=data).get_pte_buffer())
        for model, data in ((network, samples), (program, samples), (program, turned))
    ]
    assert ptes[0] == ptes[1] == ptes[2]
    session = export(program, ArmRecipeType.TOSA_INT8, calibration=turned)
    assert verify(session, turned).failed_gates == ()
    simulated = simulate(session)
    assert all(map(torch.equal, simulated(*samples[0]), simulated(*turned[0])))
    with pytest.raises(SimulationError, match=r"takes 0, 1\.first, 1\.second, and got no 1\.second"):
        simulated(samples[0][0], {"first": samples[0][1]["first"]})


def test_the_order_of_a_dict_is_not_what_counts() -> None:
    network, samples = _case(_Dict)
    turned = [(x, {"second": parts["second"], "first": parts["first"]}) for x, parts in samples]
    sessions = [
        export(network, ArmRecipeType.TOSA_INT8, samples[0], calibration=data).get_pte_buffer()
        for data in (samples, turned, [{"x": x, "parts": parts} for x, parts in turned])
    ]
    assert bytes(sessions[0]) == bytes(sessions[1]) == bytes(sessions[2])


def test_what_is_missing_is_named() -> None:
    network, samples = _case(_Dict)
    with pytest.raises(CalibrationError, match=r"The model's inputs are .*'parts\.second'; it lacks 'parts\.second'"):
        export(network, ArmRecipeType.TOSA_INT8, samples[0], calibration=[(samples[0][0], {"first": samples[0][0]})])


def test_a_captured_module_says_what_it_takes() -> None:
    """Where this fails, there is another way by now."""
    network, samples = _case(_Dict)
    captured = torch.export.export(network, samples[0], strict=True).module()
    assert isinstance(captured, torch.fx.GraphModule)
    x, parts = samples[0]
    assert nested(captured, [x, *parts.values()]) == (x, parts)
