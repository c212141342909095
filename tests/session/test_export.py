"""arm_recipes.export: the front door."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from executorch.export import ExportRecipe, ExportSession
from executorch.export import export as standard_export
from rich.console import Console
from torch import Tensor, nn

from arm_recipes import (
    ArmRecipeError,
    ArmRecipeType,
    CalibrationError,
    CalibrationWarning,
    ModelError,
    OptionError,
    calibration_summary,
    export,
    load_calibration,
    vela_estimates,
)
from arm_recipes.session.progress import shown
from tests import models
from tests.exports import exported

U55 = ArmRecipeType.ETHOSU_U55_INT8
TOSA_INT8 = ArmRecipeType.TOSA_INT8
TOSA_FP = ArmRecipeType.TOSA_FP


pytestmark = pytest.mark.usefixtures("one_sample_is_enough")


_STANDARD: dict[tuple[type[nn.Module], Any], bytes] = {}


def _standard(example: models.Example, recipe: Any = U55, samples: list[Any] | None = None) -> bytes:
    """The .pte of the standard session, made once from the example inputs, or from `samples`."""
    key = (type(example.model), recipe)
    if samples is None and key in _STANDARD:
        return _STANDARD[key]
    inputs = [example.inputs] if samples is None else samples
    buffer: bytes = standard_export(example.model, inputs, ExportRecipe.get_recipe(recipe)).get_pte_buffer()
    if samples is None:
        _STANDARD[key] = buffer
    return buffer


def _samples(example: models.Example, count: int = 4) -> list[tuple[Tensor, ...]]:
    torch.manual_seed(1)
    return [tuple(torch.randn_like(value) for value in example.inputs) for _ in range(count)]


class TestCalls:
    @pytest.mark.parametrize("example", [models.conv_net, models.two_inputs])
    def test_gives_the_standard_sessions_bytes(self, example: Callable[[], models.Example]) -> None:
        model, inputs = example()
        session = export(model, U55, inputs)
        assert type(session) is ExportSession
        assert session.get_pte_buffer() == _standard(example())

    def test_a_recipe_and_a_recipe_type_with_options_are_the_same(self) -> None:
        model, inputs = models.linear()
        by_type = export(model, ArmRecipeType.ETHOSU_U85_INT8, inputs, macs=128)
        by_recipe = export(model, ExportRecipe.get_recipe(ArmRecipeType.ETHOSU_U85_INT8, macs=128), inputs)
        assert by_type.get_pte_buffer() == by_recipe.get_pte_buffer()

    @pytest.mark.parametrize("form", ["tensor", "tuple", "list of tuples", "dict"])
    def test_example_inputs_in_any_form(self, form: str) -> None:
        model, inputs = models.linear()
        given: Any = {"tensor": inputs[0], "tuple": inputs, "list of tuples": [inputs], "dict": {"forward": inputs}}[
            form
        ]
        assert export(model, TOSA_INT8, given).get_pte_buffer() == _standard(models.linear(), TOSA_INT8)

    @pytest.mark.parametrize("attribute", ["example_inputs", "example_input_array"])
    @pytest.mark.parametrize("as_method", [False, True])
    def test_example_inputs_that_the_model_carries(self, attribute: str, as_method: bool) -> None:
        model, inputs = models.linear()
        object.__setattr__(model, attribute, (lambda: inputs) if as_method else inputs)
        assert export(model, TOSA_FP).get_pte_buffer() == _standard(models.linear(), TOSA_FP)

    @pytest.mark.parametrize(
        ("example", "recipe"),
        [
            (models.conv_net, U55),
            (models.conv_net, ArmRecipeType.TOSA_A16W8),
            (models.two_inputs, ArmRecipeType.VGF_INT8),
            (models.two_inputs, TOSA_FP),
        ],
    )
    def test_an_exported_program_gives_the_modules_bytes(
        self, example: Callable[[], models.Example], recipe: ArmRecipeType, tmp_path: Path
    ) -> None:
        """Quantized as the module would be, and not passed through in float."""
        model, inputs = example()
        program = torch.export.export(model, inputs, strict=True)  # as the session does it
        given: Any = program
        if recipe in (U55, TOSA_FP):  # the others are given as they are, not as a file
            given = tmp_path / "model.pt2"
            torch.export.save(program, given)
        assert export(given, recipe).get_pte_buffer() == _standard(example(), recipe)

    def test_a_quantized_program_is_not_quantized_again(self) -> None:
        example = models.linear()
        session = export(example.model, U55, example.inputs)
        again = export(session.get_exported_program(), U55)
        assert again.get_pte_buffer() == session.get_pte_buffer()

    def test_multi_method(self) -> None:
        first, second = models.linear(), models.two_inputs()
        methods = {"classify": first.model, "fuse": second.model}
        inputs = {"classify": first.inputs, "fuse": [second.inputs]}
        session = export(methods, U55, inputs)
        assert [plan.name for plan in session.get_executorch_program().execution_plan] == ["classify", "fuse"]
        programs = {
            name: torch.export.export(one.model, one.inputs) for name, one in zip(methods, (first, second), strict=True)
        }
        assert export(programs, U55).get_pte_buffer() == session.get_pte_buffer()

    def test_name_and_etrecord_reach_the_session(self) -> None:
        model, inputs = models.linear()
        session = export(model, TOSA_FP, inputs, name="net", generate_etrecord=True, constant_methods={"version": 3})
        assert session.get_etrecord() is not None
        assert {plan.name for plan in session.get_executorch_program().execution_plan} == {"forward", "version"}


class TestTheCallersModel:
    @pytest.mark.parametrize("recipe", [U55, TOSA_FP, ArmRecipeType.VGF_INT8])
    def test_stays_as_it_is(self, recipe: ArmRecipeType) -> None:
        model, inputs = models.conv_net()
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        model.train()
        assert isinstance(model.dropout, nn.Module)
        model.dropout.eval()  # flags that differ
        before = _photograph(model, inputs)
        with pytest.warns(UserWarning, match="'forward' is in training mode. It is exported in eval mode, and stays"):
            export(model, recipe, inputs)
        assert _photograph(model, inputs) == before

    def test_is_handed_back_after_a_failure_too(self) -> None:
        model = nn.Sequential(nn.Linear(4, 4), nn.Dropout()).train()
        with pytest.raises(OptionError):
            export(model, TOSA_INT8, torch.randn(1, 4), macs=1)
        with pytest.raises(Exception), warnings.catch_warnings():  # noqa: B017 - whatever torch says of the shape
            warnings.simplefilter("ignore")
            export(model, TOSA_INT8, torch.randn(1, 5))
        assert all(module.training for module in model.modules())

    def test_is_exported_in_eval_mode(self) -> None:
        model, inputs = models.conv_net()
        with pytest.warns(UserWarning, match="training mode"):
            session = export(model.train(), U55, inputs)
        assert session.get_pte_buffer() == _standard(models.conv_net())


def _photograph(model: nn.Module, inputs: tuple[Tensor, ...]) -> list[object]:
    tensors = [*model.state_dict(keep_vars=True).items(), *((f"input {i}", value) for i, value in enumerate(inputs))]
    return [
        [
            (name, id(value), value.data_ptr(), value.stride(), value.requires_grad, value.detach().numpy().tobytes())
            for name, value in tensors
        ],
        [(name, id(module), module.training) for name, module in model.named_modules()],
    ]


@pytest.mark.quick
class TestRefused:
    """(what is given, what the message says)"""

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"recipe": "ethosu_u85_int8"}, "Did you mean ArmRecipeType.ETHOSU_U85_INT8?"),
            ({"recipe": None}, "recipe=None is neither an ArmRecipeType nor an ExportRecipe."),
            ({"example_inputs": None}, "Method 'forward' has no example inputs. Give example_inputs=(tensor, ...), or"),
            ({"example_inputs": []}, "example_inputs of method 'forward' is an empty list. Allowed: a tuple of"),
            ({"example_inputs": 3}, "example_inputs of method 'forward' is of type int."),
            ({"example_inputs": [torch.zeros(1)]}, "which may be the inputs of one call or several samples."),
            (
                {"example_inputs": {"backward": (1,)}},
                "has the keys 'backward', which are no methods. Allowed: 'forward'",
            ),
            ({"model": nn.Linear}, "The model of method 'forward' is the class Linear. Allowed: an nn.Module, an"),
            ({"model": 5}, "The model of method 'forward' is of type int."),
            ({"model": {}}, "model is an empty dict."),
            ({"model": "nowhere.pt2"}, "model='nowhere.pt2': no such file."),
            ({"model": __file__}, "is no .pt2 file that this version of torch can load"),
            ({"dynamic_shapes": {"y": {0: 2}}}, "the keys 'y', which are no arguments of the model. Allowed: 'x'."),
            ({"calibration": "nowhere/"}, "nowhere"),
            (
                {"recipe": TOSA_FP, "calibration": [torch.zeros(1)]},
                "arm_tosa_fp quantizes nothing, so calibration has no",
            ),
        ],
        ids=str,
    )
    def test_at_once(self, given: dict[str, Any], message: str) -> None:
        model, inputs = models.conv_net()
        arguments: Any = {"model": model, "recipe": TOSA_INT8, "example_inputs": inputs, **given}
        with pytest.raises(ArmRecipeError) as caught:
            export(**arguments)
        assert message in str(caught.value)

    def test_options_beside_a_recipe(self) -> None:
        model, inputs = models.conv_net()
        with pytest.raises(ArmRecipeError, match=r"macs: not taken beside an ExportRecipe, whose options are settled"):
            export(model, ExportRecipe.get_recipe(U55), inputs, macs=64)

    def test_an_unknown_option(self) -> None:
        model, inputs = models.conv_net()
        with pytest.raises(OptionError, match="Did you mean 'macs'?"):
            export(model, U55, inputs, mac=64)

    def test_one_of_several_methods(self) -> None:
        first, second = models.conv_net(), models.two_inputs()
        methods: dict[str, Any] = {"a": first.model, "b": second.model}
        with pytest.raises(ModelError, match="example_inputs is one for several methods. .*: a, b"):
            export(methods, U55, first.inputs)
        with pytest.raises(
            ModelError, match="dynamic_shapes has the keys 'x', which are no methods. Allowed: 'a', 'b'"
        ):
            export(methods, U55, {"a": first.inputs, "b": second.inputs}, dynamic_shapes={"x": {0: 1}})

    def test_a_program_and_a_module_together(self) -> None:
        first, second = models.conv_net(), models.two_inputs()
        mixed: dict[str, Any] = {"a": torch.export.export(first.model, first.inputs), "b": second.model}
        with pytest.raises(ModelError, match="are ExportedPrograms and modules together"):
            export(mixed, U55, {"b": second.inputs})


class TestCalibration:
    def test_equals_the_standard_sessions_sample_list(self) -> None:
        example = models.linear()
        samples = _samples(example)
        expected = _standard(models.linear(), U55, [example.inputs, *samples])
        assert export(example.model, U55, example.inputs, calibration=[example.inputs, *samples]).get_pte_buffer() == (
            expected
        )
        assert expected != _standard(models.linear())

    def test_of_a_recipe_in_the_bare_session(self) -> None:
        example = models.two_inputs()
        samples = _samples(example)
        recipe = ExportRecipe.get_recipe(TOSA_INT8, calibration=samples)
        bare = standard_export(example.model, [example.inputs], recipe)
        front = export(example.model, TOSA_INT8, example.inputs, calibration=samples)
        assert bare.get_pte_buffer() == front.get_pte_buffer()
        assert calibration_summary(bare) == calibration_summary(front)

    def test_by_the_names_of_the_arguments(self) -> None:
        example = models.two_inputs()
        samples = _samples(example)
        named = [{"y": y, "x": x} for x, y in samples]
        sessions = [export(example.model, TOSA_INT8, example.inputs, calibration=one) for one in (samples, named)]
        assert sessions[0].get_pte_buffer() == sessions[1].get_pte_buffer()

    def test_of_a_program_by_the_names_of_its_inputs(self) -> None:
        example = models.two_inputs()
        program = torch.export.export(example.model, example.inputs)
        named = [{"y": y, "x": x} for x, y in _samples(example)]
        session = export(program, TOSA_INT8, calibration=named)
        assert calibration_summary(session)["forward"].samples == 4

    def test_per_method(self) -> None:
        first, second = models.linear(), models.two_inputs()
        session = export(
            {"a": first.model, "b": second.model},
            TOSA_INT8,
            {"a": first.inputs, "b": second.inputs},
            calibration={"b": _samples(second, 3)},
        )
        summary = calibration_summary(session)
        assert {method: one.samples for method, one in summary.items()} == {"a": 1, "b": 3}
        assert summary["a"].source == "example inputs"

    def test_can_be_told_afterwards(self, tmp_path: Path) -> None:
        example = models.linear()
        for index, (sample,) in enumerate(_samples(example, 3)):
            torch.save(sample, tmp_path / f"{index}.pt")
        summary = calibration_summary(export(example.model, U55, example.inputs, calibration=tmp_path))["forward"]
        assert summary.samples == 3
        assert str(tmp_path) in summary.source
        assert len(summary.digest) == 64

    def test_a_float_session_has_none(self) -> None:
        assert calibration_summary(exported(TOSA_FP)) == {}

    def test_leaves_the_recipe_as_it_is(self) -> None:
        example = models.linear()
        recipe = ExportRecipe.get_recipe(U55)
        export(example.model, recipe, example.inputs, calibration=_samples(example))
        session = export(example.model, recipe, example.inputs)
        assert session.get_pte_buffer() == _standard(models.linear())
        assert calibration_summary(session)["forward"].samples == 1

    def test_on_the_example_inputs_alone_says_so_once(self) -> None:
        example = models.linear()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            export(example.model, U55, example.inputs)
        said = [str(warning.message) for warning in caught if warning.category is CalibrationWarning]
        assert said == [
            "ETHOSU_U55_INT8: calibrated on one sample only, as the example inputs are all there is. The commonest "
            "cause of bad accuracy: give representative data as `calibration`, e.g. a folder of samples."
        ]

    def test_on_given_data_says_nothing(self) -> None:
        example = models.linear()
        with warnings.catch_warnings():
            warnings.simplefilter("error", CalibrationWarning)
            export(example.model, U55, example.inputs, calibration=_samples(example, 1))
            export(example.model, U55, _samples(example, 2))

    @pytest.mark.parametrize(
        ("calibration", "message"),
        [
            ([], "The list is empty"),
            ([(torch.zeros(1, 3, 8, 9),)], r"1, 3, 8, 9.*1, 3, 8, 8"),
            ([(torch.zeros(1, 3, 8, 8), torch.zeros(1))], "2"),
            ([(torch.zeros(1, 3, 8, 8, dtype=torch.float64),)], "float64"),
            ([(torch.full((1, 3, 8, 8), float("nan")),)], "NaN"),
        ],
        ids=["empty", "shape", "number of inputs", "dtype", "NaN"],
    )
    def test_that_does_not_fit_is_refused(self, calibration: list[Any], message: str) -> None:
        example = models.conv_net()
        with pytest.raises(CalibrationError, match=f"(?s){message}"):
            export(example.model, U55, example.inputs, calibration=calibration)
        with pytest.raises(CalibrationError, match=f"(?s){message}"):
            recipe = ExportRecipe.get_recipe(U55, calibration=calibration)
            standard_export(example.model, [example.inputs], recipe)


class TestTheUsersOwnCalibrationFunction:
    """`QuantizationRecipe.calibration_inputs_fn`, set by hand, in the bare session: the recipe still watches."""

    def _export(self, function: Callable[[], Any]) -> ExportSession:
        example = models.conv_net()
        recipe = ExportRecipe.get_recipe(U55)
        assert recipe.quantization_recipe is not None
        recipe.quantization_recipe.calibration_inputs_fn = function
        return standard_export(example.model, [example.inputs], recipe)

    def test_is_used(self) -> None:
        samples = _samples(models.conv_net(), 5)
        assert calibration_summary(self._export(lambda: samples))["forward"].samples == 5

    def test_own_data_that_is_changed_on_its_way(self) -> None:
        """What data has checked and counted holds only for samples that come as it gave them."""
        example = models.conv_net()
        samples = _samples(example, 4)
        recipe = ExportRecipe.get_recipe(TOSA_INT8, calibration=samples)
        assert recipe.quantization_recipe is not None
        own = recipe.quantization_recipe.calibration_inputs_fn
        assert own is not None
        changed = [samples[0], (samples[1][0] * 2,), samples[3]]

        def changing() -> Iterator[tuple[Tensor, ...]]:
            for index, inputs in enumerate(own()):
                if index != 2:
                    yield (inputs[0] * 2,) if index == 1 else inputs

        recipe.quantization_recipe.calibration_inputs_fn = changing
        summary = calibration_summary(standard_export(example.model, [example.inputs], recipe))["forward"]
        data = load_calibration(changed, example_inputs=example.inputs)
        list(data)
        assert data.record is not None
        assert (summary.samples, summary.digest) == (3, data.record.digest)

    @pytest.mark.parametrize(
        ("samples", "message"),
        [
            (
                [torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)],
                r"calibration sample 0: input 0 \(x\) has shape \(3, 8, 8\)",
            ),
            ([(torch.zeros(2, 3, 8, 8),)], r"has shape \(2, 3, 8, 8\)"),
            ([(torch.zeros(1, 3, 4, 4),)], r"has shape \(1, 3, 4, 4\)"),
            ([(torch.zeros(1, 1, 1, 1),)], r"has shape \(1, 1, 1, 1\)"),
            ([(torch.zeros(1, 3, 8, 8).double(),)], "has dtype float64"),
            ([(torch.zeros(1, 3, 8, 8), 1)], "sample 0: it has 2 inputs"),
            ([(torch.full((1, 3, 8, 8), torch.inf),)], "has 0 NaN and 192 infinite values"),
        ],
    )
    def test_with_a_sample_that_does_not_fit(self, samples: Any, message: str) -> None:
        with pytest.raises(CalibrationError, match=message):
            self._export(lambda: samples)

    def test_that_gives_nothing(self) -> None:
        """Here the session wraps what a pass raises."""
        with pytest.raises(RuntimeError, match="was calibrated on no sample") as caught:
            self._export(list)
        assert isinstance(caught.value.__cause__, CalibrationError)

    def test_whose_generator_is_used_up_by_the_first_method(self) -> None:
        example = models.conv_net()
        recipe = ExportRecipe.get_recipe(U55)
        generator = iter(_samples(example))
        assert recipe.quantization_recipe is not None
        recipe.quantization_recipe.calibration_inputs_fn = lambda: generator
        methods = {"a": example.model, "b": example.model}
        with pytest.raises(RuntimeError, match="was calibrated on no sample"):
            standard_export(methods, {"a": [example.inputs], "b": [example.inputs]}, recipe)
        generator = iter(_samples(example))
        with pytest.raises(CalibrationError, match="was calibrated on no sample"):
            export(methods, recipe, {"a": example.inputs, "b": example.inputs})


class TestNothingInSilence:
    class _Identity(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    class _TopK(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            values: Tensor = x.topk(2).values
            return values

    @pytest.mark.parametrize("model", [_Identity, _TopK], ids=["identity", "topk"])
    @pytest.mark.parametrize("recipe", [U55, TOSA_FP, ArmRecipeType.VGF_INT8])
    def test_nothing_to_delegate(self, model: type[nn.Module], recipe: ArmRecipeType) -> None:
        with pytest.raises(ArmRecipeError, match="no operator was delegated to|is quantized") as caught:
            standard_export(model().eval(), [(torch.randn(1, 8),)], ExportRecipe.get_recipe(recipe))
        assert recipe.name in str(caught.value)

    def test_no_delegation_may_be_allowed(self) -> None:
        recipe = ExportRecipe.get_recipe(TOSA_FP, allow_no_delegation=True)
        with pytest.warns(
            UserWarning, match="TOSA_FP: no operator was delegated to tosa; all of the program would run"
        ):
            session = standard_export(self._TopK().eval(), [(torch.randn(1, 8),)], recipe)
        assert session.get_pte_buffer()

    @pytest.mark.parametrize("recipe", [U55, TOSA_FP, ArmRecipeType.VGF_FP])
    def test_dynamic_sizes(self, recipe: ArmRecipeType) -> None:
        model, inputs = models.conv_net()
        shapes = {"x": {0: torch.export.Dim("batch", min=1, max=8)}}
        with pytest.raises(ModelError, match=f"{recipe.name}: input 'x' of method 'forward' has a dynamic size in dim"):
            export(model, recipe, (inputs[0].repeat(2, 1, 1, 1),), dynamic_shapes=shapes)

    @pytest.mark.parametrize("recipe", [U55, TOSA_FP])
    def test_dynamic_sizes_in_the_standard_session(self, recipe: ArmRecipeType) -> None:
        model, shapes = nn.Conv2d(3, 4, 1).eval(), {"forward": {"input": {0: torch.export.Dim("batch", min=1, max=8)}}}
        with pytest.raises(ModelError, match="has a dynamic size in dimension 0"):
            standard_export(model, [(torch.randn(2, 3, 8, 8),)], ExportRecipe.get_recipe(recipe), dynamic_shapes=shapes)

    def test_static_shapes_are_taken(self) -> None:
        model, inputs = models.conv_net()
        for shapes in ({"x": None}, {"x": {0: None, 2: torch.export.Dim.STATIC}}, (None,)):
            assert export(model, TOSA_FP, inputs, dynamic_shapes=shapes).get_pte_buffer()

    def test_two_quantized_recipes_combined(self) -> None:
        example = models.conv_net()
        combined = ExportRecipe.combine([ExportRecipe.get_recipe(U55), ExportRecipe.get_recipe(TOSA_INT8)])
        with pytest.raises(
            ModelError, match="ETHOSU_U55_INT8 and TOSA_INT8 are combined, and a model can be quantized"
        ):
            standard_export(example.model, [example.inputs], combined)

    def test_a_quantized_and_a_float_recipe_combined(self) -> None:
        example = models.conv_net()
        combined = ExportRecipe.combine([ExportRecipe.get_recipe(U55), ExportRecipe.get_recipe(TOSA_FP)])
        with pytest.raises(ArmRecipeError, match="TOSA_FP: nothing was delegated to it, as EthosUBackend took it all"):
            standard_export(example.model, [example.inputs], combined)


class TestVela:
    def test_prints_to_the_log_and_not_to_standard_output(self, capfd: pytest.CaptureFixture[str]) -> None:
        model, inputs = models.conv_net()
        records: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
        logger = logging.getLogger("arm_recipes.vela")
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            session = export(model, U55, inputs)
        finally:
            logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)
        assert capfd.readouterr().out == ""
        assert "Batch Inference time" in "".join(records)
        (estimate,) = vela_estimates(session)
        assert f"{estimate.cycles} cycles/batch" in "".join(records)
        assert estimate.clock_mhz == 500
        assert estimate.milliseconds == pytest.approx(estimate.cycles / 500e3)
        assert set(estimate.memory_kib) == {"SRAM", "Off-chip Flash"}

    def test_has_no_estimate_for_tosa(self) -> None:
        assert vela_estimates(exported(TOSA_INT8)) == ()


class TestProgress:
    def test_shows_stages_and_samples(self) -> None:
        example = models.linear()
        console = Console(file=io.StringIO(), force_terminal=True, width=100)
        with shown(True, console) as bars:
            recipe = ExportRecipe.get_recipe(TOSA_INT8)
            session = ExportSession(example.model, [example.inputs], recipe)
            bars.stages(session)
            session.export()
            assert list(bars.samples([example.inputs] * 3, 3)) == [example.inputs] * 3
        assert session.get_pte_buffer() == _standard(models.linear(), TOSA_INT8)
        printed = console.file.getvalue()  # type: ignore[attr-defined]
        for words in ("to edge transform and lower", "to executorch", "calibrate", "3/3"):
            assert words in printed

    def test_is_off_where_standard_error_is_no_terminal(self, capfd: pytest.CaptureFixture[str]) -> None:
        example = models.linear()
        export(example.model, TOSA_FP, example.inputs)
        assert "torch export" not in capfd.readouterr().err

    def test_may_be_asked_for(self) -> None:
        example = models.linear()
        samples = _samples(example)
        shown_session = export(example.model, TOSA_INT8, example.inputs, calibration=samples, progress=True)
        plain = export(example.model, TOSA_INT8, example.inputs, calibration=samples, progress=False)
        assert shown_session.get_pte_buffer() == plain.get_pte_buffer()
