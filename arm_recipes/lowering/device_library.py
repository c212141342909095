"""Cure: a program that calls kernels which no library for a device has, or has for fewer dimensions.

executorch keeps linear, hardswish and the like whole, for CMSIS-NN. Where they stay in float their kernels are in its
optimized library only, which is not for bare metal; the program would fail to load.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from executorch.exir.operator.convert import to_out_variant
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Graph, Node

from arm_recipes.errors import LoweringError
from arm_recipes.recipes.catalog import Recipe
from arm_recipes.upstream.graphs import (
    arguments_by_name,
    call_before,
    calls,
    kernel_name,
    operator_of,
    where,
    where_in_code,
)
from arm_recipes.upstream.private import edge_operators

from .changes import note
from .device_kernels import broadcasts_wrong, most_dimensions, portable_kernels
from .records import Change

_aten = edge_operators.aten


def use_kernels_that_are_there(recipe: Recipe, method: str, program: ExportedProgram, *, cures: bool) -> None:
    """Put kernels of the portable library in the place of others. Changes the program's graph.

    Args:
        recipe: the catalog row.
        method: name of the method.
        program: lowered by upstream's Cortex-M passes.
        cures: whether to; where not, such a kernel is an error.

    Raises:
        LoweringError: an operator has no kernel, or none for its dimensions.
    """
    graph = program.graph
    for node in list(graph.nodes):
        if node.op == "call_function" and node.target in _INSTEAD and cures and _problem(node):
            _replace(graph, node, *_INSTEAD[node.target])
    for node in calls(program.graph_module):
        problem = _problem(node)
        if problem:
            raise LoweringError(
                f"{recipe.name}: in method {method!r}, {where_in_code(node)} {problem}: the program would fail on the "
                "device. Put operators in its place that there are kernels for; docs/cortex_m.md says which are known "
                "to run."
            )
    graph.lint()
    program.graph_module.recompile()


def _problem(node: Node) -> str:
    namespace, name = kernel_name(node.target)
    operator = operator_of(node.target)
    if operator is None or namespace not in ("aten", "dim_order_ops", "cortex_m"):
        return ""
    if namespace != "cortex_m" and not _is_there(operator):
        return f"needs a kernel {namespace}::{name}, which executorch's portable library has not"
    if name == "softmax" and arguments_by_name(node)["dim"] % node.meta["val"].dim() != node.meta["val"].dim() - 1:
        return "is over another dimension than the last, the one that CMSIS-NN takes"
    values = [source.meta.get("val") for source in node.all_input_nodes]
    if broadcasts_wrong(f"{namespace}.{name}", [tuple(value.shape) for value in values if isinstance(value, Tensor)]):
        return "has tensors of two sizes, which CMSIS-NN reads in a wrong order"
    if name == "quantized_transpose_conv2d":
        arguments = arguments_by_name(node)
        stride, padding = arguments["stride"][0], arguments["padding"][0]
        if padding % stride:
            return f"has a padding of {padding}, no multiple of its stride of {stride}, which CMSIS-NN computes wrong"
    most = most_dimensions(f"{namespace}.{name}")
    if most is not None and values and isinstance(values[0], Tensor) and values[0].dim() > most:
        return f"has an input of {values[0].dim()} dimensions, and its kernel takes {most}"
    return ""


def _is_there(operator: Any) -> bool:
    try:
        return str(to_out_variant(operator)[0].name()) in portable_kernels()
    except Exception:  # upstream raises several types where it has not met the operator yet
        name = str(operator.name()).partition(".")[0]
        return any(kernel.partition(".")[0] == name for kernel in portable_kernels())


# Makes nodes of operators: what `call` gives stands for the result.
_Call = Callable[..., Node]


def _linear(call: _Call, node: Node) -> Node:
    source, weight, *bias = node.args
    shape = list(source.meta["val"].shape)  # type: ignore[union-attr]
    columns = call(_aten.permute_copy.default, weight, [1, 0])
    rows = source if len(shape) == 2 else call(_aten.view_copy.default, source, [-1, shape[-1]])
    if bias and bias[0] is not None:
        product = call(_aten.addmm.default, bias[0], rows, columns)
    else:
        product = call(_aten.mm.default, rows, columns)
    if len(shape) == 2:
        return product
    return call(_aten.view_copy.default, product, [*shape[:-1], node.meta["val"].shape[-1]])


def _hardsigmoid(call: _Call, node: Node) -> Node:
    raised = call(_aten.add.Scalar, node.args[0], 3.0)
    return call(_aten.div.Scalar, call(_aten.clamp.default, raised, 0.0, 6.0), 6.0)


def _hardswish(call: _Call, node: Node) -> Node:
    return call(_aten.mul.Tensor, node.args[0], _hardsigmoid(call, node))


def _silu(call: _Call, node: Node) -> Node:
    return call(_aten.mul.Tensor, node.args[0], call(_aten.sigmoid.default, node.args[0]))


def _softmax(call: _Call, node: Node) -> Node:
    source, dimension, *others = node.args
    swapped = list(range(node.meta["val"].dim()))
    swapped[dimension], swapped[-1] = swapped[-1], swapped[dimension]  # type: ignore[index]
    turned = call(_aten.permute_copy.default, source, swapped)
    return call(_aten.permute_copy.default, call(node.target, turned, -1, *others), swapped)


def _permute(call: _Call, node: Node) -> Node:
    return call(_aten.permute_copy.default, *node.args)


def _greatest(call: _Call, node: Node) -> Node:
    return call(_aten.maximum.default, *node.args)


def _least(call: _Call, node: Node) -> Node:
    return call(_aten.minimum.default, *node.args)


_INSTEAD: dict[Any, tuple[Callable[[_Call, Node], Node], str]] = {
    _aten.linear.default: (_linear, "a matrix product"),
    _aten.hardsigmoid.default: (_hardsigmoid, "a sum, a clamp and a quotient"),
    _aten.hardswish.default: (_hardswish, "a sum, a clamp, a quotient and a product"),
    _aten.silu.default: (_silu, "a sigmoid and a product"),
    edge_operators.cortex_m.softmax.default: (_softmax, "one over the last dimension, of values turned there and back"),
    edge_operators.cortex_m.transpose.default: (_permute, "aten::permute_copy.out"),
    edge_operators.cortex_m.maximum.default: (_greatest, "aten::maximum.out"),
    edge_operators.cortex_m.minimum.default: (_least, "aten::minimum.out"),
}


def _replace(graph: Graph, node: Node, make: Callable[[_Call, Node], Node], instead: str) -> None:
    why = _problem(node)

    result = make(functools.partial(call_before, node), node)
    note(result, Change("portable-kernel", where(node), f"computed as {instead}", f"it {why}"))
    node.replace_all_uses_with(result)
    graph.erase_node(node)
