"""The plugin: makes the recipes of the catalog known to executorch's `ExportRecipe.get_recipe`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from executorch.export import BackendRecipeProvider, ExportRecipe, RecipeType, recipe_registry

from . import lowering
from .recipes import catalog, options
from .recipes.types import BACKEND_NAME, ArmRecipeType


class ArmRecipeProvider(BackendRecipeProvider):
    """Builds the recipes of the catalog, with strictly checked keyword arguments."""

    @property
    def backend_name(self) -> str:
        return BACKEND_NAME

    def get_supported_recipes(self) -> Sequence[RecipeType]:
        return list(ArmRecipeType)

    def create_recipe(self, recipe_type: RecipeType, **kwargs: Any) -> ExportRecipe | None:
        """Build the recipe, or return None if `recipe_type` is not an `ArmRecipeType`.

        Raises:
            OptionError: a keyword argument is unknown, ill-typed or illegal.
            ToolError: a tool that the recipe needs is missing.
        """
        if not isinstance(recipe_type, ArmRecipeType):
            return None
        recipe = catalog.BY_NAME[recipe_type.name]
        return lowering.build(recipe, options.resolve(recipe, kwargs))


def register() -> None:
    """Register the provider with executorch. Done once; importing `ArmRecipeType` from arm_recipes does it too."""
    if BACKEND_NAME not in recipe_registry.list_backends():
        recipe_registry.register_backend_recipe_provider(ArmRecipeProvider())


register()
