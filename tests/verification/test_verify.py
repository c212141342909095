"""`verify`: what it catches, what it says, what it refuses."""

from __future__ import annotations

import copy
import functools
import json
import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from executorch.export import ExportRecipe, ExportSession, StageType
from executorch.export import export as upstream_export
from torch import Tensor, nn
from tosa.TosaGraph import TosaGraph

from arm_recipes import (
    ArmRecipeError,
    ArmRecipeType,
    CalibrationError,
    LoweringError,
    ModelError,
    SimulationError,
    export,
    load_calibration,
    verify,
)
from arm_recipes.lowering.snapshot import Snapshot, snapshots
from arm_recipes.upstream.delegates import recompiled
from arm_recipes.verification.result import VerifyReport
from tests import models, tiny_models


def _samples(example: models.Example, count: int = 4) -> list[tuple[Tensor, ...]]:
    torch.manual_seed(1)
    return [tuple(torch.randn(value.shape) for value in example.inputs) for _ in range(count)]


def _exported(name: str, example: models.Example, **options: Any) -> ExportSession:
    recipe = ExportRecipe.get_recipe(ArmRecipeType[name], **options)
    return upstream_export(example.model, _samples(example), recipe)


@functools.cache
def _conv(name: str = "TOSA_INT8") -> ExportSession:
    """For tests that leave the session as it is."""
    return _exported(name, models.conv_net())


_DATA = _samples(models.conv_net())


# --- Broken programs ---------------------------------------------------------------------------------------------


def _program(session: ExportSession) -> Snapshot:
    return snapshots(session)["forward"]


def _with_changed_constant(graph: bytes, name: str) -> bytes:
    """The TOSA flatbuffer with the first byte of a constant's data moved by half of its range."""
    block = TosaGraph.GetRootAs(graph, 0).Regions(0).Blocks(0)
    tensors = {block.Tensors(index).Name().decode(): block.Tensors(index) for index in range(block.TensorsLength())}
    table = tensors[name]._tab
    start = table.Vector(table.Offset(4 + 2 * 3))
    changed = bytearray(graph)
    changed[start] ^= 0x80
    return bytes(changed)


def test_a_weight_changed_in_a_delegate_is_caught_and_its_layer_named() -> None:
    example = tiny_models.residual()
    session = _exported("TOSA_INT8", example)
    whole = verify(session, _samples(example), per_layer=True, min_sqnr=35)
    assert whole.failed_gates == () and whole.first_divergence is None

    (delegate,) = _program(session).modules.values()
    delegate._processed_bytes = _with_changed_constant(
        delegate.processed_bytes, "aten_convolution_default_1_weight_ohwi"
    )
    broken = verify(session, _samples(example), per_layer=True, min_sqnr=35)
    assert [gate.name for gate in broken.failed_gates] == ["same_graph", "same_function", "min_sqnr"]
    assert broken.failed_gates[1].figure == 1 and not broken.check.right
    assert broken.failed_gates[2].figure < 30
    assert broken.first_divergence is not None
    assert broken.first_divergence.layer == "aten.conv2d of body.0"
    assert "First layer that is wrong: aten.conv2d of body.0." in str(broken)
    assert not broken.integers[0].exact


@pytest.mark.parametrize(
    ("name", "layer", "fused"),
    [
        ("ETHOSU_U55_INT8", "aten.conv2d of body.0", ()),
        ("ETHOSU_U85_A16W8", "aten.add.Tensor", ("aten.conv2d of body.0",)),
    ],
)
def test_a_weight_changed_before_vela_is_caught(name: str, layer: str, fused: tuple[str, ...]) -> None:
    """First the delegate was not made of the graph that stands beside it, then both are broken."""
    example = tiny_models.residual()
    session = _exported(name, example)
    (delegate,) = _program(session).modules.values()
    state = delegate.original_module.state_dict
    weight = max((key for key in state if state[key].dtype == torch.int8), key=lambda key: state[key].numel())
    state[weight] = state[weight].clone()
    state[weight].view(-1)[0] ^= -128
    report = verify(session, _samples(example), per_layer=True)
    assert [gate.name for gate in report.failed_gates] == ["same_graph", "same_function"]
    assert [delegate.reproduced for delegate in report.delegates] == [False]

    # Nor is it caught by its bytes alone.
    delegate._processed_bytes = recompiled(delegate).payload
    report = verify(session, _samples(example), per_layer=True)
    assert [gate.name for gate in report.failed_gates] == ["same_function"]
    assert f"Gate {report.failed_gates[0]}" in report.text(200)
    assert report.first_divergence is not None
    assert (report.first_divergence.layer, report.first_divergence.fused) == (layer, fused)


