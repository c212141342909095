"""Cure: what lies so far below the largest value of a softmax that it is nothing, and has all the range all the same.

A mask adds -1e9 to attention scores, or fills them with -inf (executorch makes -255 of it). Their range then has steps
of 4e6 (INT8) or 3e4 (A16W8), in which all scores are one; and TOSA's 16-bit table of exp, 512 straight lines over that
range, is off where it matters. exp(-12) is less than a quarter of the finest step of exp's own output, so nothing is
lost where the values below that saturate, which quantizing does by itself once the range is limited.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.utils.hooks import RemovableHandle
from torchao.quantization.pt2e import MinMaxObserver, ObserverBase

from arm_recipes.upstream.graphs import kernel_name, where

from .changes import note
from .observed import observed, observers
from .records import Change

_ATEN = torch.ops.aten
# How far below a row's largest value exp is nothing in the steps of its own output: exp(-8) is 0.09 of INT8's 1/255,
# exp(-12) is 0.2 of A16W8's 1/32767.
DEPTH = {torch.int8: 8.0, torch.int16: 12.0}
# A range this many times as wide as that needs no limit: its steps are fine enough, and the bytes stay upstream's.
_WIDER = 4.0
# A shared range is narrowed only where it becomes a good deal finer.
_FINER = 2.0

_SOFTMAXES = "arm_recipes.softmaxes"
# Names of nodes with a limited range, and where it ends. Their values below it are no loss.
FLOORS = "arm_recipes.floors"

# Operators that hand values on as they are.
_SAME_VALUES = {
    *("view", "view_copy", "reshape", "_unsafe_view", "expand", "transpose", "permute", "unsqueeze", "squeeze"),
    *("slice", "select", "clone", "contiguous", "alias", "repeat", "cat", "where", "masked_fill"),
}


@dataclass
class _Softmax:
    """The part of a softmax up to its exp.

    Attributes:
        difference: the node that subtracts the largest value.
        scores: the node whose values the softmax is of.
        depth: how far below the largest value nothing is left.
        lowest: the lowest of the scores within that depth, on all of the calibration's samples.
        handles: of the observers' hooks.
    """

    difference: Node
    scores: Node
    depth: float
    lowest: float = math.inf
    handles: list[RemovableHandle] = field(default_factory=list)
    _scores: Tensor | None = None

    def see_scores(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """The observer of the scores has that of the largest values and of what is viewed alike, too."""
        self._scores = inputs[0].detach() if inputs[0].shape == self.scores.meta["val"].shape else self._scores

    def see_difference(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if self._scores is not None and self._scores.shape == inputs[0].shape and self._scores.numel():
            told = torch.where(inputs[0].detach() > -self.depth, self._scores, math.inf)
            self.lowest = min(self.lowest, float(told.min()))
        self._scores = None


def watch_softmaxes(prepared: GraphModule) -> GraphModule:
    """A post-prepare pass: see during calibration which scores each softmax can tell from nothing."""
    by_node = dict(observers(prepared))
    softmaxes = []
    for softmax in _softmaxes(prepared, by_node):
        scores = [by_node.get(argument) for argument in softmax.difference.all_input_nodes[:1]]
        after = [by_node.get(user) for user in softmax.difference.users]
        if scores[0] is not None and len(after) == 1 and after[0] is not None:
            softmax.handles.append(scores[0].register_forward_pre_hook(softmax.see_scores))
            softmax.handles.append(after[0].register_forward_pre_hook(softmax.see_difference))
            softmaxes.append(softmax)
    prepared.meta[_SOFTMAXES] = softmaxes
    return prepared


def limit_masks(prepared: GraphModule) -> None:
    """Limit the ranges that reach further below a softmax's largest value than it can tell, and note it.

    Args:
        prepared: the model after calibration, before it is converted. Its observers are replaced.
    """
    by_node = dict(observers(prepared))
    softmaxes = []
    for softmax in prepared.meta.pop(_SOFTMAXES, ()):
        for handle in softmax.handles:
            handle.remove()
        observer = next(by_node[user] for user in softmax.difference.users)
        if float(observer.min_val) < -_WIDER * softmax.depth and math.isfinite(softmax.lowest):
            softmaxes.append(softmax)
    if softmaxes:
        _limit(prepared, _floors(prepared, softmaxes, by_node))


def _softmaxes(prepared: GraphModule, by_node: dict[Node, ObserverBase]) -> Iterator[_Softmax]:
    for node in prepared.graph.find_nodes(op="call_function", target=_ATEN.exp.default):
        (source,) = node.all_input_nodes
        observer, difference = by_node.get(source), observed(source)
        if observer is None or difference.target is not _ATEN.sub.Tensor or observer.dtype not in DEPTH:
            continue
        scores, largest = (observed(argument) if isinstance(argument, Node) else None for argument in difference.args)
        if scores is None or largest is None or largest.target is not _ATEN.amax.default:
            continue
        if observed(largest.all_input_nodes[0]) is scores and _readers(difference) == [node]:
            yield _Softmax(difference, scores, DEPTH[observer.dtype])


def _readers(node: Node) -> list[Node]:
    """Who reads a value, also through observers."""
    readers = []
    for user in node.users:
        readers += _readers(user) if user.op == "call_module" else [user]
    return readers


def _floors(prepared: GraphModule, softmaxes: list[_Softmax], by_node: dict[Node, ObserverBase]) -> dict[Node, float]:
    """Below which value nothing that reads a node's value can tell one from another; -inf where all matters."""
    by_difference = {softmax.difference: softmax for softmax in softmaxes}
    floors: dict[Node, float] = {}

    def needs(reader: Node, node: Node) -> float:
        own = floors.get(reader, -math.inf)
        if reader.op == "call_module" or kernel_name(reader.target)[1] in _SAME_VALUES:
            return own
        if reader.target is _ATEN.full_like.default:
            return math.inf  # its shape alone
        if reader in by_difference or reader.target is _ATEN.amax.default:
            # The largest value itself is never below.
            ends = [softmax.lowest - softmax.depth for softmax in softmaxes if _within(reader, softmax)]
            return min(ends, default=-math.inf)
        if reader.target is _ATEN.add.Tensor and len(reader.args) == 2:
            first, second = reader.args
            other = second if first is node else first
            if first is second or not isinstance(other, Node):
                return -math.inf
            return own - float(getattr(by_node.get(other), "max_val", math.inf))
        return -math.inf

    for node in reversed(prepared.graph.nodes):
        softmax = by_difference.get(node) or by_difference.get(observed(node))
        if softmax is not None:
            floors[node] = -_difference_depth(softmax, by_node)
        elif node.users:
            floors[node] = min(needs(reader, node) for reader in node.users)
    return floors


