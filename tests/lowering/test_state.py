"""A model that writes to its buffers: its program does, or is refused; and the caller's buffers stay as they are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from executorch.backends.arm.quantizer import get_symmetric_quantization_config
from executorch.backends.arm.tosa.compile_spec import TosaCompileSpec
from executorch.export import ExportRecipe
from executorch.export import export as upstream_export
from torch import Tensor, nn
from torchao.quantization.pt2e.quantize_pt2e import prepare_pt2e

from arm_recipes import ArmRecipeType, ModelError, SimulationError, export, verify
from arm_recipes.lowering.snapshot import snapshots
from arm_recipes.upstream.compile_specs import create_quantizer
from tests.models import linear

pytestmark = pytest.mark.usefixtures("one_sample_is_enough")


class _State(nn.Module):
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("count", torch.zeros(1, 4))


class Counts(_State):
    """Adds to its buffer in place."""

    def forward(self, x: Tensor) -> Tensor:
        self.count.add_(1)
        y: Tensor = self.linear(x) + self.count
        return y


class Keeps(_State):
    """Copies what it computes into its buffer."""

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.linear(x) + self.count * 0.5)
        self.count.copy_(y)
        return y


_INPUTS = [(torch.ones(1, 4) * scale,) for scale in (1.0, 2.0, 3.0)]


@pytest.mark.parametrize("name", ["TOSA_INT8", "ETHOSU_U55_INT8", "TOSA_A16W8", "CORTEX_M55_INT8"])
def test_state_that_would_be_lost_is_refused_by_name(name: str) -> None:
    model = Counts()
    refused = rf"{name}: the model keeps state in a buffer \('count', by aten\.add_"
    with pytest.raises(ModelError, match=refused):
        export(model.eval(), ArmRecipeType[name], _INPUTS)
    with pytest.raises(ModelError, match=refused):
        upstream_export(model.eval(), _INPUTS, ExportRecipe.get_recipe(ArmRecipeType[name]))
    assert model.count.tolist() == [[0.0] * 4]


def test_state_that_is_kept() -> None:
    """With what it had before the calibration to begin with. A program with state can't be simulated."""
    for name, model in (("TOSA_INT8", Keeps()), ("TOSA_FP", Keeps()), ("TOSA_FP", Counts())):
        model.count.fill_(0.25)
        session = export(model.eval(), ArmRecipeType[name], _INPUTS)
        (lowered,) = snapshots(session).values()
        assert list(lowered.signature.buffers_to_mutate.values()) == ["count"]
        assert lowered.tensors["count"].tolist() == [[0.25] * 4]
        with pytest.raises(SimulationError, match="keeps state between calls"):
            verify(session, _INPUTS)
        assert model.count.tolist() == [[0.25] * 4]


def test_verify_leaves_buffers_as_they_are() -> None:
    """Of a float model that is not the program's, too."""
    session = export(linear().model, ArmRecipeType.TOSA_INT8, linear().inputs)

    class Other(nn.Module):
        calls: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.inner = linear().model
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            self.calls.add_(1)
            y: Tensor = self.inner(x)
            return y

    other = Other().eval()
    verify(session, [linear().inputs], float_model=other)
    assert other.calls.tolist() == [0.0]


def test_upstream_loses_state() -> None:
    """Where this fails, executorch keeps it, and it need not be refused."""
    model = Counts().eval()
    captured = torch.export.export(model, _INPUTS[0], strict=True).module(check_guards=False)
    quantizer = create_quantizer(TosaCompileSpec("TOSA-1.0+INT"))
    quantizer.set_global(get_symmetric_quantization_config())
    prepared = prepare_pt2e(captured, quantizer)
    assert not any("add_" in str(node.target) for node in prepared.graph.nodes)


class _Part(nn.Module):
    """Writes into a part of a tensor, which is read by another way."""

    def __init__(self, write: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.conv, self.write = nn.Conv2d(3, 4, 3), write

    def forward(self, image: Tensor) -> Tensor:
        value: Tensor = self.conv(image)
        other = value[:, 1:]
        self.write(value)
        return torch.cat([value, other], 1)


@pytest.mark.parametrize(
    ("write", "operator"),
    [
        (lambda value: value[:, 0].zero_(), "zero_"),
        (lambda value: value[:, :2].add_(1), "add_"),
        (lambda value: value[:, 1:].copy_(value[:, :-1] * 2), "copy_"),
        (lambda value: value.relu_(), "relu_"),
    ],
)
@pytest.mark.parametrize("recipe", ["TOSA_INT8", "CORTEX_M55_INT8"])
def test_a_part_that_is_written_is_refused(recipe: str, write: Callable[[Tensor], object], operator: str) -> None:
    with pytest.raises(ModelError, match=rf"aten\.{operator}.* writes to memory that is read .* torch\.cat"):
        export(_Part(write).eval(), ArmRecipeType[recipe], (torch.randn(1, 3, 8, 8),))


class _Whole(_Part):
    def forward(self, image: Tensor) -> Tensor:
        value: Tensor = self.conv(image)
        self.write(value)
        return value * 2


@pytest.mark.parametrize("write", [lambda value: value.relu_(), lambda value: value.add_(1)])
def test_a_tensor_that_is_written_whole_is_right(write: Callable[[Tensor], object]) -> None:
    inputs = (torch.randn(1, 3, 8, 8),)
    session = export(_Whole(write).eval(), ArmRecipeType.TOSA_INT8, inputs)
    assert verify(session, [inputs], min_sqnr=30).failed_gates == ()
