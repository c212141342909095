"""Recipes and models by the names that people type. No torch here."""

from __future__ import annotations

from pathlib import Path

from arm_recipes.errors import ArmRecipeError, nearest, spell

from .catalog import BY_NAME, RECIPES, Recipe

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
    holding = [known for known in BY_NAME if folded and folded in known]
    nearby = [near] if near else holding
    guess = f"Did you mean {' or '.join(repr(typed(BY_NAME[known])) for known in nearby)}?"
    allowed = f"Allowed: {spell(map(typed, RECIPES))}."
    raise ArmRecipeError(f"recipe={name!r} is no recipe. {guess if nearby else allowed} See: arm-recipes list.")


def typed(recipe: Recipe) -> str:
    """The recipe's name as the command line writes it, e.g. ``ethosu-u85-int8``."""
    return recipe.name.lower().replace("_", "-")


def _folded(name: str) -> str:
    folded = name.strip().lower().replace("-", "_")
    return folded.removeprefix(_PREFIX).upper()


# What a file made for upstream's aot_arm_compiler calls its model.
UPSTREAM_MODEL = "ModelUnderTest"


def split_model(model: str) -> tuple[str, str]:
    """The file or module of a model, and the name in it: empty where there is none."""
    place, colon, name = model.rpartition(":")
    if not colon or "/" in name or "\\" in name or name.endswith((".py", ".pt2")):
        return model, ""
    return place, name


def short_name(model: str) -> str:
    """What files made of a model are called: after its name, or else its file or module."""
    place, name = split_model(model)
    if name and name != UPSTREAM_MODEL:
        return name.rpartition(".")[2]
    return Path(place).stem if place.endswith((".py", ".pt2")) else place.rpartition(".")[2]
