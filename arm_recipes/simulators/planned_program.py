"""A program as its .pte has it: calls of kernels on tensors that lie in planned memory, each in its declared order.

What shares memory in the plan shares it here. A call that its kernel would refuse on the device, or of which it would
give wrong values for want of the memory order that it takes, is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from executorch.exir.schema import (
    BoolList,
    Double,
    DoubleList,
    ExecutionPlan,
    IntList,
    JumpFalseCall,
    KernelCall,
    MoveCall,
    Null,
    OptionalTensorList,
    Program,
    TensorList,
)
from executorch.exir.schema import Tensor as Declared
from executorch.exir.tensor import get_scalar_type
from torch import Tensor

from arm_recipes.errors import SimulationError
from arm_recipes.lowering.device_kernels import Placed, demand_of, reads_first_alone
from arm_recipes.simulators.device_arithmetic import KERNELS
from arm_recipes.simulators.worker.messages import Arrays
from arm_recipes.upstream.schemas import Kernel, kernel

from .edge_program import inverse

_LISTS = (IntList, TensorList, OptionalTensorList)


@dataclass(frozen=True)
class Slot:
    """A tensor of the plan.

    Attributes:
        dtype: e.g. ``int8``.
        sizes: of its dimensions.
        order: its dimensions from the outermost in memory to the innermost.
        arena: index of the planned memory that it lies in; -1 for a constant, and for what has memory of its own.
        offset: in bytes, in that memory.
        constant: index of the constant; -1 for none.
    """

    dtype: str
    sizes: list[int]
    order: list[int]
    arena: int
    offset: int
    constant: int

    @property
    def placed(self) -> Placed:
        return Placed(tuple(self.sizes), tuple(self.order))


@dataclass(frozen=True)
class PlannedProgram:
    """One method of a .pte.

    Attributes:
        values: by index: ``{"slot": ...}``, ``{"items": indices}`` or ``{"value": ...}``.
        instructions: ``{"call": name, "arguments": indices}``, ``{"move": [from, to]}``, or ``{"unless": [condition,
            instruction]}``, which goes on there if the condition is false.
        arenas: bytes of planned memory, by index.
        inputs: indices of the values that are given.
        outputs: indices of those that come out.
        constants: bytes of the constants that are used, by index as text.
    """

    values: list[dict[str, Any]]
    instructions: list[dict[str, Any]]
    arenas: list[int]
    inputs: list[int]
    outputs: list[int]
    constants: Arrays


def planned_program(program: Program, plan: ExecutionPlan) -> PlannedProgram:
    """One method of a program, as executorch serialises it.

    Raises:
        SimulationError: it has delegates or branches, or calls a kernel that isn't known here.
    """
    if plan.delegates:
        names = ", ".join(sorted({delegate.id for delegate in plan.delegates}))
        raise SimulationError(f"The program has delegates of {names}, and only what the CPU runs can be run here.")
    if len(plan.chains) != 1:
        raise SimulationError(f"The program has {len(plan.chains)} chains of instructions, and one is known here.")
    values = [_value(value.val) for value in plan.values]
    used = {value["slot"]["constant"] for value in values if "slot" in value} - {-1}
    constants = {str(index): np.frombuffer(program.constant_buffer[index].storage, np.uint8) for index in sorted(used)}
    instructions = [_instruction(plan, one.instr_args) for one in plan.chains[0].instructions]
    for name in dict.fromkeys(one["call"] for one in instructions if "call" in one):
        _known(name)
    arenas = [int(size) for size in plan.non_const_buffer_sizes]
    return PlannedProgram(
        values, [one for one in instructions if one], arenas, list(plan.inputs), list(plan.outputs), constants
    )


def _value(value: object) -> dict[str, Any]:
    if isinstance(value, Declared):
        memory = value.allocation_info
        offset = (memory.memory_offset_high << 32) + memory.memory_offset_low if memory is not None else 0
        slot = Slot(
            str(get_scalar_type(value.scalar_type)).removeprefix("torch."),
            [int(size) for size in value.sizes],
            [int(dimension) for dimension in value.dim_order],
            memory.memory_id if memory is not None else -1,
            offset,
            value.data_buffer_idx if memory is None and value.data_buffer_idx else -1,
        )
        return {"slot": asdict(slot)}
    if isinstance(value, _LISTS):
        return {"items": list(value.items)}
    if isinstance(value, (BoolList, DoubleList)):
        return {"value": list(value.items)}
    if isinstance(value, Null):
        return {"value": None}
    if isinstance(value, Double):
        return {"value": float(value.double_val)}
    (content,) = vars(value).values()  # Int, Bool, String
    return {"value": content}


def _instruction(plan: ExecutionPlan, call: object) -> dict[str, Any]:
    if isinstance(call, KernelCall):
        operator = plan.operators[call.op_index]
        return {"call": f"{operator.name}.{operator.overload}".rstrip("."), "arguments": list(call.args)}
    if isinstance(call, MoveCall):
        return {"move": [call.move_from, call.move_to]}
    if isinstance(call, JumpFalseCall):
        raise SimulationError("The program has branches, and of those planned memory can't be simulated.")
    return {}  # what frees memory


def to_message(program: PlannedProgram) -> tuple[dict[str, Any], Arrays]:
    """Text and numbers that `from_message` makes the program of."""
    content = {name: value for name, value in vars(program).items() if name != "constants"}
    return content, program.constants


def from_message(content: dict[str, Any], arrays: Arrays) -> PlannedProgram:
    """The program that `to_message` made `content` and `arrays` of."""
    return PlannedProgram(**content, constants=arrays)


def run(program: PlannedProgram, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Run it in memory of its own.

    Raises:
        SimulationError: a call that a device would refuse, or that isn't known here.
    """
    memory = _Memory(program)
    for index, value in zip(program.inputs, inputs, strict=True):
        memory.tensors[index].copy_(value)
    with torch.no_grad():
        for instruction in program.instructions:
            if "call" in instruction:
                memory.call(instruction["call"], instruction["arguments"])
            else:
                before, after = instruction["move"]
                memory.tensors[after] = memory.tensors[before]
    return [memory.tensors[index].clone() for index in program.outputs]


