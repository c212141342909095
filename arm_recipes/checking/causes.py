"""What is known of why a layer came out wrong, and what helps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from arm_recipes.recipes.catalog import Recipe

from .graph import Layer

_RECTIFIERS = frozenset({"relu", "relu_"})


@dataclass(frozen=True)
class _Cause:
    """A kind of fault.

    Attributes:
        applies: whether a wrong layer of a recipe can be of this kind.
        told: what it is, and what helps.
    """

    applies: Callable[[Layer, Recipe], bool]
    told: str


def _clamped_elsewhere(layer: Layer, recipe: Recipe) -> bool:
    return bool(
        layer.scale is not None
        and layer.scale.dtype == "int8"
        and _RECTIFIERS.intersection(layer.operators)
        and layer.scale.zero_point != layer.scale.quant_min
    )


def _interpolated(layer: Layer, recipe: Recipe) -> bool:
    return bool(layer.scale is not None and layer.scale.dtype == "int16" and layer.tabled)


_CAUSES = (
    _Cause(
        _clamped_elsewhere,
        "Its activation shares its range with a signed tensor, so that its zero point is not the least integer, and "
        "the lowering clamps at the least integer alone. cures=True mends it in most "
        "models; relu6 or hardtanh in its place avoids it.",
    ),
    _Cause(
        _interpolated,
        "It became a table of 513 points with lines between them, which a function this steep, or over so wide a "
        "range, is not. Narrow the range of its input (a clamp before it), keep it in float, or take an INT8 recipe, "
        "whose tables hold every value.",
    ),
    _Cause(
        lambda layer, recipe: not recipe.family.facts.delegates and "dequantize" not in layer.operators,
        "Kernels of Cortex-M look at the layout of their inputs in different ways: a layer that follows a convolution "
        "may have taken channels_last for contiguous.",
    ),
)


def cause_of(layer: Layer, recipe: Recipe) -> str:
    """What is known of the cause of a wrong layer; empty for nothing."""
    return next((cause.told for cause in _CAUSES if cause.applies(layer, recipe)), "")
