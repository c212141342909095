"""The README's example: calibrated on 200 training images, TOSA_INT8 loses at most one point of top-1 accuracy."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from executorch.backends.arm.test.runner_utils import TosaReferenceModelDispatch
from executorch.export import ExportRecipe, StageType

from arm_recipes import ArmRecipeType, calibration_summary, export
from tests.conftest import Digits

pytestmark = pytest.mark.no_cover  # others run the same code


def test_accuracy_on_the_tosa_reference_model(digits: Digits) -> None:
    train, test = digits.train, digits.test
    # Up to the lowered program: to_executorch would rewrite it into what runs on a device only.
    recipe = dataclasses.replace(
        ExportRecipe.get_recipe(ArmRecipeType.TOSA_INT8),
        pipeline_stages=[
            StageType.SOURCE_TRANSFORM,
            StageType.QUANTIZE,
            StageType.TORCH_EXPORT,
            StageType.TO_EDGE_TRANSFORM_AND_LOWER,
        ],
    )
    session = export(digits.model, recipe, (train.images[:1],), calibration=train.images[:200])
    assert calibration_summary(session)["forward"].samples == 200
    lowered = session.get_edge_program_manager().exported_program().module()
    with torch.no_grad(), TosaReferenceModelDispatch() as simulated:
        outputs = [lowered(image) for image in test.images.split(1)]
    assert simulated.ran_tosa_dispatch
    lowered_accuracy = float((torch.cat(outputs).argmax(1) == test.labels).float().mean())
    float_accuracy = digits.accuracy(digits.model, test)
    print(f"float {float_accuracy:.1%}, TOSA_INT8 on the reference model {lowered_accuracy:.1%}")
    assert float_accuracy > 0.9
    assert lowered_accuracy >= float_accuracy - 0.01
