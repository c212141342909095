"""What quantization destroys is told, by its module and with its figure, and nothing is told of what is healthy."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from executorch.export import ExportRecipe, ExportSession, StageType
from torch import Tensor, nn

from arm_recipes import ArmRecipeType, CalibrationWarning, LoweringError, QuantizationWarning, export, report, verify
from arm_recipes.lowering.losses import quantization_checks
from arm_recipes.lowering.records import QuantizationCheck
from tests import models
from tests.exports import Model, exported, random_samples, reported
from tests.models import Example, seeded

from . import attention
from .test_a16w8 import Function, mean_of_a_map, small_factor, steep_softmax

pytestmark = pytest.mark.usefixtures("one_sample_is_enough")


def _quantized(recipe: str, model: Model, **options: Any) -> tuple[QuantizationCheck, list[str]]:
    """The check of a method that is quantized and no more, and what it warned of."""
    example = model()
    built = ExportRecipe.get_recipe(ArmRecipeType[recipe], **options)
    built.pipeline_stages = [StageType.SOURCE_TRANSFORM, StageType.QUANTIZE]
    session = ExportSession(example.model, random_samples(example, 3), built)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", CalibrationWarning)
        session.export()
    told = [str(warning.message) for warning in caught if warning.category is QuantizationWarning]
    return quantization_checks(session)["forward"], told


class _Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = Function(lambda x: x * 1e-4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.head(x), x], 1)


def small_factor_of_a_head() -> Example:
    return seeded(_Named, (2, 8))


def fast_sine() -> Example:
    return seeded(lambda: Function(lambda x: torch.sin(x * 64)), (4, 16))


def remainder() -> Example:
    return seeded(lambda: Function(lambda x: torch.remainder(x * 4, 1.0)), (4, 16))


@pytest.mark.parametrize("recipe", ["TOSA_A16W8", "ETHOSU_U55_INT8"])
def test_a_constant(recipe: str) -> None:
    check, (told,) = _quantized(recipe, small_factor_of_a_head, cures=False)
    assert [loss.kind for loss in check.losses][:1] == ["constant"]
    assert f"{recipe}: quantization destroys a part of the model. aten.mul.Tensor of head: its constant, 0.0001" in told
    assert "Scale it into a weight" in told


def test_an_output_and_where_it_is_lost() -> None:
    check, told = _quantized("TOSA_A16W8", mean_of_a_map, cures=False)
    assert [loss.kind for loss in check.losses] == ["constant", "layer", "output"]
    assert check.output_sqnr_db == (0.0,)
    assert len(told) == 1 and "becomes zero" in told[0]


def test_a_mask_takes_the_range() -> None:
    check, _ = _quantized("TOSA_INT8", attention.added, cures=False)
    assert (check.losses[0].kind, check.losses[0].where) == ("layer", "aten.exp")
    assert check.losses[0].sqnr_db < 10
    cured, told = _quantized("TOSA_INT8", attention.added)
    assert not told and min(cured.output_sqnr_db) > 28


@pytest.mark.parametrize("model", [fast_sine, remainder], ids=lambda model: model.__name__)
def test_a_table_that_is_nothing_like_its_function(model: Model) -> None:
    with pytest.raises(RuntimeError, match=r"16-bit table of it, .* keeps [\d.]+ dB .*INT8") as raised:
        _quantized("TOSA_A16W8", model)
    assert isinstance(raised.value.__cause__, LoweringError)
    check, _ = _quantized("TOSA_A16W8", model, cures=False)
    assert any(loss.kind == "table" for loss in check.losses)
    assert not any(loss.kind == "table" for loss in _quantized("TOSA_INT8", model)[0].losses)


def test_the_front_door_says_it_as_it_is() -> None:
    example = remainder()
    with pytest.raises(LoweringError, match="aten.remainder.Scalar: TOSA's 16-bit table"):
        export(example.model, ArmRecipeType.TOSA_A16W8, example.inputs)


def test_a_table_is_what_the_program_has() -> None:
    """The figure is that of the program."""
    check, _ = _quantized("TOSA_A16W8", fast_sine, cures=False)
    (loss,) = [loss for loss in check.losses if loss.kind == "table"]
    session = exported("TOSA_A16W8", fast_sine, samples=3, cures=False, check=False)
    comparisons = verify(session, random_samples(fast_sine(), 3)).comparisons
    figure = next(one.metrics["sqnr_db"] for one in comparisons if one.reference == "quantized")
    assert loss.sqnr_db == pytest.approx(figure, abs=0.5)


def dead() -> Example:
    return seeded(
        lambda: nn.Sequential(nn.Linear(8, 8), Function(lambda x: torch.relu(x - 9)), nn.Linear(8, 4)), (2, 8)
    )


def nothing_left() -> Example:
    return seeded(lambda: Function(lambda x: x - x.clone()), (2, 8))


def norms() -> Example:
    return seeded(lambda: nn.Sequential(nn.Linear(16, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 4)), (4, 16))


_HEALTHY = [
    models.conv_net,
    models.two_inputs,
    models.linear,
    dead,
    nothing_left,
    norms,
    attention.filled,
    small_factor,
    steep_softmax,
]


@pytest.mark.no_cover
@pytest.mark.parametrize("model", _HEALTHY, ids=lambda model: model.__name__)
@pytest.mark.parametrize("recipe", ["TOSA_INT8", "TOSA_A16W8"])
def test_what_is_healthy_is_left_alone(recipe: str, model: Model) -> None:
    check, told = _quantized(recipe, model)
    assert not told and not check.losses and not check.note
    assert check.samples == 1


@pytest.mark.no_cover
@pytest.mark.slow
def test_a_deep_network_is_left_alone() -> None:
    """Whose weights are random, so that each of its many layers loses a little."""
    check, told = _quantized("TOSA_INT8", models.mobilenet_v2)
    assert not told and not check.note


def test_float_recipes_have_none() -> None:
    assert quantization_checks(exported("TOSA_FP")) == {}
    assert reported("TOSA_FP").methods[0].quantization is None


def test_the_report_has_it() -> None:
    made = report(exported("TOSA_A16W8", mean_of_a_map, samples=3, cures=False, check=False), min_sqnr=20)
    assert [gate.name for gate in made.failed_gates] == ["min_sqnr"]
    text = made.text(100)
    assert "Quantized against float: 0.0 dB at the worst output, on 3 samples" in text
    assert "becomes zero" in text and "becomes zero" in made.to_html()
    assert type(made).from_json(made.to_json()) == made


@pytest.mark.no_cover
def test_the_figure_is_that_of_verify() -> None:
    example = models.conv_net()
    session = export(example.model, ArmRecipeType.TOSA_INT8, example.inputs)
    (figure,) = quantization_checks(session)["forward"].output_sqnr_db
    comparisons = verify(session, [example.inputs]).comparisons
    assert figure == pytest.approx(comparisons[0].metrics["sqnr_db"], abs=0.01)
