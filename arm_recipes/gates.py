"""Conditions on reports, for CI. No torch here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .documents.blocks import Paragraph
from .errors import ArmRecipeError, quoted


@dataclass(frozen=True)
class Gate:
    """A condition on a report.

    Attributes:
        name: e.g. ``min_sqnr``, as the argument is called that asks for it.
        what: what is held against the limit, in words.
        limit: as it was asked for.
        figure: as it was found.
        passed: whether it holds.
    """

    name: str
    what: str
    limit: float
    figure: float
    passed: bool

    @classmethod
    def at_most(cls, name: str, what: str, limit: float, figure: float) -> Gate:
        """Hold `figure` against an upper limit."""
        return cls(name, f"{what}, at most", limit, figure, figure <= limit)

    @classmethod
    def at_least(cls, name: str, what: str, limit: float, figure: float) -> Gate:
        """Hold `figure` against a lower limit."""
        return cls(name, f"{what}, at least", limit, figure, figure >= limit)

    @property
    def paragraph(self) -> Paragraph:
        """What a result says of it."""
        return Paragraph(f"Gate {self}", "good" if self.passed else "bad")

    def __str__(self) -> str:
        return f"{'passed' if self.passed else 'FAILED'}: {self.what} {self.limit:g}: {self.figure:.6g}"


def check_limits(**limits: Any) -> None:
    """Check the limits of gates before anything long is done; None asks for no gate.

    Raises:
        ArmRecipeError: one is no number.
    """
    for name, limit in limits.items():
        number = isinstance(limit, (int, float)) and not isinstance(limit, bool)
        if limit is not None and not (number and math.isfinite(limit)):
            raise ArmRecipeError(f"{name}={quoted(limit)} is no limit. Give a number, e.g. {name}=50, or leave it out.")
        if name == "min_delegation" and limit is not None and not 0 <= limit <= 100:
            raise ArmRecipeError(f"{name}={limit!r} is no percentage. Give a number from 0 to 100.")


def check_timeout(timeout: Any) -> None:
    """
    Raises:
        ArmRecipeError: it is no number of seconds.
    """
    number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if not (number and math.isfinite(timeout) and timeout > 0):
        raise ArmRecipeError(f"timeout={quoted(timeout)} is no number of seconds above 0. Give e.g. timeout=120.")
