"""VGF: delegated through TOSA and Arm's model-converter, for Vulkan with the ML extensions."""

from __future__ import annotations

from executorch.backends.arm.vgf import VgfCompileSpec
from executorch.export import ExportRecipe

from arm_recipes.errors import ToolError
from arm_recipes.recipes.catalog import TOSA_PROFILES, Recipe
from arm_recipes.recipes.delegated import VgfOptions
from arm_recipes.tools.model_converter import find_model_converter, point_executorch_to

from .delegated import delegated


def build(recipe: Recipe, options: VgfOptions) -> ExportRecipe:
    converter = find_model_converter()
    if converter is None:
        raise ToolError(
            f"{recipe.name} needs Arm's model-converter, which is neither on PATH nor beside Python. "
            "Install it with: pip install 'ai_ml_sdk_model_converter>=0.11,<0.12', "
            "or set MODEL_CONVERTER_PATH to the executable."
        )
    point_executorch_to(converter)
    compile_spec = VgfCompileSpec(TOSA_PROFILES[recipe.precision], compiler_flags=list(options.compiler_flags))
    # The VGF runtime takes quantized_decomposed operators as they are.
    return delegated(recipe, options, compile_spec, replace_quant_nodes=False)
