"""Programs that end, fail, take too long, or are not there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from arm_recipes.errors import SimulationError, ToolError
from arm_recipes.tools.processes import run_tool


def _python(code: str, timeout: float = 60, **more: object) -> object:
    return run_tool([sys.executable, "-c", code], name="It", timeout=timeout, **more)  # type: ignore[arg-type]


def test_what_it_said(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getcwd()); print('b'); print('c', file=sys.stderr); sys.exit(3)"
    finished = run_tool([sys.executable, "-c", code], name="It", timeout=60, cwd=tmp_path)
    assert (finished.status, finished.last_words()) == (3, f"{tmp_path.resolve()} / b / c")
    assert finished.last_words(1) == "c"
    assert run_tool([sys.executable, "-c", ""], name="It", timeout=60).last_words() == "nothing"


def test_it_takes_too_long() -> None:
    with pytest.raises(SimulationError) as caught:
        _python("import time; time.sleep(60)", 0.5, error=SimulationError, advice="Give it more.")
    assert str(caught.value) == "It did not answer within 0.5 s, and was stopped. Give it more."


def test_it_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"It can't be started: .*No such file"):
        run_tool([tmp_path / "none"], name="It", timeout=1)