class _Memory:
    """A program's tensors, each a view of the memory that it was planned into."""

    def __init__(self, program: PlannedProgram) -> None:
        self._values = program.values
        arenas = [torch.zeros(size, dtype=torch.uint8) for size in program.arenas]
        self._slots = {index: Slot(**value["slot"]) for index, value in enumerate(program.values) if "slot" in value}
        self.tensors: dict[int, Tensor] = {}
        for index, slot in self._slots.items():
            dtype: torch.dtype = getattr(torch, slot.dtype)
            size = dtype.itemsize * int(np.prod(slot.sizes))
            if slot.constant >= 0:
                data = torch.from_numpy(program.constants[str(slot.constant)].copy())[:size]
            elif slot.arena >= 0:
                data = arenas[slot.arena][slot.offset : slot.offset + size]
            else:
                data = torch.zeros(size, dtype=torch.uint8)
            stored = data.view(dtype).view([slot.sizes[dimension] for dimension in slot.order])
            self.tensors[index] = stored.permute(inverse(slot.order))

    def call(self, name: str, indices: list[int]) -> None:
        known = _known(name)
        count = len(known.arguments)
        outputs = self._flat(indices[count : count + known.outputs])
        self._check(name, indices[:count], outputs)
        positional: list[Any] = []
        keywords: dict[str, Any] = {}
        for (argument, by_name, kind), index in zip(known.arguments, indices, strict=False):
            value = self._given(index, kind)
            if by_name:
                keywords[argument] = value
            else:
                positional.append(value)
        results = _compute(known, positional, keywords)
        for index, result in zip(outputs, results, strict=True):
            if result.shape != self.tensors[index].shape:
                shapes = f"{list(result.shape)}, and the program declares {list(self.tensors[index].shape)}"
                raise SimulationError(f"{name} gives a tensor of shape {shapes}.")
            self.tensors[index].copy_(result)

    def _given(self, index: int, kind: str) -> Any:
        if index in self.tensors:
            return self.tensors[index]
        value = self._values[index]
        if "items" in value:
            return [self._given(item, "") if item >= 0 else None for item in value["items"]]
        if "ScalarType" in kind and isinstance(value["value"], int):
            return get_scalar_type(value["value"])
        return value["value"]

    def _check(self, name: str, indices: list[int], outputs: list[int]) -> None:
        """Whether the kernel takes its tensors as they lie."""
        called = name.partition(".")[0].replace("::", ".")
        demand = demand_of(called)
        read = [self._slots[index].placed for index in self._flat(indices)]
        if reads_first_alone(called):
            read = read[:1]
        wanted = demand.wanted(read) if read else ()
        wrong = next((place for place, order in zip(read, wanted, strict=True) if order is not None), None)
        if wrong is not None or not demand.gives(read, [self._slots[index].placed for index in outputs]):
            what = f"a tensor of sizes {wrong.sizes} in memory order {wrong.order}" if wrong else "its result"
            raise SimulationError(
                f"{name} takes {demand.text}, and would be handed {what}: on the device it fails with 0x12 "
                "(InvalidArgument), or gives wrong values."
            )

    def _flat(self, indices: list[int]) -> list[int]:
        found: list[int] = []
        for index in indices:
            value = self._values[index]
            found += [item for item in value["items"] if item in self._slots] if "items" in value else []
            found += [index] if index in self._slots else []
        return found


def _known(name: str) -> Kernel:
    try:
        return kernel(name)
    except LookupError as error:
        raise SimulationError(f"{error}, so that the program can't be run here.") from error


def _compute(known: Kernel, positional: list[Any], keywords: dict[str, Any]) -> list[Tensor]:
    # Of the edge dialect's copies torch knows the order by its memory format alone, which changes no value.
    if known.name.startswith("dim_order_ops."):
        keywords = {**keywords, "dim_order": None}
    result = KERNELS.get(known.name, known.call)(*positional, **keywords)
    return [result] if isinstance(result, Tensor) else list(result)
