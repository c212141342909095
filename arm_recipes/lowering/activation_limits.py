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

from torch.fx import Graph, Node

from arm_recipes.upstream.graphs import is_operator, operator_name, quantizes, where

from .quantized_cures import QuantizedCure, requantize
from .records import Change

_ID = "relu-range"


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


class QuantizeBeforeActivations(QuantizedCure[_Limited]):
    """Of Arm's TOSA recipes: has results of convolutions and linear layers quantized before relu as they are after."""

    def _sites(self, graph: Graph) -> Iterator[_Limited]:
        for site in _limited(graph, ("aten.conv", "aten.linear")):
            # What fuses, of what the quantizer takes for a part of the layer.
            fuses = site.limits[1] == site.range[1] and operator_name(site.activation) != "aten.clamp"
            if fuses and site.beyond:
                yield site

    def _change(self, graph: Graph, site: _Limited) -> tuple[Node, Change]:
        requantize(graph, site.layer, site.activation, site.quantize, site.quantize.args[1:])
        what = f"its result is quantized before {operator_name(site.activation)} as it is after"
        return site.layer, site.change(what)


class LimitByQuantization(QuantizedCure[_Limited]):
    """Of Cortex-M: lets the quantize operator after a layer do what an activation between them does."""

    def _sites(self, graph: Graph) -> Iterator[_Limited]:
        return (site for site in _limited(graph, ("aten.conv", "aten.linear", "aten.add", "aten.sub")) if site.beyond)

    def _change(self, graph: Graph, site: _Limited) -> tuple[Node, Change]:
        _, scale, zero_point, _, _, *others = site.quantize.args
        site.quantize.args = (site.layer, scale, zero_point, *site.limits, *others)
        graph.erase_node(site.activation)
        low, high = site.limits
        name = operator_name(site.activation)
        return site.layer, site.change(f"{name} is done by saturation to {low}..{high} where its result is quantized")
