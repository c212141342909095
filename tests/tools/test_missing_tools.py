"""Where a tool is missing, the recipe that needs it says how to install it, and tests that need it are skipped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from arm_recipes.errors import ToolError
from arm_recipes.recipes import catalog, options


@pytest.mark.parametrize("name", ["ETHOSU_U55_INT8", "ETHOSU_U85_A16W8"])
def test_vela(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ethosu.vela", None)  # what makes an import fail
    with pytest.raises(ToolError) as caught:
        options.resolve(catalog.BY_NAME[name], {})
    assert str(caught.value).startswith("Ethos-U recipes need Arm's Vela compiler, which can't be imported here (")
    assert str(caught.value).endswith("Install it with: pip install 'executorch[ethos-u]'")


def test_the_others_do_without_vela(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ethosu.vela", None)
    options.resolve(catalog.BY_NAME["TOSA_INT8"], {})
    options.resolve(catalog.BY_NAME["VGF_FP"], {})


_WITHOUT_TOSA_TOOLS = """
import sys
sys.modules["tosa_serializer"] = None
try:
    from arm_recipes import export
except ValueError as error:
    print(type(error).__name__, error)
from arm_recipes.cli import group
sys.exit(group.main(["export", "model.py", "-r", "{recipe}", "--shape", "1x4"]))
"""


@pytest.mark.parametrize("recipe", ["cortex-m55-int8", "tosa-fp"])
def test_nothing_does_without_tosa_tools(recipe: str, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("import torch\nmodel = torch.nn.Linear(4, 4).eval()\n")
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TOSA_TOOLS.format(recipe=recipe)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    told = "Arm's package tosa-tools, which executorch imports for all of its Arm targets, is not here"
    assert done.stdout.startswith(f"ToolError {told}")
    assert done.returncode == 2 and f"error: {told}" in done.stderr and "Traceback" not in done.stderr
    assert "pip install 'executorch[ethos-u]'" in done.stderr


@pytest.mark.parametrize(("required", "status", "outcome"), [("", 0, "1 skipped"), ("vulkan,chromium", 1, "1 error")])
def test_what_is_required_is_not_skipped(required: str, status: int, outcome: str, tmp_path: Path) -> None:
    name = "tests/documents/test_browser.py::TestInABrowser::test_names_run_nothing"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", name],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "ARM_RECIPES_REQUIRE": required, "PATH": str(tmp_path), "CHROMIUM": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, outcome in done.stdout) == (status, True), done.stdout
