"""TOSA flatbuffers: their operators, where these come from, and the same graph with every tensor as an output."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers.number_types
from tosa.DType import DType
from tosa.Op import Op
from tosa.TosaGraph import TosaGraph

from arm_recipes.tools.border_tables import Entry, Tables
from arm_recipes.tools.vela.estimates import Origin

from .graphs import stack_path

# Operators whose results are their inputs, moved or scaled.
_MOVES = frozenset({Op.TRANSPOSE, Op.RESHAPE, Op.RESCALE, Op.CAST, Op.IDENTITY})
_SUMS = frozenset({DType.INT32, DType.INT48})

_CONSTANTS = frozenset({Op.CONST, Op.CONST_SHAPE})


_DTYPES = {
    DType.BOOL: ("bool", 1),
    DType.INT8: ("int8", 1),
    DType.INT16: ("int16", 2),
    DType.INT32: ("int32", 4),
    DType.INT64: ("int64", 8),
    DType.FP32: ("float32", 4),
    DType.FP16: ("float16", 2),
    DType.BF16: ("bfloat16", 2),
}


@dataclass(frozen=True)
class Produced:
    """A tensor of a TOSA graph that an operator other than CONST gives.

    Attributes:
        name: name of the tensor in the graph.
        computes: whether the operator computes, and does not only move or scale numbers.
    """

    name: str
    computes: bool


def origins(graph: bytes) -> dict[str, Origin]:
    """Where the operators of a graph come from, by the name of the tensor that they make, of those that say it."""
    return {
        output: _origin(json.loads(text)) for _, _, outputs, text in _operators(graph) for output in outputs if text
    }


def origins_by_node(graph: bytes, nodes: Sequence[Mapping[str, Origin]]) -> dict[str, Origin]:
    """The same of a graph that does not say it.

    Args:
        graph: the flatbuffer.
        nodes: where each node that the graph was written from comes from, by name; first of the main block, then of
            each other. A node's tensor has the node's name, with that of the block behind it unless that is the main.
    """
    origins: dict[str, Origin] = {}
    for index, (block, known) in enumerate(zip(_blocks(graph), nodes, strict=True)):
        suffix = "" if index == 0 else f"_{block.Name().decode()}"
        unnamed: list[str] = []  # what a node is made of has names of its own, and comes before the node's tensor
        for operator in map(block.Operators, range(block.OperatorsLength())):
            if operator.Op() in _CONSTANTS:
                continue
            tensors = [operator.Outputs(place).decode() for place in range(operator.OutputsLength())]
            origin = next(
                (known[name] for name in (each.removesuffix(suffix) for each in tensors) if name in known), None
            )
            if origin is None:
                unnamed += tensors
                continue
            origins.update(dict.fromkeys([*unnamed, *tensors], origin))
            unnamed = []
    return origins


def border(graph: bytes) -> frozenset[str]:
    """Names of the tensors that are made by transposing an input of the graph, or what becomes an output, with nothing
    computed in between."""
    operators = list(_operators(graph))
    block = _main_block(graph)
    moved = {block.Inputs(index).decode() for index in range(block.InputsLength())}
    transposed: set[str] = set()
    for kind, inputs, outputs, _ in operators:
        if kind in _MOVES and inputs[0] in moved:
            moved.update(outputs)
            transposed.update(outputs if kind == Op.TRANSPOSE else ())
    moved = {block.Outputs(index).decode() for index in range(block.OutputsLength())}
    for kind, inputs, outputs, _ in reversed(operators):
        if kind in _MOVES and moved.intersection(outputs):
            moved.add(inputs[0])
            transposed.update(outputs if kind == Op.TRANSPOSE else ())
    return frozenset(transposed)


def tables(graph: bytes) -> Tables:
    """What a graph takes and gives, in its order."""
    block = _main_block(graph)
    tensors = {tensor.Name(): tensor for tensor in map(block.Tensors, range(block.TensorsLength()))}
    inputs, outputs = (
        tuple(_entry(tensors[name(index)]) for index in range(count))
        for name, count in ((block.Inputs, block.InputsLength()), (block.Outputs, block.OutputsLength()))
    )
    return Tables(inputs, outputs)


def _entry(tensor: Any) -> Entry:
    dtype, size = _DTYPES.get(tensor.Type(), (f"TOSA's type {tensor.Type()}", 0))
    return Entry(tuple(int(tensor.Shape(index)) for index in range(tensor.ShapeLength())), size, dtype)


def input_names(graph: bytes) -> tuple[str, ...]:
    """Names of what a graph takes, in its order. They are those of the placeholders that it was made of."""
    block = _main_block(graph)
    return tuple(block.Inputs(index).decode() for index in range(block.InputsLength()))


def transposed_outputs(graph: bytes) -> tuple[int, ...]:
    """Numbers of the outputs that a transpose makes and another transpose reads."""
    block = _main_block(graph)
    operators = [(inputs, outputs) for kind, inputs, outputs, _ in _operators(graph) if kind == Op.TRANSPOSE]
    both = {name for inputs, _ in operators for name in inputs} & {name for _, outputs in operators for name in outputs}
    return tuple(index for index in range(block.OutputsLength()) if block.Outputs(index).decode() in both)


def with_all_outputs(graph: bytes) -> tuple[bytes, list[str], list[Produced]]:
    """The graph with every tensor that an operator gives as a further output, but for the wide sums before they are
    rescaled.

    Returns:
        The flatbuffer, the names of its outputs (the graph's own come first), and the tensors in the order in which
        they are computed.
    """
    block = _main_block(graph)
    names = [block.Outputs(index).decode() for index in range(block.OutputsLength())]
    produced = []
    tensors = map(block.Tensors, range(block.TensorsLength()))
    left_out = {tensor.Name().decode() for tensor in tensors if tensor.Type() in _SUMS}.difference(names)
    for operator in map(block.Operators, range(block.OperatorsLength())):
        if (
            operator.Op() not in _CONSTANTS
            and operator.OutputsLength()
            and operator.Outputs(0).decode() not in left_out
        ):
            produced.append(Produced(operator.Outputs(0).decode(), operator.Op() not in _MOVES))
    names += [tensor.name for tensor in produced if tensor.name not in names]
    return _with_outputs(graph, block, names), names, produced


def _operators(graph: bytes) -> Iterator[tuple[int, list[str], list[str], str]]:
    """Kind, inputs, outputs and origin of each operator, in the graph's order."""
    blocks = _blocks(graph)
    for operator in (block.Operators(index) for block in blocks for index in range(block.OperatorsLength())):
        location = operator.Location()
        yield (
            operator.Op(),
            [operator.Inputs(index).decode() for index in range(operator.InputsLength())],
            [operator.Outputs(index).decode() for index in range(operator.OutputsLength())],
            (location.Text() or b"").decode() if location is not None else "",
        )


def _main_block(graph: bytes) -> Any:
    return next(_blocks(graph))


def _blocks(graph: bytes) -> Iterator[Any]:
    """The graph's own first, then those of branches and loops."""
    root = TosaGraph.GetRootAs(graph, 0)
    for region in map(root.Regions, range(root.RegionsLength())):
        yield from map(region.Blocks, range(region.BlocksLength()))


def _origin(debug_info: dict[str, Any]) -> Origin:
    of_torch = debug_info["torch_info"]
    # Upstream has a sentence in the place of what it does not know.
    trace = of_torch["node_trace"] if isinstance(of_torch["node_trace"], list) else []
    stack = of_torch["nn_module_stack"] if isinstance(of_torch["nn_module_stack"], dict) else {}
    operators = [str(source["target"]) for source in trace]
    captured = [operator.removesuffix(".default") for operator in operators if operator.startswith("aten.")]
    return Origin(stack_path(stack), captured[-1] if captured else "", tuple(source["name"] for source in trace))


def _with_outputs(graph: bytes, block: Any, names: Sequence[str]) -> bytes:
    """A flatbuffer's vector can't grow in place: a new one goes behind the end, and the field points to it.

    The schema's field after name, operators, tensors and inputs is the outputs.
    """
    # Upstream: tosa.TosaBasicBlock._tab, as the serializer only makes new graphs. Holds for tosa-tools 2026.2 of
    # executorch 1.5.1; tests/upstream/test_private_names.py::test_outputs_are_the_fifth_field fails when it changes.
    field = block._tab.Pos + flatbuffers.number_types.UOffsetTFlags.py_type(block._tab.Offset(4 + 2 * 4))
    buffer = bytearray(graph)
    buffer += bytes(-len(buffer) % 4)
    vector = len(buffer)
    buffer += struct.pack("<I", len(names)) + bytes(4 * len(names))
    for index, name in enumerate(names):
        slot = vector + 4 + 4 * index
        struct.pack_into("<I", buffer, slot, len(buffer) - slot)
        text = name.encode()
        buffer += struct.pack("<I", len(text)) + text + b"\0"
        buffer += bytes(-len(buffer) % 4)
    struct.pack_into("<I", buffer, field, vector - field)
    return bytes(buffer)
