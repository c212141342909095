"""VGF files on the emulated Vulkan device; the reference model where there is none, and a word about it."""

from __future__ import annotations

import functools

import pytest

from arm_recipes import SimulationError, ToolError, VerifyReport, verify
from arm_recipes.recipes import catalog
from arm_recipes.simulators.worker.process import running
from arm_recipes.tools.vulkan import ROOT
from tests.exports import random_samples
from tests.verification.test_catalog import CASES, LEAST, NETWORKS, session

_ROWS = [recipe for recipe in catalog.RECIPES if recipe.family is catalog.Family.VGF]


def _verify(recipe: catalog.Recipe, network: str, simulator: str) -> VerifyReport:
    data = random_samples(NETWORKS[network](), 1)
    return verify(session(recipe), data, method=network, simulator=simulator, min_sqnr=LEAST[recipe.precision])


@functools.cache
def _missing() -> str | None:
    try:
        _verify(_ROWS[0], "conv", "vulkan")
    except (ToolError, SimulationError) as error:
        return str(error)
    return None


@pytest.mark.needs("vulkan")
@pytest.mark.parametrize(
    ("recipe", "network"),
    [
        pytest.param(*case.values, id=case.id, marks=() if case.id == "VGF_INT8-linear" else pytest.mark.no_cover)
        for case in CASES
        if case.values[0] in _ROWS
    ],
)
def test_the_files_compute_what_the_model_does(recipe: catalog.Recipe, network: str) -> None:
    if reason := _missing():
        pytest.skip(reason)
    report = _verify(recipe, network, "vulkan")
    assert report.failed_gates == ()
    assert report.simulator == "Arm's ML emulation layer for Vulkan on Mesa's llvmpipe"
    for match in report.integers:
        assert match.largest <= (8 if recipe.precision is catalog.Precision.A16W8 else 2)


def test_without_the_tools_the_reference_model_runs_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ROOT, "/nonexistent")
    report = _verify(_ROWS[0], "conv", "auto")
    assert report.failed_gates == ()
    assert report.simulator == "TOSA reference model"
    (note,) = report.notes
    assert note.startswith("The .vgf files were not run, but the TOSA graphs they were made of. ")
    assert note in " ".join(str(report).split())
    with pytest.raises(ToolError, match=rf"{ROOT}='/nonexistent' is no Linux tree|needs the Python package"):
        _verify(_ROWS[0], "conv", "vulkan")


def test_a_process_that_simulators_share_is_called_as_the_one_that_uses_it() -> None:
    assert running("tosa", "first").name == "first"
    assert running("tosa", "second") is running("tosa", "third")
    assert running("tosa", "second").name == "second"
