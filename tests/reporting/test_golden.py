"""Reports of every recipe on three models, against golden/: the texts of five recipes whole, and for all others which
fields differ from a sibling's report. Of every recipe there are the key figures, too.

The files are written anew, to be read before they are committed, by

    python -m pytest tests/reporting/test_golden.py --update-golden
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from arm_recipes import ExportReport
from arm_recipes.recipes import catalog
from tests import models
from tests.exports import Model, exported, reported
from tests.families import group_of

_FILE = "tests/reporting/test_golden.py::"
_ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
MODELS = [models.conv_net, models.two_inputs, models.partly_delegated]
REPRESENTATIVES = ("ETHOSU_U55_INT8", "ETHOSU_U85_A16W8", "TOSA_FP", "VGF_INT8", "CORTEX_M55_INT8")

# Fields of a report, those of lists without their index. What begins with one of them may differ.
_TARGET = {"recipe", "target", "options"}
_VELA = {
    "pte_bytes",
    "parts",
    "vela_estimates",
    "layers",
    "advice",
    "methods.border",
    "methods.pools",
    "methods.delegates.payload_bytes",
    "methods.delegates.command_bytes",
    "methods.delegates.scratch_bytes",
}
_WEIGHTS = {"methods.delegates.weight_bytes"}  # as Vela compresses them for an NPU
_PAYLOAD = {"pte_bytes", "parts", "methods.delegates.backend", "methods.delegates.payload_bytes"}
_KERNELS = {"methods.calls.captured", "methods.kernels.operator", "methods.calls.operator", "methods.border.operator"}
_CMSIS_NN = {"pte_bytes", "parts", "methods.calls.scratch_bytes", "methods.pools"}

# Recipe -> sibling, and the fields in which their reports differ.
SIBLINGS: dict[str, tuple[str, set[str]]] = {
    "ETHOSU_U65_INT8": ("ETHOSU_U55_INT8", _TARGET | _VELA),
    "ETHOSU_U85_INT8": ("ETHOSU_U55_INT8", _TARGET | _VELA | _WEIGHTS),
    "ETHOSU_U55_A16W8": ("ETHOSU_U85_A16W8", _TARGET | _VELA | _WEIGHTS),
    "ETHOSU_U65_A16W8": ("ETHOSU_U85_A16W8", _TARGET | _VELA | _WEIGHTS),
    "TOSA_A16W8": ("ETHOSU_U85_A16W8", _TARGET | _VELA | _WEIGHTS | _PAYLOAD | {"estimated_by"}),
    "TOSA_INT8": ("VGF_INT8", {"recipe", "options", "advice.text"} | _PAYLOAD | _KERNELS),
    "VGF_A16W8": ("TOSA_A16W8", {"recipe", "options"} | _PAYLOAD | _KERNELS),
    "VGF_FP": ("TOSA_FP", {"recipe", "options", "advice.text"} | _PAYLOAD),
    "CORTEX_M85_INT8": ("CORTEX_M55_INT8", {"recipe", "target"}),
    **{
        f"CORTEX_{core}_INT8": ("CORTEX_M55_INT8", _TARGET | _CMSIS_NN)
        for core in ("M0", "M0PLUS", "M3", "M4", "M7", "M23", "M33", "M35P")
    },
}

pytestmark = [pytest.mark.usefixtures("one_sample_is_enough"), pytest.mark.no_cover]
_each_recipe = pytest.mark.parametrize("recipe", catalog.RECIPES, ids=lambda recipe: recipe.name)


def test_every_recipe_is_pinned() -> None:
    assert {*REPRESENTATIVES, *SIBLINGS} == {recipe.name for recipe in catalog.RECIPES}
    assert {path.name for path in GOLDEN.iterdir()} == {
        "figures.txt",
        *(f"{recipe}-{model.__name__}.txt" for recipe in REPRESENTATIVES for model in MODELS),
    }


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
@pytest.mark.parametrize("recipe", [catalog.BY_NAME[name] for name in REPRESENTATIVES], ids=lambda recipe: recipe.name)
def test_the_text(recipe: catalog.Recipe, model: Model, update_golden: bool) -> None:
    text = reported(recipe, model).text(100) + "\n"
    file = GOLDEN / f"{recipe.name}-{model.__name__}.txt"
    if update_golden:
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("recipe", [catalog.BY_NAME[name] for name in SIBLINGS], ids=lambda recipe: recipe.name)
def test_it_differs_from_its_sibling_in_what_is_listed(recipe: catalog.Recipe) -> None:
    sibling, listed = SIBLINGS[recipe.name]
    differ = set()
    for model in MODELS:
        own, other = (_without_digests(reported(name, model)) for name in (recipe, sibling))
        differ |= set(_differences(own, other))
    assert differ
    assert {field for field in differ if _listed(field, listed) is None} == set()
    assert {_listed(field, listed) for field in differ} == listed  # no more than is needed


def _listed(field: str, listed: set[str]) -> str | None:
    return next((each for each in listed if f"{field}.".startswith(f"{each}.")), None)


def _without_digests(report: ExportReport) -> dict[str, Any]:
    content = report.to_dict()
    del content["versions"], content["pte_sha256"]
    for method in content["methods"]:
        del method["graph"]
        (method["calibration"] or {}).pop("digest", None)
    return content


def _differences(one: Any, other: Any, field: str = "") -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for name in one:
            yield from _differences(one[name], other[name], f"{field}.{name}".lstrip("."))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for own, its in zip(one, other, strict=True):
            yield from _differences(own, its, field)
    elif one != other:
        yield field


@_each_recipe
def test_key_figures(recipe: catalog.Recipe, update_golden: bool) -> None:
    lines = sorted(f"{recipe.name} {model.__name__}: {_key_figures(reported(recipe, model))}" for model in MODELS)
    file = GOLDEN / "figures.txt"
    if update_golden:
        others = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        others = [line for line in others if not line.startswith(f"{recipe.name} ")]
        file.write_text("\n".join(sorted([*others, *lines])) + "\n", encoding="utf-8")
    assert lines == [
        line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith(f"{recipe.name} ")
    ]


def _key_figures(report: ExportReport) -> str:
    parts = report.parts
    (method,) = report.methods
    words = [
        f"{report.pte_bytes} bytes ({parts.weight_bytes} + {parts.command_bytes} + {parts.payload_bytes} + "
        f"{parts.rest_bytes})",
        f"{report.delegation:.1f} %",
        f"{sum(each.operators for each in method.delegates)} operators in {len(method.delegates)}",
        f"{sum(each.count for each in method.not_delegated)} not",
        f"{len(method.calls)} calls",
        f"planned {sum(method.planned_bytes)}",
        f"scratch {sum(each.scratch_bytes or 0 for each in method.delegates)}",
        f"of kernels {sum(call.scratch_bytes for call in method.calls)}",
    ]
    if method.pools is not None:
        pools = method.pools
        words.append(f"pools {', '.join(map(str, dataclasses.astuple(pools)))}")
    for estimate in report.vela_estimates:
        memory = ", ".join(f"{name} {kib:g}" for name, kib in estimate.memory_kib.items())
        words.append(f"{estimate.cycles} cycles, {estimate.milliseconds:.6g} ms, {estimate.macs} MACs, {memory}")
    if report.layers:
        words.append(f"{len(report.layers)} layers of {sum(layer.cycles for layer in report.layers)} cycles")
    return "; ".join(words)


# One of each group of rows whose exports one worker makes (`group_of`).
_GROUPS = ("ETHOSU_U85_A16W8", "VGF_A16W8", "CORTEX_M85_INT8")


@pytest.mark.parametrize("recipe", [catalog.BY_NAME[name] for name in _GROUPS], ids=lambda recipe: recipe.name)
def test_any_process_makes_the_same(recipe: catalog.Recipe, tmp_path: Path) -> None:
    """Every row, in a fresh process of another hash seed, temporary folder and number of threads."""
    rows = [row for row in catalog.RECIPES if group_of(f"{_FILE}[{row.name}]") == group_of(f"{_FILE}[{recipe.name}]")]
    folder = tmp_path / "tempor\u00e4re Dateien"
    folder.mkdir()
    environment = {**os.environ, "PYTHONHASHSEED": "1", "TMPDIR": str(folder), "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-m", "tests.rows", "--rows", ",".join(row.name for row in rows), "conv_net"]
    done = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=True)
    made = json.loads(done.stdout)
    for row in rows:
        there = made[f"{row.name} conv_net"]
        assert there["bytes"] == hashlib.sha256(exported(row).get_pte_buffer()).hexdigest(), row.name
        assert there["report"] == reported(row).to_json(), row.name


def test_every_row_is_in_a_group() -> None:
    groups = {group_of(f"{_FILE}[{row.name}]") for row in catalog.RECIPES}
    assert groups == {group_of(f"{_FILE}[{name}]") for name in _GROUPS}
