"""The U-Net example: what is lowered finds the shapes as well as what was quantized."""

from __future__ import annotations

import functools
import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.no_cover  # others run the same code

_EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@functools.cache
def _example() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(_EXAMPLES), *sys.path])
        return importlib.import_module("unet")  # which torch.export wants to find by its name


@functools.cache
def _trained(up: str) -> Any:
    return _example().trained(up, steps=160)  # of the example's 300, for the time it takes


@pytest.mark.parametrize(
    ("up", "recipe"),
    [("transposed", "ETHOSU_U55_INT8"), ("transposed", "CORTEX_M55_INT8"), ("bilinear", "ETHOSU_U85_INT8")],
)
@pytest.mark.slow
def test_the_program_finds_what_the_quantized_module_finds(up: str, recipe: str) -> None:
    iou = _example().compare(_trained(up), recipe, samples=8)
    print(up, recipe, {stage: f"{share:.3f}" for stage, share in iou.items()})
    assert iou["float"] > 0.45
    assert iou["quantized"] > iou["float"] - 0.03
    assert abs(iou["simulated"] - iou["quantized"]) < 0.01
