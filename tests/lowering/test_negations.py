"""A negation whose result has other steps than its input gives what the quantized module gives."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from arm_recipes import verify
from arm_recipes.lowering.changes import changes
from tests.exports import exported, random_samples
from tests.lowering.test_a16w8 import Function
from tests.models import Example, seeded


def below_zero() -> Example:
    return seeded(lambda: Function(lambda x: -torch.relu(-x) * 2), (1, 4, 8, 8))


def after_a_convolution() -> Example:
    return seeded(
        lambda: nn.Sequential(nn.Conv2d(4, 4, 3), Function(lambda x: F.max_pool2d(-(-x).relu(), 2))), (1, 4, 8, 8)
    )


def clamped() -> Example:
    return seeded(lambda: Function(lambda x: (-x.clamp(-0.2, 0.1)).reshape(1, -1)), (1, 4, 8, 8))


def usual() -> Example:
    return seeded(lambda: nn.Sequential(nn.Conv2d(4, 4, 3), Function(lambda x: -x + 1)), (1, 4, 8, 8))


def _program(recipe: str, model: object, **options: object) -> float:
    if options.get("cures") is False:
        options["check"] = False  # which would refuse it
    session = exported(recipe, model, samples=3, **options)  # type: ignore[arg-type]
    comparisons = verify(session, random_samples(model(), 3)).comparisons  # type: ignore[operator]
    figure: float = next(one.metrics["sqnr_db"] for one in comparisons if one.reference == "quantized")
    return figure


@pytest.mark.parametrize("recipe", ["TOSA_INT8", "TOSA_A16W8", "ETHOSU_U55_INT8"])
@pytest.mark.parametrize("model", [below_zero, after_a_convolution, clamped], ids=lambda model: model.__name__)
def test_the_program_negates_in_steps_of_its_own(recipe: str, model: object) -> None:
    assert _program(recipe, model) > (45 if "INT8" in recipe else 70)
    if "INT8" in recipe:  # 16 bits are symmetric, and the scales happen to be the same here
        (told,) = changes(exported(recipe, model, samples=3)).values()  # type: ignore[arg-type]
        assert [change.id for change in told].count("negation-scale") == 1


@pytest.mark.no_cover
@pytest.mark.parametrize("model", [below_zero, clamped], ids=lambda model: model.__name__)
def test_upstream_gets_it_wrong(model: object) -> None:
    """Once this fails, the cure can go."""
    assert _program("TOSA_INT8", model, cures=False) < 25


@pytest.mark.no_cover
def test_a_usual_negation_stays() -> None:
    cured = exported("TOSA_INT8", usual, samples=3)
    assert not changes(cured)
    assert cured.get_pte_buffer() == exported("TOSA_INT8", usual, samples=3, cures=False).get_pte_buffer()
