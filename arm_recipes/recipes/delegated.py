"""Options of the recipes that delegate, and of the families TOSA and VGF. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

from arm_recipes.errors import OptionError

from .catalog import Recipe
from .options import BOOLEAN, LAYOUT, LAYOUTS, STRINGS, Options, option, ordered, quantized

# executorch joins the flags for its compilers with spaces and splits them again.
SPLIT_AT_SPACE = "has white space in it, at which executorch splits the compiler's flags"


def has_space(text: str) -> bool:
    return any(character.isspace() for character in text)


@ordered
@dataclass(frozen=True, kw_only=True)
class DelegatedOptions(Options):
    """Options of all recipes that delegate."""

    per_channel: bool = option(
        BOOLEAN,
        "Quantize weights with one scale per output channel; otherwise one per tensor.",
        default=True,
        applies=quantized,
    )
    io_layout: str | None = option(
        LAYOUT,
        "Layout of rank-4 inputs: contiguous (NCHW) or channels_last (NHWC); that of the example inputs if not given.",
        default=None,
        legal=lambda recipe, seen: (None, *LAYOUTS),
        nullable=True,
    )
    allow_no_delegation: bool = option(
        BOOLEAN,
        "Only warn where nothing of the program can be delegated.",
        default=False,
    )


@ordered
@dataclass(frozen=True, kw_only=True)
class TosaOptions(DelegatedOptions):
    """Options of the TOSA recipes."""


@ordered
@dataclass(frozen=True, kw_only=True)
class VgfOptions(DelegatedOptions):
    """Options of the VGF recipes."""

    compiler_flags: tuple[str, ...] = option(
        STRINGS,
        "Flags for Arm's model-converter, one per item, e.g. ['--emit-debug-info'].",
        default=(),
        nullable=True,
    )

    # As for Vela: what would take the recipe's own arguments over, or write something that is no VGF.
    _OWNED = ("-i", "--input", "-o", "--output", "--tosa-flatbuffer", "-h", "--help", "-v", "--version")

    def check(self, recipe: Recipe) -> None:
        flags = list(self.compiler_flags)
        for flag in flags:
            if not flag or has_space(flag):
                raise OptionError(
                    recipe.name,
                    "compiler_flags",
                    flags,
                    f"holds {flag!r}; it {SPLIT_AT_SPACE}" if flag else "holds an empty flag",
                    hint="Give each word as an item of its own.",
                )
            if flag.partition("=")[0] in self._OWNED:
                raise OptionError(
                    recipe.name, "compiler_flags", flags, f"holds {flag!r}, which is the recipe's own to set"
                )
