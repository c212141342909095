"""What the delegated families (Ethos-U, TOSA, VGF) share: upstream's parts, put together as upstream does."""

from __future__ import annotations

from typing import Any

from executorch.backends.arm.common.arm_compile_spec import ArmCompileSpec
from executorch.backends.arm.quantizer import (
    get_symmetric_a16w8_quantization_config,
    get_symmetric_quantization_config,
)
from executorch.exir.capture import EdgeCompileConfig, ExecutorchBackendConfig
from executorch.exir.pass_manager import PassType
from executorch.exir.program import EdgeProgramManager
from executorch.export import ExportRecipe, LoweringRecipe
from torch import Tensor, nn
from torch.export import ExportedProgram

from arm_recipes.recipes.catalog import Precision, Recipe
from arm_recipes.recipes.delegated import DelegatedOptions
from arm_recipes.upstream.compile_specs import create_partitioner, create_quantizer, settle_pass_pipeline
from arm_recipes.upstream.lowered_graphs import KeepingPartitioner
from arm_recipes.upstream.programs import rebuilt

from .activation_limits import QuantizeBeforeActivations
from .batch_norms import flatten_batch_norms
from .border_cures import MendBorders
from .borders import BorderCheckPass
from .channels_last import InputCheck, declare_inputs
from .checks import DelegationCheck, ProgramCheck
from .constant_weights import fold_constant_weights
from .integer_io import integer_io
from .negations import RescaleBeforeNegations
from .quantization import quantization
from .quantized_cures import QuantizedCure
from .snapshot import TakeSnapshot

_QUANTIZATION_CONFIGS = {
    Precision.INT8: get_symmetric_quantization_config,
    Precision.A16W8: get_symmetric_a16w8_quantization_config,
}


def delegated(
    recipe: Recipe, options: DelegatedOptions, compile_spec: ArmCompileSpec, *, replace_quant_nodes: bool
) -> ExportRecipe:
    """Assemble the recipe that lowers with `compile_spec`.

    Args:
        recipe: the catalog row.
        options: of the recipe.
        compile_spec: of the target.
        replace_quant_nodes: whether the quantize and dequantize nodes that stay outside the delegate become
            cortex_m kernels.
    """
    settle_pass_pipeline(compile_spec)
    partitioner = KeepingPartitioner(create_partitioner(compile_spec))

    cures: list[QuantizedCure[Any]] = []
    if options.cures and recipe.precision.quantized:
        cures = [QuantizeBeforeActivations(), RescaleBeforeNegations()]
    quantization_recipe = None
    if recipe.precision.quantized:
        quantizer = create_quantizer(compile_spec)
        quantizer.set_global(_QUANTIZATION_CONFIGS[recipe.precision](is_per_channel=options.per_channel))
        quantization_recipe = quantization(
            recipe,
            options,
            quantizer,
            pre_prepare_passes=[fold_constant_weights] if cures and recipe.precision is Precision.A16W8 else [],
            post_convert_passes=[cure.in_module for cure in cures],
        )

    check = DelegationCheck(recipe, partitioner, allow_no_delegation=options.allow_no_delegation)
    replace = [_replace_quant_nodes] if replace_quant_nodes else []
    borders = BorderCheckPass(recipe)
    program_checks: list[Any] = [ProgramCheck(recipe), *cures]
    after_export: list[Any] = [_freeze]
    if options.cures and not recipe.precision.quantized:
        after_export.append(flatten_batch_norms)
    if options.io_layout is not None:
        program_checks.append(InputCheck(recipe, options.io_layout))
        after_export.insert(0, declare_inputs(recipe, options.io_layout))
    return ExportRecipe(
        name=recipe.value,
        quantization_recipe=quantization_recipe,
        aten_transform_passes=after_export,
        lowering_recipe=LoweringRecipe(
            partitioners=[partitioner],
            edge_transform_passes=program_checks,
            edge_manager_transform_passes=[
                check,
                *([MendBorders()] if options.cures else []),
                *integer_io(recipe, options.io_dtype),
                *replace,
                borders,
                TakeSnapshot(recipe, options, borders),
            ],
            edge_compile_config=EdgeCompileConfig(_check_ir_validity=False),
        ),
        # Arm's runtimes expect the delegate's payload inline.
        executorch_backend_config=ExecutorchBackendConfig(extract_delegate_segments=False),
    )


def _freeze(method: str, program: ExportedProgram) -> ExportedProgram:
    """Let no weight require a gradient: of those outside the delegates it would stand in the .pte.

    The script freezes the caller's module for this. Here the program gets parameters of its own on the same storage.
    """
    for node in program.graph.find_nodes(op="placeholder"):
        if isinstance(node.meta.get("val"), Tensor):
            node.meta["val"] = node.meta["val"].detach()
    state_dict = {
        name: nn.Parameter(value.detach(), requires_grad=False) if isinstance(value, nn.Parameter) else value
        for name, value in program.state_dict.items()
    }
    return rebuilt(program, state_dict=state_dict)


def _replace_quant_nodes(edge_program_manager: EdgeProgramManager) -> list[PassType]:
    # Registers the whole cortex_m operator library on import, which float recipes have no use for.
    from executorch.backends.cortex_m.passes.replace_quant_nodes_pass import ReplaceQuantNodesPass

    return [ReplaceQuantNodesPass()]
