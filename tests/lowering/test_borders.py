"""The borders of delegates: held against the payload's tables, mended where that is known, refused where it is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from executorch.exir.lowered_backend_module import LoweredBackendModule
from executorch.export import ExportRecipe, ExportSession, StageType
from executorch.export import export as upstream_export

from arm_recipes import ArmRecipeType, LoweringError, export, verify
from arm_recipes.lowering.borders import DelegateCall, delegate_calls, mismatches
from arm_recipes.lowering.changes import changes
from arm_recipes.lowering.records import BorderCheck
from arm_recipes.lowering.snapshot import snapshots
from arm_recipes.session.export import vela_estimates
from arm_recipes.tools.border_tables import Tables
from arm_recipes.tools.vela.payload import tables
from arm_recipes.upstream.delegates import border_tables, recompiled
from tests import bordering_models as networks
from tests.exports import exported, random_samples
from tests.models import Example

pytestmark = pytest.mark.usefixtures("one_sample_is_enough")

U55, U85 = "ETHOSU_U55_INT8", "ETHOSU_U85_INT8"


def _session(recipe: str, example: Example, **options: Any) -> ExportSession:
    """Of executorch's own export, to which the recipe alone is given."""
    return upstream_export(example.model, [example.inputs], ExportRecipe.get_recipe(ArmRecipeType[recipe], **options))


def _cures(session: ExportSession) -> list[str]:
    return [change.id for told in changes(session).values() for change in told]


def _is_exact(session: ExportSession, samples: object) -> bool:
    """Whether the program, simulated, gives what the quantized module does."""
    report = verify(session, samples)
    against = [each for each in report.comparisons if (each.reference, each.candidate) == ("quantized", "simulated")]
    return report.failed_gates == () and bool(against) and all(each.metrics["max_abs"] == 0 for each in against)


def _vela_tables(session: ExportSession) -> list[Tables]:
    """Of the payloads in the .pte."""
    program = session.get_executorch_program()
    payloads = [bytes(blob.data) for blob in program.backend_delegate_data]
    return [tables(payload) for payload in payloads if payload.startswith(b"vela_bin_stream")]


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        *((recipe, name) for recipe in (U55, U85) for name in networks.COMMON),
        *((U85, name) for name in networks.OTHERS),
    ],
)
def test_outputs_that_vela_loses_are_copied(recipe: str, name: str) -> None:
    example = networks.lost(name)
    session = _session(recipe, example)
    outputs = example.model(*example.inputs)
    (table,) = _vela_tables(session)
    # In the delegate's order, which is that of the operators.
    assert sorted(entry.elements for entry in table.outputs) == sorted(output.numel() for output in outputs)
    assert snapshots(session)["forward"].borders == BorderCheck(1, 1, len(outputs))
    assert set(_cures(session)) == {"delegate-output"}
    nodes = snapshots(session)["forward"].graph.nodes
    operators = {str(node.target) for node in nodes if node.op == "call_function"}
    assert all("quantize" in name or "delegate" in name or "getitem" in name for name in operators)


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("recipe", "model"),
    [
        (U55, networks.map_and_head),
        ("ETHOSU_U65_INT8", networks.permuted),
        (U85, networks.rank_5),
    ],
)
def test_what_is_copied_is_the_same(recipe: str, model: Callable[[], Example]) -> None:
    session = exported(recipe, model, samples=2)
    assert _is_exact(session, random_samples(model(), 2))


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("recipe", "model"),
    [
        (U55, networks.right_outputs),
        (U85, networks.right_inputs),
        ("ETHOSU_U85_A16W8", networks.right_inputs),
        ("VGF_FP", networks.right_outputs),
        ("TOSA_INT8", networks.right_inputs),
    ],
)
def test_right_programs_stay_as_they_are(recipe: str, model: Callable[[], Example]) -> None:
    session = exported(recipe, model)
    assert _cures(session) == []
    borders = snapshots(session)["forward"].borders
    assert borders is not None
    assert borders.outputs >= 3
    if recipe in (U55, "VGF_FP"):
        assert session.get_pte_buffer() == exported(recipe, model, cures=False).get_pte_buffer()


