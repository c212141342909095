"""Cortex-M: CMSIS-NN kernels from ordinary inputs, the script's bytes in its own layout, and no silent fallback."""

from __future__ import annotations

import copy
import functools
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from executorch.backends.cortex_m.quantizer.quantizer import CortexMQuantizer
from executorch.exir import EdgeProgramManager
from executorch.export import ExportRecipe, ExportSession, StageType, export
from torch import Tensor, nn
from torch.export import ExportedProgram
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from arm_recipes import ArmRecipeType, LoweringError, ModelError, OptionError
from arm_recipes.recipes import catalog, options
from arm_recipes.recipes.cortex_m import CortexMOptions
from tests import models, tiny_models
from tests.exports import exported
from tests.models import Example, seeded
from tests.script import compile_with_script

_ROWS = [recipe for recipe in catalog.RECIPES if recipe.family is catalog.Family.CORTEX_M]
# The rows' kernels differ by the instruction set only; of each, one row is looked at closely.
_BY_ISA = {"MVE": "CORTEX_M55_INT8", "DSP": "CORTEX_M33_INT8", "SCALAR": "CORTEX_M0_INT8"}
_EACH_ROW = pytest.mark.parametrize("recipe", _ROWS, ids=lambda recipe: recipe.name)

# Everything CMSIS-NN has kernels for, by the names of the networks.
_SUPPORTED = ["ds_cnn", "deep_autoencoder", "residual", "depthwise"]
_OF_IMAGES = ["ds_cnn", "residual", "depthwise"]

_LOWERED = [
    StageType.SOURCE_TRANSFORM,
    StageType.QUANTIZE,
    StageType.TORCH_EXPORT,
    StageType.TO_EDGE_TRANSFORM_AND_LOWER,
    StageType.EDGE_PROGRAM_MANAGER_TRANSFORM,
]


def _example(network: str) -> Example:
    make = getattr(tiny_models, network, None) or getattr(models, network)
    example: Example = make()
    return example


def _recipe(row: str = "CORTEX_M55_INT8", **options: Any) -> ExportRecipe:
    return ExportRecipe.get_recipe(ArmRecipeType[row], **options)


def _export(example: Example, row: str = "CORTEX_M55_INT8", **options: Any) -> ExportSession:
    return export(example.model, [example.inputs], _recipe(row, **options))


class _Exported(NamedTuple):
    """What one export gives: the lowered program, which to_executorch would make impossible to run, and the .pte."""

    lowered: ExportedProgram
    program: Any
    buffer: bytes


@functools.cache
def _exported(network: str, **options: Any) -> _Exported:
    """Export for Cortex-M55, once per test run."""
    example, recipe = _example(network), _recipe(**options)
    recipe.pipeline_stages = _LOWERED
    session = export(example.model, [example.inputs], recipe)
    manager: EdgeProgramManager = session.get_stage_artifacts()[StageType.EDGE_PROGRAM_MANAGER_TRANSFORM].data
    lowered = copy.deepcopy(manager.exported_program())
    executable = manager.to_executorch(recipe.executorch_backend_config)  # as the session's last stage does
    return _Exported(lowered, executable.executorch_program, executable.buffer)


def _kernels(program: Any, method: int = 0) -> Counter[str]:
    """Kernel calls in the execution plan of a .pte."""
    plan = program.execution_plan[method]
    instructions = [instruction.instr_args for chain in plan.chains for instruction in chain.instructions]
    return Counter(plan.operators[args.op_index].name for args in instructions if hasattr(args, "op_index"))


_CLONE = "dim_order_ops::_clone_dim_order"


def _cloned_types(program: Any) -> set[str]:
    plan = program.execution_plan[0]
    instructions = [instruction.instr_args for chain in plan.chains for instruction in chain.instructions]
    clones = [
        args for args in instructions if hasattr(args, "op_index") and plan.operators[args.op_index].name == _CLONE
    ]
    return {plan.values[args.args[0]].val.scalar_type.name for args in clones}


def _in_layout(model: nn.Module, memory_format: torch.memory_format) -> nn.Module:
    converted: nn.Module = model.to(memory_format=memory_format)  # type: ignore[call-overload]
    return converted


def _input_dim_order(program: Any) -> list[int]:
    plan = program.execution_plan[0]
    order: list[int] = plan.values[plan.inputs[0]].val.dim_order
    return order


def _output_dim_order(program: Any) -> list[int]:
    plan = program.execution_plan[0]
    order: list[int] = plan.values[plan.outputs[0]].val.dim_order
    return order


