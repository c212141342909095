"""Batch norms that follow no two-dimensional convolution, in float recipes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from arm_recipes import ArmRecipeType, LoweringError, export, verify
from arm_recipes.lowering.changes import changes
from tests.models import Example, seeded


class _Between(nn.Module):
    """The norm alone, as its input and its output are read by others too."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(6, 5), nn.BatchNorm1d(5, affine=False), nn.Linear(5, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = self.first(x)
        z = self.norm(y)
        return self.last(z) + 1, z * y


def _dense() -> Example:
    return seeded(lambda: nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 4)), (8, 6))


def _between() -> Example:
    return seeded(_Between, (8, 6))


def _deep() -> Example:
    return seeded(lambda: nn.Sequential(nn.BatchNorm3d(2), nn.ReLU()), (1, 2, 3, 4, 4))


def _last() -> Example:
    """Its result is the program's, as of an embedding."""
    return seeded(lambda: nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5)), (8, 6))


@pytest.mark.parametrize("example", [_dense, _between, _deep, _last])
def test_it_is_lowered_and_right(example: object) -> None:
    model, inputs = example()  # type: ignore[operator]
    session = export(model, ArmRecipeType.TOSA_FP, inputs)
    (change,) = changes(session)["forward"]
    assert change.id == "batch-norm" and "is lowered as one of 3" in change.what
    assert verify(session, [inputs]).failed_gates == ()


def test_upstream_can_t_lower_it() -> None:
    model, inputs = _dense()
    with pytest.raises(LoweringError, match="4-dimensional"):
        export(model, ArmRecipeType.TOSA_FP, inputs, cures=False)


def test_others_are_left_alone() -> None:
    model, inputs = seeded(lambda: nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)), (1, 2, 4, 4))
    session = export(model, ArmRecipeType.TOSA_FP, inputs)
    assert not changes(session).get("forward")
