"""`ArmRecipeType`, made from the catalog. (Type checkers read types.pyi, which docs/generate.py writes.)"""

from __future__ import annotations

from executorch.export import RecipeType

from . import catalog

BACKEND_NAME = "arm_recipes"


class _ArmRecipeType(RecipeType):
    @classmethod
    def get_backend_name(cls) -> str:
        """The name under which the provider is registered. (executorch's own Arm provider is ``arm``.)"""
        return BACKEND_NAME


ArmRecipeType = _ArmRecipeType(
    "ArmRecipeType",
    {recipe.name: recipe.value for recipe in catalog.RECIPES},
    module="arm_recipes",
)
ArmRecipeType.__doc__ = "The recipes of arm_recipes, for `ExportRecipe.get_recipe`. One member per row of the catalog."