# --- What is written ---------------------------------------------------------------------------------------------


@pytest.mark.no_cover
@pytest.mark.parametrize("network", _SUPPORTED)
def test_channels_last_equals_the_script(network: str, tmp_path: Path) -> None:
    expected = compile_with_script(f"tests.tiny_models:{network}", "cortex-m55", tmp_path, "-q")
    assert _exported(network, io_layout="channels_last").buffer == expected


@pytest.mark.no_cover
def test_what_the_script_leaves_in_float_equals_it_where_that_is_allowed(tmp_path: Path) -> None:
    expected = compile_with_script("tests.tiny_models:conv1d", "cortex-m55", tmp_path, "-q")
    with pytest.warns(UserWarning, match="on float portable kernels"):
        session = _export(_example("conv1d"), io_layout="channels_last", allow_portable_fallback=True)
    assert session.get_pte_buffer() == expected


@pytest.mark.no_cover
@pytest.mark.parametrize("name", _BY_ISA.values())
def test_each_instruction_set_equals_the_script(name: str, tmp_path: Path) -> None:
    expected = compile_with_script("tests.models:conv_net", catalog.BY_NAME[name].target.name, tmp_path, "-q")
    assert _export(models.conv_net(), name, io_layout="channels_last").get_pte_buffer() == expected


@_EACH_ROW
def test_every_row_exports_from_ordinary_inputs(recipe: catalog.Recipe) -> None:
    session = exported(recipe)
    program = session.get_executorch_program()
    assert _kernels(program) == {
        "cortex_m::quantize_per_tensor": 1,
        _CLONE: 1,  # into channels_last
        "cortex_m::quantized_conv2d": 1,
        "cortex_m::quantized_avg_pool2d": 1,
        "cortex_m::quantized_linear": 1,
        "cortex_m::dequantize_per_tensor": 1,
    }
    assert _input_dim_order(program) == [0, 1, 2, 3]
    resolved = options.resolve(recipe, {})
    assert isinstance(resolved, CortexMOptions)
    assert session.get_pte_buffer() == exported(_BY_ISA[resolved.isa]).get_pte_buffer()


@pytest.mark.parametrize("name", _BY_ISA.values())
def test_the_standard_session_gives_the_front_doors_bytes(name: str) -> None:
    assert _export(models.conv_net(), name).get_pte_buffer() == exported(name).get_pte_buffer()


def test_isa_decides_what_the_kernels_get() -> None:
    """MVE's linear reads sums made ahead of time, those of DSP and of scalar code the bias."""
    ptes = {isa: exported("CORTEX_M55_INT8", isa=isa).get_pte_buffer() for isa in _BY_ISA}
    assert ptes == {isa: exported(name).get_pte_buffer() for isa, name in _BY_ISA.items()}
    assert len(set(ptes.values())) == 3


@pytest.mark.parametrize("network", _OF_IMAGES)
def test_contiguous_costs_a_clone_and_gives_the_same_outputs(network: str) -> None:
    both = [_exported(network), _exported(network, io_layout="channels_last")]
    contiguous, channels_last = (exported.program for exported in both)
    kernels = _kernels(contiguous)
    # Of the layout, for input and output; none that changes nothing, as of ds_cnn's one channel.
    assert kernels[_CLONE] == {"residual": 2, "depthwise": 2, "ds_cnn": 0}[network]
    assert {**kernels, _CLONE: 0} == {**_kernels(channels_last), _CLONE: 0}
    assert _cloned_types(contiguous) <= {"CHAR"}
    assert {name for name in kernels if not name.startswith("cortex_m::")} <= {_CLONE}
    assert _input_dim_order(contiguous) == [0, 1, 2, 3]
    assert _output_dim_order(contiguous) in ([0, 1, 2, 3], [0, 1])
    # As torch has it for one channel, whose place makes no difference: [0, 2, 1, 3].
    assert _input_dim_order(channels_last) == ([0, 2, 1, 3] if network == "ds_cnn" else [0, 2, 3, 1])

    inputs = tuple(torch.randn_like(x) for x in _example(network).inputs)
    first, second = (exported.lowered.module()(*inputs) for exported in both)
    assert torch.equal(first, second)
    assert first.std() > 0  # not a constant


def test_the_lowered_program_computes_what_the_model_does() -> None:
    example = _example("residual")
    expected, got = example.model(*example.inputs), _exported("residual").lowered.module()(*example.inputs)
    assert 20 * torch.log10(expected.norm() / (expected - got).norm()) > 20  # dB


