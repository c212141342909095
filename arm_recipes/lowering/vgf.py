"""VGF: delegated through TOSA and Arm's model-converter, for Vulkan with the ML extensions."""

from __future__ import annotations

import os
import shutil
import sysconfig

from executorch.backends.arm.vgf import VgfCompileSpec
from executorch.backends.arm.vgf.model_converter import MODEL_CONVERTER_BINARY, find_model_converter_binary
from executorch.export import ExportRecipe

from arm_recipes.errors import ToolError
from arm_recipes.recipes.catalog import TOSA_PROFILES, Recipe
from arm_recipes.recipes.delegated import VgfOptions

from .delegated import delegated


def build(recipe: Recipe, options: VgfOptions) -> ExportRecipe:
    _find_model_converter(recipe)
    compile_spec = VgfCompileSpec(TOSA_PROFILES[recipe.precision], compiler_flags=list(options.compiler_flags))
    # The VGF runtime takes quantized_decomposed operators as they are.
    return delegated(recipe, options, compile_spec, replace_quant_nodes=False)


def _find_model_converter(recipe: Recipe) -> None:
    if find_model_converter_binary() is not None:
        return
    # pip puts it beside Python, which is on PATH only in an activated environment.
    beside_python = shutil.which(MODEL_CONVERTER_BINARY, path=sysconfig.get_path("scripts"))
    if beside_python is None:
        raise ToolError(
            f"{recipe.name} needs Arm's model-converter, which is neither on PATH nor beside Python. "
            "Install it with: pip install 'ai_ml_sdk_model_converter>=0.11,<0.12', "
            "or set MODEL_CONVERTER_PATH to the executable."
        )
    os.environ["MODEL_CONVERTER_PATH"] = beside_python  # where executorch looks first