def _difference_depth(softmax: _Softmax, by_node: dict[Node, ObserverBase]) -> float:
    """How far below the largest value the differences go on.

    In 8 bits no less than the scores' own range: the lowering may fuse the scores' rounding away, which shows as steps
    that are wrong where those of the difference are finer.
    """
    (scores, *_) = softmax.difference.all_input_nodes
    observer = by_node[scores]
    if observer.dtype != torch.int8:
        return softmax.depth
    return max(softmax.depth, float(observer.max_val) - (softmax.lowest - softmax.depth))


def _within(reader: Node, softmax: _Softmax) -> bool:
    """Whether the reader is the subtraction of the softmax, or takes the largest value for it and for nothing else."""
    return reader is softmax.difference or _readers(reader) == [softmax.difference]


def _limit(prepared: GraphModule, floors: dict[Node, float]) -> None:
    # Upstream: ReplaceInfAndLimitValuesPass makes -255 of -inf, and observers take masks for values. Holds for
    # executorch 1.5.1; tests/lowering/test_a16w8.py::test_upstream_loses_it fails when it can go.
    groups: dict[int, list[Node]] = {}
    by_id: dict[int, ObserverBase] = {}
    for node, observer in observers(prepared):
        groups.setdefault(id(observer), []).append(node)
        by_id[id(observer)] = observer
    for key, nodes in groups.items():
        observer = by_id[key]
        floor = min(floors.get(node, -math.inf) for node in nodes)
        low, high = getattr(observer, "min_val", None), getattr(observer, "max_val", None)
        if not isinstance(low, Tensor) or not isinstance(high, Tensor) or low.numel() != 1 or not math.isfinite(floor):
            continue
        top = max(float(high), 0.0)
        if top - float(low) < _FINER * (max(top, 0.0) - min(floor, 0.0)):
            continue
        limited = _limited(observer, min(floor, 0.0), float(high))
        for node in nodes:
            setattr(prepared, str(node.target), limited)
            prepared.meta.setdefault(FLOORS, {})[observed(node).name] = floor
        source = observed(nodes[0])
        readers = _readers(nodes[0])
        note(
            prepared,
            Change(
                "softmax-range",
                where(source) if source.op == "call_function" else f"constant of {where(readers[0])}",
                f"its range ends at {floor:.4g} and not at {float(low):.4g}",
                "what lies below is nothing to the softmax that reads it, and would leave the scores "
                f"steps of {(top - float(low)) / (int(observer.quant_max) - int(observer.quant_min)):.2g}",
            ),
        )


def _limited(observer: ObserverBase, low: float, high: float) -> MinMaxObserver:
    limited = MinMaxObserver(
        dtype=observer.dtype,
        qscheme=observer.qscheme,
        quant_min=observer.quant_min,
        quant_max=observer.quant_max,
        eps=float(observer.eps),
    )
    limited.min_val.fill_(low)
    limited.max_val.fill_(max(high, low))
    return limited
