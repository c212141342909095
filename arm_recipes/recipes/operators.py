"""What a target takes in the place of an operator that it leaves on the CPU. Measured; docs/operators.md has it all.

No torch here.
"""

from __future__ import annotations

import functools
import json
from importlib.resources import files
from typing import Any

from .catalog import Recipe


def instead_of(recipe: Recipe, operator: str) -> tuple[str, ...]:
    """What `recipe` takes in the place of an operator, for each use of it that was measured, without a full stop: e.g.
    ``ethos-u55 takes x * x in the place of torch.square(x)``.

    Args:
        recipe: the catalog row.
        operator: of the captured model, e.g. ``aten.square.default``.
    """
    row = _measured(recipe)
    found: dict[str, str] = {}
    for form in _data()["forms"]:
        if operator == form["operator"]:
            for code, rows in form["instead"].items():
                if row in rows:
                    found.setdefault(code, form["form"])
    return tuple(f"{recipe.target.name} takes {code} in the place of {form}" for code, form in found.items())


def _measured(recipe: Recipe) -> str | None:
    """The recipe itself if it was measured, else one that takes the same."""
    like: str | None = _data()["like"].get(recipe.name)
    return like


@functools.cache
def _data() -> dict[str, Any]:
    """Made by docs/operators.py: ``like``, by recipe the measured one that takes the same; ``forms``, each with its
    code (``form``), its ``operator``, and what can take its place with the rows that take it (``instead``)."""
    read: dict[str, Any] = json.loads(files(__package__).joinpath("operators.json").read_text(encoding="utf-8"))
    return read
