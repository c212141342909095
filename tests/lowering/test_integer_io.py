"""`io_dtype` and `io_layout`: other forms of inputs and outputs, the same figures."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from executorch.backends.arm.test.runner_utils import TosaReferenceModelDispatch
from executorch.export import ExportRecipe, ExportSession, StageType, export
from executorch.runtime import Runtime
from torch import Tensor, nn

from arm_recipes import ArmRecipeType, LoweringError, OptionError, quantized_io
from arm_recipes.lowering.integer_io import QuantizedTensor
from arm_recipes.recipes import catalog, options
from tests import models
from tests.exports import exported

# What goes in and out differs by the kind of lowering and the precision alone.
_UNLIKE = list({(recipe.family, recipe.precision): recipe for recipe in reversed(catalog.RECIPES)}.values())
_QUANTIZED = [recipe for recipe in _UNLIKE if recipe.precision.quantized]
_INTEGERS = {catalog.Precision.INT8: "int8", catalog.Precision.A16W8: "int16"}
_SCALAR_TYPES = {"float32": 6, "int8": 1, "int16": 2}


def _export(name: str, example: models.Example, **kwargs: Any) -> ExportSession:
    return export(example.model, [example.inputs], ExportRecipe.get_recipe(ArmRecipeType[name], **kwargs))


def test_real_numbers_as_integers_and_back() -> None:
    scale = QuantizedTensor(0.5, 2, -128, 127, "int8")
    values = torch.tensor([[0.0, 0.25, 0.75, -100.0, 100.0]])  # halves go to the even step
    integers = scale.quantize(values)
    assert integers.dtype == torch.int8 and integers.tolist() == [[2, 2, 4, -128, 127]]
    assert scale.dequantize(integers).tolist() == [[0.0, 0.0, 1.0, -65.0, 62.5]]
    assert scale.dequantize(integers, torch.float64).dtype == torch.float64
    assert scale.steps(values).tolist() == [[0.0, 0.0, 2.0, -200.0, 200.0]]


def _simulated(name: str, example: models.Example, inputs: tuple[Tensor, ...], **kwargs: Any) -> Tensor:
    """Output of the lowered program, its delegates run on the TOSA reference model."""
    recipe = ExportRecipe.get_recipe(ArmRecipeType[name], **kwargs)
    # Neither to_executorch nor the replacement of the border's operators, for which Python has no kernels.
    recipe.pipeline_stages = [
        StageType.SOURCE_TRANSFORM,
        StageType.QUANTIZE,
        StageType.TORCH_EXPORT,
        StageType.TO_EDGE_TRANSFORM_AND_LOWER,
        StageType.EDGE_PROGRAM_MANAGER_TRANSFORM,
    ]
    lowering = recipe.lowering_recipe
    assert lowering is not None and lowering.edge_manager_transform_passes is not None
    passes = [one for one in lowering.edge_manager_transform_passes if getattr(one, "__name__", "")[:8] != "_replace"]
    recipe.lowering_recipe = dataclasses.replace(lowering, edge_manager_transform_passes=passes)
    session = export(example.model, [example.inputs], recipe)
    manager = session.get_stage_artifacts()[StageType.EDGE_PROGRAM_MANAGER_TRANSFORM].data
    with TosaReferenceModelDispatch() as dispatch, torch.no_grad():
        output: Any = manager.exported_program().module()(*inputs)
    assert dispatch.ran_tosa_dispatch
    only: Tensor = output[0] if isinstance(output, (tuple, list)) else output
    return only


def _io(session: ExportSession) -> tuple[list[int], list[int]]:
    plans = {plan.name: plan for plan in session.get_executorch_program().execution_plan}
    plan = plans["forward"]
    sides = [[int(plan.values[index].val.scalar_type) for index in side] for side in (plan.inputs, plan.outputs)]
    return sides[0], sides[1]


class TestDtype:
    @pytest.mark.parametrize("recipe", _QUANTIZED, ids=lambda recipe: recipe.name)
    def test_the_program_takes_and_gives_integers(self, recipe: catalog.Recipe) -> None:
        dtype = _INTEGERS[recipe.precision]
        session = exported(recipe, models.two_inputs, io_dtype=dtype)
        assert _io(session) == ([_SCALAR_TYPES[dtype]] * 2, [_SCALAR_TYPES[dtype]])
        operators = [op.name for op in session.get_executorch_program().execution_plan[0].operators]
        assert not any("quantize_per_tensor" in name for name in operators)
        io = quantized_io(session)["forward"]
        assert (len(io.inputs), len(io.outputs)) == (2, 1)
        assert {tensor.dtype for tensor in (*io.inputs.values(), *io.outputs.values())} == {dtype}

    @pytest.mark.parametrize(("name", "dtype"), [("TOSA_INT8", torch.int8), ("TOSA_A16W8", torch.int16)])
    def test_the_integers_are_those_of_the_float_program(self, name: str, dtype: torch.dtype) -> None:
        example = models.two_inputs()
        io_dtype = str(dtype).removeprefix("torch.")
        io = quantized_io(exported(name, models.two_inputs, io_dtype=io_dtype))["forward"]
        integers = tuple(
            torch.clamp(torch.round(value / at.scale) + at.zero_point, at.quant_min, at.quant_max).to(dtype)
            for value, at in zip(example.inputs, io.inputs.values(), strict=True)
        )
        given = _simulated(name, example, integers, io_dtype=io_dtype)
        assert given.dtype == dtype
        expected = _simulated(name, example, example.inputs)
        real = (given.to(torch.float32) - io.outputs[0].zero_point) * io.outputs[0].scale
        torch.testing.assert_close(real, expected, rtol=0, atol=1e-6)
        assert len(torch.unique(given)) > 20  # not all zero

    def test_a_runtime_reads_the_scales_from_the_program(self) -> None:
        session = exported("ETHOSU_U55_INT8", io_dtype="int8")
        program = Runtime.get().load_program(session.get_pte_buffer())
        io = quantized_io(session)["forward"]

        def constant(name: str) -> Any:
            method = program.load_method(f"forward_{name}")
            assert method is not None
            return method.execute([])[0]

        for side, tensors in (("input", io.inputs), ("output", io.outputs)):
            for index, tensor in tensors.items():
                assert constant(f"{side}{index}_scale") == tensor.scale
                assert constant(f"{side}{index}_zp") == tensor.zero_point
                assert constant(f"{side}{index}_dtype") == _SCALAR_TYPES["int8"]

    @pytest.mark.no_cover
    def test_each_method_has_its_own(self) -> None:
        first, second = models.conv_net(), models.two_inputs()
        session = export(
            {"a": first.model, "b": second.model},
            {"a": [first.inputs], "b": [second.inputs]},
            ExportRecipe.get_recipe(ArmRecipeType.TOSA_INT8, io_dtype="int8"),
        )
        io = quantized_io(session)
        assert {method: (len(one.inputs), len(one.outputs)) for method, one in io.items()} == {"a": (1, 1), "b": (2, 1)}

    @pytest.mark.no_cover
    def test_by_default_nothing_changes(self) -> None:
        session = _export("TOSA_INT8", models.conv_net(), io_dtype="float32")
        assert session.get_pte_buffer() == exported("TOSA_INT8").get_pte_buffer()
        assert quantized_io(session) == {}

    def test_an_output_that_is_not_quantized_is_refused(self) -> None:
        """Quantizers leave none; a program that somebody quantized himself may have one."""
        quantized = exported("TOSA_INT8").get_exported_program().module()

        class FloatTail(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.quantized = quantized

            def forward(self, x: Tensor) -> Tensor:
                return torch.cumsum(self.quantized(x), 1)

        program = torch.export.export(FloatTail(), models.conv_net().inputs, strict=True)
        with pytest.raises(LoweringError) as caught:
            export(program, export_recipe=ExportRecipe.get_recipe(ArmRecipeType.TOSA_INT8, io_dtype="int8"))
        assert str(caught.value) == (
            "TOSA_INT8: output 0 of method 'forward' can't be int8: it meets aten.cumsum and not one int8 "
            "dequantize_per_tensor, so the model does not quantize it there. Leave io_dtype out, or let the model's "
            "first and last operators be ones that the target quantizes."
        )

    @pytest.mark.parametrize(
        ("name", "dtype"), [("TOSA_INT8", "int16"), ("TOSA_A16W8", "int8"), ("TOSA_INT8", "uint8")]
    )
    def test_of_another_precision_is_refused(self, name: str, dtype: str) -> None:
        with pytest.raises(OptionError, match=f"{name}: io_dtype='{dtype}' is not legal for tosa"):
            ExportRecipe.get_recipe(ArmRecipeType[name], io_dtype=dtype)


_DELEGATED = [recipe for recipe in _UNLIKE if recipe.family is not catalog.Family.CORTEX_M]


class TestLayout:
    @pytest.mark.parametrize("recipe", _DELEGATED, ids=lambda recipe: recipe.name)
    def test_the_program_declares_nhwc(self, recipe: catalog.Recipe) -> None:
        session = exported(recipe, models.two_inputs, io_layout="channels_last")
        plan = session.get_executorch_program().execution_plan[0]
        orders = [list(plan.values[index].val.dim_order) for index in (*plan.inputs, *plan.outputs)]
        assert orders == [[0, 2, 3, 1]] * 3

    @pytest.mark.parametrize("name", ["TOSA_FP", "TOSA_INT8"])
    def test_the_outputs_are_the_same(self, name: str) -> None:
        example = models.two_inputs()
        expected = _simulated(name, example, example.inputs)
        inputs = tuple(value.to(memory_format=torch.channels_last) for value in example.inputs)
        torch.testing.assert_close(
            _simulated(name, example, inputs, io_layout="channels_last"), expected, rtol=1e-5, atol=1e-6
        )

    @pytest.mark.no_cover
    def test_together_with_integers(self) -> None:
        session = _export("ETHOSU_U85_INT8", models.two_inputs(), io_layout="channels_last", io_dtype="int8")
        assert _io(session) == ([1, 1], [1])
        assert quantized_io(session) == quantized_io(exported("ETHOSU_U85_INT8", models.two_inputs, io_dtype="int8"))

    @pytest.mark.parametrize(
        ("io_layout", "dim_order"),
        [(None, [0, 2, 3, 1]), ("contiguous", [0, 1, 2, 3]), ("channels_last", [0, 2, 3, 1])],
    )
    def test_by_default_it_is_that_of_the_example_inputs(self, io_layout: str | None, dim_order: list[int]) -> None:
        model, inputs = models.two_inputs()
        last = models.Example(model, tuple(value.to(memory_format=torch.channels_last) for value in inputs))
        session = _export("TOSA_INT8", last, io_layout=io_layout)
        plan = session.get_executorch_program().execution_plan[0]
        # What a convolution gives keeps the layout of what it takes, and the program says so.
        orders = [list(plan.values[index].val.dim_order) for index in (*plan.inputs, *plan.outputs)]
        assert orders == [dim_order] * 3

    def test_options_are_listed(self) -> None:
        legal = {info.name: info.legal for info in options.describe(catalog.BY_NAME["TOSA_FP"])}
        assert legal == {
            "io_layout": (None, "contiguous", "channels_last"),
            "cures": (True, False),
            "allow_no_delegation": (True, False),
        }