@pytest.mark.no_cover
def test_a_payload_that_is_not_the_graphs_is_caught() -> None:
    session = _exported("VGF_INT8", models.conv_net())
    (delegate,) = _program(session).modules.values()
    delegate._processed_bytes = delegate.processed_bytes[:-1] + b"?"
    report = verify(session, _DATA)
    assert [str(gate) for gate in report.failed_gates] == [
        "FAILED: lowered_module_0: compiling it again gives its own bytes (1: yes, 0: no), at least 1: 0"
    ]


def test_a_weight_changed_for_cortex_m_is_caught_and_its_layer_named() -> None:
    example = tiny_models.residual()
    session = _exported("CORTEX_M55_INT8", example)
    tensors: Any = _program(session).tensors
    node = [node for node in _program(session).graph.nodes if "quantized_conv2d" in str(node.target)][1]
    name = _program(session).signature.inputs_to_buffers.get(node.args[1].name, node.args[1].name)
    name = _program(session).signature.inputs_to_parameters.get(node.args[1].name, name)
    tensors[name] = tensors[name].clone()
    tensors[name].view(-1)[0] ^= -128
    report = verify(session, _samples(example), per_layer=True)
    assert [gate.name for gate in report.failed_gates] == ["same_function"]
    assert report.first_divergence is not None
    assert report.first_divergence.layer == "aten.conv2d of body.0"


def test_a_simulator_that_dies_is_an_error_and_the_next_run_works() -> None:
    session = _exported("TOSA_INT8", models.conv_net())
    (delegate,) = _program(session).modules.values()
    whole = delegate.processed_bytes
    delegate._processed_bytes = whole[:200] + bytes(200) + whole[400:]
    with pytest.raises(SimulationError, match="TOSA reference model "):
        verify(session, _DATA)
    delegate._processed_bytes = whole
    assert verify(session, _DATA, min_sqnr=25).failed_gates == ()


def test_a_simulator_that_takes_too_long_is_stopped() -> None:
    with pytest.raises(SimulationError) as caught:
        verify(_conv(), _DATA, timeout=1e-5)
    assert str(caught.value) == (
        "TOSA reference model did not answer within 1e-05 s, and was stopped. Give verify a longer timeout=, or a "
        "smaller model."
    )
    assert verify(_conv(), _DATA).samples == 4


def test_an_interrupted_run_leaves_no_answer_to_the_next() -> None:
    """The interrupt goes to this process alone, as it does in a notebook."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    example = models.seeded(lambda: nn.Conv2d(32, 32, 3), (1, 32, 64, 64))
    session = _exported("TOSA_FP", example)
    first, second = _samples(example, 2)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            while True:
                verify(session, [first] * 10)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert verify(session, [second], min_sqnr=80).failed_gates == ()


# --- What it says ------------------------------------------------------------------------------------------------


def test_the_report_of_a_quantized_program() -> None:
    report = verify(_conv("ETHOSU_U55_INT8"), _DATA)
    assert report.stages == ("float", "quantized", "simulated")
    pairs = [(one.reference, one.candidate) for one in report.comparisons]
    assert pairs == [("float", "quantized"), ("float", "simulated"), ("quantized", "simulated")]
    worst = report.comparison("float", "simulated")
    single = verify(_conv("ETHOSU_U55_INT8"), [_DATA[worst.worst_sample]]).comparison("float", "simulated")
    assert single.metrics["sqnr_db"] == pytest.approx(worst.worst_sqnr_db)
    assert worst.worst_sqnr_db <= worst.metrics["sqnr_db"]
    assert "It proves the graph, and not the code that Vela made of it" in report.proves
    assert report.accuracy is None and report.layers == ()
    with pytest.raises(KeyError):
        report.comparison("simulated", "float")


def test_a_float_program_has_no_quantized_stage() -> None:
    report = verify(_conv("TOSA_FP"), _DATA, per_layer=True)
    assert report.stages == ("float", "simulated")
    assert report.integers == ()
    assert report.first_divergence is None
    assert report.layers[0].layer == "aten.conv2d of conv"
    assert all(layer.elements for layer in report.layers if "conv2d" in layer.layer or "linear" in layer.layer)


def test_json_is_valid_and_the_same_each_time() -> None:
    texts = [verify(_conv(), _DATA, per_layer=True, min_sqnr=25).to_json() for _ in range(2)]
    assert texts[0] == texts[1]
    content = json.loads(texts[0], parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert content["schema_version"] == VerifyReport.schema_version
    assert content["recipe"] == "TOSA_INT8"
    assert content["failed_gates"] == []
    assert set(content["comparisons"][0]["metrics"]) == {"sqnr_db", "cosine", "max_abs", "mean_abs", "rmse"}


def test_the_table_fits_its_width() -> None:
    text = verify(_conv(), _DATA, per_layer=True).text(100)
    assert max(map(len, text.splitlines())) <= 100
    assert "float / simulated" in text and "aten.conv2d of conv" in text


@pytest.mark.no_cover
def test_the_worst_layer_is_one_that_was_made_worse() -> None:
    """A layer that 8 bits don't suit: one channel is a thousand times as large as the others."""
    torch.manual_seed(0)
    layers = [nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 4)]
    with torch.no_grad():
        layers[1].weight[0] *= 1000
        layers[2].weight[:, 0] = 0
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2]).eval()
    example = models.Example(model, (torch.randn(1, 16),))
    report = verify(_exported("TOSA_INT8", example), _samples(example), per_layer=True)
    # Its own error is small beside its large channel; the last layer reads the others, of which nothing is left.
    assert report.worst_layers[0].layer == "aten.linear of 4"


