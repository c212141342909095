"""Recipes by the names that people type. No torch here."""

from __future__ import annotations

from .catalog import BY_NAME, RECIPES, Recipe
from .errors import ArmRecipeError, nearest, spell

_PREFIX = "arm_"


def find_recipe(name: str) -> Recipe:
    """The recipe called `name`: the enum's name or value, in any case, with - or _.

    Raises:
        ArmRecipeError: there is none of that name.
    """
    folded = _folded(name)
    if folded in BY_NAME:
        return BY_NAME[folded]
    near = nearest(folded, BY_NAME)
    guess = f"Did you mean {typed(BY_NAME[near])!r}? " if near else ""
    raise ArmRecipeError(
        f"recipe={name!r} is no recipe. {guess}Allowed: {spell(map(typed, RECIPES))}. "
        "`arm-recipes list` says what they are."
    )


def typed(recipe: Recipe) -> str:
    """The recipe's name as the command line writes it, e.g. ``ethosu-u85-int8``."""
    return recipe.name.lower().replace("_", "-")


def _folded(name: str) -> str:
    folded = name.strip().lower().replace("-", "_")
    return folded.removeprefix(_PREFIX).upper()
