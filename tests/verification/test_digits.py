"""The digits example on five targets: simulated, it loses at most one point of top-1 accuracy against float."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from arm_recipes import ArmRecipeType, export, verify
from tests.conftest import Digits

pytestmark = pytest.mark.no_cover  # others run the same code

_EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def _recipes() -> list[str]:
    """Those of the example script."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(_EXAMPLES), *sys.path])
        names: list[str] = runpy.run_path(str(_EXAMPLES / "digits_verify.py"), run_name="digits_verify")["RECIPES"]
        return names


@pytest.mark.parametrize("name", _recipes())
def test_at_most_a_point_is_lost(digits: Digits, name: str) -> None:
    """On 120 of the 450 test images, for the time it takes. (docs/examples/digits_verify.py takes all.)"""
    train, test = digits.train, digits.test
    session = export(digits.model, ArmRecipeType[name], (train.images[:1],), calibration=train.images[:50])
    # The emulated Vulkan device takes the most of a second for a sample; test_vgf_emulation.py is for that.
    report = verify(session, (test.images, test.labels), max_samples=120, max_accuracy_drop=1.0, simulator="reference")
    assert report.failed_gates == ()
    assert report.accuracy is not None and report.accuracy.labelled == 120
    top1 = {stage: figures["top1"] for stage, figures in report.accuracy.figures.items()}
    print(name, {stage: f"{share:.1%}" for stage, share in top1.items()})
    assert set(top1) == {"float", "quantized", "simulated"}
    assert top1["float"] > 0.9
