"""Typed export recipes for every Arm target of ExecuTorch.

    from executorch.export import ExportRecipe, export
    from arm_recipes import ArmRecipeType

    recipe = ExportRecipe.get_recipe(ArmRecipeType.ETHOSU_U85_INT8, macs=256)
    session = export(model, [example_inputs], recipe)
    session.save_to_pte("model.pte")

`arm_recipes.export` does the same and more: it takes calibration data, ExportedPrograms and .pt2 files.

Importing the package alone loads neither torch nor executorch; the names below load what they need.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checking.result import CheckResult
    from .checking.run import check
    from .errors import (
        ArmRecipeError,
        CalibrationError,
        LoweringError,
        ModelError,
        OptionError,
        QuantizationWarning,
        SimulationError,
        ToolError,
    )
    from .lowering.calibration import CalibrationWarning, calibration_summary
    from .lowering.integer_io import quantized_io
    from .provider import ArmRecipeProvider, register
    from .recipes.types import ArmRecipeType
    from .reporting.build import report
    from .reporting.quantization import quantization_report
    from .reporting.result import ExportReport
    from .samples import load_calibration
    from .session.export import export, vela_estimates
    from .simulators.simulate import simulate
    from .sweeping.result import SweepResult
    from .sweeping.retarget import retarget
    from .sweeping.run import sweep
    from .verification.result import VerifyReport
    from .verification.run import verify

__all__ = [
    "ArmRecipeError",
    "ArmRecipeProvider",
    "ArmRecipeType",
    "CalibrationError",
    "CalibrationWarning",
    "CheckResult",
    "ExportReport",
    "LoweringError",
    "ModelError",
    "OptionError",
    "QuantizationWarning",
    "SimulationError",
    "SweepResult",
    "ToolError",
    "VerifyReport",
    "__version__",
    "calibration_summary",
    "check",
    "export",
    "load_calibration",
    "quantization_report",
    "quantized_io",
    "register",
    "report",
    "retarget",
    "simulate",
    "sweep",
    "vela_estimates",
    "verify",
]

# Public name -> module. Names of the provider come through it, so that having one means being registered.
_MODULES = {
    "ArmRecipeError": "errors",
    "ArmRecipeProvider": "provider",
    "ArmRecipeType": "provider",
    "CalibrationError": "errors",
    "CalibrationWarning": "lowering.calibration",
    "calibration_summary": "lowering.calibration",
    "check": "checking.run",
    "CheckResult": "checking.result",
    "export": "session.export",
    "ExportReport": "reporting.result",
    "LoweringError": "errors",
    "ModelError": "errors",
    "OptionError": "errors",
    "QuantizationWarning": "errors",
    "SimulationError": "errors",
    "ToolError": "errors",
    "VerifyReport": "verification.result",
    "load_calibration": "samples",
    "quantization_report": "reporting.quantization",
    "quantized_io": "lowering.integer_io",
    "register": "provider",
    "report": "reporting.build",
    "retarget": "sweeping.retarget",
    "simulate": "simulators.simulate",
    "sweep": "sweeping.run",
    "SweepResult": "sweeping.result",
    "vela_estimates": "session.export",
    "verify": "verification.run",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        # Costs more than all the rest of this module.
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("arm_recipes")
        except PackageNotFoundError:  # a source tree on the path, not installed
            return "0+unknown"
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