@pytest.mark.no_cover
def test_vgf_and_tosa_lose_no_output() -> None:
    for recipe in ("VGF_INT8", "VGF_FP", "TOSA_INT8"):
        session = exported(recipe, networks.map_and_head)
        assert (snapshots(session)["forward"].borders, _cures(session)) == (BorderCheck(1, 1, 2), [])


@pytest.mark.parametrize(
    ("recipe", "model"),
    [
        (U55, networks.shape_alone),
        (U85, networks.overwritten),
        ("VGF_INT8", networks.shape_alone),
        ("VGF_FP", networks.overwritten),
        ("TOSA_FP", networks.shape_alone),
    ],
)
def test_an_input_whose_shape_alone_is_used_is_not_handed_over(recipe: str, model: Callable[[], Example]) -> None:
    session = exported(recipe, model, samples=2)
    assert _cures(session) == ["delegate-input"]
    assert snapshots(session)["forward"].borders == BorderCheck(1, 1, 1)
    plan = session.get_executorch_program().execution_plan[0]
    assert len(plan.inputs) == 2  # the program's signature stays
    if not recipe.startswith("VGF"):
        assert verify(session, random_samples(model(), 2)).failed_gates == ()


def test_an_exit_that_is_declared_float_is_an_integer() -> None:
    session = exported(U55, networks.masked_attention_and_values, samples=2)
    assert "delegate-exit" in _cures(session)
    assert snapshots(session)["forward"].borders == BorderCheck(2, 3, 3)
    graph = snapshots(session)["forward"].graph
    first, second = (node for node in graph.nodes if "delegate" in str(node.target))
    assert {value.dtype for value in first.meta["val"]} == {torch.int8}
    handed = [node for node in second.all_input_nodes if node.args[:1] == (first,)]
    assert handed  # with nothing quantized in between
    output: Any = graph.output_node().args[0]  # which reads real numbers
    assert [node.meta["val"].dtype for node in output] == [torch.float32, torch.float32]
    assert _is_exact(session, random_samples(networks.masked_attention_and_values(), 2))


def test_without_cures_it_is_refused() -> None:
    for model, words in (
        (
            networks.map_and_head,
            r"the outputs of delegate lowered_module_0 in method 'forward' \(aten.relu, aten.convolution of second\) "
            r"would be wrong on a device: the program has 2 \(int8 \[1, 8, 8, 8\], 512 bytes; int8 \[1, 4, 8, 8\], 256 "
            r"bytes\), Vela's table 1 \(.*256 bytes\)",
        ),
        (networks.shape_alone, r"the inputs of delegate .*the program has 2 .*Vela's table 1"),
        (
            networks.masked_attention,
            r"output 0 of delegate .*float32 \[1, 8, 16\], 512 bytes, Vela's table .*128 bytes",
        ),
    ):
        with pytest.raises(LoweringError, match=words):
            _session(U55, model(), cures=False)


@pytest.mark.no_cover
def test_several_methods_and_integer_borders() -> None:
    first, second = networks.map_and_head(), networks.permuted()
    session = export(
        {"one": first.model, "two": second.model},
        ArmRecipeType.ETHOSU_U85_INT8,
        {"one": [first.inputs], "two": [second.inputs]},
        io_dtype="int8",
    )
    assert {method: kept.borders for method, kept in snapshots(session).items()} == dict.fromkeys(
        ("one", "two"), BorderCheck(1, 1, 2)
    )
    assert [sorted(told) for told in (changes(session), snapshots(session))] == [["one", "two"]] * 2


@pytest.mark.no_cover
def test_channels_last_loses_nothing() -> None:
    session = exported(U85, networks.map_and_head, io_layout="channels_last")
    assert (snapshots(session)["forward"].borders, _cures(session)) == (BorderCheck(1, 1, 2), [])


def test_estimates_are_those_of_the_mended_delegate() -> None:
    session = exported(U55, networks.map_and_head, samples=2)
    (estimate,) = vela_estimates(session)
    (module,) = (each for each in snapshots(session)["forward"].modules.values())
    assert int(float(recompiled(module).compiled.summary["cycles_total"])) == estimate.cycles


