"""Ranges that a configuration's least scale, or a mask, would leave too few steps: cured, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from arm_recipes import verify
from arm_recipes.lowering.changes import changes
from tests.exports import Model, exported, random_samples
from tests.models import Example, conv_net, seeded

from . import attention

pytestmark = pytest.mark.usefixtures("one_sample_is_enough")


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Scaled(nn.Module):
    def __init__(self, weight: float, factor: float) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 16)
        self.linear.weight.data *= weight
        self.linear.bias.data *= weight
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.linear(x)
        return result if self.factor == 1 else result * self.factor


def mean_of_a_map() -> Example:
    return seeded(lambda: Function(lambda x: (x + 1).mean((2, 3))), (1, 4, 112, 112))


def mean_of_a_small_map() -> Example:
    return seeded(lambda: Function(lambda x: x.abs().mean((2, 3), keepdim=True)), (1, 4, 7, 7))


def means_of_maps() -> Example:
    """Of 56x56 and of 28x28."""
    means = Function(lambda x: torch.cat([x.abs().mean((2, 3)), x[:, :, :28, :28].abs().mean((2, 3))], 1))
    return seeded(lambda: means, (1, 4, 56, 56))


def mean_of_rows() -> Example:
    return seeded(lambda: Function(lambda x: x.abs().mean(2)), (1, 4, 1000, 3))


def mean_of_the_last() -> Example:
    return seeded(lambda: Function(lambda x: x.abs().mean(-1)), (1, 4, 1000))


def pooled() -> Example:
    return seeded(lambda: nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()), (1, 4, 28, 28))


def small_factor() -> Example:
    return seeded(lambda: Scaled(1.0, 1e-4), (4, 16))


def small_weights() -> Example:
    return seeded(lambda: Scaled(1e-3, 1.0), (4, 16))


def wide_softmax() -> Example:
    return seeded(lambda: Function(lambda x: x.softmax(-1)), (2, 1000))


def steep_softmax() -> Example:
    return seeded(lambda: Function(lambda x: (x * 100).softmax(-1)), (8, 16))


# Network -> least dB of the quantized module against the float model, and what upstream has at most.
_A16W8: dict[Model, tuple[float, float]] = {
    mean_of_a_map: (60, 1),
    mean_of_a_small_map: (60, 47),
    means_of_maps: (60, 30),
    mean_of_rows: (60, 35),
    mean_of_the_last: (60, 35),
    small_factor: (40, 1),
    small_weights: (38, 35),
    wide_softmax: (45, 35),
    attention.added: (40, 25),
    attention.computed: (40, 25),
    attention.filled_with_a_number: (40, 25),
}
_INT8: dict[Model, tuple[float, float]] = {
    mean_of_a_map: (40, 30),
    small_factor: (35, 30),
    attention.added: (28, 20),
    attention.filled: (28, 20),
}


def _figures(recipe: str, model: Model, **options: object) -> tuple[float, float]:
    """SQNR of the quantized module against the float model, and of the program against the quantized module."""
    if options.get("cures") is False:
        options["check"] = False  # which would refuse some
    session = exported(recipe, model, samples=3, **options)
    comparisons = verify(session, random_samples(model(), 3)).comparisons
    figures = {(one.reference, one.candidate): one.metrics["sqnr_db"] for one in comparisons}
    return figures["float", "quantized"], figures["quantized", "simulated"]


@pytest.mark.parametrize("model", _A16W8, ids=lambda model: model.__name__)
def test_a16w8_keeps_it(model: Model) -> None:
    quantized, program = _figures("TOSA_A16W8", model)
    assert quantized > _A16W8[model][0]
    assert program > 50
    assert changes(exported("TOSA_A16W8", model, samples=3))


@pytest.mark.parametrize("model", _INT8, ids=lambda model: model.__name__)
def test_int8_keeps_it(model: Model) -> None:
    quantized, program = _figures("TOSA_INT8", model)
    assert quantized > _INT8[model][0]
    assert program > 35


@pytest.mark.no_cover
@pytest.mark.parametrize("model", [mean_of_a_map, small_weights, attention.added], ids=lambda model: model.__name__)
def test_upstream_loses_it(model: Model) -> None:
    """Without the cures. Once this fails, a cure can go."""
    assert _figures("TOSA_A16W8", model, cures=False)[0] < _A16W8[model][1]


@pytest.mark.no_cover
def test_upstreams_table_of_exp_is_off_over_a_masks_range() -> None:
    assert _figures("TOSA_A16W8", attention.filled, cures=False)[1] < 40
    quantized, program = _figures("TOSA_A16W8", attention.filled)
    assert quantized > 40 and program > 55


@pytest.mark.no_cover
def test_a_steep_softmax_has_its_table_where_it_matters() -> None:
    assert _figures("TOSA_A16W8", steep_softmax, cures=False)[1] < 55
    assert _figures("TOSA_A16W8", steep_softmax)[1] > 65


@pytest.mark.no_cover
@pytest.mark.parametrize("model", [mean_of_a_map, attention.filled], ids=lambda model: model.__name__)
def test_u85_has_the_same(model: Model) -> None:
    quantized, program = _figures("ETHOSU_U85_A16W8", model)
    assert quantized > 40 and program > 50


def test_what_is_changed_is_said() -> None:
    (told,) = changes(exported("TOSA_A16W8", small_weights, samples=3)).values()
    assert ("finer-step", "aten.linear of linear") in [(change.id, change.where) for change in told]
    assert "least of executorch's" in told[0].why
    (told,) = changes(exported("TOSA_A16W8", attention.added, samples=3)).values()
    assert {change.id for change in told} == {"softmax-range"}
    assert "not at -1e+09" in told[0].what


@pytest.mark.no_cover
@pytest.mark.parametrize("model", [conv_net, pooled], ids=lambda model: model.__name__)
@pytest.mark.parametrize("recipe", ["TOSA_A16W8", "TOSA_INT8"])
def test_what_needs_no_cure_has_none(recipe: str, model: Model) -> None:
    cured = exported(recipe, model, samples=3)
    assert not changes(cured)
    assert cured.get_pte_buffer() == exported(recipe, model, samples=3, cures=False).get_pte_buffer()


@pytest.mark.no_cover
def test_scores_that_are_an_output_too_keep_their_range() -> None:
    """Nothing may saturate that someone else reads."""

    def both() -> Example:
        return seeded(lambda: Function(_scores_and_softmax), (2, 8))

    session = exported("TOSA_A16W8", both, samples=3)
    (told,) = changes(session).values()
    assert [change.where for change in told] == ["aten.sub.Tensor"]
    report = verify(session, random_samples(both(), 3))
    worst = [one.metrics["sqnr_db"] for one in report.comparisons if one.reference == "float"]
    assert min(worst) > 40


def _scores_and_softmax(x: Tensor) -> Tensor:
    scores = x * 60
    return torch.cat([scores, scores.softmax(-1) * 60], 1)
