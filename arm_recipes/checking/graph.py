"""The reference graph as layers: what is computed between one quantized value and the next.

The reference is the quantized module, or the module of the exported program where nothing is quantized. There each
operator is a layer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

from arm_recipes.errors import ModelError
from arm_recipes.lowering.integer_io import QuantizedTensor
from arm_recipes.lowering.tables import arguments_of, is_tabled, looked_up
from arm_recipes.upstream.graphs import is_view, module_path, operator_name, origin_of, writes_to
from arm_recipes.upstream.private import tree_leaves

from .bounds import TABLE_DB, sqnr_db

Values = Mapping[Node, Any]

TABLED = frozenset(
    re.findall(
        r"\w+",
        "acos acosh asin asinh atan atanh ceil cos cosh elu erf erfinv exp exp2 expm1 floor gelu hardsigmoid hardswish "
        "leaky_relu log log10 log1p log2 logit mish pow reciprocal round rsqrt selu sigmoid sign silu sin sinh "
        "softplus softsign sqrt tan tanh trunc",
    )
)


@dataclass(eq=False)
class Layer:
    """What is computed between values that both graphs may have.

    Attributes:
        index: place in the model's order.
        node: gives the layer's value: a quantize node, or an operator or input that is not quantized.
        group: the operators that compute it, in order; none for an input.
        sources: the nodes of the layers that it reads.
        scale: of its integers; None where it is not quantized.
        outputs: indices of the program's outputs that are this value.
    """

    index: int
    node: Node
    group: tuple[Node, ...]
    sources: tuple[Node, ...]
    scale: QuantizedTensor | None
    outputs: tuple[int, ...] = ()

    @property
    def is_input(self) -> bool:
        return not self.calls

    @cached_property
    def calls(self) -> tuple[Node, ...]:
        """The operators that say what the layer is: those of `group` that are not of a constant's making."""
        return tuple(node for node in self.group if not _is(node, "dequantize_per_"))

    @cached_property
    def operators(self) -> tuple[str, ...]:
        """E.g. ``conv2d``, ``relu``."""
        return tuple(operator_name(node).split(".")[1] if "." in operator_name(node) else "" for node in self.calls)

    @property
    def operator(self) -> str:
        """E.g. ``aten.conv2d``."""
        first = next((call for call in self.calls if operator_name(call) not in ("call_function",)), None)
        return "input" if not self.calls else operator_name(first if first is not None else self.calls[0])

    @property
    def module(self) -> str:
        """Path of the module that it came from, e.g. ``features.0``; empty where that is not known."""
        return next((path for path in map(module_path, self.calls) if path), "")

    @property
    def name(self) -> str:
        """E.g. ``aten.conv2d of features.0``."""
        if self.is_input:
            return f"input {(self.group[0] if self.group else self.node).name}"
        return f"{self.operator} of {self.module}" if self.module else self.operator

    @property
    def tabled(self) -> bool:
        """Whether it is a function of one value at a time, which integer arithmetic looks up in a table."""
        return bool(TABLED.intersection(self.operators))

    @property
    def weighs(self) -> bool:
        """Whether it is a convolution or a linear layer, which moves no value of its input on as it is."""
        return any("conv" in name or "linear" in name for name in self.operators)

    def dtype(self, real: Tensor) -> torch.dtype:
        """Of the layer's values, that are `real` before they are quantized."""
        if self.scale is None:
            return real.dtype
        dtype: torch.dtype = getattr(torch, self.scale.dtype)
        return dtype

    @cached_property
    def keys(self) -> tuple[tuple[str, ...], ...]:
        """What the origins of the lowered program's operators end with that were made from this layer."""
        return tuple((call.name, *origin_of(call)) for call in self.calls)


