"""How far a layer's value may be from what is computed from the layer's own inputs, by kind of operator."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from arm_recipes.lowering.integer_io import QuantizedTensor
from arm_recipes.lowering.losses import REFUSED_TABLE_DB

if TYPE_CHECKING:
    from .graph import Layer


@dataclass(frozen=True)
class Difference:
    """How far a simulated value is from what it should be.

    Attributes:
        steps: largest difference of integers. Of real numbers it is in units of `_REAL_STEPS` of what their dtype
            can tell apart at the largest of them.
        elements: number of values that differ.
        of: number of values.
        beyond: largest distance, in steps, from the real number before it is rounded, less the half step of rounding.
    """

    steps: float
    elements: int
    of: int
    beyond: float

    def within(self, limit: float) -> bool:
        return self.beyond <= limit


# In float32 6e-5 of the largest value. Sums of thousands of products in another order, and elu's exp(x) - 1, are within
# a fifth of it.
_REAL_STEPS = 512.0


# A table with lines between its points passes for its function down to this, as a whole and in what each layer makes of
# it: the least that `lowering.losses` exports one with.
TABLE_DB = REFUSED_TABLE_DB


@dataclass(frozen=True)
class _Bound:
    """A kind of layer.

    Attributes:
        dtype: of its integers, or ``float32`` of real numbers; empty for all integers.
        operators: names of operators, one of which it has; none for all.
        beyond: steps that its value may be beyond the half step of one rounding, at most.
        why: what the lowering does there besides that rounding, and the most that was measured in right programs.
    """

    dtype: str
    operators: frozenset[str]
    beyond: float
    why: str


# The first row that fits holds. A value that is rounded once is never a step from the reference's by more than a tie,
# one within a row's `beyond` by one step (0.5), two (1.5) or three at most.
_BOUNDS = (
    _Bound(
        "int16",
        frozenset(),
        3.0,
        "multipliers of 16 bits for sums of 48 (0.2), or both inputs rescaled and rounded before they are added or "
        "compared (0.5), and again where several such layers are fused (2.3: a batch norm that follows none). Of a "
        "table with lines between its points it is the distance from what the table gives",
    ),
    _Bound(
        "int8",
        frozenset({"maximum", "minimum", "where", "cat", "stack", "clamp"}),
        1.0,
        "inputs of other scales are rounded to the output's, or to a common one before that: two roundings (0.6)",
    ),
    _Bound(
        "int8",
        frozenset({"avg_pool2d", "adaptive_avg_pool2d", "mean"}),
        1.0,
        "upstream's reference kernel for Cortex-M rounds the mean before it rescales it",
    ),
    _Bound(
        "int8",
        frozenset({"softmax", "_softmax", "log_softmax", "layer_norm", "group_norm"}),
        1.5,
        "a composition of integer operators with roundings of their own, where one operator of the model stands for it",
    ),
    _Bound(
        "float32",
        frozenset({"asin", "acos", "atan"}),
        30.0,
        "upstream's polynomials: 13.4 steps of asin, 1.5 of atan (72 and 84 dB), more where its values are small",
    ),
    _Bound("float32", frozenset(), 1.0, "sums in another order"),
    _Bound("", frozenset(), 0.25, "multipliers of 31 bits, tables of every value: one rounding (0.01)"),
)


def difference(real: Tensor, value: Tensor, scale: QuantizedTensor | None) -> Difference:
    """How far a simulated value is from what it should be.

    Args:
        real: what it should be, before it is quantized.
        value: integers where `scale` is given, else of the dtype of `real`. Of the same shape.
        scale: of the integers.
    """
    if value.numel() == 0:
        return Difference(0, 0, 0, -0.5)
    if scale is None:
        return _real_difference(real, value)
    exact = (real.to(torch.float32) / scale.scale + scale.zero_point).clamp_(scale.quant_min, scale.quant_max)
    off = value.to(torch.float32)
    beyond = float((exact - off).abs_().max()) - 0.5
    steps = exact.round_().sub_(off).abs_()
    return Difference(float(steps.max()), int(torch.count_nonzero(steps)), value.numel(), beyond)


def distance(real: Tensor, other: Tensor, scale: QuantizedTensor | None) -> float:
    """Largest distance of two real values of a layer in its steps."""
    if scale is None:
        return _real_difference(real, other).steps
    off = (clamped(real, scale) - clamped(other, scale)).abs() / scale.scale
    return float(off.max()) if off.numel() else 0.0


def sqnr_db(real: Tensor, value: Tensor) -> float:
    """Signal to noise of a value against what it should be, in dB; infinite where they are equal."""
    noise = float((real.double() - value.double()).square().sum())
    signal = float(real.double().square().sum())
    return 10 * math.log10(max(signal, 1e-300) / noise) if noise else math.inf


def likeness(value: Tensor, other: Tensor) -> float:
    """The magnitude of the correlation of two tensors of the same shape: the right layout of a wrong layer's value has
    much of it, another layout little."""
    first, second = (tensor.flatten().to(torch.float64) for tensor in (value, other))
    first, second = first - first.mean(), second - second.mean()
    return float((first @ second).abs() / (first.norm() * second.norm()).clamp(min=1e-30))


def clamped(real: Tensor, scale: QuantizedTensor) -> Tensor:
    """Real numbers as far as the integers go, not rounded."""
    ends = [(end - scale.zero_point) * scale.scale for end in (scale.quant_min, scale.quant_max)]
    return real.clamp(*ends)


def moved(value: Tensor, steps: Tensor, scale: QuantizedTensor | None) -> Tensor:
    """Real numbers that are `steps` away from a layer's value."""
    if scale is not None:
        return clamped(scale.dequantize(value) + steps * scale.scale, scale)
    return value + steps * _real_step(value) if value.is_floating_point() else value


def limit_of(layer: Layer) -> float:
    """How far beyond half a step a layer's value may be: `Difference.within` holds it."""
    dtypes = ("float32",) if layer.scale is None else ("", layer.scale.dtype)
    fits = (
        row
        for row in _BOUNDS
        if row.dtype in dtypes and (not row.operators or row.operators.intersection(layer.operators))
    )
    return next(fits).beyond


def _real_difference(real: Tensor, value: Tensor) -> Difference:
    same = (real == value) | (real.isnan() & value.isnan())
    different = int((~same).sum())
    if not value.is_floating_point():
        off = float((real.to(torch.float64) - value.to(torch.float64)).abs().max()) if different else 0.0
        return Difference(off, different, value.numel(), off * 4)
    steps = float((real.double() - value.double()).abs()[~same].nan_to_num(torch.inf).max()) if different else 0.0
    steps /= _real_step(real)
    return Difference(steps, different, value.numel(), steps)


def _real_step(real: Tensor) -> float:
    finite = real[real.isfinite()]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    return max(largest, 1e-30) * torch.finfo(real.dtype).eps * _REAL_STEPS
