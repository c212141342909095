"""Every row of the catalog exports through the standard session. A new row is tested without a change here."""

from __future__ import annotations

from typing import Any

import pytest
from executorch.export import ExportRecipe, ExportSession, export

from arm_recipes import ArmRecipeType, OptionError
from arm_recipes.recipes import catalog
from tests import models

_RECIPES = pytest.mark.parametrize("recipe", catalog.RECIPES, ids=lambda recipe: recipe.name)


def _export(name: str, example: models.Example, **kwargs: Any) -> ExportSession:
    return export(example.model, [example.inputs], ExportRecipe.get_recipe(ArmRecipeType[name], **kwargs))


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


@_RECIPES
@pytest.mark.parametrize("example", [models.conv_net, models.two_inputs])
def test_every_recipe_exports(recipe: catalog.Recipe, example: Any) -> None:
    session = _export(recipe.name, example())
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
        ({"macs": 512}, ["--accelerator-config=ethos-u85-512"]),
        ({"system_config": "Ethos_U85_SYS_DRAM_High"}, ["--system-config=Ethos_U85_SYS_DRAM_High"]),
        ({"memory_mode": "Dedicated_Sram_512KB"}, ["--memory-mode=Dedicated_Sram_512KB"]),
        ({"optimise": "Size"}, ["--optimise=Size"]),
        ({"arena_cache_size": 65536}, ["--arena-cache-size=65536"]),
        ({"extra_flags": ["--cop-format=COP2"]}, ["--cop-format=COP2"]),
    ],
)
def test_options_reach_vela(kwargs: dict[str, Any], flags: list[str]) -> None:
    """They stand in the delegate's compile spec inside the .pte, and change what Vela made."""
    session = _export("ETHOSU_U85_INT8", models.conv_net(), **kwargs)
    (delegate,) = session.get_executorch_program().execution_plan[0].delegates
    compile_flags = {spec.key: spec.value for spec in delegate.compile_specs}["compile_flags"].decode().split(" ")
    assert set(flags) <= set(compile_flags)


def test_per_channel_off_quantizes_weights_per_tensor() -> None:
    def schemes(session: ExportSession) -> set[str]:
        graph = session.get_exported_program().graph
        return {str(n.target) for n in graph.nodes if n.op == "call_function" and "dequantize" in str(n.target)}

    per_channel = "quantized_decomposed.dequantize_per_channel.default"
    assert per_channel in schemes(_export("TOSA_INT8", models.conv_net()))
    assert per_channel not in schemes(_export("TOSA_INT8", models.conv_net(), per_channel=False))


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
    assert _operators(_export(name, models.conv_net())) == operators


def test_vgf_flags_reach_the_model_converter() -> None:
    plain = _export("VGF_FP", models.conv_net()).get_pte_buffer()
    debug = _export("VGF_FP", models.conv_net(), compiler_flags=["--emit-debug-info"]).get_pte_buffer()
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
    pte = [export(example.model, [example.inputs], recipe).get_pte_buffer() for _ in range(2)]
    assert pte[0] == pte[1]


def test_options_are_the_only_place_that_knows_the_families() -> None:
    assert {recipe.family for recipe in catalog.RECIPES} == set(catalog.Family)
