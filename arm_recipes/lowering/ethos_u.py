"""Ethos-U55, U65 and U85: delegated through TOSA and Vela."""

from __future__ import annotations

from executorch.backends.arm.ethosu import EthosUCompileSpec
from executorch.export import ExportRecipe

from arm_recipes.recipes.catalog import Recipe
from arm_recipes.recipes.ethos_u import EthosUOptions
from arm_recipes.tools import vela
from arm_recipes.upstream.compile_specs import settle_pass_pipeline

from .delegated import delegated

# aot_arm_compiler.py always asks Vela for these; they become part of the .pte, as all flags do.
_SCRIPT_FLAGS = ["--verbose-operators", "--verbose-cycle-estimate"]


def build(recipe: Recipe, options: EthosUOptions) -> ExportRecipe:
    return delegated(recipe, options, compile_spec(recipe, options), replace_quant_nodes=True)


def compile_spec(recipe: Recipe, options: EthosUOptions) -> EthosUCompileSpec:
    """The compile spec that a recipe lowers with, as the partitioner takes a snapshot of it."""
    spec = EthosUCompileSpec(
        target=f"{recipe.target.name}-{options.macs}",
        system_config=options.system_config,
        memory_mode=options.memory_mode,
        extra_flags=[*_SCRIPT_FLAGS, *options.vela_flags()],
        config_ini=vela.read_config(options.config_ini).argument,
    )
    settle_pass_pipeline(spec)
    return spec
