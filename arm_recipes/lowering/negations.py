"""Cure: a negation whose result is quantized in other steps than what it reads.

TOSA's NEGATE knows zero points and no scales: executorch has a negation share the steps of its input, mirrored. That is
lost where the input's range is not its own: in `-relu(-x)` relu keeps the range of `-x`, and the result has its own.
Here its input is quantized in the result's steps before it is negated.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.fx import Graph, Node

from arm_recipes.upstream.graphs import is_operator, operator_name, where

from .quantized_cures import QuantizedCure, requantize
from .records import Change

# Of the scales, relative: off by less than a twentieth of a step at the end of 8 bits.
_ALIKE = 1e-4


class RescaleBeforeNegations(QuantizedCure[Node]):
    """Of Arm's TOSA recipes. A site is the negation."""

    def _sites(self, graph: Graph) -> Iterator[Node]:
        # Upstream: the lowering of neg. Holds for executorch 1.5.1;
        # tests/lowering/test_negations.py::test_upstream_gets_it_wrong fails when it can go.
        for node in graph.nodes:
            if not is_operator(node) or operator_name(node) != "aten.neg" or len(node.users) != 1:
                continue
            source, reader = node.all_input_nodes[0], next(iter(node.users))
            names = [operator_name(each) if is_operator(each) else "" for each in (source, reader)]
            if names != [f"quantized_decomposed.{kind}_per_tensor" for kind in ("dequantize", "quantize")]:
                continue
            if abs(float(source.args[1]) / float(reader.args[1]) - 1) > _ALIKE:
                yield node

    def _change(self, graph: Graph, site: Node) -> tuple[Node, Change]:
        source, quantize = site.all_input_nodes[0], next(iter(site.users))
        _, scale, zero_point, least, greatest, dtype = quantize.args[:6]
        # So that each of 8 bits has its mirror image. NEGATE has no zero point of 16 bits.
        mirrored = least + greatest - zero_point if dtype is torch.int8 else zero_point  # type: ignore[operator]
        requantize(graph, source, site, quantize, (scale, mirrored, least, greatest, dtype))
        why = "TOSA's NEGATE, which executorch makes of it, changes no scale"
        return site, Change("negation-scale", where(site), "its input is quantized in the steps of its result", why)
