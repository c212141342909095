"""What executorch's lowering or Vela raises reaches the user in the innermost cause's words, with recipe and place."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from executorch.export import ExportRecipe
from executorch.export import export as upstream_export
from torch import Tensor, nn

from arm_recipes import ArmRecipeType, LoweringError, export
from tests.models import linear

pytestmark = pytest.mark.usefixtures("one_sample_is_enough")


class _Cumsum(nn.Module):
    """Decomposes into a convolution whose constant weights stay int16, which TOSA has no operator for."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cumsum(self.linear(x), 1)


class _Upsamples(nn.Module):
    """Is no operator of the U55 with 16 bits, as only Vela knows."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(8, 4, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.up(x))


class _Broken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x @ torch.ones(3, 3)


def test_a_pass_s_error() -> None:
    with pytest.raises(LoweringError) as caught:
        export(_Cumsum().eval(), ArmRecipeType.TOSA_A16W8, (torch.randn(1, 8),))
    text = str(caught.value)
    assert text.startswith("TOSA_A16W8: executorch's lowering fails at ")
    assert "with TosaValueError: TOSA spec TOSA-1.0+INT+int16 only supports torch.int8 weights" in text
    assert "Pass" not in text
    assert "An error occurred when running" in str(caught.value.__cause__)


def test_a_compiler_s_error() -> None:
    with pytest.raises(LoweringError) as caught:
        export(_Upsamples().eval(), ArmRecipeType.ETHOSU_U55_A16W8, (torch.randn(1, 8, 8, 8),))
    told = "executorch's lowering fails at the delegate's part from up, with RuntimeError: Non-passthrough operation"
    assert str(caught.value).startswith(f"ETHOSU_U55_A16W8: {told} (Conv2D) could not run on NPU. ")


def test_an_error_of_the_model_stays_as_it_is() -> None:
    with pytest.raises(Exception, match="mat1|shape|size") as caught:
        export(_Broken().eval(), ArmRecipeType.TOSA_INT8, (torch.randn(1, 4),))
    assert not isinstance(caught.value, LoweringError)


def test_a_bug_of_ours_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arm_recipes.lowering.snapshot.Snapshot", None)
    with pytest.raises(TypeError, match="'NoneType' object is not callable"):
        export(linear().model, ArmRecipeType.TOSA_FP, linear().inputs)


def test_a_pass_s_error_tells_no_place() -> None:
    """Where this fails, upstream tells it, and it need not be read from frames."""
    with pytest.raises(Exception, match="An error occurred when running the") as caught:
        upstream_export(
            _Cumsum().eval(), [(torch.randn(1, 8),)], ExportRecipe.get_recipe(ArmRecipeType.TOSA_A16W8, cures=False)
        )
    assert "cumsum" not in str(caught.value) + str(caught.value.__cause__)
