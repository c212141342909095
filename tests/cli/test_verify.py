"""`arm-recipes verify`, from end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from arm_recipes.cli import group
from arm_recipes.session.loading import load_model

from .documents import valid

pytestmark = pytest.mark.slow

_MODEL = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.head = nn.Linear(8, 4)
    def forward(self, x):
        return self.head(torch.relu(self.conv(x)).mean((2, 3)))

class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(4, 8)
        self.head = nn.Linear(8, 4)
    def forward(self, x):
        return self.head(self.table(x))

torch.manual_seed(0)
net = Net().eval()
def words(): return Words().eval(), (torch.zeros(1, 2, dtype=torch.int64),)
def interrupted(): raise KeyboardInterrupt
ModelUnderTest = net
ModelInputs = (torch.randn(1, 3, 8, 8),)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a model, four samples in data/ and the class that the model gives to each in labels.txt."""
    (tmp_path / "model.py").write_text(_MODEL)
    (tmp_path / "data").mkdir()
    model: Any = load_model(str(tmp_path / "model.py")).model
    generator = torch.Generator().manual_seed(1)
    samples = [torch.randn(1, 3, 8, 8, generator=generator) for _ in range(4)]
    for index, sample in enumerate(samples):
        np.save(tmp_path / f"data/{index}.npy", sample.numpy())
    (tmp_path / "labels.txt").write_text("".join(f"{int(model(sample).argmax())}\n" for sample in samples))
    np.save(tmp_path / "wrong.npy", np.arange(1, 5) % 4 - np.arange(4))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


_REPORTS = {"report.html": "r.html", "report.json": "r.json"}


def _verify(line: str) -> int:
    return group.main(["verify", *line.split()])


def test_what_is_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gates = "--min-sqnr 25 --max-accuracy-drop 1"
    assert _verify(f"model.py -r tosa-int8 --data data --labels labels.txt --per-layer {gates}") == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "TOSA_INT8, method forward, 4 samples of folder data (4 files)\n" in said.out
    assert "Calibrated on the very samples that it is verified on" in said.out
    assert "  simulated  100.00 %\n" in said.out
    assert "aten.linear of head" in said.out
    assert said.out.count("Gate passed: ") == 2
    assert max(map(len, said.out.splitlines())) <= 80
    assert "…" not in said.out and "\x1b" not in said.out


def test_failed_gates_end_with_status_3_and_their_figures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "model.py -r cortex-m55-int8 --data data --calibration data --labels labels.txt --json"
    gates = "--min-sqnr 90 --max-accuracy-drop -1"
    assert _verify(f"{line} {gates} --report r.html --report r.json") == 3
    said = capsys.readouterr()
    command = valid(said.out)
    assert (command["command"], command["status"], command["files"]) == ("verify", 3, _REPORTS)
    document = command["result"]
    assert document == json.loads((folder / "r.json").read_text())
    assert "<title>model: CORTEX_M55_INT8 on " in (folder / "r.html").read_text()
    assert document["failed_gates"] == ["min_sqnr", "max_accuracy_drop"]
    assert document["accuracy"]["figures"]["simulated"] == {"top1": 1.0}
    assert document["notes"] == []
    assert [gate["name"] for gate in document["gates"]] == ["same_function", *document["failed_gates"]]
    figure = document["gates"][1]["figure"]
    assert 25 < figure < 90
    assert said.err.splitlines() == [
        f"gate FAILED: SQNR in dB of output 0, simulated against float, at least 90: {figure:.6g}",
        "gate FAILED: loss of top1 from float to simulated in percentage points, at most -1: 0",
    ]


def test_images_in_one_folder_per_class(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    for name, image in zip(("cat/0", "cat/1", "dog/0"), pixels, strict=True):
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / "images" / f"{name}.png")
    line = "model.py -r tosa-int8 --data images --labels folders --mean 0.5 --std 0.25 --calibration images --json"
    assert _verify(line) == 0
    document = valid(capsys.readouterr().out)["result"]
    assert document["source"] == "folder images (3 files), images as (1, 3, 8, 8), (pixels / 255 - 0.5) / 0.25"
    assert document["accuracy"]["labelled"] == 3


