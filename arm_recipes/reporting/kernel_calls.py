"""The kernels that a method calls at run time, and the tensors that each reads and writes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from executorch.exir.memory import alloc
from executorch.exir.schema import ExecutionPlan, KernelCall, OptionalTensorList, Tensor, TensorList
from executorch.exir.tensor import get_scalar_type
from torch.fx import Graph, Node

from arm_recipes.upstream.graphs import captured_operator, is_operator, module_path, operator_name

from .result import BorderStep, Call


def calls_of(plan: ExecutionPlan, graph: Graph) -> Iterator[Call]:
    """The calls of a method in their order, with the operators of its lowered graph that they come from."""
    # Calls follow the graph's order. Not every node becomes a call, and memory planning may add calls of its own.
    left = [node for node in graph.nodes if is_operator(node)]
    for chain in plan.chains:
        for instruction in chain.instructions:
            call = instruction.instr_args
            if not isinstance(call, KernelCall):
                continue
            operator = plan.operators[call.op_index]
            wanted = operator.name.replace("::", ".")
            place = next(
                (at for at, node in enumerate(left) if f"{operator_name(node)}.".startswith(f"{wanted}.")), None
            )
            node = None if place is None else left[place]
            left = left if place is None else left[place + 1 :]
            yield _call(plan, call, f"{operator.name}.{operator.overload}".rstrip("."), node)


def _call(plan: ExecutionPlan, call: KernelCall, operator: str, node: Node | None) -> Call:
    # Behind the arguments of the node there are its outputs, and what the kernel returns, which is the last of them.
    arguments = list(node.args) if node is not None else [None] * (len(call.args) - 2)
    sizes: dict[str, dict[int, int]] = {"constant": {}, "input": {}, "output": {}, "scratch": {}}
    for position, value in enumerate(call.args):
        argument = arguments[position] if position < len(arguments) else None
        for index, tensor in _tensors(plan, value):
            if tensor.allocation_info is None and tensor.data_buffer_idx > 0:
                kind = "constant"
            elif isinstance(argument, Node) and argument.target is alloc:
                kind = "scratch"
            else:
                kind = "input" if position < len(arguments) else "output"
            sizes[kind][index] = _bytes(tensor)
    return Call(
        operator,
        module_path(node) if node is not None else "",
        captured=captured_operator(node) if node is not None else "",
        **{f"{kind}_bytes": sum(found.values()) for kind, found in sizes.items()},
    )


def _tensors(plan: ExecutionPlan, index: int) -> Iterator[tuple[int, Tensor]]:
    """The tensors of a value: itself, those of a list, or none."""
    value = plan.values[index].val
    if isinstance(value, Tensor):
        yield index, value
    elif isinstance(value, (TensorList, OptionalTensorList)):
        for item in value.items:
            if item >= 0:  # an optional tensor that is not there is -1
                yield from _tensors(plan, item)


def _bytes(tensor: Tensor) -> int:
    scalar: torch.dtype = get_scalar_type(tensor.scalar_type)
    size: int = scalar.itemsize * math.prod(tensor.sizes)
    return size


def conversions(calls: Sequence[Call]) -> Iterator[BorderStep]:
    """Those of the calls that only quantize, dequantize or change the layout."""
    for call in calls:
        name = call.operator.partition("::")[2]
        kind = next((kind for kind in ("dequantize", "quantize") if name.startswith(f"{kind}_per")), None)
        kind = "layout" if name.startswith("_clone_dim_order") else kind
        if kind is not None:
            yield BorderStep(kind, "CPU", call.operator, call.module, call.input_bytes + call.output_bytes, None)
