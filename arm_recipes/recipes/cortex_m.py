"""Options of the Cortex-M recipes. Which instructions a core has is asked of executorch's table. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

from arm_recipes.tools import cmsis_nn

from .options import BOOLEAN, LAYOUT, LAYOUTS, TEXT, Options, option, ordered


@ordered
@dataclass(frozen=True, kw_only=True)
class CortexMOptions(Options):
    """Options of the Cortex-M recipes.

    There is no per_channel: executorch's quantizer always gives convolutions one scale per output channel, and
    CMSIS-NN's linear takes one per tensor.
    """

    isa: str = option(
        TEXT,
        "Instructions that CMSIS-NN may use, for cores built without the extension they usually have.",
        default=lambda recipe, seen: cmsis_nn.default_isa(recipe.target.name),
        legal=lambda recipe, seen: cmsis_nn.isas(recipe.target.name),
        nullable=True,
    )
    io_layout: str = option(
        LAYOUT,
        "Layout of rank-4 inputs, outputs: contiguous (NCHW, an int8 copy of each) or channels_last (NHWC, no copy).",
        default="contiguous",
        legal=lambda recipe, seen: LAYOUTS,
    )
    drop_unused_constants: bool = option(
        BOOLEAN,
        "Leave out constants that nothing uses and, as contiguous always does, copies that change nothing.",
        default=False,
    )
    allow_portable_fallback: bool = option(
        BOOLEAN,
        "Warn, instead of raising, where a convolution, linear or pooling stays a float portable kernel.",
        default=False,
    )