def test_without_data_the_example_inputs_serve_and_a_warning_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _verify("model.py:net -r tosa-fp --shape 1x3x8x8 --min-sqnr 80") == 0
    said = capsys.readouterr()
    assert said.err == "warning: verified on the example inputs only, as there is no --data, which says little.\n"
    assert "TOSA_FP, method forward, 1 sample of " in said.out


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        ("model.py:net -r tosa-fp", 2, "error: model='model.py:net' has no example inputs. Give --shape"),
        ("model.py -r tosa-int8 --data no", 2, "error: no: no such file or folder."),
        ("model.py -r tosa-int8 --data labels.txt", 2, "error: labels.txt: files of kind '.txt' are not supported."),
        ("model.py -r tosa-int8 --data wrong.npy", 2, "error: wrong.npy: input 0 (x) has dtype int64"),
        (
            "model.py -r tosa-int8 --data data --labels model.py",
            2,
            "error: labels='model.py': files of kind '.py' hold",
        ),
        ("model.py -r tosa-int8 --data data/0.npy --labels labels.txt", 2, "error: 4 labels were given for 1 samples."),
        ("model.py -r tosa-int8 --data data --labels folders", 2, "error: labels='folders': data/0.npy lies in no"),
        ("model.py:words -r tosa-fp --data words.pt", 2, "error: The float stage raised IndexError on sample 0: index"),
        ("model.py -r tosa-fp --data data --timeout 1e-5", 1, "error: TOSA reference model did not answer within"),
        ("model.py -r tosa-fp --shape 1x4", 2, "error: The model of method 'forward' itself fails"),
        ("model.py:interrupted -r tosa-fp", 130, "interrupted; "),
    ],
)
def test_what_goes_wrong_is_said(
    line: str, status: int, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(torch.tensor([[1, 5]]), folder / "words.pt")
    assert _verify(line) == status
    said = capsys.readouterr()
    assert any(line.startswith(message) for line in said.err.splitlines())
    assert (said.out, "Traceback" in said.err) == ("", False)


def test_a_pte_is_held_against_its_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert group.main(["export", "model.py", "-r", "cortex-m55-int8", "--output", "net.pte"]) == 0
    capsys.readouterr()
    assert _verify("net.pte --float-model model.py --data data --labels labels.txt --min-sqnr 20") == 0
    said = capsys.readouterr().out
    assert "net.pte, method forward, 4 samples of folder data (4 files)\n" in said
    assert "float / simulated" in said and "Gate passed: SQNR" in said
    assert _verify("net.pte --data data --labels labels.txt") == 0
    assert "There is nothing to compare with" in capsys.readouterr().out


@pytest.mark.quick
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("model.py", "Missing option '-r' / '--recipe'. Only a .pte is verified without."),
        ("net.pte", "--data: needed with a .pte."),
        ("net.pte --data data -r cortex-m55-int8", "--recipe: a .pte is compiled already. Leave it out."),
        ("net.pte --data data -o macs=256", "--option: a .pte is compiled already."),
        ("net.pte --data data --calibration data", "--calibration: a .pte is compiled already."),
        ("model.py -r tosa-int8 --float-model model.py", "--float-model: only of use with a .pte"),
        ("net.pte --data data", "'net.pte' can't be read: No such file or directory."),
        ("model.py -r cortex-m55-int8 --runner none.elf", "File 'none.elf' does not exist."),
        ("model.py -r cortex-m55-int8 --runner model.py", "simulator='auto' runs programs without one."),
    ],
)
def test_what_does_not_go_with_a_pte_is_refused(
    line: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _verify(line) == 2
    assert message in capsys.readouterr().err
