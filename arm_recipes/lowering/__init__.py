"""From a catalog row and resolved options to an `ExportRecipe`: one module per family, `build` and nothing else.

No torch is loaded until a recipe is built: reports read `records`, which needs none.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol, cast

from arm_recipes.recipes.catalog import Recipe
from arm_recipes.recipes.options import Options

if TYPE_CHECKING:
    from executorch.export import ExportRecipe


class Lowering(Protocol):
    """A module of this folder that is named after a family."""

    def build(self, recipe: Recipe, options: Any, /) -> ExportRecipe:
        """Put the recipe together, of upstream's parts where upstream has them.

        Args:
            recipe: the catalog row, of this family.
            options: resolved, of the family's class.

        Raises:
            ToolError: a tool that lowers is missing.
        """
        ...


def build(recipe: Recipe, options: Options) -> ExportRecipe:
    """Build with the family's module, which is imported only now: each brings its own operator libraries."""
    lowering = cast(Lowering, importlib.import_module(f".{recipe.family.value}", __name__))
    return lowering.build(recipe, options)
