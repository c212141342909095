"""Cortex-M programs as the .pte has them: in planned memory, call by call, with the session and without."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import executorch.backends.cortex_m.passes  # noqa: F401 - registers the kernels
import pytest
import torch
from executorch.exir.schema import Tensor as Declared
from torch import Tensor, nn

from arm_recipes import ArmRecipeError, ArmRecipeType, ModelError, SimulationError, export, verify
from arm_recipes.lowering.device_kernels import NHWC, Placed
from arm_recipes.lowering.snapshot import snapshots
from arm_recipes.recipes import catalog
from arm_recipes.simulators import edge_program
from arm_recipes.simulators.device_calls import Call, refuse_missing
from arm_recipes.simulators.planned_program import PlannedProgram, from_message, planned_program, run, to_message
from arm_recipes.simulators.simulate import simulate
from tests import device_networks, models
from tests.exports import exported, random_samples
from tests.script import compile_with_script

_ROW = ArmRecipeType.CORTEX_M55_INT8


def _session(name: str) -> Any:
    example = device_networks.example(name)
    return export(example.model, _ROW, random_samples(example, 2), allow_portable_fallback=True)


def _planned(session: Any) -> PlannedProgram:
    program = session.get_executorch_program()
    return planned_program(program, program.execution_plan[0])


@pytest.mark.parametrize(
    "name",
    ["wrong values: cat", "fails: roll", "fails: prelu", "pooling: ceil", "others: several outputs", "others: lstm"],
)
def test_it_gives_what_the_graph_gives(name: str) -> None:
    session = _session(name)
    (inputs,) = random_samples(device_networks.example(name), 1)
    (snapshot,) = snapshots(session).values()
    expected = edge_program.run(edge_program.program_of(snapshot), inputs)
    content, arrays = to_message(_planned(session))
    given = run(from_message(content, arrays), inputs)
    assert len(given) == len(expected)
    assert all(torch.equal(one, other) for one, other in zip(given, expected, strict=True))


def test_what_shares_memory_shares_it() -> None:
    """A plan that puts two live tensors in one place gives wrong numbers here, as it does on the device."""
    session = exported(_ROW.name, models.two_inputs)
    inputs = models.two_inputs().inputs
    program = copy.deepcopy(session.get_executorch_program())
    plan = program.execution_plan[0]
    right = run(planned_program(program, plan), inputs)
    for value in plan.values:
        if isinstance(value.val, Declared) and value.val.allocation_info is not None:
            value.val.allocation_info.memory_offset_low = 0
    wrong = run(planned_program(program, plan), inputs)
    assert not torch.equal(right[0], wrong[0])


def test_a_call_that_a_device_would_refuse_is_refused() -> None:
    session = _session("wrong values: cat")
    program = copy.deepcopy(session.get_executorch_program())
    plan = program.execution_plan[0]
    for value in plan.values:
        if isinstance(value.val, Declared) and value.val.dim_order == [0, 1, 2, 3] and value.val.sizes[1] == 11:
            value.val.dim_order = [0, 2, 3, 1]
    (inputs,) = random_samples(device_networks.example("wrong values: cat"), 1)
    with pytest.raises(SimulationError, match=r"aten::cat\.out fails on the device with 0x12 \(Inv.*\) at arg"):
        run(planned_program(program, plan), inputs)


def test_verify_shows_the_wrong_values_of_a_program_from_elsewhere(tmp_path: Path) -> None:
    factory = "tests.device_networks:example('wrong values: cat')"
    (tmp_path / "model.pte").write_bytes(
        compile_with_script(factory, catalog.BY_NAME["CORTEX_M55_INT8"].target.name, tmp_path, "-q")
    )
    example = device_networks.example("wrong values: cat")
    report = verify(tmp_path / "model.pte", random_samples(example, 2), float_model=example.model, min_sqnr=10)
    assert [gate.name for gate in report.failed_gates] == ["min_sqnr"]
    (note,) = report.notes
    assert re.match(r"aten::cat\.out is handed argument 'tensors\[0\]', of sizes \[1, 6, 8, 8\] in memory order", note)


def test_a_kernel_that_no_device_has_is_told() -> None:
    with pytest.raises(SimulationError, match=r"no kernel aten::hardswish\.out: .* 0x14 \(OperatorMissing\)"):
        refuse_missing("aten::hardswish.out")
    refuse_missing("aten::add.out")


def test_what_cmsis_nn_reads_beyond_the_ends_of_is_refused() -> None:
    sizes = (1, 6, 8, 8), (1, 6, 1, 1)
    reads = [(name, Placed(size, (0, 1, 2, 3))) for name, size in zip(("self", "other"), sizes, strict=True)]
    with pytest.raises(SimulationError, match=r"cortex_m::maximum\.out has tensors of sizes \[1, 6, 8, 8\] and"):
        _ = Call("cortex_m::maximum.out", reads, [reads[0][1]], {}).walk


def test_a_kernel_that_is_not_in_the_table_is_refused_where_it_would_be_handed_what_it_may_not_take() -> None:
    image = Placed((1, 6, 8, 8), NHWC)
    with pytest.raises(SimulationError, match=r"aten::something_new\.out takes contiguous tensors, .* not known here"):
        _ = Call("aten::something_new.out", [("self", image)], [image], {}).walk


def test_a_file_is_a_function(tmp_path: Path) -> None:
    session = exported(_ROW.name, models.two_inputs)
    inputs = models.two_inputs().inputs
    path = tmp_path / "model.pte"
    session.save_to_pte(str(path))
    program = simulate(path)
    expected = simulate(session)(*inputs)
    assert isinstance(expected, Tensor) and torch.equal(program(*inputs), expected)
    assert torch.equal(program(list(inputs)), expected)
    assert "method 'forward' of" in repr(program)
    with pytest.raises(SimulationError, match=r"takes float32 \[1, 3, 8, 8\], float32 .*, and got float32 \[.*\]\."):
        program(inputs[0])
    with pytest.raises(SimulationError, match=r"and got str\."):
        program("text")


def test_what_is_no_such_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "model.pte"
    with pytest.raises(ModelError, match="can't be read: No such file"):
        simulate(path)
    path.write_bytes(b"no program" * 20)
    with pytest.raises(ModelError, match=r"is no \.pte that can be read"):
        simulate(path)
    exported("ETHOSU_U55_INT8").save_to_pte(str(path))
    with pytest.raises(SimulationError, match="has delegates of EthosUBackend"):
        simulate(path)
    exported(_ROW.name).save_to_pte(str(path))
    with pytest.raises(ModelError, match=r"has the methods 'forward'\. Give one of them"):
        simulate(path, method="other")
    with pytest.raises(ArmRecipeError, match="a file is run on the reference simulator"):
        simulate(path, simulator="qemu")


def test_what_cant_be_planned_is_run_as_lowered_and_said() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            return self.linear(x), torch.cond(y.sum() > 0, lambda y: y + y, lambda y: y * y, (y,))

    inputs = torch.randn(1, 4), torch.arange(3, dtype=torch.int32)
    program = simulate(export(Branches().eval(), _ROW, [inputs, inputs], check=False))
    assert any("Run as it was lowered" in note for note in program._simulator.notes)  # type: ignore[union-attr]
    assert program(*inputs)[1].tolist() == [0, 2, 4]