def test_integer_inputs_and_outputs() -> None:
    example = models.two_inputs()
    session = _exported("TOSA_INT8", example, io_dtype="int8", io_layout="channels_last")
    report = verify(session, _samples(example), min_sqnr=25)
    assert report.failed_gates == ()
    assert report.integers[0].largest <= 1


# --- Labels and gates --------------------------------------------------------------------------------------------


def _labels() -> list[int]:
    model = models.conv_net().model
    with torch.no_grad():
        return [int(model(*inputs).argmax()) for inputs in _DATA]


@pytest.mark.parametrize("form", ["pairs", "batch", "loader", "generator", "function", "dicts", "labels"])
def test_labels_in_every_form(form: str) -> None:
    labels, images = _labels(), torch.cat([x for (x,) in _DATA])
    pairs = [(x, label) for (x,), label in zip(_DATA, labels, strict=True)]
    data: dict[str, Any] = {
        "pairs": pairs,
        "batch": (images, torch.tensor(labels)),
        "loader": [(images[:3], torch.tensor(labels[:3])), (images[3:], torch.tensor(labels[3:]))],
        "generator": (pair for pair in pairs),
        "function": lambda: iter(pairs),
        "dicts": [{"x": x, "label": label} for x, label in pairs],
        "labels": _DATA,
    }
    report = verify(_conv(), data[form], labels=labels if form == "labels" else None, max_accuracy_drop=100)
    assert report.accuracy is not None
    assert report.accuracy.labelled == report.samples == 4
    assert report.accuracy.figures["float"] == {"top1": 1.0}  # of four classes
    assert report.failed_gates == ()


def test_accuracy_below_the_limit_fails_its_gate() -> None:
    wrong = nn.Sequential(models.conv_net().model, _Rotated())
    report = verify(_conv(), _DATA, labels=_labels(), float_model=models.conv_net().model, max_accuracy_drop=1.0)
    assert report.failed_gates == ()
    labels = [(label + 1) % 4 for label in _labels()]
    report = verify(_conv(), _DATA, labels=labels, float_model=wrong, max_accuracy_drop=1.0)
    (gate,) = report.failed_gates
    assert (gate.name, gate.limit) == ("max_accuracy_drop", 1.0)
    assert gate.figure > 50


