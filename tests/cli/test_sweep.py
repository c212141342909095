"""`arm-recipes sweep`, from end to end."""

from __future__ import annotations

import csv
import shlex
from importlib import metadata
from pathlib import Path

import pytest

from arm_recipes import SweepResult
from arm_recipes.cli import group

from .documents import valid

_MODEL = """
import torch
torch.manual_seed(0)
def net(): return torch.nn.Linear(16, 8).eval(), (torch.ones(1, 16),)
def unsupported(): return torch.nn.Softshrink(), (torch.ones(1, 3),)
"""

_FEW = "--macs 64,128 --memory-mode Sram_Only --system-config Ethos_U55_High_End_Embedded"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "model.py").write_text(_MODEL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(line: str) -> int:
    return group.main(shlex.split(line))


@pytest.mark.slow
def test_table_files_and_the_best(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = "--csv all.points --resume all.json --export-best best.pte --html all.html --report r.json"
    line = f"sweep model.py:net -r ethosu-u55-int8 {_FEW} {files}"
    assert _run(line) == 0
    printed = capsys.readouterr().out
    assert "4 configurations estimated, 0 failed, 0 left out as not legal" in printed
    assert f"Vela {metadata.version('ethos-u-vela')}'s estimates, not measured" in printed
    result = SweepResult.from_json((folder / "all.json").read_text())
    assert (folder / "r.json").read_text() == (folder / "all.json").read_text()
    best = result.best()
    assert best is not None and best.figures is not None
    options = " ".join(f"-o {name}={value}" for name, value in best.options.items())
    assert f"-r ethosu-u55-int8 {options}" in printed
    assert (folder / "best.pte").stat().st_size == best.figures.pte_bytes
    assert len(list(csv.DictReader((folder / "all.points").open()))) == 4
    assert "<title>net</title>" in (folder / "all.html").read_text()

    # The line that is printed makes the same program.
    assert _run(f"export model.py:net -r ethosu-u55-int8 {options} --output fresh.pte") == 0
    assert (folder / "fresh.pte").read_bytes() == (folder / "best.pte").read_bytes()
    capsys.readouterr()

    assert _run(line) == 2
    assert "best.pte, all.points, all.html, r.json: already there. Give --force" in capsys.readouterr().err

    assert _run(f"sweep model.py:net -r ethosu-u55-int8 {_FEW} --resume all.json --json --max-sram 0.001") == 3
    captured = capsys.readouterr()
    document = valid(captured.out)
    assert (document["command"], document["status"], document["files"]) == ("sweep", 3, {})
    assert len(document["result"]["points"]) == 4
    assert "no point fits the limits. The least peak SRAM of all points is" in captured.err


def test_nothing_to_estimate(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(f"sweep model.py:unsupported -r ethosu-u55-int8 {_FEW}") == 2
    assert "Refused were:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-r tosa-int8", "-r tosa-int8: only Ethos-U has configurations to sweep."),
        ("-r ethosu-u55-int8 -o macs=128", "-o macs: give --macs, which takes several values."),
        ("-r ethosu-u55-int8 --macs many", "'many' is neither 'all' nor numbers with commas between them"),
        ("-r ethosu-u55-int8 --memory-mode Sram_Onyl", "Did you mean 'Sram_Only'?"),
        ("-r ethosu-u55-int8 -o mac=128", "Did you mean 'macs'?"),
        ("-r ethosu-u55-int8 --dask tcp://host:8786 --workers 2", "--dask and --workers are both given."),
        ("-r ethosu-u55-int8 --size 3", "--size: only of use with --calibration."),
    ],
)
def test_refused(line: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(f"sweep model.py:net {_FEW} {line}") == 2
    assert message in capsys.readouterr().err
