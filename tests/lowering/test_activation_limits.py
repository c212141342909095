"""relu and its kind, where they share their range with a tensor that goes below: none is lost, all is delegated."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from executorch.export import ExportRecipe, ExportSession, StageType
from executorch.export import export as upstream_export
from torch import Tensor, nn

from arm_recipes import ArmRecipeType, export
from arm_recipes.lowering.changes import changes
from arm_recipes.lowering.snapshot import snapshots
from arm_recipes.recipes import catalog
from arm_recipes.simulators.registry import REFERENCE, make_simulator
from arm_recipes.upstream.graphs import is_operator, quantizes
from tests.exports import exported, random_samples
from tests.models import Example, conv_net, seeded

pytestmark = pytest.mark.usefixtures("one_sample_is_enough")

Layer = Callable[[], Tensor]
Part = Callable[[Layer, Layer], Tensor]


class _Met(nn.Module):
    """Pairs of convolutions, or of linear layers, of which the first is limited and meets the second.

    A part calls the layers: a quantizer takes an activation for the layer's where it follows it at once.
    """

    def __init__(self, *parts: Part, linear: bool = False) -> None:
        super().__init__()
        self.parts = parts
        self.first = nn.ModuleList([nn.Conv2d(3, 4, 3, padding=1) for _ in parts])
        self.second = nn.ModuleList([nn.Conv2d(3, 4, 3, padding=1) for _ in parts])
        self.linear = nn.ModuleList([nn.Linear(8, 4), nn.Linear(8, 4)]) if linear else None

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        outputs = [
            part(lambda first=first: first(x), lambda second=second: second(x))  # type: ignore[misc]
            for part, first, second in zip(self.parts, self.first, self.second, strict=True)
        ]
        if self.linear is not None:
            flat = x[:, 0, 0]
            outputs.append(torch.cat([torch.relu(self.linear[0](flat)), self.linear[1](flat)], 1))
        return tuple(outputs)


def _cat(act: Callable[[Tensor], Tensor]) -> Part:
    return lambda a, b: torch.cat([act(a()), b()], 1)


_PARTS: tuple[Part, ...] = (
    _cat(torch.relu),
    _cat(torch.relu_),
    _cat(lambda a: F.hardtanh(a, 0.0, 9.0)),
    lambda a, b: torch.cat([F.max_pool2d(torch.relu(a()), 2), F.max_pool2d(b(), 2)], 1),
    lambda a, b: torch.cat([torch.relu(a()).flatten(1), b().flatten(1)], 1),
    lambda a, b: torch.cat([torch.relu(a())[:, :2], b()], 1),
    lambda a, b: torch.stack([torch.relu(a()), b()], 1),
)
_TOSA_PARTS: tuple[Part, ...] = (
    lambda a, b: torch.cat([F.interpolate(torch.relu(a()), scale_factor=2), F.interpolate(b(), scale_factor=2)], 1),
    lambda a, b: torch.where((limited := torch.relu(a())) > 0.1, limited, b()),
)
_CORTEX_M_PARTS: tuple[Part, ...] = (
    _cat(lambda a: torch.clamp(a, -0.2, 0.3)),
    lambda a, b: torch.cat([torch.relu(a() + (signed := b())), signed], 1),
)


def met_few() -> Example:
    return seeded(lambda: _Met(*_PARTS[:2], _PARTS[-1], linear=True), (1, 3, 8, 8))


def met_tosa() -> Example:
    return seeded(lambda: _Met(*_PARTS, *_TOSA_PARTS, linear=True), (1, 3, 8, 8))


def met_cortex_m() -> Example:
    return seeded(lambda: _Met(*_PARTS, *_CORTEX_M_PARTS, linear=True), (1, 3, 8, 8))


def met_once() -> Example:
    return seeded(lambda: _Met(_cat(torch.relu)), (1, 3, 8, 8))


def _most_steps(session: ExportSession, example: Example, quantized: Any = None) -> list[float]:
    """By how many steps of its scale each output of the program is off, at the most."""
    module = session.get_stage_artifacts()[StageType.QUANTIZE].data["forward"] if quantized is None else quantized
    simulator = make_simulator(REFERENCE, session, snapshots(session)["forward"], timeout=60)
    (inputs,) = random_samples(example, 1)
    simulated = simulator.run(inputs)
    expected = module(*inputs)
    scales = [node.args[1] for node in module.graph.output_node().args[0]]
    return [float((own - its).abs().max() / scale) for own, its, scale in zip(simulated, expected, scales, strict=True)]


# The first is the one that coverage is measured in: the others' network is large.
_DELEGATED = ["ETHOSU_U55_INT8", "TOSA_INT8", "ETHOSU_U85_INT8", "VGF_INT8"]


@pytest.mark.parametrize("recipe", [catalog.BY_NAME[name] for name in _DELEGATED], ids=lambda recipe: recipe.name)
def test_none_is_lost_in_a_delegate(recipe: catalog.Recipe) -> None:
    # The others' graphs are the same.
    model = met_tosa if recipe.family is catalog.Family.TOSA else met_few
    session = exported(recipe, model, samples=8)
    steps = _most_steps(session, model())
    assert max(steps) <= 1, steps
    (lowered,) = snapshots(session).values()
    assert [node for node in lowered.graph.nodes if is_operator(node) and not quantizes(node)] == []
    # Of each part, and of the linear layers.
    assert [change.id for change in changes(session)["forward"]] == ["relu-range"] * len(steps)


@pytest.mark.no_cover
def test_none_is_lost_on_cortex_m() -> None:
    session = exported("CORTEX_M55_INT8", met_cortex_m, samples=8)
    steps = _most_steps(session, met_cortex_m())
    assert max(steps) <= 2, steps
    assert sum(change.id == "relu-range" for change in changes(session)["forward"]) == len(steps)
    assert not any("clamp" in str(node.target) for node in snapshots(session)["forward"].graph.nodes)


@pytest.mark.no_cover
def test_upstream_loses_them() -> None:
    """Where this fails, executorch has mended it, and the cure can go."""
    session = exported("TOSA_INT8", met_once, samples=8, cures=False, check=False)
    assert max(_most_steps(session, met_once())) > 20
    assert changes(session) == {}


@pytest.mark.no_cover
def test_what_is_right_stays_as_it_is() -> None:
    for recipe in ("TOSA_INT8", "TOSA_A16W8", "CORTEX_M55_INT8"):
        assert changes(exported(recipe, conv_net)) == {}
    assert changes(exported("TOSA_A16W8", met_once, samples=8)) == {}


def test_a_program_that_was_quantized_before() -> None:
    """The session runs none of its passes of the quantization on it."""
    example = met_once()
    quantized = exported("TOSA_INT8", met_once, samples=8, cures=False, check=False).get_stage_artifacts()[
        StageType.QUANTIZE
    ]
    module = quantized.data["forward"]
    program = torch.export.export(module, example.inputs, strict=True)
    session = upstream_export(program, None, ExportRecipe.get_recipe(ArmRecipeType.TOSA_INT8))
    assert max(_most_steps(session, example, module)) <= 1
    (change,) = changes(session)["forward"]
    assert change.where == "aten.convolution of first.0"
    nodes = program.graph.nodes  # the caller's
    assert sum(map(quantizes, nodes)) == sum(map(quantizes, module.graph.nodes))


def test_the_quantized_module_says_it_too() -> None:
    example = met_once()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        session = export(example.model, ArmRecipeType.TOSA_INT8, random_samples(example, 2))
    module = session.get_stage_artifacts()[StageType.QUANTIZE].data["forward"]
    relu = next(node for node in module.graph.nodes if "relu" in node.name)
    assert quantizes(relu.args[0])
