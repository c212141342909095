"""Which simulators there are, and for which recipes. No torch here."""

from __future__ import annotations

from arm_recipes.errors import ArmRecipeError, nearest
from arm_recipes.recipes.catalog import Family, Recipe
from arm_recipes.tools.fvp import find_board

_EVERY = tuple(Family)
FAMILIES = {
    "auto": _EVERY,
    "reference": _EVERY,
    "vulkan": (Family.VGF,),
    "fvp": (Family.ETHOS_U, Family.CORTEX_M),
}
_RUNS = {"vulkan": ".vgf files", "fvp": "programs for Ethos-U and Cortex-M"}


def check_simulator(simulator: str, recipe: Recipe, *, per_layer: bool) -> None:
    """
    Raises:
        ArmRecipeError: there is no such simulator, or it is not for the recipe, or can't look at layers.
        ToolError: it is an FVP, and is not here.
    """
    allowed = [name for name, families in FAMILIES.items() if recipe.family in families]
    if simulator not in FAMILIES:
        near = nearest(simulator, FAMILIES)
        hint = f" Did you mean {near!r}?" if near else ""
        raise ArmRecipeError(
            f"simulator={simulator!r} is no simulator.{hint} Allowed: {', '.join(map(repr, allowed))}."
        )
    if simulator not in allowed:
        raise ArmRecipeError(
            f"simulator={simulator!r} runs {_RUNS[simulator]}, and {recipe.name} makes none. Allowed: "
            f"{', '.join(map(repr, allowed))}."
        )
    if simulator == "fvp" and per_layer:
        raise ArmRecipeError(
            "simulator='fvp' shows nothing of a program's inside, and so no layers. Leave out per_layer, or take "
            "simulator='reference' for them."
        )
    if simulator == "fvp":
        find_board(recipe.target.name)
