"""No export changes anything of the caller's: one model exports twice to the same program, and stays what it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from executorch.backends.arm.quantizer import get_symmetric_quantization_config
from executorch.backends.arm.tosa.compile_spec import TosaCompileSpec
from executorch.export import ExportRecipe
from executorch.export import export as upstream_export
from torch import Tensor, nn
from torchao.quantization.pt2e.quantize_pt2e import prepare_pt2e

from arm_recipes import ArmRecipeType, export
from arm_recipes.lowering.own_tensors import own_tensors
from arm_recipes.recipes import catalog
from arm_recipes.upstream.compile_specs import create_quantizer
from tests.models import Example, seeded

pytestmark = pytest.mark.usefixtures("one_sample_is_enough")


class _Scaled(nn.Module):
    """A convolution with a bias, batch norm, multiplications with constants, tied weights, a transposed buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.other = nn.Conv2d(4, 4, 1)
        self.head, self.tied = nn.Linear(4, 4), nn.Linear(4, 4)
        self.tied.weight = self.head.weight
        self.factors: Tensor
        self.register_buffer("factors", torch.tensor([[2.0, 3.0, 0.5, 4.0]]).T, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x)) * 0.5
        x = self.other(x) * 2.5
        y: Tensor = self.tied(torch.relu(self.head(x.mean((2, 3)))))
        return y + self.factors.T * 0.5


class _Half(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 0.5


def scaled() -> Example:
    return seeded(_Scaled, (1, 3, 8, 8))


def _state(value: nn.Module) -> list[Any]:
    """All that an export could change: values, places, strides, versions and modes."""
    tensors = {**dict(value.named_parameters(remove_duplicate=False)), **dict(value.named_buffers())}
    return [
        *(
            (name, each.data_ptr(), each.stride(), each._version, each.requires_grad, each.detach().tolist())
            for name, each in sorted(tensors.items())
        ),
        *((name, module.training) for name, module in value.named_modules()),
    ]


def halved() -> Example:
    """The smallest whose weights upstream writes to."""
    return seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 1), _Half()), (1, 3, 8, 8))


# Of each quantizer and precision one row takes the larger network.
_KINDS = list(
    {(recipe.family is catalog.Family.CORTEX_M, recipe.precision): recipe for recipe in catalog.RECIPES}.values()
)


@pytest.mark.no_cover
@pytest.mark.parametrize("recipe", catalog.RECIPES, ids=lambda recipe: recipe.name)
def test_two_exports_of_one_model(recipe: catalog.Recipe) -> None:
    model, inputs = scaled() if recipe in _KINDS else halved()
    before, sample = _state(model), inputs[0].clone()
    first, second = (export(model, ArmRecipeType[recipe.name], inputs, check=False).get_pte_buffer() for _ in range(2))
    assert bytes(first) == bytes(second)
    assert _state(model) == before
    assert torch.equal(inputs[0], sample)


@pytest.mark.no_cover
@pytest.mark.parametrize("name", ["TOSA_INT8", "CORTEX_M55_INT8", "TOSA_FP"])
def test_other_ways_in(name: str) -> None:
    model, inputs = scaled()
    before = _state(model)
    program = torch.export.export(model, inputs, strict=True)
    keys, values = list(program.state_dict), [value.clone() for value in program.state_dict.values()]
    upstream_export(model, [inputs], ExportRecipe.get_recipe(ArmRecipeType[name]))
    export(program, ArmRecipeType[name], inputs, check=False)
    assert _state(model) == before
    assert list(program.state_dict) == keys
    assert all(map(torch.equal, program.state_dict.values(), values))


def test_upstream_writes_to_the_caller_s_weights() -> None:
    """Where this fails, the copies can go."""
    for copies in (False, True):
        model, inputs = halved()
        before = _state(model)
        captured = torch.export.export(model, inputs, strict=True).module()
        quantizer = create_quantizer(TosaCompileSpec("TOSA-1.0+INT"))
        quantizer.set_global(get_symmetric_quantization_config())
        prepare_pt2e(own_tensors(captured) if copies else captured, quantizer)
        assert (_state(model) == before) is copies


def test_what_was_one_tensor_stays_one() -> None:
    model, _ = scaled()
    conv = model.get_submodule("conv")
    conv.weight = nn.Parameter(conv.get_parameter("weight").to(memory_format=torch.channels_last))
    tensors = dict(model.named_parameters(remove_duplicate=False))
    captured = own_tensors(torch.fx.symbolic_trace(model))
    copies = dict(captured.named_parameters(remove_duplicate=False))
    assert copies.keys() == tensors.keys()
    assert copies["head.weight"] is copies["tied.weight"]
    assert {name: each.stride() for name, each in copies.items()} == {n: each.stride() for n, each in tensors.items()}
    assert not {each.data_ptr() for each in copies.values()} & {each.data_ptr() for each in tensors.values()}
