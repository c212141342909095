"""Cure: a kernel that would get its tensors in a memory order for which it isn't made.

Upstream's Cortex-M passes give CMSIS-NN's convolutions NHWC and look no further: what comes after one is handed NHWC
where it counts on NCHW. Here every tensor of the lowered program comes to its kernel in an order that this takes
(`device_kernels`), copied where it lies in another; once for all that want the same.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from executorch.exir.tensor import dim_order_from_stride
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from arm_recipes.errors import LoweringError
from arm_recipes.recipes.catalog import Recipe
from arm_recipes.upstream.graphs import evaluate, is_operator, kernel_name, where, where_in_code
from arm_recipes.upstream.private import CLONE_DIM_ORDER, TO_DIM_ORDER_COPY, tree_leaves

from .changes import note
from .device_kernels import NHWC, Demand, Order, Placed, demand_of, reads_first_alone
from .folded import IF_NEEDED
from .records import Change

_COPIES = (CLONE_DIM_ORDER, TO_DIM_ORDER_COPY)
_NAMES = {NHWC: "channels_last"}


def put_in_order(recipe: Recipe, method: str, program: ExportedProgram, *, cures: bool, contiguous_io: bool) -> None:
    """Copy tensors of a lowered program to the memory order that their kernels take. Changes the program's graph.

    Args:
        recipe: the catalog row.
        method: name of the method.
        program: lowered, before memory planning.
        cures: whether to copy; where not, a tensor in a wrong order is an error.
        contiguous_io: whether outputs are to be contiguous.

    Raises:
        LoweringError: a kernel would read a tensor in a wrong order, and no copy helps, or none may be made.
    """
    for module in program.graph_module.modules():
        if isinstance(module, GraphModule):
            _Ordering(recipe, method, module, cures).run(contiguous_io and module is program.graph_module)
    for spec, name in zip(program.graph_signature.output_specs, _names(program.graph.output_node()), strict=True):
        if name is not None:
            spec.arg.name = name


def _names(output: Node) -> list[str | None]:
    return [each.name if isinstance(each, Node) else None for each in tree_leaves(output.args[0])]


def placed(value: Any) -> Placed | None:
    """Where a node's value lies; None for what is no tensor."""
    if not isinstance(value, Tensor):
        return None
    order = tuple(int(dimension) for dimension in dim_order_from_stride(value.stride()))
    return Placed(tuple(int(size) for size in value.shape), order)


