"""All results are even: real ones of each kind, what they can do, and that it takes no torch."""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import json
import math
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from arm_recipes import (
    ArmRecipeType,
    CheckResult,
    ExportReport,
    SweepResult,
    VerifyReport,
    check,
    quantization_report,
    sweep,
    verify,
)
from arm_recipes.cli import listing
from arm_recipes.documents.results import FORMS, Result
from arm_recipes.reporting.quantization import QuantizationReport

from . import models
from .exports import exported, random_samples, reported

_SCHEMAS = Path(__file__).parents[1] / "docs" / "schemas"

KINDS: dict[str, type[Result]] = {
    "report": ExportReport,
    "verify": VerifyReport,
    "sweep": SweepResult,
    "quantization": QuantizationReport,
    "check": CheckResult,
}


@functools.cache
def _result(kind: str) -> Result:
    example = models.conv_net()
    if kind == "report":
        return reported("ETHOSU_U55_INT8", models.partly_delegated)
    if kind == "verify":
        samples = random_samples(example, 2)
        return verify(exported("TOSA_INT8"), samples, labels=[0, 1], per_layer=True, min_sqnr=500)
    if kind == "check":
        return check(exported("TOSA_INT8"))
    if kind == "quantization":
        return quantization_report(exported("TOSA_INT8"))
    return sweep(
        example.model,
        [ArmRecipeType.ETHOSU_U55_INT8],
        example.inputs,
        macs=[64, 128],
        memory_mode=["Sram_Only", "Shared_Sram"],
        workers=1,
    )


pytestmark = pytest.mark.usefixtures("one_sample_is_enough")
_of_each_kind = pytest.mark.parametrize("kind", KINDS)


@_of_each_kind
def test_what_it_writes_is_of_its_schema(kind: str) -> None:
    content = json.loads(_result(kind).to_json(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    schema = json.loads((_SCHEMAS / f"{kind}.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(content)
    properties = schema["$defs"][KINDS[kind].__name__]["properties"]
    assert content.keys() == properties.keys()
    for name in content:
        assert not validator.is_valid({key: value for key, value in content.items() if key != name}), name
    assert not validator.is_valid({**content, "kind": "arm_recipes thing"})


@_of_each_kind
def test_it_is_read_again_as_it_was(kind: str) -> None:
    result = _result(kind)
    again = type(result).from_json(result.to_json())
    assert again == result
    assert (again.text(80), again.to_html(), again.to_csv()) == (result.text(80), result.to_html(), result.to_csv())


def test_figures_that_are_not_finite_are_texts() -> None:
    content = _result("verify").to_dict()
    assert content["comparisons"][2]["metrics"]["sqnr_db"] == "inf"
    again = VerifyReport.from_dict(content)
    assert again.comparison("quantized", "simulated").metrics["sqnr_db"] == math.inf


@_of_each_kind
def test_it_can_be_shown_in_every_form(kind: str) -> None:
    result = _result(kind)
    assert str(result) == result.text(100)
    for width in (60, 80, 100, 160):
        assert result.text(width)
    written = {ending: write(result) for ending, write in FORMS.items()}
    assert written[".html"].startswith("<!doctype html>")
    assert written[".md"] == result.to_markdown()
    header, *rows = csv.reader(io.StringIO(written[".csv"]))
    assert rows and {len(row) for row in rows} == {len(header)}
    assert "<table" in result._repr_html_() and "<html" not in result._repr_html_()


@_of_each_kind
def test_it_is_read_without_torch(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    file.write_text(_result(kind).to_json(), encoding="utf-8")
    own = KINDS[kind]
    code = (
        f"import sys; from {own.__module__} import {own.__name__} as Own\n"
        f"result = Own.from_json(open(sys.argv[1]).read())\n"
        "result.text(), result.to_html(), result.to_markdown(), result.to_csv(), result.to_json()\n"
        "print(*sorted({'torch', 'executorch', 'torchao', 'pandas'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\tx"])
def test_a_cell_is_no_formula(name: str) -> None:
    result = listing.recipe_list()
    first = dataclasses.replace(result.recipes[0], name=name)
    written = dataclasses.replace(result, recipes=(first,)).to_csv()
    (row,) = csv.DictReader(io.StringIO(written))
    assert row["name"] == f"'{name}"
