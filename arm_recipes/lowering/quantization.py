"""The quantization half of a recipe, as all quantized families have it: upstream's quantizer between our checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from executorch.export import QuantizationRecipe
from torch.fx import GraphModule
from torchao.quantization.pt2e.quantizer import Quantizer

from arm_recipes.recipes.catalog import Recipe
from arm_recipes.recipes.options import Options
from arm_recipes.samples import load_calibration

from .calibration import CalibrationWatch, watched_by
from .checks import CapturedModelCheck
from .losses import LossCheck
from .masks import limit_masks, watch_softmaxes
from .observed import keep_samples, samples_of
from .own_tensors import own_tensors
from .pieces import pieces
from .quantization_record import QuantizationRecorder
from .state import StateCheck
from .steps import finer_steps


def quantization(
    recipe: Recipe,
    options: Options,
    *quantizers: Quantizer,
    pre_prepare_passes: Sequence[Callable[[GraphModule], GraphModule]] = (),
    post_convert_passes: Sequence[Callable[[GraphModule], GraphModule]] = (),
) -> QuantizationRecipe:
    """Quantize with `quantizers`, calibrated on the option `calibration` where given.

    Raises:
        CalibrationError: the calibration data is missing, empty or of an unknown kind.
    """
    check = CapturedModelCheck(recipe)
    state = StateCheck(recipe.name)
    losses = LossCheck(recipe.name, refuse=options.cures)
    built = QuantizationRecipe(
        quantizers=[*quantizers, check, state],
        pre_prepare_passes=[own_tensors, check.note, state.note, *pre_prepare_passes],
        post_prepare_passes=[
            QuantizationRecorder(*quantizers),
            state.keep,
            keep_samples,
            *([watch_softmaxes] if options.cures else []),
        ],
        pre_convert_passes=[*([cure_ranges] if options.cures else []), losses.keep],
        post_convert_passes=[losses.measure, *post_convert_passes, state.restore],
    )
    data = [] if options.calibration is None else [load_calibration(options.calibration)]
    return watched_by(built, CalibrationWatch(recipe.name, data), feed=bool(data))


def cure_ranges(prepared: GraphModule) -> GraphModule:
    """A pre-convert pass: the cures that change what is to be quantized in which steps."""
    samples = samples_of(prepared)
    limit_masks(prepared)
    finer_steps(prepared, samples)
    pieces(prepared, samples)
    return prepared
