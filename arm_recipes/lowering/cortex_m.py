"""Cortex-M: no delegate; quantized operators become CMSIS-NN kernels of the cortex_m operator library."""

from __future__ import annotations

import dataclasses

from executorch.backends.arm._passes import FoldAndAnnotateQParamsPass
from executorch.backends.cortex_m.edge_compile_config import cortex_m_edge_compile_config
from executorch.backends.cortex_m.passes import (
    ActivationFusionPass,
    AtenToCortexMPass,
    DecomposeHardswishPass,
    QuantizedClampActivationPass,
)
from executorch.backends.cortex_m.passes.cortex_m_pass_manager import CortexMPassManager
from executorch.backends.cortex_m.quantizer.quantizer import CortexMQuantizer
from executorch.backends.cortex_m.target_config import CortexMTargetConfig
from executorch.exir.capture import ExecutorchBackendConfig
from executorch.exir.pass_base import ExportedProgramPassBase, ExportedProgramPassResult, ExportPass
from executorch.exir.pass_manager import PassType
from executorch.exir.program import EdgeProgramManager
from executorch.export import ExportRecipe, LoweringRecipe
from torch.export import ExportedProgram

from arm_recipes.errors import LoweringError
from arm_recipes.recipes.catalog import Recipe
from arm_recipes.recipes.cortex_m import CortexMOptions
from arm_recipes.tools import cmsis_nn

from .activation_limits import LimitByQuantization
from .branches import BranchCheck
from .channels_last import InputCheck, calibrate_in_layout, declare_inputs, lay_out_for_quantizer
from .checks import ProgramCheck
from .cmsis_nn_layers import rewrite_for_cmsis_nn
from .device_library import use_kernels_that_are_there
from .folded import ClampIntegers, CompareIntegers, FillIntegers, FoldScales, FuseActivations, ToCortexM
from .integer_io import integer_io
from .memory_order import put_in_order
from .planned import CheckedPlanning
from .portable_kernels import PortableCheck, QuantizerVerdicts
from .quantization import quantization
from .snapshot import TakeSnapshot
from .unused import DropCopies, DropUnusedConstants


def build(recipe: Recipe, options: CortexMOptions) -> ExportRecipe:
    config = cmsis_nn.target_config(recipe.target.name, options.isa)
    quantizer = CortexMQuantizer()
    cures = [LimitByQuantization()] if options.cures else []
    quantized = quantization(
        recipe,
        options,
        quantizer,
        QuantizerVerdicts(recipe, quantizer),
        pre_prepare_passes=[
            *([rewrite_for_cmsis_nn] if options.cures else []),
            lay_out_for_quantizer(options.io_layout),
        ],
        post_convert_passes=[cure.in_module for cure in cures],
    )
    before_calibration, after_calibration = calibrate_in_layout(options.io_layout)

    tidy: list[PassType] = []
    if options.drop_unused_constants or options.io_layout == "contiguous":
        tidy.append(DropCopies())  # not with channels_last alone, whose bytes are the script's
    if options.drop_unused_constants:
        tidy.append(DropUnusedConstants())

    def lower(manager: EdgeProgramManager) -> dict[str, list[PassType]]:
        passes: dict[str, list[PassType]] = {}
        for method in manager.methods:
            lowered = _lower(recipe, config, method, manager.exported_program(method), cures=options.cures)
            use_kernels_that_are_there(recipe, method, lowered, cures=options.cures)
            put_in_order(recipe, method, lowered, cures=options.cures, contiguous_io=options.io_layout == "contiguous")
            passes[method] = [_Lowered(lowered), *tidy]
        return passes

    return ExportRecipe(
        name=recipe.value,
        quantization_recipe=dataclasses.replace(
            quantized,
            post_prepare_passes=[before_calibration, *(quantized.post_prepare_passes or ())],
            pre_convert_passes=[*(quantized.pre_convert_passes or ()), after_calibration],
        ),
        aten_transform_passes=[declare_inputs(recipe, options.io_layout)],
        lowering_recipe=LoweringRecipe(
            edge_transform_passes=[ProgramCheck(recipe), InputCheck(recipe, options.io_layout), *cures],
            # Not in edge_transform_passes, which the session runs once more before these. The checks are callables of
            # their own as what those raise, unlike what passes raise, reaches the caller as it is.
            edge_manager_transform_passes=[
                *integer_io(recipe, options.io_dtype),
                lower,
                PortableCheck(recipe, options.allow_portable_fallback),
                BranchCheck(recipe),
                TakeSnapshot(recipe, options),
            ],
            edge_compile_config=cortex_m_edge_compile_config(),
        ),
        # As the script: Arm's runtimes expect everything inline.
        executorch_backend_config=ExecutorchBackendConfig(
            extract_delegate_segments=False, memory_planning_pass=CheckedPlanning(recipe)
        ),
    )


def _passes(cures: bool) -> list[type[ExportPass]]:
    """Upstream's, or where cures are wanted those with ours between them."""
    instead: dict[type[ExportPass], list[type[ExportPass]]] = {
        FoldAndAnnotateQParamsPass: [FoldScales, CompareIntegers, FillIntegers],
        ActivationFusionPass: [FuseActivations],
        QuantizedClampActivationPass: [QuantizedClampActivationPass, ClampIntegers],
        DecomposeHardswishPass: [],
        AtenToCortexMPass: [ToCortexM],
    }
    passes = CortexMPassManager.legacy_pass_list
    return [each for known in passes for each in (instead.get(known, [known]) if cures else [known])]


def _lower(
    recipe: Recipe, config: CortexMTargetConfig, method: str, program: ExportedProgram, *, cures: bool
) -> ExportedProgram:
    """Run upstream's Cortex-M passes. Not as a pass, as the session would wrap what they raise beyond recognition."""
    try:
        manager = CortexMPassManager(program, passes=_passes(cures), target_config=config)
        lowered: ExportedProgram = manager.transform()
    except Exception as error:
        first: BaseException = error
        while first.__cause__ is not None:
            first = first.__cause__
        lines = [line.strip() for line in str(first).splitlines()]
        told = [line for index, line in enumerate(lines) if index == 0 or line.startswith("While executing")]
        raise LoweringError(
            f"{recipe.name}: executorch's Cortex-M passes fail on method {method!r}, with {type(first).__name__}: "
            f"{'; '.join(told)}. Replace what they fail on in the model; the exceptions that caused this one tell more."
        ) from error
    return lowered


class _Lowered(ExportedProgramPassBase):
    """Puts `lowered` in the place of the program."""

    def __init__(self, lowered: ExportedProgram) -> None:
        self._lowered = lowered

    def call(self, exported_program: ExportedProgram) -> ExportedProgramPassResult:
        return ExportedProgramPassResult(self._lowered, modified=True)