class _Rotated(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.roll(1, -1)


def test_a_metric_of_the_callers() -> None:
    def margin(outputs: list[Tensor], label: int) -> float:
        return float(outputs[0][0, label] - outputs[0].mean())

    report = verify(_conv(), _DATA, labels=_labels(), metric=margin, max_accuracy_drop=0.5)
    assert report.accuracy is not None
    assert set(report.accuracy.figures["simulated"]) == {"margin"}
    assert report.failed_gates == ()


# --- Any session -------------------------------------------------------------------------------------------------


@pytest.mark.no_cover
def test_a_model_and_a_recipe() -> None:
    example = models.conv_net()
    report = verify(example.model, ArmRecipeType.TOSA_INT8, _DATA, per_channel=False, min_sqnr=25)
    assert report.failed_gates == () and report.stages == ("float", "quantized", "simulated")
    report = verify(example.model, ExportRecipe.get_recipe(ArmRecipeType.TOSA_FP), _DATA, min_sqnr=80)
    assert report.failed_gates == () and report.stages == ("float", "simulated")


@pytest.mark.no_cover
def test_a_pt2_file_and_a_recipe(tmp_path: Path) -> None:
    example = models.conv_net()
    torch.export.save(torch.export.export(example.model, example.inputs, strict=True), tmp_path / "net.pt2")
    report = verify(tmp_path / "net.pt2", ArmRecipeType.TOSA_INT8, _DATA, min_sqnr=25)
    assert report.failed_gates == () and report.stages == ("float", "quantized", "simulated")
    with pytest.raises(ModelError, match=r"no\.pt2': no such file"):
        verify(str(tmp_path / "no.pt2"), ArmRecipeType.TOSA_INT8, _DATA)


@pytest.mark.no_cover
def test_what_can_be_gone_through_once_serves_for_calibration_and_verification() -> None:
    example = models.conv_net()
    once = verify(example.model, ArmRecipeType.TOSA_INT8, iter(_DATA), example_inputs=example.inputs)
    again = verify(example.model, ArmRecipeType.TOSA_INT8, _DATA, example_inputs=example.inputs)
    assert once.samples == 4
    assert once.comparisons == again.comparisons
    assert once.notes == again.notes
    assert "Calibrated on the very samples that it is verified on" in once.notes[0]
    other = verify(example.model, ArmRecipeType.TOSA_INT8, iter(_DATA), calibration=_DATA[:1])
    assert other.notes == () and other.comparisons != once.comparisons


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ([torch.zeros(1, 3, 4, 4)], {}, r"the model takes \(1, 3, 8, 8\)"),
        (_DATA, {"labels": [0]}, "1 labels were given for 4 samples"),
        (_DATA, {"max_accuracy_drop": 1}, "max_accuracy_drop=1 needs labels"),
    ],
)
def test_data_that_is_wrong_shows_before_the_export(data: Any, options: dict[str, Any], message: str) -> None:
    example = models.conv_net()
    refused = nn.Sequential(example.model, _Untraceable())
    with pytest.raises(ArmRecipeError, match=message):
        verify(refused, ArmRecipeType.TOSA_FP, data, example_inputs=example.inputs, **options)


