"""With default options every recipe's .pte is, byte for byte, what upstream's own parts make of the same model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from executorch.backends.arm.common.arm_compile_spec import ArmCompileSpec
from executorch.backends.arm.ethosu import EthosUCompileSpec
from executorch.backends.arm.quantizer import get_symmetric_a16w8_quantization_config
from executorch.backends.arm.util._factory import create_partitioner, create_quantizer
from executorch.backends.arm.vgf import VgfCompileSpec
from executorch.backends.cortex_m.passes.replace_quant_nodes_pass import ReplaceQuantNodesPass
from executorch.exir import EdgeCompileConfig, ExecutorchBackendConfig, to_edge_transform_and_lower
from executorch.export import ExportRecipe, export
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from arm_recipes import ArmRecipeType
from arm_recipes.recipes import catalog
from tests import models, tiny_models
from tests.exports import Model, exported
from tests.script import compile_with_script

pytestmark = pytest.mark.no_cover  # what runs is executorch's script, and what test_recipes.py runs too

_FAMILIES = (catalog.Family.ETHOS_U, catalog.Family.TOSA, catalog.Family.VGF)
_DELEGATED = [recipe for recipe in catalog.RECIPES if recipe.family in _FAMILIES]
_BY_HAND = [
    recipe
    for recipe in _DELEGATED
    if recipe.precision is catalog.Precision.A16W8 and recipe.family is not catalog.Family.TOSA
]


def _script_target(recipe: catalog.Recipe) -> str:
    """What the script calls the recipe's default target."""
    if recipe.family is catalog.Family.TOSA:
        return catalog.TOSA_PROFILES[recipe.precision]
    return recipe.target.name if recipe.target.macs is None else f"{recipe.target.name}-{recipe.target.macs}"


def _ours(recipe: catalog.Recipe, model: Model = models.conv_net) -> bytes:
    """Of the standard session, and of the front door."""
    example, export_recipe = model(), ExportRecipe.get_recipe(ArmRecipeType[recipe.name])
    buffer: bytes = export(example.model, [example.inputs], export_recipe).get_pte_buffer()
    assert exported(recipe, model).get_pte_buffer() == buffer
    assert all(parameter.requires_grad for parameter in example.model.parameters())
    return buffer


@pytest.mark.parametrize("recipe", [r for r in _DELEGATED if r not in _BY_HAND], ids=lambda recipe: recipe.name)
def test_equals_the_script(recipe: catalog.Recipe, tmp_path: Path) -> None:
    flags = ["-d", "-q"] if recipe.precision.quantized else ["-d"]
    expected = compile_with_script("tests.models:conv_net", _script_target(recipe), tmp_path, *flags)
    assert _ours(recipe) == expected


@pytest.mark.parametrize("recipe", _BY_HAND, ids=lambda recipe: recipe.name)
def test_equals_upstreams_parts_where_the_script_has_no_such_target(recipe: catalog.Recipe) -> None:
    compile_spec: ArmCompileSpec
    if recipe.family is catalog.Family.VGF:
        compile_spec = VgfCompileSpec("TOSA-1.0+INT+int16")
    else:
        # The script adds these two flags to Vela's for every Ethos-U.
        compile_spec = EthosUCompileSpec(
            _script_target(recipe), extra_flags=["--verbose-operators", "--verbose-cycle-estimate"]
        )
    model, inputs = models.conv_net()
    quantizer = create_quantizer(compile_spec)
    quantizer.set_global(get_symmetric_a16w8_quantization_config(is_per_channel=True))
    # Called from executorch's own files, module() leaves the guards out by itself.
    captured = torch.export.export(model, inputs, strict=True).module(check_guards=False)
    prepared = prepare_pt2e(captured, quantizer)
    prepared(*inputs)
    program = torch.export.export(convert_pt2e(prepared), inputs, strict=True)
    edge = to_edge_transform_and_lower(
        program,
        partitioner=[create_partitioner(compile_spec)],
        compile_config=EdgeCompileConfig(_check_ir_validity=False),
    )
    if recipe.family is not catalog.Family.VGF:
        edge = edge.transform([ReplaceQuantNodesPass()])
    expected = edge.to_executorch(config=ExecutorchBackendConfig(extract_delegate_segments=False)).buffer
    assert _ours(recipe) == expected


@pytest.mark.parametrize("name", ["TOSA_FP", "ETHOSU_U85_INT8"])
def test_equals_the_script_where_weights_stay_outside_the_delegate(name: str, tmp_path: Path) -> None:
    """The script freezes the module that it is given; the recipe leaves the caller's as it is."""
    recipe = catalog.BY_NAME[name]
    flags = ["-d", "-q"] if recipe.precision.quantized else ["-d"]
    expected = compile_with_script("tests.models:partly_delegated", _script_target(recipe), tmp_path, *flags)
    assert _ours(recipe, models.partly_delegated) == expected


def test_every_delegated_recipe_has_an_oracle() -> None:
    assert len(_DELEGATED) == 12
    assert {recipe.name for recipe in _BY_HAND} == {
        "ETHOSU_U55_A16W8",
        "ETHOSU_U65_A16W8",
        "ETHOSU_U85_A16W8",
        "VGF_A16W8",
    }


def test_a_deeper_network_equals_the_script(tmp_path: Path) -> None:
    """MobileNetV2 does too (docs/benchmarks/lowering.py), and takes a minute."""
    expected = compile_with_script("tests.tiny_models:resnet8", "ethos-u55-128", tmp_path, "-d", "-q")
    assert exported("ETHOSU_U55_INT8", tiny_models.resnet8).get_pte_buffer() == expected
