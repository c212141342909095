"""The U-Net example: what is lowered finds the shapes as well as what was quantized."""

from __future__ import annotations

import functools
import runpy
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.no_cover  # others run the same code

_EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "examples" / "unet.py"), run_name="unet")


@functools.cache
def _trained(up: str) -> Any:
    return _EXAMPLE["trained"](up, steps=80)  # of the example's 300, for the time it takes


@pytest.mark.parametrize(
    ("up", "recipe"),
    [
        ("transposed", "ETHOSU_U55_INT8"),
        ("transposed", "CORTEX_M55_INT8"),
        ("bilinear", "ETHOSU_U85_INT8"),
        ("bilinear", "VGF_INT8"),
    ],
)
def test_the_program_finds_what_the_quantized_module_finds(up: str, recipe: str) -> None:
    iou = _EXAMPLE["compare"](_trained(up), recipe, samples=8)
    print(up, recipe, {stage: f"{share:.3f}" for stage, share in iou.items()})
    assert iou["float"] > 0.6
    assert iou["quantized"] > iou["float"] - 0.03
    assert abs(iou["simulated"] - iou["quantized"]) < 0.01