def test_every_rank_4_input_and_output_has_a_clone() -> None:
    assert (
        _kernels(exported("CORTEX_M55_INT8", models.two_inputs).get_executorch_program())[_CLONE] == 3
    )  # and one for the output


@pytest.mark.parametrize("io_layout", ["contiguous", "channels_last"])
def test_the_layout_of_the_example_inputs_does_not_matter(io_layout: str) -> None:
    model, inputs = models.conv_net()
    in_channels_last = Example(model, tuple(x.to(memory_format=torch.channels_last) for x in inputs))
    expected = exported("CORTEX_M55_INT8", io_layout=io_layout).get_pte_buffer()
    assert _export(in_channels_last, io_layout=io_layout).get_pte_buffer() == expected


def test_a_model_in_channels_last_gives_the_same_program() -> None:
    model, inputs = models.conv_net()
    in_channels_last = Example(_in_layout(model, torch.channels_last), inputs)
    assert _export(in_channels_last).get_pte_buffer() == exported("CORTEX_M55_INT8").get_pte_buffer()


@pytest.mark.parametrize("io_layout", ["contiguous", "channels_last"])
def test_what_a_model_reshapes_is_brought_into_layout(io_layout: str) -> None:
    """The script feeds this convolution, made for NHWC, with NCHW."""
    example = _example("reshaped")
    program = _export(example, io_layout=io_layout).get_executorch_program()
    assert _kernels(program)[_CLONE] == (2 if io_layout == "contiguous" else 1)  # two with the output's
    assert _kernels(program)["cortex_m::quantized_conv2d"] == 1


@pytest.mark.parametrize("io_layout", ["contiguous", "channels_last"])
def test_a_view_of_what_is_in_channels_last_is_a_copy(io_layout: str) -> None:
    class Viewed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.linear = nn.Conv2d(3, 4, 3), nn.Linear(144, 5)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.linear(self.conv(x).view(x.size(0), -1))
            return y

    session = _export(seeded(Viewed, (1, 3, 8, 8)), io_layout=io_layout)
    assert _kernels(session.get_executorch_program())["cortex_m::quantized_linear"] == 1


def test_methods_are_lowered_each_for_itself() -> None:
    conv, both = models.conv_net(), models.two_inputs()
    methods = {"classify": conv.model, "compare": both.model}
    inputs = {"classify": [conv.inputs], "compare": [both.inputs]}
    program = export(methods, inputs, _recipe()).get_executorch_program()
    assert [plan.name for plan in program.execution_plan] == ["classify", "compare"]
    for index, model in enumerate((models.conv_net, models.two_inputs)):
        alone = exported("CORTEX_M55_INT8", model).get_executorch_program()
        assert _kernels(program, index) == _kernels(alone)


def test_a_recipe_can_be_used_again() -> None:
    recipe, (model, inputs) = _recipe(), models.conv_net()
    for _ in range(2):
        assert export(model, [inputs], recipe).get_pte_buffer() == exported("CORTEX_M55_INT8").get_pte_buffer()


# --- The seed's figures ------------------------------------------------------------------------------------------


@pytest.mark.no_cover
def test_mobilenet_v2() -> None:
    """64 compute kernels, as many of each kind as upstream's own test of torchvision's MobileNetV2 counts."""
    program = exported("CORTEX_M55_INT8", models.mobilenet_v2).get_executorch_program()
    assert _kernels(program) == {
        "cortex_m::quantize_per_tensor": 1,
        "cortex_m::quantized_conv2d": 35,
        "cortex_m::quantized_depthwise_conv2d": 17,
        "cortex_m::quantized_add": 10,
        "cortex_m::quantized_avg_pool2d": 1,
        "cortex_m::quantized_linear": 1,
        "cortex_m::dequantize_per_tensor": 1,
        _CLONE: 1,
    }


# --- What the caller keeps ---------------------------------------------------------------------------------------


