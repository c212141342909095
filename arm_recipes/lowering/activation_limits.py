"""Activations that executorch loses, as the range of what they make isn't theirs alone.

`relu(conv(x))` that meets a signed tensor in a cat shares the cat's range, whose zero point lies in its midst.
executorch takes the activation for a part of the layer's quantization, as if the range began where the activation does:

- Arm's FuseQuantizedActivationPass takes the activation out and writes its limit into the quantize operator's
  quant_min, at which the integer lowering never looks. Where the layer's result is quantized before the activation as
  it is after, there is nothing to fuse, and no value changes.
- The Cortex-M passes refuse to fuse it, and leave the layer without a scale for its output: a float kernel on integers.
  They do look at quant_min and quant_max, at which CMSIS-NN's layers saturate: the activation's limits belong there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from executorch.exir.pass_manager import PassType
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Graph, GraphModule, Node
from torch.fx.passes.infra.pass_base import PassResult

from arm_recipes.upstream.graphs import is_operator, operator_name, quantizes, where
from arm_recipes.upstream.private import EdgeOpOverload, edge_operators

from .changes import note
from .records import Change

_ID = "relu-range"
# What a new node's meta has of the layer's.
_ORIGIN = ("nn_module_stack", "stack_trace", "from_node", "source_fn_stack")


@dataclass(frozen=True)
class _Limited:
    """A quantized layer, an activation that alone reads it, and a quantize operator that alone reads the activation.

    Attributes:
        layer: computes, on values that are quantized.
        activation: limits what it computes.
        quantize: operator with one scale and zero point.
        limits: least and greatest integer that the activation lets through.
        range: least and greatest integer that the quantize operator gives.
    """

    layer: Node
    activation: Node
    quantize: Node
    limits: tuple[int, int]
    range: tuple[int, int]

    @property
    def beyond(self) -> bool:
        """Whether the range has integers that the activation lets none through at."""
        return self.limits != self.range

    def change(self, what: str) -> Change:
        why = f"the range goes beyond {operator_name(self.activation)}'s, which executorch would lose"
        return Change(_ID, where(self.layer), what, why)


# What an operator limits its values to, given its arguments after the first; None is no limit.
_BOUNDS: dict[str, Callable[..., tuple[Any, Any]]] = {
    "aten.relu": lambda: (0.0, None),
    "aten.relu6": lambda: (0.0, 6.0),
    "aten.hardtanh": lambda low=-1.0, high=1.0: (low, high),
    "aten.clamp": lambda low=None, high=None: (low, high),
}


def _limited(graph: Graph, layers: tuple[str, ...]) -> Iterator[_Limited]:
    """Those in the graph whose layer's name begins with one of `layers`."""
    for activation in list(graph.nodes):
        bounds = _BOUNDS.get(operator_name(activation).removesuffix("_"))
        if bounds is None or activation.kwargs or len(activation.users) != 1:
            continue
        layer, quantize = activation.args[0], next(iter(activation.users))
        if not is_operator(layer) or not operator_name(layer).startswith(layers) or len(layer.users) != 1:
            continue
        if operator_name(quantize) != "quantized_decomposed.quantize_per_tensor":
            continue
        if not any(map(quantizes, layer.all_input_nodes)):
            continue
        _, scale, zero_point, least, greatest, *_ = quantize.args
        limits = [
            otherwise if value is None else max(least, min(greatest, round(value / scale) + zero_point))
            for value, otherwise in zip(bounds(*activation.args[1:]), (least, greatest), strict=True)
        ]
        yield _Limited(layer, activation, quantize, (limits[0], limits[1]), (least, greatest))


class ActivationLimits:
    """Changes in place what an activation's limits need: the module that the session has quantized, by `in_module`; and
    the edge program of one that it was given quantized, as an edge transform callable."""

    def in_module(self, module: GraphModule) -> GraphModule:
        """A post-convert pass."""
        for _, change in self._changed(module.graph):
            note(module, change)
        module.recompile()
        return module

    def __call__(self, method: str, program: ExportedProgram) -> list[PassType]:
        return [self._in_program] if any(True for _ in self._sites(program.graph)) else []

    def _in_program(self, graph_module: GraphModule) -> PassResult:
        for layer, change in self._changed(graph_module.graph):
            note(layer, change)
        graph_module.recompile()
        return PassResult(graph_module, True)

    def _changed(self, graph: Graph) -> Iterator[tuple[Node, Change]]:
        for site in list(self._sites(graph)):
            yield site.layer, self._change(graph, site)

    def _sites(self, graph: Graph) -> Iterator[_Limited]:
        """Where the family's lowering would lose the activation."""
        raise NotImplementedError

    def _change(self, graph: Graph, site: _Limited) -> Change:
        """Make the change."""
        raise NotImplementedError


class QuantizeBeforeActivations(ActivationLimits):
    """Of Arm's TOSA recipes: has results of convolutions and linear layers quantized before relu as they are after."""

    def _sites(self, graph: Graph) -> Iterator[_Limited]:
        for site in _limited(graph, ("aten.conv", "aten.linear")):
            # What fuses, of what the quantizer takes for a part of the layer.
            fuses = site.limits[1] == site.range[1] and operator_name(site.activation) != "aten.clamp"
            if fuses and site.beyond:
                yield site

    def _change(self, graph: Graph, site: _Limited) -> Change:
        quantize = self._inserted(graph, site, site.quantize.target, site.layer, site.quantize.args[5])
        edge = isinstance(site.quantize.target, EdgeOpOverload)
        operators: Any = edge_operators if edge else torch.ops
        target = operators.quantized_decomposed.dequantize_per_tensor.default
        dequantize = self._inserted(graph, site, target, quantize, torch.float32)
        site.activation.replace_input_with(site.layer, dequantize)
        return site.change(f"its result is quantized before {operator_name(site.activation)} as it is after")

    def _inserted(self, graph: Graph, site: _Limited, target: Any, after: Node, dtype: Any) -> Node:
        """A quantize or dequantize operator with the figures of the one that is there."""
        with graph.inserting_after(after):
            node = graph.call_function(target, (after, *site.quantize.args[1:]))
        node.meta = {key: value for key, value in site.layer.meta.items() if key in _ORIGIN}
        value = site.layer.meta.get("val")
        if isinstance(value, Tensor):
            node.meta["val"] = value.to(dtype)
        return node


class LimitByQuantization(ActivationLimits):
    """Of Cortex-M: lets the quantize operator after a layer do what an activation between them does."""

    def _sites(self, graph: Graph) -> Iterator[_Limited]:
        return (site for site in _limited(graph, ("aten.conv", "aten.linear", "aten.add", "aten.sub")) if site.beyond)

    def _change(self, graph: Graph, site: _Limited) -> Change:
        _, scale, zero_point, _, _, *others = site.quantize.args
        site.quantize.args = (site.layer, scale, zero_point, *site.limits, *others)
        graph.erase_node(site.activation)
        low, high = site.limits
        name = operator_name(site.activation)
        return site.change(f"{name} is done by saturation to {low}..{high} where its result is quantized")