# Faults that are put in


def _call(session: ExportSession) -> tuple[DelegateCall, Tables]:
    manager = session.get_stage_artifacts()[StageType.EDGE_PROGRAM_MANAGER_TRANSFORM].data
    (call,) = delegate_calls(manager.exported_program("forward").graph_module)
    found = border_tables(call.module)
    assert found is not None
    return call, found


@pytest.fixture(params=[U55, "VGF_INT8", "TOSA_INT8"])
def border(request: pytest.FixtureRequest) -> tuple[DelegateCall, Tables]:
    call, found = _call(exported(request.param, networks.map_and_head))
    assert mismatches(call, found) == []
    return call, found


def test_each_fault_is_found(border: tuple[DelegateCall, Tables]) -> None:
    call, right = border
    (entry,), (first, second) = right.inputs, right.outputs
    assert entry is not None
    wider = dataclasses.replace(first, element_bytes=4)
    longer = dataclasses.replace(first, shape=(*first.shape[:-1], 9))
    transposed = dataclasses.replace(entry, shape=(1, 8, 8, 3))
    faults = {
        "an output dropped": dataclasses.replace(right, outputs=(second,)),
        "another output": dataclasses.replace(right, outputs=(first, second, second)),
        "outputs swapped": dataclasses.replace(right, outputs=(second, first)),
        "no output": dataclasses.replace(right, outputs=()),
        "an output of wider elements": dataclasses.replace(right, outputs=(wider, second)),
        "an output with more elements": dataclasses.replace(right, outputs=(longer, second)),
        "an input dropped": dataclasses.replace(right, inputs=()),
        "another input": dataclasses.replace(right, inputs=(entry, entry)),
        "an input transposed": dataclasses.replace(right, inputs=(transposed,)),
    }
    missed = [name for name, fault in faults.items() if not mismatches(call, fault)]
    assert missed == []


def test_each_fault_of_the_program_is_found(border: tuple[DelegateCall, Tables]) -> None:
    call, right = border
    (value,), (first, second) = call.inputs, call.outputs
    faults = {
        "float output": dataclasses.replace(call, outputs=(first.to(torch.float32), second)),
        "wider output": dataclasses.replace(call, outputs=(first.to(torch.int16), second)),
        "64-bit input": dataclasses.replace(call, inputs=(value.to(torch.int64),)),
        "a number": dataclasses.replace(call, inputs=(3,)),
        "channels last": dataclasses.replace(call, inputs=(value.to(memory_format=torch.channels_last),)),
        "outputs swapped": dataclasses.replace(call, outputs=(second, first)),
    }
    missed = [name for name, fault in faults.items() if not mismatches(fault, right)]
    assert missed == []


def test_an_input_that_a_vgf_file_does_not_read_may_be_there() -> None:
    call, right = _call(exported("VGF_INT8", networks.map_and_head))
    assert mismatches(call, dataclasses.replace(right, inputs=(None,))) == []


def test_what_is_unsigned_at_the_border_is_int8_inside() -> None:
    call, right = _call(exported(U55, networks.map_and_head))
    assert mismatches(dataclasses.replace(call, inputs=(call.inputs[0].to(torch.uint8),)), right) == []


def test_a_payload_that_cannot_be_read_is_refused() -> None:
    from arm_recipes.lowering.borders import check_borders

    session = exported(U55, networks.map_and_head)
    manager = session.get_stage_artifacts()[StageType.EDGE_PROGRAM_MANAGER_TRANSFORM].data
    (call,) = delegate_calls(manager.exported_program("forward").graph_module)
    spoilt = LoweredBackendModule(
        call.module.original_module,
        "EthosUBackend",
        bytes(call.module.processed_bytes)[:-40],
        call.module.compile_specs,
    )
    graph_module = torch.fx.GraphModule({"lowered_module_0": spoilt}, call.node.graph)
    with pytest.raises(LoweringError, match="can't be checked: "):
        check_borders(snapshots(session)["forward"].recipe, "forward", graph_module)