class Reference:
    """The reference graph, taken apart.

    Attributes:
        layers: in the model's order.
        inputs: the placeholders.
        outputs: of each output the node of the layer whose value it is; None for what is no tensor.
        quantized: whether anything in it is.
    """

    def __init__(self, module: GraphModule) -> None:
        """
        Args:
            module: stays as it is.
        """
        self._module = module
        graph = _functional(module.graph)
        nodes = list(graph.nodes)
        self.inputs = [node for node in nodes if node.op == "placeholder"]
        leaves = tree_leaves(graph.output_node().args[0])
        self.quantized = any(_is(node, "quantize_per_tensor") for node in nodes)
        self._constants = self._folded(nodes)
        self.outputs = [self._behind(leaf) if isinstance(leaf, Node) else None for leaf in leaves]
        self.layers = list(self._layers(nodes))
        self.by_node = {layer.node: layer for layer in self.layers}
        readers: dict[Node, int] = {}
        for layer in self.layers:
            for node in layer.group:
                readers[node] = readers.get(node, 0) + 1
        self._shared = {node for node, count in readers.items() if count > 1}

    def evaluate(self, layer: Layer, values: Values, cache: dict[Node, Any] | None = None) -> Any:
        """The layer's value before it is quantized, of real numbers, from those of its sources.

        Args:
            layer: one of `layers`, and no input.
            values: by the nodes of its sources: integers, or real numbers of those where `layer.scale` is None or that
                are to be taken as they are.
            cache: of what several layers share, for the same values; None for none.
        """
        local: dict[Node, Any] = {}
        last = layer.node.args[0] if layer.scale is not None else layer.node
        for node in layer.group:
            if cache is not None and node in cache:
                local[node] = cache[node]
                continue
            local[node] = self._call(node, values, local)
            if cache is not None and node in self._shared:
                cache[node] = local[node]
        assert isinstance(last, Node)
        return local[last] if last in local else self._value(last, values, local)

    def looked_up(self, layer: Layer, values: Values) -> Tensor | None:
        """The integers of a layer that becomes a table of 513 points with lines between them, from those of its source;
        None for any other."""
        if layer.scale is None or layer.scale.dtype != "int16" or len(layer.calls) != 1 or len(layer.sources) != 1:
            return None
        (call,), (source,) = layer.calls, layer.sources
        return _of_table(call, values[source])

    def _call(self, node: Node, values: Values, local: Mapping[Node, Any]) -> Any:
        source = node.all_input_nodes[0] if node.all_input_nodes else None
        if _is(node, "dequantize_per_tensor") and source is not None:
            value = self._value(source, values, local)
            if value.is_floating_point():  # taken as it is
                return value
        arguments: Any = torch.fx.node.map_arg(node.args, lambda argument: self._value(argument, values, local))
        keywords: Any = torch.fx.node.map_arg(node.kwargs, lambda argument: self._value(argument, values, local))
        written = writes_to(node)
        if written:
            arguments = tuple(
                value.clone() if index in written else value  # what it writes to is another's
                for index, value in enumerate(arguments)
            )
        assert callable(node.target)
        return node.target(*arguments, **keywords)

    def _value(self, node: Node, values: Values, local: Mapping[Node, Any]) -> Any:
        if node in local:
            return local[node]
        if node in self._constants:
            return self._constants[node]
        return values[node]

    def _folded(self, nodes: Sequence[Node]) -> dict[Node, Any]:
        """What is computed of constants alone, by node."""
        constants: dict[Node, Any] = {}
        with torch.no_grad():
            for node in nodes:
                if node.op == "get_attr":
                    value: Any = self._module
                    for name in str(node.target).split("."):
                        value = getattr(value, name)
                    constants[node] = value
                elif node.op == "call_function" and all(source in constants for source in node.all_input_nodes):
                    self._constants = constants
                    constants[node] = self._constant(node)
        return constants

    def _constant(self, node: Node) -> Any:
        """What an operator makes of constants; in 16 bits what its table does, as programs keep it, if that is near."""
        exact = self._call(node, {}, {})
        call = node.args[0] if _is(node, "quantize_per_tensor") else None
        if not isinstance(call, Node) or arguments_of(call) is None:
            return exact
        table = _of_table(call, self._constants[call.all_input_nodes[0].all_input_nodes[0]])
        return exact if table is None or sqnr_db(exact, table) < TABLE_DB else table

    def _behind(self, leaf: Node) -> Node:
        """The quantize node whose integers an output stands for, or the output's own node."""
        if _is(leaf, "dequantize_per_tensor"):
            source = leaf.all_input_nodes[0]
            if _is(source, "quantize_per_tensor"):
                return source
        return leaf

    def _layers(self, nodes: Sequence[Node]) -> Iterator[Layer]:
        wanted = set(self.outputs)
        boundaries: set[Node] = set(self.inputs)
        index = 0
        order = {node: place for place, node in enumerate(nodes)}
        for node in nodes:
            scale = QuantizedTensor.of(node) if _is(node, "quantize_per_tensor") else None
            own = (
                scale is not None or (not self.quantized and _is_operator(node) and not _fuses(node)) or node in wanted
            )
            if node in self._constants or not own or (node.op == "placeholder" and node not in wanted):
                continue
            last = node.args[0] if scale is not None else node
            assert isinstance(last, Node)
            group, sources = self._group(last, boundaries, node if scale is None else None)
            boundaries.add(node)
            outputs = tuple(place for place, output in enumerate(self.outputs) if output is node)
            yield Layer(index, node, tuple(sorted(group, key=order.__getitem__)), tuple(sources), scale, outputs)
            index += 1

    def _group(self, last: Node, boundaries: set[Node], own: Node | None) -> tuple[list[Node], list[Node]]:
        """The nodes between the values of layers before and `last`, and the nodes of those layers."""
        group: list[Node] = []
        sources: list[Node] = []
        todo = [last]
        while todo:
            node = todo.pop()
            if node in self._constants or node in group or node in sources:
                continue
            if node in boundaries and (node is not own or node.op == "placeholder"):  # an input that is returned
                sources.append(node)
                continue
            group.append(node)
            todo.extend(node.all_input_nodes)
        return group, sources