class _Counting(nn.Module):
    """Keeps a running mean of its inputs, whatever mode it is in."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.register_buffer("mean", torch.zeros(1, 3, 8, 8))

    def forward(self, x: Tensor) -> Tensor:
        self.mean.mul_(0.9).add_(0.1 * x)
        y: Tensor = self.conv(x - self.mean)
        return y


def _state(module: nn.Module, inputs: tuple[Tensor, ...]) -> list[Any]:
    tensors = [*module.parameters(), *module.buffers(), *inputs]
    facts = [(id(t), t.data_ptr(), t.stride(), t.requires_grad, t._version) for t in tensors]
    modes = [(id(part), type(part), part.training, list(part._forward_pre_hooks)) for part in module.modules()]
    return [facts, modes]


@pytest.mark.parametrize(("network", "io_layout"), [("residual", "channels_last"), ("conv_net", "contiguous")])
def test_the_callers_module_and_tensors_are_left_alone(network: str, io_layout: str) -> None:
    model, inputs = _example(network)
    values = [tensor.clone() for tensor in [*model.parameters(), *model.buffers(), *inputs]]
    before = _state(model, inputs)
    _export(Example(model, inputs), io_layout=io_layout, drop_unused_constants=True)
    assert _state(model, inputs) == before
    after = [*model.parameters(), *model.buffers(), *inputs]
    assert all(torch.equal(was, now) for was, now in zip(values, after, strict=True))


def test_state_is_refused_and_the_callers_buffers_stay() -> None:
    model, inputs = seeded(_Counting, (1, 3, 8, 8))
    assert isinstance(model, _Counting)
    model.mean.zero_()
    with pytest.raises(ModelError, match="keeps state in a buffer"):
        _export(Example(model, inputs))
    assert model.mean.count_nonzero() == 0


# --- drop_unused_constants ---------------------------------------------------------------------------------------


def test_dropping_what_is_unused_makes_ds_cnn_smaller_and_changes_no_output() -> None:
    default, dropped = _exported("ds_cnn"), _exported("ds_cnn", drop_unused_constants=True)
    assert len(dropped.buffer) < 0.8 * len(default.buffer)
    assert _kernels(default.program) == _kernels(dropped.program)
    last = {drop: _exported("ds_cnn", io_layout="channels_last", drop_unused_constants=drop) for drop in (False, True)}
    assert _kernels(last[False].program) - _kernels(last[True].program) == {_CLONE: 1}  # dropout's
    small = dropped.lowered
    inputs = tuple(torch.randn_like(x) for x in _example("ds_cnn").inputs)
    assert torch.equal(default.lowered.module()(*inputs), small.module()(*inputs))
    used = {node.name for node in small.graph.find_nodes(op="placeholder") if node.users}
    assert used == {spec.arg.name for spec in small.graph_signature.input_specs}
    assert small.state_dict.keys() | small.constants.keys() == {
        spec.target for spec in small.graph_signature.input_specs if spec.target is not None
    }


def test_dropping_what_is_unused_leaves_earlier_stages_whole() -> None:
    (x,) = models.conv_net().inputs
    outputs = [
        exported("CORTEX_M55_INT8", drop_unused_constants=drop).get_exported_program().module()(x)
        for drop in (False, True)
    ]
    assert torch.equal(*outputs)


def test_an_input_that_nothing_reads_stays_an_input() -> None:
    class Ignores(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            z: Tensor = self.linear(x)
            return z

    example = seeded(Ignores, (1, 4), (1, 2, 3, 3))
    plan = _export(example, drop_unused_constants=True).get_executorch_program().execution_plan[0]
    assert len(plan.inputs) == 2


# --- What is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", [{"isa": "MVE"}, {"io_layout": "nhcw"}, {"per_channel": True}])
def test_a_bad_option_is_refused_before_any_model_is_seen(option: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"CORTEX_M33_INT8: "):
        _recipe("CORTEX_M33_INT8", **option)


_END = "Change the model there, or accept bigger, slower float kernels with allow_portable_fallback=True."


@pytest.mark.parametrize(
    ("network", "operator", "instead"),
    [
        ("conv1d", "aten.conv1d of conv: not supported, as executorch's Cortex-M quantizer has no pattern for "
         "aten.conv1d.default", " (cortex-m55 takes nn.Conv2d(6, 8, (1, 3))(x) "
         "[over height 1] in the place of nn.Conv1d(6, 8, 3)(x))"),
        ("lstm", "aten.lstm.input of lstm: not supported, as executorch's Cortex-M quantizer has no pattern for "
         "aten.lstm.input", ""),
    ],
)  # fmt: skip
def test_what_cmsis_nn_does_not_have_is_named(network: str, operator: str, instead: str) -> None:
    with pytest.raises(LoweringError) as caught:
        _export(_example(network))
    assert str(caught.value) == (
        "CORTEX_M55_INT8: method 'forward' has 1 operator(s) on float portable kernels instead of CMSIS-NN's. "
        f"{operator}{instead}. {_END}"
    )


def test_allowed_fallback_is_a_warning_with_the_same_words() -> None:
    with pytest.warns(UserWarning, match=r"^CORTEX_M55_INT8: .* aten\.conv1d of conv: not supported"):
        program = _export(_example("conv1d"), allow_portable_fallback=True).get_executorch_program()
    assert _kernels(program)["aten::convolution"] == 1


def test_nothing_is_warned_of_without_reason() -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*portable kernels")
        _export(models.conv_net(), allow_portable_fallback=True)


def test_a_use_that_the_quantizer_refuses_is_told_with_its_words() -> None:
    example = seeded(lambda: nn.Sequential(nn.ConvTranspose2d(4, 4, 3, groups=2)), (1, 4, 6, 6))
    with pytest.raises(LoweringError, match=(
        r"aten\.conv_transpose2d\.input of 0: not supported, as executorch's Cortex-M quantizer refuses this use of it "
        r"\('Tried annotating unsupported configuration of operators'\)\."
    )):  # fmt: skip
        _export(example)


def test_a_convolution_without_a_batch_dimension_is_told_what_it_lacks() -> None:
    example = seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 3)), (3, 6, 6))
    with pytest.raises(LoweringError, match=r"aten\.conv2d of 0: not supported without a batch dimension"):
        _export(example)


def test_what_upstreams_passes_can_not_lower_is_told_in_their_words() -> None:
    class LinearOfInputs(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return nn.functional.linear(x, y)

    with pytest.raises(LoweringError) as caught:
        _export(seeded(LinearOfInputs, (3, 8), (2, 8)))
    assert str(caught.value).startswith(
        "CORTEX_M55_INT8: executorch's Cortex-M passes fail on method 'forward', with NotImplementedError: "
        "cortex_m::quantized_linear assumes symmetric weight quantization"
    )


def _quantized_by_hand(example: Example, quantized: Any, declared: Any) -> ExportedProgram:
    """A program as upstream's quantizer makes it: captured in one memory format, exported in another."""
    model = _in_layout(example.model, quantized)
    inputs = [tuple(x.to(memory_format=layout) for x in example.inputs) for layout in (quantized, declared)]
    captured = torch.export.export(model, inputs[0], strict=True).module(check_guards=False)
    prepared = prepare_pt2e(captured, CortexMQuantizer())
    prepared(*inputs[0])
    return torch.export.export(convert_pt2e(prepared), inputs[1], strict=True)