class _Ordering:
    """One graph: of a method, or of a branch's or loop's body."""

    def __init__(self, recipe: Recipe, method: str, module: GraphModule, cures: bool) -> None:
        self._recipe = recipe
        self._method = method
        self._module = module
        self._cures = cures
        # Nodes whose value lies elsewhere than upstream had it.
        self._moved: set[Node] = set()
        self._lowered_for = {node: _placed(node) for node in module.graph.nodes}

    def run(self, contiguous_io: bool) -> None:
        graph = self._module.graph
        for node in list(graph.nodes):
            if is_operator(node):
                self._order(node)
            elif node.target is operator.getitem:
                self._follow(node)
            elif node.op == "output" and contiguous_io:
                self._want(node, Demand.IN_SEQUENCE, _tensors(node))
            elif node.op in ("output", "call_function"):  # a branch or loop, whose bodies are graphs of their own
                self._want_as_lowered(node, _tensors(node))
        for node in reversed(list(graph.nodes)):
            if node.target == CLONE_DIM_ORDER and not node.users:
                graph.erase_node(node)
        graph.lint()
        self._module.recompile()

    def _order(self, node: Node) -> None:
        kernel = _kernel(node)
        demand = demand_of(kernel)
        count = 1 if reads_first_alone(kernel) else None
        if demand is Demand.AS_LOWERED:
            self._want_as_lowered(node, _tensors(node)[:count])
        else:
            self._want(node, demand, _tensors(node)[:count])
        if node.target in _COPIES and self._request(node):
            return
        self._follow(node)
        given = [_place(tensor) for tensor in _tensors(node)[:count]]
        results = [each for each in map(placed, tree_leaves(node.meta.get("val"))) if each is not None]
        if not demand.gives(given, results):
            orders = ", ".join(str(result.order) for result in results)
            self._refuse(node, f"would be declared to give results in memory order {orders}")

    def _want(self, node: Node, demand: Demand, tensors: Sequence[Node]) -> None:
        wanted = demand.wanted([_place(tensor) for tensor in tensors]) if tensors else ()
        for tensor, order in zip(tensors, wanted, strict=True):
            if order is not None:
                self._copy(tensor, order, node)

    def _want_as_lowered(self, node: Node, tensors: Sequence[Node]) -> None:
        for tensor in tensors:
            before = self._lowered_for.get(tensor)
            if before is not None and before.channels_last != _place(tensor).channels_last:
                self._copy(tensor, before.order, node)

    def _request(self, copy: Node) -> bool:
        """Let a copy ask for the order that its result will be declared to have; or do without it. Whether it is gone.

        torch has one order for a tensor of one channel, and the runtime's copy fails where another is asked for.
        """
        result = _placed(copy)
        if copy.meta.get("custom", {}).get(IF_NEEDED) and result == _placed(copy.all_input_nodes[0]):
            copy.replace_all_uses_with(copy.all_input_nodes[0])
            self._module.graph.erase_node(copy)
            return True
        asked: Any = copy.kwargs.get("dim_order")
        if result is None or asked is None or tuple(asked) == result.order or not result.either:
            return False
        source = copy.all_input_nodes[0]
        users = list(copy.users)
        if source.meta["val"].dtype == copy.meta["val"].dtype and all(user.op != "output" for user in users):
            copy.replace_all_uses_with(source)
            self._module.graph.erase_node(copy)
            self._moved.add(source)
            return True
        copy.kwargs = {**copy.kwargs, "dim_order": list(range(len(result.sizes)))}
        evaluate(copy)
        return False

    def _copy(self, source: Node, order: Order, user: Node) -> None:
        if not self._cures:
            self._refuse(user, f"would read {source.name!r}, which lies in memory in order {_place(source).order}")
        copy = self._copied(source, order, user)
        user.replace_input_with(source, copy)
        self._moved.add(copy)

    def _copied(self, source: Node, order: Order, user: Node) -> Node:
        """What holds the values of `source` in `order`: what it is a copy of, a copy that is there, or a new one."""
        while source.target == CLONE_DIM_ORDER:
            (source,) = source.all_input_nodes
            if _place(source).order == order:
                return source
        for other in source.users:
            if other.target == CLONE_DIM_ORDER and _place(other).order == order and other < user:
                return other
        graph = self._module.graph
        after = source if source.op != "placeholder" else list(graph.find_nodes(op="placeholder"))[-1]
        with graph.inserting_after(after):
            copy = graph.call_function(CLONE_DIM_ORDER, (source,), {"dim_order": list(order)})
        copy.meta = {key: value for key, value in source.meta.items() if key not in ("spec", "custom")}
        evaluate(copy)
        name = _NAMES.get(order, "contiguous")
        note(
            copy,
            Change(
                "memory-order",
                where(user) if user.op != "output" else f"output {source.name}",
                f"reads a copy of what {where(source)} gives, in {name} memory: one kernel and "
                f"{source.meta['val'].numel() * source.meta['val'].element_size():,} bytes more",
                f"executorch hands it {_NAMES.get(_place(source).order, 'contiguous')} memory, of which its kernel "
                "would give wrong values, or fail at run time",
            ),
        )
        return copy

    def _follow(self, node: Node) -> None:
        """Let a node lie where it will, given where its inputs lie now."""
        if not self._moved.intersection(node.all_input_nodes):
            return
        before = _placed(node)
        evaluate(node)
        if before is None or _placed(node) != before:  # None for what gives several
            self._moved.add(node)

    def _refuse(self, node: Node, problem: str) -> None:
        demand = demand_of(_kernel(node)) if is_operator(node) else Demand.IN_SEQUENCE
        raise LoweringError(
            f"{self._recipe.name}: in method {self._method!r}, {where_in_code(node)} {problem}, and its kernel on the "
            f"device takes {demand.text}. "
            + (
                "In the model's code, let x = x.contiguous() come right before it, or after it."
                if self._cures
                else "Leave out cures=False, which has the copies made that this needs."
            )
        )


def _tensors(node: Node) -> list[Node]:
    return [source for source in node.all_input_nodes if isinstance(source.meta.get("val"), Tensor)]


def _placed(node: Node) -> Placed | None:
    return placed(node.meta.get("val"))


def _place(node: Node) -> Placed:
    there = _placed(node)
    assert there is not None, f"{node} is no tensor"
    return there


def _kernel(node: Node) -> str:
    return ".".join(kernel_name(node.target))