def _of_table(call: Node, codes: Tensor) -> Tensor | None:
    """The integers that the table of an operator has for others, where it is one of 513 points; else None."""
    scales = arguments_of(call) if is_tabled(call) else None
    if scales is None or codes.is_floating_point() or len(call.all_input_nodes) != 1:
        return None
    return looked_up(call, codes, *scales).to(torch.int16)


def _functional(given: Graph) -> Graph:
    """A copy in which the readers of a value that was written to read what the writing operator gives.

    Raises:
        ModelError: it writes into a part of a tensor.
    """
    graph = Graph()
    copies: dict[Node, Node] = {}
    result = graph.graph_copy(given, copies)
    graph.output(result)
    for writer in list(graph.nodes):
        for index in writes_to(writer):
            written = writer.args[index]
            if not isinstance(written, Node) or is_view(written):
                raise ModelError(
                    f"{operator_name(writer)} of {module_path(writer) or 'the model'} writes into a part of a tensor, "
                    "which the check does not follow. Write e.g. torch.cat in its place."
                )
            readers = iter(graph.nodes)
            next(node for node in readers if node is writer)
            for reader in readers:
                reader.replace_input_with(written, writer)
    return graph


def _is_operator(node: Node) -> bool:
    """Whether a node gives a tensor of its own."""
    return node.op == "call_function" and isinstance(node.meta.get("val"), Tensor)


def _fuses(node: Node) -> bool:
    """Whether the node becomes one with the batch norm that alone reads it."""
    readers = list(node.users)
    weighs = any(word in operator_name(node) for word in ("conv", "linear"))
    return weighs and len(readers) == 1 and _is(readers[0], "batch_norm")


def _is(node: Node, name: str) -> bool:
    """Whether the name of a node's operator begins with `name`."""
    return node.op == "call_function" and operator_name(node).partition(".")[2].startswith(name)