def test_a_wrong_layout_is_told_apart_from_what_is_not_supported() -> None:
    nchw = torch.contiguous_format
    program = _quantized_by_hand(models.conv_net(), nchw, nchw)
    with pytest.raises(LoweringError) as caught:
        export(program, export_recipe=_recipe())
    assert str(caught.value) == (
        "CORTEX_M55_INT8: method 'forward' has 1 operator(s) on float portable kernels instead of CMSIS-NN's. "
        "aten.convolution of conv: not quantized, probably for its layout, (0, 1, 2, 3) instead of channels_last (the "
        "recipe sets it where it is given the nn.Module). "
        f"{_END}"
    )


def test_a_program_that_would_feed_nchw_to_nhwc_kernels_is_refused_or_mended() -> None:
    program = _quantized_by_hand(models.conv_net(), torch.channels_last, torch.contiguous_format)
    with pytest.raises(LoweringError, match=r"would read 'cortex_m_quantize_per_tensor_default', which lies in memory"):
        export(program, export_recipe=_recipe(cures=False))
    assert _kernels(export(program, export_recipe=_recipe()).get_executorch_program())[_CLONE] == 1


def test_a_program_whose_inputs_are_not_as_promised_is_refused() -> None:
    program = _quantized_by_hand(models.conv_net(), torch.channels_last, torch.channels_last)
    with pytest.raises(ModelError, match=r"input 'x' of method 'forward' is not contiguous \(NCHW\), as io_layout="):
        export(program, export_recipe=_recipe())
    session = export(program, export_recipe=_recipe(io_layout="channels_last"))
    assert session.get_pte_buffer() == exported("CORTEX_M55_INT8", io_layout="channels_last").get_pte_buffer()


def test_dynamic_shapes_are_refused() -> None:
    model, inputs = tiny_models.residual()
    inputs = (torch.cat([*inputs, *inputs]),)
    shapes = {"forward": ({0: torch.export.Dim("batch", min=1, max=4)},)}
    with pytest.raises(ModelError, match=r"input 'x' of method 'forward' has a dynamic size in dimension 0"):
        export(model, [inputs], _recipe(), dynamic_shapes=shapes)
