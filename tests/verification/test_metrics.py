"""Figures of known tensors."""

from __future__ import annotations

import math

import pytest
import torch

from arm_recipes.verification.metrics import CLASSIFICATION, METRICS, Moments


def _figures(reference: list[float], candidate: list[float]) -> dict[str, float]:
    moments = Moments.of(torch.tensor(reference), torch.tensor(candidate))
    return {name: metric(moments) for name, metric in METRICS.items()}


def test_known_figures() -> None:
    figures = _figures([3.0, 4.0, 0.0, 0.0], [3.0, 4.0, 0.4, -0.3])
    assert figures["sqnr_db"] == pytest.approx(20.0, abs=1e-5)
    assert figures["cosine"] == pytest.approx(25 / math.sqrt(25 * 25.25))
    assert figures["max_abs"] == pytest.approx(0.4)
    assert figures["mean_abs"] == pytest.approx(0.175)
    assert figures["rmse"] == pytest.approx(0.25)


def test_equal_tensors() -> None:
    assert _figures([1.0, -2.0], [1.0, -2.0]) == {
        "sqnr_db": math.inf,
        "cosine": 1.0,
        "max_abs": 0.0,
        "mean_abs": 0.0,
        "rmse": 0.0,
    }


@pytest.mark.parametrize(
    ("reference", "candidate", "sqnr", "cosine"),
    [
        ([0.0, 0.0], [0.0, 0.0], math.inf, 1.0),
        ([0.0, 0.0], [1.0, 0.0], -math.inf, 0.0),
        ([1.0, 0.0], [0.0, 0.0], 0.0, 0.0),
        ([1.0, 0.0], [math.inf, 0.0], -math.inf, math.nan),
        ([1.0, 0.0], [math.nan, 0.0], math.nan, math.nan),
        ([], [], math.inf, 1.0),
    ],
)
def test_the_edges(reference: list[float], candidate: list[float], sqnr: float, cosine: float) -> None:
    figures = _figures(reference, candidate)
    assert figures["sqnr_db"] == pytest.approx(sqnr, nan_ok=True)
    assert figures["cosine"] == pytest.approx(cosine, nan_ok=True)


def test_moments_add_up() -> None:
    torch.manual_seed(0)
    reference, candidate = torch.randn(7, 5), torch.randn(7, 5)
    whole = Moments.of(reference, candidate)
    parts = sum((Moments.of(one, other) for one, other in zip(reference, candidate, strict=True)), Moments())
    for metric in METRICS.values():
        assert metric(parts) == pytest.approx(metric(whole))


def test_a_nan_in_one_part_stays() -> None:
    nan = Moments.of(torch.tensor([1.0]), torch.tensor([math.nan]))
    one = Moments.of(torch.tensor([1.0]), torch.tensor([2.0]))
    for both in (nan + one, one + nan):
        assert all(math.isnan(METRICS[name](both)) for name in ("sqnr_db", "max_abs", "mean_abs", "rmse"))


def test_integers_and_large_values_are_exact() -> None:
    moments = Moments.of(torch.tensor([2**24 + 1, 0]), torch.tensor([2**24, 0]))
    assert (moments.largest, moments.noise) == (1.0, 1.0)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shapes differ: \(2,\) and \(1,\)"):
        Moments.of(torch.zeros(2), torch.zeros(1))


def test_top_1_and_top_5() -> None:
    scores = torch.tensor([[0.1, 0.9, 0.5, 0.5, 0.2, 0.0, -1.0]])
    assert [CLASSIFICATION["top1"](scores, label) for label in range(7)] == [0, 1, 0, 0, 0, 0, 0]
    assert [CLASSIFICATION["top5"](scores, label) for label in range(7)] == [1, 1, 1, 1, 1, 0, 0]


def test_of_equal_scores_the_first_counts() -> None:
    assert CLASSIFICATION["top1"](torch.zeros(1, 3), 0) == 1
    assert CLASSIFICATION["top1"](torch.zeros(1, 3), 1) == 0
