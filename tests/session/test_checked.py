"""The check in the path of `export`: wrong programs don't leave it, and reports say what was looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from arm_recipes import ArmRecipeType, LoweringError, check, export, report
from arm_recipes.checking.result import MethodCheck
from arm_recipes.cli import group

pytestmark = pytest.mark.usefixtures("one_sample_is_enough")

_MODEL = """
import torch
from torch import nn

class Skip(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
    def forward(self, image):
        value = torch.relu(self.first(image))
        return torch.cat([value, self.second(value)], 1)

torch.manual_seed(0)
ModelUnderTest, ModelInputs = Skip().eval(), (torch.randn(1, 3, 8, 8),)
"""


def _skip() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """What executorch alone gets wrong: a ReLU whose range is that of signed values."""
    names: dict[str, Any] = {}
    exec(_MODEL, names)
    return names["ModelUnderTest"], names["ModelInputs"]


def _check(model: nn.Module, inputs: tuple[Tensor, ...], recipe: str, **options: Any) -> MethodCheck | None:
    return report(export(model, ArmRecipeType[recipe], inputs, **options), layers=False).methods[0].check


def test_a_wrong_program_is_an_error_that_names_the_layer() -> None:
    with pytest.raises(LoweringError, match=r"First wrong is aten\.conv2d of first") as raised:
        _check(*_skip(), "TOSA_INT8", cures=False)
    assert str(raised.value).startswith(
        "TOSA_INT8: the program of method 'forward' does not compute what the model does."
    )
    assert "check=False" in str(raised.value)


def test_unasked_it_is_exported_and_the_report_says_so() -> None:
    model, inputs = _skip()
    session = export(model, ArmRecipeType.TOSA_INT8, inputs, cures=False, check=False)
    assert report(session).methods[0].check is None
    assert "Checked against the model: no; arm_recipes.check(session) does it" in report(session).text(200)
    assert not check(session).right
    assert "Checked against the model: WRONG in aten.conv2d of first" in report(session).text(200)


def test_a_right_program_says_how_much_was_compared() -> None:
    outcome = _check(*_skip(), "TOSA_INT8")
    assert outcome is not None and outcome.checked and outcome.right
    assert (outcome.compared, outcome.layers, outcome.more, outcome.seconds) == (5, 5, 0, None)


class _Count(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls: Tensor
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls.add_(1)
        return x * 2 + self.calls


def test_what_no_simulator_runs_is_exported_and_said() -> None:
    outcome = _check(_Count().eval(), (torch.rand(1, 4),), "TOSA_FP")
    assert outcome is not None and not outcome.checked
    assert str(outcome).startswith("checked: no, because the program keeps state between calls")


def test_the_command_writes_no_wrong_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model.py").write_text(_MODEL)
    arguments = ["export", "model.py", "-r", "tosa-int8", "-o", "cures=false"]
    assert group.main(arguments) == 2
    assert "First wrong is aten.conv2d of first" in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.glob("*.pte"))
    assert group.main([*arguments, "--no-check"]) == 0
    assert list(tmp_path.glob("*.pte"))
