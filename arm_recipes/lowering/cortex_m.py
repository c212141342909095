"""Cortex-M: no delegate; quantized operators become CMSIS-NN kernels of the cortex_m operator library."""

from __future__ import annotations

import dataclasses

from executorch.backends.cortex_m.edge_compile_config import cortex_m_edge_compile_config
from executorch.backends.cortex_m.passes.cortex_m_pass_manager import CortexMPassManager
from executorch.backends.cortex_m.quantizer.quantizer import CortexMQuantizer
from executorch.backends.cortex_m.target_config import CortexMTargetConfig
from executorch.exir.capture import ExecutorchBackendConfig
from executorch.exir.pass_base import ExportedProgramPassBase, ExportedProgramPassResult
from executorch.exir.pass_manager import PassType
from executorch.exir.program import EdgeProgramManager
from executorch.export import ExportRecipe, LoweringRecipe
from torch.export import ExportedProgram

from arm_recipes import cmsis_nn
from arm_recipes.catalog import Recipe
from arm_recipes.options import CortexMOptions

from .checks import ProgramCheck
from .layout import InputCheck, KernelCheck, calibrate_in_layout, declare_inputs, lay_out_for_quantizer
from .portable import PortableCheck, QuantizerVerdicts
from .quantizing import quantization
from .unused import DropUnused


def build(recipe: Recipe, options: CortexMOptions) -> ExportRecipe:
    config = cmsis_nn.target_config(recipe.target.name, options.isa)
    quantizer = CortexMQuantizer()
    quantized = quantization(recipe, options, quantizer)
    before_calibration, after_calibration = calibrate_in_layout(options.io_layout)

    def lower(edge_program_manager: EdgeProgramManager) -> list[PassType]:
        passes: list[PassType] = [_LowerToCmsisNN(config)]
        if options.drop_unused_constants:
            passes.append(DropUnused())
        return passes

    return ExportRecipe(
        name=recipe.value,
        quantization_recipe=dataclasses.replace(
            quantized,
            quantizers=[*(quantized.quantizers or ()), QuantizerVerdicts(quantizer)],
            pre_prepare_passes=[*(quantized.pre_prepare_passes or ()), lay_out_for_quantizer(options.io_layout)],
            post_prepare_passes=[before_calibration, *(quantized.post_prepare_passes or ())],
            pre_convert_passes=[*(quantized.pre_convert_passes or ()), after_calibration],
        ),
        aten_transform_passes=[declare_inputs(recipe, options.io_layout)],
        lowering_recipe=LoweringRecipe(
            edge_transform_passes=[ProgramCheck(recipe), InputCheck(recipe, options.io_layout)],
            # Here and not in edge_transform_passes, which the session would run once more after these. And what a
            # callable raises reaches the caller as it is, so the checks of what the first
            # callable's passes make are callables too.
            edge_manager_transform_passes=[
                lower,
                PortableCheck(recipe, options.allow_portable_fallback),
                KernelCheck(recipe),
            ],
            edge_compile_config=cortex_m_edge_compile_config(),
        ),
        # As the script: Arm's runtimes expect everything inline.
        executorch_backend_config=ExecutorchBackendConfig(extract_delegate_segments=False),
    )


class _LowerToCmsisNN(ExportedProgramPassBase):
    """Upstream's Cortex-M passes, in upstream's order."""

    def __init__(self, target_config: CortexMTargetConfig) -> None:
        self._target_config = target_config

    def call(self, exported_program: ExportedProgram) -> ExportedProgramPassResult:
        lowered = CortexMPassManager(exported_program, target_config=self._target_config).transform()
        return ExportedProgramPassResult(lowered, modified=True)
