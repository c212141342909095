"""Weights that the model computes from constants in its forward, in A16W8."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arm_recipes import ArmRecipeType, LoweringError, export
from arm_recipes.lowering.changes import changes
from tests.exports import exported, random_samples
from tests.lowering.test_activation_limits import _most_steps
from tests.models import Example, conv_net, seeded

pytestmark = pytest.mark.usefixtures("one_sample_is_enough")


class _Computed(nn.Module):
    """A sum weighted by 0 to 3, as in YOLO's DFL head; and weights that are scaled before each use."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.weight = nn.Parameter(torch.randn(2, 4, 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.relu(self.conv(x))
        return F.conv2d(x, torch.arange(4.0).view(1, 4, 1, 1)), F.conv2d(x, self.weight * 0.5)


def computed() -> Example:
    return seeded(_Computed, (1, 3, 8, 8))


@pytest.mark.parametrize("name", ["TOSA_A16W8", "ETHOSU_U85_A16W8"])
def test_they_are_constants(name: str) -> None:
    session = exported(name, computed, samples=4)
    assert max(_most_steps(session, computed())) <= 2
    assert [change.id for change in changes(session)["forward"]].count("constant-weight") == 2


def test_other_programs_stay_as_they_are() -> None:
    for session in (exported("TOSA_A16W8", conv_net), exported("TOSA_INT8", computed, samples=4)):
        assert changes(session) == {}


def test_upstream_can_t_lower_it() -> None:
    """Where this fails, the cure can go."""
    example = computed()
    with pytest.raises(LoweringError, match="only supports torch.int8 weights"):
        export(example.model, ArmRecipeType.TOSA_A16W8, random_samples(example, 2), cures=False)
