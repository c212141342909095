"""From a catalog row and resolved options to an `ExportRecipe`: one module per family, `build` and nothing else."""

from __future__ import annotations

import importlib

from executorch.export import ExportRecipe

from arm_recipes.recipes.catalog import Recipe
from arm_recipes.recipes.options import Options


def build(recipe: Recipe, options: Options) -> ExportRecipe:
    """Build with the family's module, which is imported only now: each brings its own operator libraries."""
    module = importlib.import_module(f".{recipe.family.value}", __name__)
    built: ExportRecipe = module.build(recipe, options)
    return built
