"""A program as its .pte has it: calls of kernels on tensors that lie in planned memory, each in its declared order.

What shares memory in the plan shares it here. Each call reads and writes bytes in the order in which its kernel does:
where that isn't the declared one, the device's wrong values come out. What its kernel refuses is an error.
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
from arm_recipes.lowering.device_kernels import Placed, Walk
from arm_recipes.simulators.device_arithmetic import KERNELS, ONTO
from arm_recipes.simulators.worker.messages import Arrays
from arm_recipes.upstream.schemas import Kernel, kernel

from .device_calls import Call, memory_order, refuse_missing
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


def notes_on(program: PlannedProgram) -> tuple[str, ...]:
    """What there is to say of its calls: which give wrong values as their tensors lie. Up to one that fails."""
    calls, notes = _Calls(program.values, _slots(program)), []
    for instruction in program.instructions:
        if "call" in instruction:
            try:
                notes.append(calls.made(instruction["call"], instruction["arguments"]).note)
            except SimulationError:
                break
    return tuple(dict.fromkeys(note for note in notes if note))


def _slots(program: PlannedProgram) -> dict[int, Slot]:
    return {index: Slot(**value["slot"]) for index, value in enumerate(program.values) if "slot" in value}


class _Memory:
    """A program's tensors, each a view of the memory that it was planned into."""

    def __init__(self, program: PlannedProgram) -> None:
        self._values = program.values
        arenas = [torch.zeros(size, dtype=torch.uint8) for size in program.arenas]
        self._slots = _slots(program)
        self._calls = _Calls(program.values, self._slots)
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
        walk = self._calls.made(name, indices).walk
        positional: list[Any] = []
        keywords: dict[str, Any] = {}
        for (argument, by_name, kind), index in zip(known.arguments, indices, strict=False):
            value = self._given(index, kind, walk)
            if by_name:
                keywords[argument] = value
            else:
                positional.append(value)
        written = self._calls.results(known, indices)
        if known.name in ONTO:
            results = [ONTO[known.name](self.tensors[written[0]], *positional)]
        else:
            results = _compute(known, positional, keywords)
        for index, result in zip(written, results, strict=True):
            if result.shape != self.tensors[index].shape:
                shapes = f"{list(result.shape)}, and the program declares {list(self.tensors[index].shape)}"
                raise SimulationError(f"{name} gives a tensor of shape {shapes}.")
            self._seen(index, walk).copy_(result)

    def _given(self, index: int, kind: str, walk: Walk) -> Any:
        if index in self.tensors:
            return self.tensors[index] if walk is Walk.WRITES_CONTIGUOUS else self._seen(index, walk)
        value = self._values[index]
        if "items" in value:
            return [self._given(item, "", walk) if item >= 0 else None for item in value["items"]]
        if "ScalarType" in kind and isinstance(value["value"], int):
            return get_scalar_type(value["value"])
        return value["value"]

    def _seen(self, index: int, walk: Walk) -> Tensor:
        """A tensor as a kernel that walks through memory in this way sees it."""
        tensor, slot = self.tensors[index], self._slots[index]
        order = memory_order(walk, len(slot.sizes))
        if order is None:
            return tensor
        stored = tensor.permute(slot.order).reshape(-1)
        return stored.view([slot.sizes[dimension] for dimension in order]).permute(inverse(order))


class _Calls:
    """The calls of a program, with where their tensors lie."""

    def __init__(self, values: list[dict[str, Any]], slots: dict[int, Slot]) -> None:
        self._values = values
        self._places = {index: slot.placed for index, slot in slots.items()}

    def made(self, name: str, indices: list[int]) -> Call:
        known = _known(name)
        reads: list[tuple[str, Placed]] = []
        numbers: dict[str, Any] = {}
        for (argument, _, _), index in zip(known.arguments, indices, strict=False):
            items = self._values[index].get("items")
            if index in self._places:
                reads.append((argument, self._places[index]))
            elif items is None:
                numbers[argument] = self._values[index]["value"]
            elif any(item in self._places for item in items):
                named = ((f"{argument}[{position}]", item) for position, item in enumerate(items))
                reads += [(name, self._places[item]) for name, item in named if item in self._places]
            else:
                numbers[argument] = [self._values[item]["value"] for item in items if item >= 0]
        return Call(name, reads, [self._places[index] for index in self.results(known, indices)], numbers)

    def results(self, known: Kernel, indices: list[int]) -> list[int]:
        count = len(known.arguments)
        found: list[int] = []
        for index in indices[count : count + known.outputs]:
            found += self._values[index].get("items", [index])
        return found


def _known(name: str) -> Kernel:
    refuse_missing(name)
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
