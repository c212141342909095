"""How far one tensor is from another: one table, name -> figure. And whether a classifier is right: another.

Figures come from `Moments`, which add up, so that a figure over many samples needs none of them in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# The output tensors of a stage for one sample, in order.
Outputs = list[Tensor]
# A figure of one sample, the higher the better, of a stage's outputs and the sample's label, which is as it was given.
Metric = Callable[[Outputs, Any], float]


@dataclass(frozen=True)
class Moments:
    """Sums over the elements of a reference and of what is compared with it, in double precision.

    Attributes:
        elements: number of elements.
        signal: sum of the reference's squares.
        candidate: sum of the candidate's squares.
        product: sum of the products of reference and candidate.
        noise: sum of the squares of their differences.
        absolute: sum of the magnitudes of their differences.
        largest: largest magnitude of their differences.
    """

    elements: int = 0
    signal: float = 0.0
    candidate: float = 0.0
    product: float = 0.0
    noise: float = 0.0
    absolute: float = 0.0
    largest: float = 0.0

    @staticmethod
    def of(reference: Tensor, candidate: Tensor) -> Moments:
        """Of two tensors of the same shape and any dtypes.

        Raises:
            ValueError: the shapes differ.
        """
        if reference.shape != candidate.shape:
            raise ValueError(f"shapes differ: {tuple(reference.shape)} and {tuple(candidate.shape)}")
        signal, other = (tensor.detach().to(torch.float64).flatten() for tensor in (reference, candidate))
        difference = other - signal
        return Moments(
            signal.numel(),
            float(signal @ signal),
            float(other @ other),
            float(signal @ other),
            float(difference @ difference),
            float(difference.abs().sum()),
            float(difference.abs().max()) if signal.numel() else 0.0,
        )

    def __add__(self, other: Moments) -> Moments:
        largest = math.nan if math.isnan(self.largest + other.largest) else max(self.largest, other.largest)
        return Moments(
            self.elements + other.elements,
            self.signal + other.signal,
            self.candidate + other.candidate,
            self.product + other.product,
            self.noise + other.noise,
            self.absolute + other.absolute,
            largest,
        )


def sqnr_db(moments: Moments) -> float:
    """Signal to quantization noise ratio in dB; infinite where nothing differs, NaN where either holds a NaN."""
    if math.isnan(moments.noise):
        return math.nan
    if moments.noise == 0:
        return math.inf
    if moments.signal == 0 or math.isinf(moments.noise):
        return -math.inf
    return 10 * math.log10(moments.signal / moments.noise)


def cosine(moments: Moments) -> float:
    """Cosine of the angle between the two; 1 for two zeros, 0 for one."""
    length = math.sqrt(moments.signal * moments.candidate)
    if length == 0:
        return 1.0 if moments.signal == moments.candidate else 0.0
    return min(1.0, moments.product / length) if math.isfinite(length) else math.nan


def rmse(moments: Moments) -> float:
    """Root of the mean squared difference."""
    return math.sqrt(moments.noise / moments.elements) if moments.elements else 0.0


METRICS: dict[str, Callable[[Moments], float]] = {
    "sqnr_db": sqnr_db,
    "cosine": cosine,
    "max_abs": lambda moments: moments.largest,
    "mean_abs": lambda moments: moments.absolute / moments.elements if moments.elements else 0.0,
    "rmse": rmse,
}


def _within(output: Tensor, label: int, first: int) -> float:
    """Whether `label` is among the `first` greatest of the last dimension. Of equals, the one that comes first."""
    scores = output.detach().flatten()
    order = torch.argsort(scores, descending=True, stable=True)
    return float(label in order[:first].tolist())


CLASSIFICATION: dict[str, Callable[[Tensor, int], float]] = {
    "top1": lambda output, label: _within(output, label, 1),
    "top5": lambda output, label: _within(output, label, 5),
}
