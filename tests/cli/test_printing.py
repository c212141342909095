"""The files of --report, of any command: `list` is the shortest."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from arm_recipes.cli import group
from arm_recipes.cli.listing import RecipeList, recipe_list

from .documents import valid


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_result_is_written_in_every_form(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    endings = ("html", "json", "txt", "md", "csv")
    line = ["list", *(word for ending in endings for word in ("--report", f"new/r.{ending}"))]
    assert group.main(line) == 0
    printed = capsys.readouterr().out
    result = recipe_list()
    page = (folder / "new/r.html").read_text()
    assert page.startswith("<!doctype html>") and "cortex-m85-int8" in page and page.endswith(">\n")
    assert RecipeList.from_json((folder / "new/r.json").read_text()) == result
    assert (folder / "new/r.txt").read_text() == f"{result}\n"
    assert "| cortex-m85-int8 |" in (folder / "new/r.md").read_text().replace("`", "")
    with (folder / "new/r.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == [recipe.name for recipe in result.recipes]
    assert sorted(path.name for path in (folder / "new").iterdir()) == sorted(f"r.{ending}" for ending in endings)
    assert printed.splitlines()[-5:] == [f"new/r.{ending}  report.{ending}" for ending in endings]

    assert group.main(line) == 2
    said = capsys.readouterr()
    assert "new/r.html, new/r.json, new/r.txt, new/r.md, new/r.csv: already there. Give --force to overw" in said.err
    assert said.out == ""
    (folder / "new/r.txt").write_text("old")
    assert group.main([*line, "--force", "--json"]) == 0
    assert (folder / "new/r.txt").read_text() == f"{result}\n"
    document = valid(capsys.readouterr().out)
    assert document["files"] == {f"report.{ending}": f"new/r.{ending}" for ending in endings}
    assert document["result"] == json.loads((folder / "new/r.json").read_text())


@pytest.mark.parametrize("command", ["list", "options tosa-fp", "doctor", "export m.py -r tosa-fp"])
@pytest.mark.parametrize(
    ("reports", "message"),
    [
        ("--report x.pdf", "'x.pdf' ends in none of .html, .json, .txt, .md, .csv, which say what kind of report"),
        ("--report x", "'x' ends in none of "),
        ("--report x.txt --report y.txt", "--report is given twice for .txt. Leave one out."),
        ("--report taken.csv", "taken.csv: already there. Give --force to overwrite, or another "),
        ("--report folder.md", "--report='folder.md' is a folder. Give a file."),
        ("--report taken.csv/x.md", "--report='taken.csv/x.md': taken.csv is a file, so there can be no folder."),
    ],
)
def test_what_can_t_be_written_is_refused_before_anything_is_loaded(
    command: str, reports: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "taken.csv").write_text("mine")
    (folder / "folder.md").mkdir()
    assert group.main([*command.split(), *reports.split()]) == 2
    said = capsys.readouterr()
    assert message in said.err and said.out == ""
    assert (folder / "taken.csv").read_text() == "mine"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("export m.py -r tosa-int8 --log m.py", "--log=m.py: that is MODEL itself. Give another file to write."),
        ("export ./m.py:net -r tosa-int8 --log m.py --force", "--log=m.py: that is MODEL itself."),
        ("export m.py -r tosa-int8 --calibration c.npy --log c.npy --force", "--log=c.npy: that is --calibration"),
        ("export m.py -r tosa-int8 --calibration link.npy --report c.csv --log c.npy --force", "that is --calibration"),
        (
            "export m.py -r tosa-int8 --inputs c.npy --output new.pte --log c.npy --force",
            "that is --inputs c.npy itself",
        ),
        ("export m.py -r ethosu-u55-int8 -o config_ini=v.ini --log v.ini --force", "that is -o config_ini itself"),
        (
            "verify m.py -r tosa-int8 --data c.npy --labels l.txt --report l.txt --force",
            "l.txt: that is --labels itself",
        ),
        ("verify n.pte --float-model m.py --report m.py.txt --log m.py --force", "that is --float-model itself"),
        ("sweep m.py -r ethosu-u55-int8 --csv m.py --force", "m.py: that is MODEL itself."),
        ("sweep m.py -r ethosu-u55-int8 --csv X --html X", "X: two outputs can't be one file. Give another name."),
        ("sweep m.py -r ethosu-u55-int8 --csv X --export-best ./X --force", "X: two outputs can't be one file."),
        ("sweep m.py -r ethosu-u55-int8 --resume X --export-best X", "--resume=X: two outputs can't be one file."),
        ("export m.py -r tosa-fp --log q.json --report q.json", "--log=q.json: two outputs can't be one file."),
        ("export m.py -r tosa-fp --log c.npy", "c.npy: already there. Give --force to overwrite, or another --output."),
    ],
)
def test_no_output_is_an_input_or_another_output(
    line: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"m.py": "raise SystemExit", "c.npy": "data", "l.txt": "0", "v.ini": (_VELA_INI), "n.pte": "program"}
    for name, content in files.items():
        (folder / name).write_text(content)
    (folder / "link.npy").symlink_to(folder / "c.npy")
    assert group.main(line.split()) == 2
    assert message in capsys.readouterr().err
    assert {name: (folder / name).read_text() for name in files} == files
    assert {path.name for path in folder.iterdir()} == {*files, "link.npy"}


_VELA_INI = """[System_Config.Ethos_U55_High_End_Embedded]
core_clock=500e6
axi0_port=Sram
axi1_port=OffChipFlash
[Memory_Mode.Shared_Sram]
const_mem_area=Axi1
arena_mem_area=Axi0
cache_mem_area=Axi0
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_a_log_that_can_t_be_written_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "m.py").write_text("raise SystemExit")
    assert group.main(["export", "m.py", "-r", "tosa-fp", "--log", "/dev/full"]) == 2
    assert capsys.readouterr().err == "error: /dev/full: it can't be written (No space left on device).\n"
