"""The errors users meet. Each message says the problem, the value, what is allowed and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ArmRecipeError(ValueError):
    """Base of every error that arm_recipes raises on purpose."""


class OptionError(ArmRecipeError):
    """A keyword argument of a recipe is unknown, ill-typed or illegal. Raised by `get_recipe`.

    Attributes:
        recipe: name of the recipe, e.g. ``ETHOSU_U85_INT8``.
        option: name of the keyword argument.
        value: what it was given.
        allowed: the legal values, or a phrase that describes them; None where the message says it all.
        nearest: the legal name nearest to a misspelt one, else None.
    """

    def __init__(
        self,
        recipe: str,
        option: str,
        value: object,
        problem: str,
        *,
        allowed: Iterable[object] | str | None = None,
        nearest: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.recipe = recipe
        self.option = option
        self.value = value
        self.allowed = allowed if allowed is None or isinstance(allowed, str) else tuple(allowed)
        self.nearest = nearest
        parts = [f"{recipe}: {option}={quoted(value)} {problem}."]
        if nearest is not None:
            parts.append(f"Did you mean {nearest!r}?")
        if self.allowed is not None:
            parts.append(f"Allowed: {spell(self.allowed)}.")
        if hint is not None:
            parts.append(hint)
        super().__init__(" ".join(parts))


class ToolError(ArmRecipeError):
    """A program or package that a recipe needs is missing or does not work on this machine."""


class ModelError(ArmRecipeError):
    """What was handed to `export` can't become what the recipe promises."""


class LoweringError(ArmRecipeError):
    """The lowered program is not what the recipe promises. Raised instead of returning it."""


class CalibrationError(ArmRecipeError):
    """Calibration data is missing, can't be read, or is not what the model takes."""


class SimulationError(ArmRecipeError):
    """A simulator crashed, took too long, or does not accept a program."""


class QuantizationWarning(UserWarning):
    """Quantization destroys a part of a model: a constant, a layer or an output."""


def spell(values: Iterable[object] | str) -> str:
    """Write `values` as a list for a message; a string is a description and stays as it is."""
    return values if isinstance(values, str) else ", ".join(str(value) for value in values)


def quoted(value: object) -> str:
    """`repr` of a value that a user gave, for a message: not all of it where it is long."""
    try:
        text = repr(value)
    except Exception as error:
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    return text if len(text) <= _MOST_QUOTED else f"{text[:_MOST_QUOTED]}... ({len(text):,} characters)"


_MOST_QUOTED = 500


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that `word` most likely misspells, or None."""
    by_folded = {candidate.casefold(): candidate for candidate in candidates}
    found = difflib.get_close_matches(word.casefold(), by_folded, n=1)
    return by_folded[found[0]] if found else None
