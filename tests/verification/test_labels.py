"""Labels of any kind for a metric, classes of one of several outputs, and the examples that show them."""

from __future__ import annotations

import functools
import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from executorch.export import ExportSession
from torch import Tensor, nn

from arm_recipes import ArmRecipeType, CalibrationError, export, verify
from arm_recipes.cli import group
from arm_recipes.samples.inputs import specs_of
from arm_recipes.samples.labels import LabelledData

pytestmark = pytest.mark.usefixtures("one_sample_is_enough")

_EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def _example(name: str) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(_EXAMPLES), *sys.path])
        return importlib.import_module(name)  # which torch.export wants to find by its name


class _Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.boxes, self.classes = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"boxes": self.boxes(x), "classes": self.classes(x)}


@functools.cache
def _session() -> ExportSession:
    torch.manual_seed(0)
    return export(_Heads().eval(), ArmRecipeType.TOSA_INT8, (torch.randn(1, 4),))


_DATA = [(torch.linspace(-1, index, 4)[None],) for index in range(1, 5)]


def test_of_several_outputs_one_is_asked_for() -> None:
    labels = [0, 1, 2, 0]
    with pytest.raises(
        CalibrationError,
        match=r"model has several\. Allowed: output=0 or 'boxes' of shape \[1, 4\], 1 or 'classes' of shape \[1, 3\]",
    ):
        verify(_session(), _DATA, labels=labels)
    with pytest.raises(CalibrationError, match=r"output='clases'\. Allowed: output=0 or 'boxes'"):
        verify(_session(), _DATA, labels=labels, output="clases")
    by_name, by_index = (verify(_session(), _DATA, labels=labels, output=output) for output in ("classes", 1))
    assert by_name.accuracy is not None
    assert by_name.accuracy == by_index.accuracy
    with pytest.raises(CalibrationError, match=r"Label 4 of sample \d+ names no class of output 0"):
        verify(_session(), _DATA, labels=[0, 1, 4, 0], output="boxes")


def test_a_metric_takes_what_it_was_given() -> None:
    given: list[Any] = []

    def nearness(outputs: list[Tensor], label: Any) -> float:
        given.append(label)
        return 1.0

    for labels in ([0.5, 1.5, 2.5, 3.5], np.array([0.5, 1.5, 2.5, 3.5]), torch.tensor([0.5, 1.5, 2.5, 3.5])):
        report = verify(_session(), _DATA, labels=labels, metric=nearness)
        assert report.accuracy is not None and report.accuracy.labelled == 4
        assert [float(each) for each in given[::3]] == [0.5, 1.5, 2.5, 3.5]  # one call for each stage
        given.clear()
    verify(_session(), [(x, {"box": index}) for index, (x,) in enumerate(_DATA)], metric=nearness)
    assert given[::3] == [{"box": index} for index in range(4)]


def _pairs(data: object, shape: tuple[int, ...] = (1, 4), **options: Any) -> list[Any]:
    labelled = LabelledData(data, specs_of((torch.randn(shape),)), any_label=True, **options)
    return [label for _, label in labelled]


def test_batches_with_labels_of_any_kind() -> None:
    batch, boxes = torch.randn(4, 4), torch.arange(16.0).reshape(4, 4)
    assert [label.tolist() for label in _pairs([(batch, boxes)])] == boxes.tolist()
    assert [label.tolist() for label in _pairs((batch, boxes))] == boxes.tolist()
    assert _pairs([(batch, ["a", "b", "c", "d"])]) == ["a", "b", "c", "d"]
    assert _pairs([(batch[:1], 2.5), (batch[1:2], 3.5)]) == [2.5, 3.5]
    assert _pairs([{"x": batch[:1], "label": 0.25}]) == [0.25]
    with pytest.raises(CalibrationError, match=r"A batch of 4 samples has 3 labels\. Give one per sample"):
        _pairs([(batch, boxes[:3])])


def test_a_file_of_numbers(tmp_path: Path) -> None:
    file = tmp_path / "pitches.txt"
    file.write_text("0.5\n-1\n")
    assert _pairs(torch.randn(2, 4), labels=file) == [0.5, -1.0]
    file.write_text("0.5\nhigh\n")
    with pytest.raises(CalibrationError, match=r"line 2: 'high' is no number\. Give one number on each line"):
        _pairs(torch.randn(2, 4), labels=file)


def test_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model.py").write_text(
        "import torch\nclass Heads(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.a = torch.nn.Linear(4, 4)\n    def forward(self, x):\n"
        "        return {'a': self.a(x), 'b': x * 2}\nmodel = Heads().eval()\n"
    )
    torch.save(torch.randn(4, 4), "data.pt")
    Path("labels.txt").write_text("0\n1\n2\n3\n")
    line = ["verify", "model.py", "-r", "tosa-int8", "--shape", "1x4", "--data", "data.pt", "--labels", "labels.txt"]
    assert group.main([*line, "--output", "a"]) == 0
    assert "top1" in capsys.readouterr().out
    assert group.main(line) == 2
    assert "output=0 or 'a'" in capsys.readouterr().err
    assert group.main([*line[:7], "--output", "a"]) == 2


@pytest.mark.no_cover
def test_the_examples() -> None:
    examples = _example("labels")
    pitch = examples.verified_pitch("TOSA_INT8", count=16, steps=200).accuracy.figures
    assert pitch["simulated"]["within_a_semitone"] >= pitch["float"]["within_a_semitone"] - 0.07 > 0.8
    heads = examples.verified_heads("TOSA_INT8", count=16).accuracy.figures
    assert heads["simulated"]["top1"] >= heads["float"]["top1"] - 0.07 > 0.8


@pytest.mark.no_cover
def test_the_cascade() -> None:
    cascade = _example("cascade")
    networks = cascade.trained(steps=100)
    in_float, lowered = (cascade.found(way, count=24) for way in (networks, cascade.lowered(networks, "TOSA_INT8")))
    print(f"float {in_float:.1%}, lowered {lowered:.1%}")
    assert in_float > 0.8
    assert lowered >= in_float - 0.05
