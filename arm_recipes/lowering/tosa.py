"""TOSA: delegated as a TOSA flatbuffer, for the reference model and for tools that take TOSA."""

from __future__ import annotations

from executorch.backends.arm.tosa.compile_spec import TosaCompileSpec
from executorch.export import ExportRecipe

from arm_recipes.recipes.catalog import TOSA_PROFILES, Recipe
from arm_recipes.recipes.delegated import TosaOptions

from .delegated import delegated


def build(recipe: Recipe, options: TosaOptions) -> ExportRecipe:
    compile_spec = TosaCompileSpec(TOSA_PROFILES[recipe.precision])
    return delegated(recipe, options, compile_spec, replace_quant_nodes=recipe.precision.quantized)
