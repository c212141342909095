"""What `export` must refuse in the standard session, because it would build something else than asked for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from executorch.export import ExportRecipe, export
from torch import Tensor, nn

from arm_recipes import ArmRecipeType, ModelError
from tests import models
from tests.exports import exported

# The refusal is the same for all rows of a family.
_QUANTIZED = ["ETHOSU_U55_INT8", "ETHOSU_U85_A16W8", "TOSA_INT8", "VGF_A16W8", "CORTEX_M33_INT8"]
_ALL = [*_QUANTIZED, "TOSA_FP", "VGF_FP"]


def _export(name: str, model: Any, inputs: tuple[Tensor, ...]) -> Any:
    return export(model, [inputs], ExportRecipe.get_recipe(ArmRecipeType[name]))


@pytest.mark.parametrize("name", _QUANTIZED)
@pytest.mark.parametrize("as_graph_module", [False, True])
def test_a_program_that_nobody_quantized_is_refused(name: str, as_graph_module: bool) -> None:
    model, inputs = models.conv_net()
    program = torch.export.export(model, inputs)
    with pytest.raises(ModelError) as caught:
        _export(name, program.module() if as_graph_module else program, inputs)
    assert str(caught.value) == (
        f"{name}: nothing in method 'forward' is quantized. executorch quantizes only an nn.Module: an "
        "ExportedProgram or a GraphModule is lowered as it is, in float, and so not for this target. Give the "
        "nn.Module (arm_recipes.export takes an ExportedProgram too), or a program that was prepared and converted "
        "with a quantizer for this target. If it was an nn.Module, the target's quantizer supports none of its "
        "operators; a float recipe may lower it."
    )


def test_a_program_that_somebody_quantized_is_taken() -> None:
    """Upstream's way to bring quantization-aware training or a hand-made quantizer along."""
    session = exported("ETHOSU_U55_INT8")
    again = _export("ETHOSU_U55_INT8", session.get_exported_program(), models.conv_net().inputs)
    assert again.get_pte_buffer() == session.get_pte_buffer()


@pytest.mark.parametrize("name", _ALL)
def test_a_module_in_training_mode_is_refused(name: str) -> None:
    model, inputs = models.conv_net()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ModelError) as caught:
        _export(name, model.train(), inputs)
    assert str(caught.value) == (
        f"{name}: the model was captured in training mode (aten.batch_norm of norm still trains), so its program would "
        "be random or wrong. Call model.eval() before export; a dropout that is asked for with training=True in the "
        "model's code has to go from there."
    )
    after = model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


class _Dropout(nn.Module):
    def __init__(self, training: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.always = training

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = nn.functional.dropout(self.linear(x), 0.5, training=self.always)
        return y


class _Lstm(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 4, num_layers=2, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.lstm(x)[0]
        return y


class _NoStatistics(nn.Module):
    """Uses the batch's statistics in eval mode as well: nothing of it is training."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return y


@pytest.mark.parametrize(
    ("model", "shape", "operator"),
    [
        (_Dropout(training=True).eval(), (1, 4), "aten.dropout"),
        (_Lstm(dropout=0.5).train(), (3, 1, 4), "aten.lstm.input of lstm"),
        (nn.Sequential(nn.Linear(4, 4), nn.RReLU()).train(), (1, 4), "aten.rrelu of 1"),
    ],
    ids=["functional dropout", "lstm", "rrelu"],
)
def test_whatever_still_trains_is_named(model: nn.Module, shape: tuple[int, ...], operator: str) -> None:
    with pytest.raises(ModelError, match=rf"\({operator} still trains\)"):
        _export("TOSA_FP", model, (torch.randn(shape),))


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (_Dropout(training=False).train(), (1, 4)),
        (_NoStatistics().eval(), (1, 3, 8, 8)),
        (nn.Sequential(nn.Linear(4, 4), nn.ReLU()).train(), (1, 4)),
    ],
    ids=["dropout off", "batch norm without statistics", "nothing that trains"],
)
def test_what_training_mode_does_not_change_is_taken(model: nn.Module, shape: tuple[int, ...]) -> None:
    assert _export("TOSA_FP", model, (torch.randn(shape),)).get_pte_buffer()