class _Untraceable(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1 if x.sum() > 0 else x


@pytest.mark.no_cover
def test_programs_of_the_front_door() -> None:
    example = models.conv_net()
    program = torch.export.export(example.model, example.inputs, strict=True)
    report = verify(export(program, ArmRecipeType.TOSA_INT8, calibration=_DATA), _DATA, min_sqnr=25, per_layer=True)
    assert report.failed_gates == () and report.stages == ("float", "quantized", "simulated")


@pytest.mark.no_cover
def test_a_program_that_was_quantized_before() -> None:
    program = _conv().get_exported_program()
    session = upstream_export(program, export_recipe=ExportRecipe.get_recipe(ArmRecipeType.TOSA_INT8))
    report = verify(session, _DATA)
    assert report.stages == ("quantized", "simulated")
    assert "Give float_model= to compare with it." in report.notes[0]
    report = verify(session, _DATA, float_model=models.conv_net().model)
    assert report.stages == ("float", "quantized", "simulated")
    (note,) = verify(program, ArmRecipeType.TOSA_INT8, _DATA).notes  # and none of a calibration
    assert "Give float_model=" in note


@pytest.mark.no_cover
def test_the_model_stays_as_it_is() -> None:
    example = models.conv_net()
    session = _exported("TOSA_INT8", example)
    before = copy.deepcopy(example.model.state_dict())
    example.model.train()
    report = verify(session, _DATA, min_sqnr=25)
    assert report.failed_gates == ()
    assert all(module.training for module in example.model.modules())
    assert all(torch.equal(value, before[name]) for name, value in example.model.state_dict().items())


@pytest.mark.no_cover
def test_the_kept_program_goes_with_its_session() -> None:
    import gc
    import weakref

    session = _exported("TOSA_FP", models.conv_net())
    program = weakref.ref(_program(session))
    del session
    gc.collect()
    assert program() is None


# --- What is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((), {}, ArmRecipeError, r"verify\(session, data\) takes one positional argument after the session and got 0"),
        ((_DATA,), {"macs": 128}, ArmRecipeError, "and no macs. What was exported has its recipe and options"),
        ((_DATA,), {"method": "other"}, ModelError, "method='other': the program has the methods 'forward'"),
        ((_DATA,), {"max_accuracy_drop": 1}, ArmRecipeError, "max_accuracy_drop=1 needs labels, and the data has none"),
        ((_DATA,), {"labels": [0, 1]}, CalibrationError, "2 labels were given for 4 samples"),
        ((lambda: _DATA,), {"labels": [0]}, CalibrationError, "There are more samples than labels, which end after 1"),
        ((lambda: _DATA,), {"labels": [0] * 5}, CalibrationError, "5 labels were given for 4 samples"),
        ((_DATA,), {"labels": [0] * 5}, CalibrationError, "5 labels were given for 4 samples"),
        ((_DATA,), {"labels": [0.5] * 4}, CalibrationError, "The labels are torch.float32 of shape"),
        (
            (_DATA,),
            {"labels": [7] * 4},
            CalibrationError,
            "Label 7 of sample 0 names no class of output 0",
        ),
        (([(_DATA[0][0], 1), _DATA[1]],), {}, CalibrationError, "Item 1 of the data has no label"),
        (([(_DATA[0][0], 1)],), {"labels": [1]}, CalibrationError, "labels= is given, and the data holds labels too"),
        (([torch.zeros(1, 3, 4, 4)],), {}, CalibrationError, r"the model takes \(1, 3, 8, 8\)"),
        ((_DATA,), {"simulator": "vulkan"}, ArmRecipeError, "runs .vgf files, and TOSA_INT8 makes none"),
        ((_DATA,), {"simulator": "renode"}, ArmRecipeError, "simulator='renode' is no simulator. Allowed: 'auto'"),
    ],
)
def test_misuse(arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        verify(_conv(), *arguments, **options)


class _State(nn.Module):
    """Keeps its last output."""

    last: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.register_buffer("last", torch.zeros(1, 4, 6, 6))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x) + self.last
        self.last.copy_(y)
        return y


class _Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        y: Tensor = torch.cond(x.sum() > 0, lambda z: torch.sin(z) + 1, lambda z: torch.cos(z) - 1, (x,))
        return y


_STATE = "keeps state between calls, or writes to its inputs, so that samples are not independent"


def test_programs_that_no_simulator_runs() -> None:
    example = models.seeded(_State, (1, 3, 8, 8))  # which Cortex-M refuses at export
    with pytest.raises(SimulationError, match=_STATE):
        verify(_exported("TOSA_INT8", example), _samples(example))


def test_branches_outside_of_delegates_are_run() -> None:
    example = models.seeded(_Branches, (1, 3, 8, 8))
    data = [*_samples(example), *((-value,) for (value,) in _samples(example))]  # of which some take the other branch
    report = verify(_exported("TOSA_INT8", example), data, min_sqnr=25)
    assert report.failed_gates == ()
    assert report.check.checked


def test_branches_whose_bodies_would_be_handed_integers_are_refused() -> None:
    example = models.seeded(_Branches, (1, 3, 8, 8))
    with pytest.raises(LoweringError, match=r"a body of cond takes torch\.float32 and would be handed torch\.int8"):
        _exported("CORTEX_M55_INT8", example)


def test_a_session_without_a_kept_program_is_refused() -> None:
    recipe = ExportRecipe.get_recipe(ArmRecipeType.TOSA_FP)
    recipe.pipeline_stages = [StageType.TORCH_EXPORT, StageType.TO_EDGE_TRANSFORM_AND_LOWER, StageType.TO_EXECUTORCH]
    example = models.conv_net()
    session = upstream_export(example.model, [example.inputs], recipe)
    with pytest.raises(ModelError, match="The session keeps no lowered program of an Arm recipe"):
        verify(session, _DATA)


def test_calibration_data_serves_as_it_is() -> None:
    data = load_calibration(torch.cat([x for (x,) in _DATA]))
    report = verify(_conv(), data)
    assert report.samples == 4
    assert math.isfinite(report.comparison("float", "simulated").metrics["sqnr_db"])
