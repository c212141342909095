"""A .pte held against the model that it was made of, without the session that made it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from arm_recipes import ArmRecipeError, ArmRecipeType, CalibrationError, ModelError, export, verify
from tests import models
from tests.exports import exported, random_samples

_ROW = ArmRecipeType.CORTEX_M55_INT8


@pytest.fixture
def file(tmp_path: Path) -> Path:
    exported(_ROW.name, models.two_inputs).save_to_pte(str(tmp_path / "net.pte"))
    return tmp_path / "net.pte"


def test_the_figures_are_those_of_its_session(file: Path) -> None:
    example = models.two_inputs()
    samples = random_samples(example, 3)
    report = verify(file, samples, float_model=example.model, min_sqnr=20)
    expected = verify(exported(_ROW.name, models.two_inputs), samples)
    assert report.stages == ("float", "simulated")
    assert report.comparisons == tuple(
        each
        for each in expected.comparisons
        if each.reference == "float" != each.candidate and each.candidate == "simulated"
    )
    assert (report.recipe, report.target, report.method) == ("net.pte", "", "forward")
    assert [gate.name for gate in report.gates] == ["min_sqnr"] and report.failed_gates == ()
    assert not report.check.checked and "a file has no layers" in str(report)
    other = models.two_inputs().model
    torch.nn.init.normal_(next(other.parameters()))
    assert verify(file, samples, float_model=other, min_sqnr=20).failed_gates


def test_without_a_model_there_are_accuracies(file: Path) -> None:
    samples = random_samples(models.two_inputs(), 3)
    report = verify(str(file), samples, labels=[2, 2, 2], metric=lambda outputs, label: float(label))
    assert report.accuracy is not None and report.accuracy.figures == {"simulated": {"<lambda>": 2.0}}
    assert report.comparisons == ()
    assert "There is nothing to compare with" in str(report) and "How far each stage" not in str(report)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_sqnr": 10}, "min_sqnr=10 holds the program against its model. Give float_model= as well."),
        ({"max_accuracy_drop": 1}, "max_accuracy_drop=1 holds the program against its model."),
        ({"per_layer": True}, "per_layer=True: a .pte has no layers of a model."),
        ({"simulator": "qemu"}, "simulator='qemu': a file is run on the reference simulator."),
        ({"runner": "runner.elf"}, "runner='runner.elf': a file is run on the reference simulator."),
        ({"macs": 256}, "verify(file, data) takes one positional argument after the file and got 1, and no macs."),
        ({"method": "other"}, "method='other': "),
    ],
)
def test_what_a_file_can_not_have_is_refused(file: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArmRecipeError, match=re.escape(message)):
        verify(file, random_samples(models.two_inputs(), 1), **arguments)


def test_what_does_not_fit_the_program_is_told(file: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"net\.pte .* takes float32 \[1, 3, 8, 8\], .*, and the model float32 \[1, 3, 4"
    ):
        example = models.two_inputs()
        verify(
            file, random_samples(example, 1), float_model=example.model, example_inputs=(torch.zeros(1, 3, 4, 4),) * 2
        )
    with pytest.raises(CalibrationError):
        verify(file, [(torch.zeros(1, 3, 8, 9),) * 2])
    with pytest.raises(ModelError, match="can't be read: No such file"):
        verify(tmp_path / "none.pte", [torch.zeros(1)])


def test_integers_at_its_ends_are_read_by_the_scales_that_it_says(tmp_path: Path) -> None:
    example = models.linear()
    samples = random_samples(example, 3)
    session = export(example.model, _ROW, samples, io_dtype="int8")
    session.save_to_pte(str(tmp_path / "integers.pte"))
    report = verify(tmp_path / "integers.pte", samples, float_model=example.model, min_sqnr=20)
    assert report.failed_gates == ()
    assert report.comparison("float", "simulated") == verify(session, samples).comparison("float", "simulated")
