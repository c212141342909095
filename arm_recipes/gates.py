"""Conditions on reports, for CI. No torch here."""

from __future__ import annotations

from dataclasses import dataclass


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

    def __str__(self) -> str:
        return f"{'passed' if self.passed else 'FAILED'}: {self.what} {self.limit:g}: {self.figure:.6g}"
