"""Functions too steep for one 16-bit table: put together of several, on every target; others keep their one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from arm_recipes import report, verify
from arm_recipes.lowering.changes import changes
from tests.exports import Model, exported, random_samples
from tests.models import Example, seeded

from .test_a16w8 import Function

pytestmark = pytest.mark.usefixtures("one_sample_is_enough")


def near_zero() -> Example:
    return seeded(lambda: Function(lambda x: torch.rsqrt(x * x + 1e-3)), (4, 16))


def logarithm() -> Example:
    return seeded(lambda: Function(lambda x: torch.log(x.abs() + 1e-3)), (4, 16))


def log_probabilities() -> Example:
    return seeded(lambda: Function(lambda x: (x * 2).log_softmax(-1)), (4, 16))


def wide_range() -> Example:
    return seeded(lambda: Function(lambda x: F.gelu(x * torch.tensor([1.0] * 15 + [300.0]))[:, :15]), (4, 16))


def arcsine() -> Example:
    """Its input has a range of its own, -1 to 1, that nothing observes."""
    return seeded(lambda: Function(lambda x: torch.asin(x.clamp(-1, 1))), (4, 16))


def sharp_tanh() -> Example:
    return seeded(lambda: Function(lambda x: torch.tanh(x * 64)), (4, 16))


def norm() -> Example:
    return seeded(lambda: Function(lambda x: F.layer_norm(x * x.abs(), (16,))), (8, 16))


def usual() -> Example:
    return seeded(_usual, (4, 16))


def _usual() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 16), nn.SiLU(), nn.Linear(16, 16), nn.GELU(), nn.Linear(16, 16), nn.Sigmoid())


# Network -> dB of the program against the quantized module: at least, and with one table at most.
_STEEP: dict[Model, tuple[float, float]] = {
    near_zero: (65, 20),
    logarithm: (65, 30),
    log_probabilities: (45, 30),
    wide_range: (40, 30),
    sharp_tanh: (75, 70),
}


def _program(recipe: str, model: Model, **options: Any) -> float:
    if options.get("cures") is False:
        options["check"] = False  # which would refuse them
    comparisons = verify(exported(recipe, model, samples=3, **options), random_samples(model(), 3)).comparisons
    figure: float = next(one.metrics["sqnr_db"] for one in comparisons if one.reference == "quantized")
    return figure


@pytest.mark.parametrize("model", _STEEP, ids=lambda model: model.__name__)
def test_the_program_has_the_function(model: Model) -> None:
    assert _program("TOSA_A16W8", model) > _STEEP[model][0]
    (told,) = changes(exported("TOSA_A16W8", model, samples=3)).values()
    assert "table-pieces" in {change.id for change in told}


@pytest.mark.no_cover
@pytest.mark.parametrize("model", _STEEP, ids=lambda model: model.__name__)
def test_upstream_has_one_table(model: Model) -> None:
    """Once this fails, the cure can go."""
    assert _program("TOSA_A16W8", model, cures=False) < _STEEP[model][1]


@pytest.mark.parametrize("recipe", ["ETHOSU_U55_A16W8", "ETHOSU_U85_A16W8"])
def test_it_is_still_delegated_whole(recipe: str) -> None:
    assert _program(recipe, logarithm) > 65
    assert report(exported(recipe, logarithm, samples=3), layers=False).delegation == 100


def test_a_range_that_is_given_is_kept() -> None:
    assert _program("TOSA_A16W8", arcsine) > 45


@pytest.mark.no_cover
def test_a_norm_is_near() -> None:
    assert _program("TOSA_A16W8", norm) > 55


@pytest.mark.no_cover
def test_usual_functions_keep_their_table() -> None:
    cured = exported("TOSA_A16W8", usual, samples=3)
    assert not changes(cured)
    assert cured.get_pte_buffer() == exported("TOSA_A16W8", usual, samples=3, cures=False).get_pte_buffer()


def test_int8_has_each_value_in_its_table() -> None:
    told = changes(exported("TOSA_INT8", logarithm, samples=3))
    assert "table-pieces" not in {change.id for method in told.values() for change in method}
    assert _program("TOSA_INT8", logarithm) == float("inf")
