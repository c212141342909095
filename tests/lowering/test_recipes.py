"""Every row of the catalog exports, and what is asked for is lowered. A new row is tested without a change here.

That the standard session gives what `exported` (the front door) gives is test_oracle.py's.
"""

from __future__ import annotations

from typing import Any

import pytest
from executorch.export import ExportRecipe, ExportSession, export

from arm_recipes import ArmRecipeType, OptionError
from arm_recipes.recipes import catalog
from tests import models
from tests.exports import exported

pytestmark = pytest.mark.no_cover  # others run the same code

# Each family is exported for in a quick run, too.
_QUICK = ("ETHOSU_U55_INT8", "TOSA_FP", "VGF_FP", "CORTEX_M55_INT8")

_RECIPES = pytest.mark.parametrize("recipe", catalog.RECIPES, ids=lambda recipe: recipe.name)
_RECIPES_BY_COST = pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(recipe, id=recipe.name, marks=pytest.mark.quick if recipe.name in _QUICK else ())
        for recipe in catalog.RECIPES
    ],
)


def _operators(session: ExportSession) -> list[str]:
    plan = session.get_executorch_program().execution_plan[0]
    return [operator.name for operator in plan.operators]


def _delegates(session: ExportSession) -> list[str]:
    return [delegate.id for plan in session.get_executorch_program().execution_plan for delegate in plan.delegates]


_BACKENDS = {
    catalog.Family.ETHOS_U: ["EthosUBackend"],
    catalog.Family.TOSA: ["TOSABackend"],
    catalog.Family.VGF: ["VgfBackend"],
}


@_RECIPES_BY_COST
def test_every_recipe_exports(recipe: catalog.Recipe) -> None:
    session = exported(recipe, models.two_inputs)
    assert _delegates(session) == _BACKENDS.get(recipe.family, [])
    assert session.get_pte_buffer()[4:8] == b"ET12"


@_RECIPES
def test_the_recipe_is_named_after_its_value(recipe: catalog.Recipe) -> None:
    assert ExportRecipe.get_recipe(ArmRecipeType[recipe.name]).name == ArmRecipeType[recipe.name].value


@_RECIPES
def test_every_recipe_refuses_what_it_does_not_know(recipe: catalog.Recipe) -> None:
    with pytest.raises(OptionError, match=rf"{recipe.name}: turbo=True is no option of this recipe\."):
        ExportRecipe.get_recipe(ArmRecipeType[recipe.name], turbo=True)


def test_the_defaults_of_the_catalog_are_upstreams() -> None:
    from executorch.backends.arm.ethosu import EthosUCompileSpec

    for target in catalog.TARGETS:
        if target.family is catalog.Family.ETHOS_U:
            flags = EthosUCompileSpec(f"{target.name}-{target.macs}").compiler_flags
            assert f"--system-config={target.system_config}" in flags
            assert f"--memory-mode={target.memory_mode}" in flags


@pytest.mark.parametrize(
    ("kwargs", "flags"),
    [
        (
            {"macs": 512, "optimise": "Size", "extra_flags": ["--cop-format=COP2"]},
            {"--accelerator-config=ethos-u85-512", "--optimise=Size", "--cop-format=COP2"},
        ),
        (
            {
                "system_config": "Ethos_U85_SYS_DRAM_High",
                "memory_mode": "Dedicated_Sram_512KB",
                "arena_cache_size": 65536,
            },
            {
                "--system-config=Ethos_U85_SYS_DRAM_High",
                "--memory-mode=Dedicated_Sram_512KB",
                "--arena-cache-size=65536",
            },
        ),
    ],
)
def test_options_reach_vela(kwargs: dict[str, Any], flags: set[str]) -> None:
    """They stand in the delegate's compile spec inside the .pte."""
    session = exported("ETHOSU_U85_INT8", **kwargs)
    (delegate,) = session.get_executorch_program().execution_plan[0].delegates
    compile_flags = {spec.key: spec.value for spec in delegate.compile_specs}["compile_flags"].decode().split(" ")
    assert flags <= set(compile_flags)


def test_per_channel_off_quantizes_weights_per_tensor() -> None:
    def schemes(session: ExportSession) -> set[str]:
        graph = session.get_exported_program().graph
        return {str(n.target) for n in graph.nodes if n.op == "call_function" and "dequantize" in str(n.target)}

    per_channel = "quantized_decomposed.dequantize_per_channel.default"
    assert per_channel in schemes(exported("TOSA_INT8"))
    assert per_channel not in schemes(exported("TOSA_INT8", per_channel=False))


@pytest.mark.parametrize(
    ("name", "operators"),
    [
        ("ETHOSU_U55_INT8", ["cortex_m::quantize_per_tensor", "cortex_m::dequantize_per_tensor"]),
        ("TOSA_INT8", ["cortex_m::quantize_per_tensor", "cortex_m::dequantize_per_tensor"]),
        ("VGF_INT8", ["quantized_decomposed::quantize_per_tensor", "quantized_decomposed::dequantize_per_tensor"]),
        ("VGF_FP", []),
        ("TOSA_FP", []),
    ],
)
def test_quantize_nodes_are_replaced_where_they_belong(name: str, operators: list[str]) -> None:
    assert _operators(exported(name)) == operators


def test_vgf_flags_reach_the_model_converter() -> None:
    plain = exported("VGF_FP").get_pte_buffer()
    debug = exported("VGF_FP", compiler_flags=["--emit-debug-info"]).get_pte_buffer()
    assert len(debug) > len(plain)


def test_multi_method_programs() -> None:
    first, second = models.conv_net(), models.two_inputs()
    session = export(
        {"classify": first.model, "fuse": second.model},
        {"classify": [first.inputs], "fuse": [second.inputs]},
        ExportRecipe.get_recipe(ArmRecipeType.ETHOSU_U55_INT8),
    )
    assert [plan.name for plan in session.get_executorch_program().execution_plan] == ["classify", "fuse"]
    assert _delegates(session) == ["EthosUBackend", "EthosUBackend"]


def test_a_recipe_can_be_used_again() -> None:
    recipe = ExportRecipe.get_recipe(ArmRecipeType.ETHOSU_U85_INT8)
    example = models.conv_net()
    for _ in range(2):
        session = export(example.model, [example.inputs], recipe)
        assert session.get_pte_buffer() == exported("ETHOSU_U85_INT8").get_pte_buffer()


def test_options_are_the_only_place_that_knows_the_families() -> None:
    assert {recipe.family for recipe in catalog.RECIPES} == set(catalog.Family)
