"""What is made of a sweep's points: the front, the choice, the files. No torch."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import subprocess
import sys
from typing import Any

import pytest

from arm_recipes import ArmRecipeError, SweepResult
from arm_recipes.sweeping.result import Figures, Point, Skipped, figures_of, with_pareto
from arm_recipes.tools.vela.estimates import Layer


def _point(milliseconds: float | None, sram: float = 0, flash: float = 0, **how: Any) -> Point:
    figures = None
    if milliseconds is not None:
        fields: dict[str, float] = dict.fromkeys((field.name for field in dataclasses.fields(Figures)), 1)
        fields |= {"milliseconds": milliseconds, "sram_kib": sram, "on_chip_flash_kib": flash, "off_chip_flash_kib": 1}
        figures = Figures(**fields)  # type: ignore[arg-type]
    point = Point("ETHOSU_U55_INT8", 128, "System", "Mode", "Size", figures, None if figures else "Vela: no")
    return dataclasses.replace(point, **how)


def test_the_front_of_latency_against_sram() -> None:
    points = with_pareto(
        [_point(1, 90), _point(2, 50), _point(2, 60), _point(3, 50), _point(4, 10), _point(None), _point(1, 90)]
    )
    assert [point.pareto for point in points] == [True, True, False, False, True, False, True]
    result = SweepResult(points)
    assert [point.figures.sram_kib for point in result.pareto if point.figures] == [90, 90, 50, 10]
    assert (len(result.done), len(result.failed)) == (6, 1)


def test_the_best_that_fits() -> None:
    fast, middle, slow = _point(1, 90, 10), _point(2, 50, 9), _point(3, 10, 90)
    result = SweepResult((slow, middle, fast, _point(None)))
    assert result.best() == fast
    assert result.best(max_sram=50) == middle
    assert result.best(max_flash=10) == middle  # both kinds of flash count
    assert result.best(max_latency_ms=2.5) == middle
    assert result.best(max_latency_ms=3) == slow
    assert result.best(max_sram=9) is None
    assert SweepResult(()).best() is None


def _summary(**figures: object) -> dict[str, str]:
    columns = {
        "core_clock": 500e6,
        "cycles_total": 1000,
        "cycles_npu": 800,
        "cycles_sram_access": 1,
        "cycles_dram_access": 2,
        "cycles_on_chip_flash_access": 3,
        "cycles_off_chip_flash_access": 4,
        "sram_memory_used": 5,
        "dram_memory_used": 6,
        "on_chip_flash_memory_used": 7,
        "off_chip_flash_memory_used": 8,
        "total_npu_encoded_weights": 9,
        "nn_macs": 32000,
    }
    return {name: str(value) for name, value in (columns | figures).items()}


def test_figures_of_several_subgraphs() -> None:
    figures = figures_of([_summary(), _summary(cycles_total=3000, sram_memory_used=50)], 64, 1234)
    assert (figures.cycles, figures.milliseconds, figures.clock_mhz) == (4000, 0.008, 500)
    assert (figures.sram_kib, figures.dram_kib, figures.flash_kib) == (50, 12, 30)
    assert (figures.network_macs, figures.utilisation) == (64000, 0.25)
    assert (figures.subgraphs, figures.pte_bytes, figures.encoded_weight_bytes) == (2, 1234, 18)


_LAYER = Layer(0, "Conv2D", "a", 1, 2, 3, 4, 5, 6, 7, 0.5, "DRAM", 8, "conv", "aten.conv2d")

_RESULT = SweepResult(
    with_pareto(
        [
            _point(
                1,
                90,
                layers=(_LAYER,),
            ),
            _point(None, macs=32),
        ]
    ),
    (Skipped("ETHOSU_U55_INT8", "not legal", 3),),
    True,
    "5.1.0",
    {"u55": "ab"},
    {"extra_flags": []},
)


def test_json_and_back() -> None:
    content = json.loads(_RESULT.to_json())
    assert (content["schema_version"], content["points"][0]["figures"]["sram_kib"]) == (1, 90)
    assert content["estimated_by"] == "Vela 5.1.0; nothing was measured on hardware"
    assert SweepResult.from_json(_RESULT.to_json()) == _RESULT


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "This is no JSON"),
        ("[]", "This is list. Allowed: 'arm_recipes sweep'"),
        ("{}", "of kind None"),
        (_RESULT.to_json().replace('"schema_version": 1', '"schema_version": 9'), "and schema version 9. Allowed:"),
        (_RESULT.to_json().replace('"macs":128', '"mac":128'), "missing required field `macs` - at `$.points[0]`"),
        (_RESULT.to_json().replace("[0,", "["), "Expected `int`, got `str` - at `$.points[0].layers[0].subgraph`"),
    ],
)
def test_json_that_is_none_of_it(text: str, message: str) -> None:
    with pytest.raises(ArmRecipeError, match=re.escape(message)):
        SweepResult.from_json(text)


def test_csv_and_dataframe() -> None:
    rows = list(csv.DictReader(io.StringIO(_RESULT.to_csv())))
    assert [row["milliseconds"] for row in rows] == ["1", ""]
    assert [row["error"] for row in rows] == ["", "Vela: no"]
    pytest.importorskip("pandas")
    frame = _RESULT.to_dataframe()
    assert list(frame.columns) == list(rows[0])
    assert frame["macs"].tolist() == [128, 32]


def test_without_pandas() -> None:
    code = (
        "import sys; sys.modules['pandas'] = None; from arm_recipes import SweepResult, ToolError\n"
        "try: SweepResult(()).to_dataframe()\n"
        "except ToolError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "to_dataframe needs pandas" in done.stdout


def test_without_dask() -> None:
    code = (
        "import sys; sys.modules['distributed'] = None; from arm_recipes import ToolError\n"
        "from arm_recipes.sweeping.executors import dask_executor\n"
        "try: dask_executor('tcp://host:8786').__enter__()\n"
        "except ToolError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'arm_recipes[dask]'" in done.stdout


def test_a_result_from_a_file_makes_no_programs() -> None:
    with pytest.raises(ArmRecipeError, match="it was read from a file"):
        _RESULT.program(_RESULT.points[0])
    with pytest.raises(ArmRecipeError, match="not a point of this sweep"):
        _RESULT.program(_point(1, macs=7))
