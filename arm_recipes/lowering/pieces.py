"""Cure: a function too steep for TOSA's 16-bit table over the range of its input, put together from several tables.

A table has 513 points over all 65,536 values. 1 / x over [1, 64] has one every 0.25: near 1 it is off by 0.016. Between
cuts c, with the input held to each part, f(x) is the sum of f over all parts, less f at each cut. The part next to zero
has a range, and so steps and points, of its own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from executorch.backends.arm._passes.quant_args import QuantArgs
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torchao.quantization.pt2e import FixedQParamsObserver, MinMaxObserver, ObserverBase

from arm_recipes.upstream.graphs import where

from .changes import note
from .masks import FLOORS
from .observed import Inputs, observer_of, run_float
from .records import Change
from .steps import step_of
from .tables import is_tabled, looked_up

_ATEN = torch.ops.aten
# Steps of the output that a table may be off before it is put together of several. 0.6 is usual for sigmoid, tanh,
# silu, gelu and exp over usual ranges; the check of a lowered program takes 4 for wrong.
MOST_STEPS = 3.0
# As good as the steps above, or this many times better than one table.
_BETTER = 4.0
_MOST_CUTS = 3
# Each cut is this far from the one before it, counted in ratios; those that are tried.
_RATIOS = tuple(2.0 ** (power / 2) for power in range(2, 17))
_VALUES = 4096


@dataclass
class _Function:
    """An operator that becomes a table, and values that reach it.

    Attributes:
        node: of the prepared graph.
        source: observer of its input.
        result: observer of its output.
        values: of its input, on the samples.
    """

    node: Node
    source: ObserverBase
    result: ObserverBase
    values: list[Tensor] = field(default_factory=list)

    def __call__(self, x: Tensor) -> Tensor:
        value: Tensor = self.node.target(x, *self.node.args[1:], **self.node.kwargs)  # type: ignore[operator]
        return value

    def off(self, cuts: tuple[float, ...]) -> float:
        """Largest error in steps of the output, beyond the half step of rounding."""
        x = torch.cat(self.values)
        source, result = _arguments(self.source), _arguments(self.result)
        x = source.dequantize_value(source.quantize_value(x))
        exact = (self(x) / float(result.scale)).clamp(result.qmin, result.qmax)
        edges = (None, *cuts, None)
        total = torch.zeros(x.shape, dtype=torch.float64)
        for low, high in itertools.pairwise(edges):
            part = x if low is None and high is None else x.clamp(low, high)
            held = _held(source, low, high, float(x.abs().max()))
            total += looked_up(self.node, held.quantize_value(part), held, result)
        for cut in cuts:
            total -= float(self(torch.tensor(cut))) / float(result.scale)
        error = float((total - exact).abs().max()) - 0.5
        return error if math.isfinite(error) else math.inf


def pieces(prepared: GraphModule, samples: list[Inputs]) -> None:
    """Put functions together of several tables where one is off, and note it.

    Args:
        prepared: the model after calibration, before it is converted. Its graph is changed.
        samples: to measure on.
    """
    functions = {function.node: function for function in _functions(prepared)}
    if not functions:
        return
    by_source: dict[Node, list[_Function]] = {}
    for function in functions.values():
        by_source.setdefault(function.node.all_input_nodes[0], []).append(function)

    def see(node: Node, value: Tensor) -> None:
        for function in by_source.get(node, ()):
            flat = value.detach().flatten()
            ends = torch.stack(torch.aminmax(flat)) if flat.numel() else flat
            function.values.append(torch.cat([flat[:: max(1, flat.numel() // _VALUES)], ends]))

    run_float(prepared, samples, see)
    changed = False
    for function in functions.values():
        cuts = _cuts(function) if function.values else ()
        if cuts:
            _put_together(prepared, function, cuts)
            changed = True
    if changed:
        prepared.graph.lint()
        prepared.recompile()


def _functions(prepared: GraphModule) -> Iterator[_Function]:
    for node in prepared.graph.nodes:
        if node.op != "call_function" or not is_tabled(node) or len(node.users) != 1 or len(node.all_input_nodes) != 1:
            continue
        source, result = (observer_of(prepared, each) for each in (node.all_input_nodes[0], next(iter(node.users))))
        if source is not None and result is not None and source.dtype == result.dtype == torch.int16:
            yield _Function(node, source, result)


def _cuts(function: _Function) -> tuple[float, ...]:
    """Where to cut, the fewest that will do; none where one table will, or where cuts don't help."""
    whole = function.off(())
    if whole <= MOST_STEPS:
        return ()
    x = torch.cat(function.values)
    far = float(x.abs().max())
    signed = float(x.min()) < 0
    best: tuple[float, tuple[float, ...]] = (whole / _BETTER, ())
    for count in (1,) if signed else range(1, _MOST_CUTS + 1):
        for ratio in _RATIOS:
            cuts = tuple(far * ratio ** -(count - index) for index in range(count))
            cuts = (-cuts[0], cuts[0]) if signed else cuts
            best = min(best, (function.off(cuts), cuts))
        if best[0] <= MOST_STEPS:
            break
    return best[1]


def _arguments(observer: ObserverBase) -> QuantArgs:
    """Nearly what the observer's own search for a scale gives, which takes long and may leave out a few outliers."""
    if isinstance(observer, FixedQParamsObserver):  # as asin's and atanh's inputs have
        scale = float(observer.scale)
    else:
        scale = float(torch.maximum(step_of(observer), observer.eps).max())
    return QuantArgs(scale, 0, int(observer.quant_min), int(observer.quant_max), torch.int16)


def _held(source: QuantArgs, low: float | None, high: float | None, far: float) -> QuantArgs:
    """How a part of the input is quantized."""
    if low is None and high is None:
        return source
    end = max(far if high is None else abs(high), far if low is None and high is not None and high <= 0 else 0.0)
    if low is None and high is not None and high > 0:
        end = abs(high)
    return source._replace(scale=min(end / source.qmax, float(source.scale)))


# the graph


def _put_together(prepared: GraphModule, function: _Function, cuts: tuple[float, ...]) -> None:
    # Upstream: InsertTableOpsPass has one table for an operator, TOSA's of 513 points. Holds for executorch 1.5.1;
    # tests/lowering/test_pieces.py::test_upstream_has_one_table fails when it can go.
    before, node = function.off(()), function.node
    (source,) = node.all_input_nodes
    (after,) = node.users
    builder = _Builder(prepared, function)
    far = float(torch.cat(function.values).abs().max())
    edges = (None, *cuts, None)
    total: Node | None = None
    for low, high in itertools.pairwise(edges):
        held = _held(_arguments(function.source), low, high, far)
        part = builder.held(source, low, high, float(held.scale) * held.qmax)
        value = builder.call(node.target, (part, *node.args[1:]), node.kwargs, None)
        if total is not None and low is not None:
            at_cut = builder.constant(float(function(torch.tensor(low))))
            value = builder.call(_ATEN.sub.Tensor, (value, at_cut), {}, None)
            value = builder.call(_ATEN.add.Tensor, (total, value), {}, None)
        total = value
    assert total is not None
    after.replace_all_uses_with(total, delete_user_cb=lambda user: user not in builder.made)
    prepared.graph.erase_node(after)
    prepared.graph.erase_node(node)
    note(
        prepared,
        Change(
            "table-pieces",
            where(node),
            f"put together of {len(cuts) + 1} tables, cut at {', '.join(f'{cut:.3g}' for cut in cuts)}",
            f"one 16-bit table over the range of its input is off by {before:.3g} steps",
        ),
    )


class _Builder:
    """Puts nodes behind one another, each with an observer. The pieces' results share the range of the function's."""

    def __init__(self, prepared: GraphModule, function: _Function) -> None:
        self._prepared = prepared
        self._function = function
        self._result = str(next(iter(function.node.users)).target)
        self._graph: Graph = prepared.graph
        self._last = next(iter(function.node.users))
        self.made: set[Node] = set()

    def call(self, target: Any, args: tuple[Any, ...], kwargs: Any, end: float | None) -> Node:
        """The node that observes what an operator gives: in the function's own range, or up to `end`."""
        node = self._add("call_function", target, args, kwargs)
        node.meta = dict(self._function.node.meta)
        return self._observe(node, end)

    def constant(self, value: float) -> Node:
        name = self._name("cut")
        self._prepared.register_buffer(name, torch.tensor([value]))
        return self._observe(self._add("get_attr", name, (), {}), abs(value))

    def held(self, source: Node, low: float | None, high: float | None, end: float) -> Node:
        node = source
        if high is not None:
            node = self.call(_ATEN.minimum.default, (node, self.constant(high)), {}, max(end, abs(high)))
            if low is not None:
                # What is below `low` saturates here already.
                self._prepared.meta.setdefault(FLOORS, {})[node.all_input_nodes[0].name] = low
        if low is not None:
            node = self.call(_ATEN.maximum.default, (node, self.constant(low)), {}, end)
        return node

    def _observe(self, node: Node, end: float | None) -> Node:
        if end is None:
            return self._add("call_module", self._result, (node,), {})
        result = self._function.result
        observer = MinMaxObserver(
            dtype=result.dtype,
            qscheme=result.qscheme,
            quant_min=result.quant_min,
            quant_max=result.quant_max,
            eps=2.0**-40,
        )
        observer.min_val.fill_(-end)
        observer.max_val.fill_(end)
        name = self._name("observer")
        self._prepared.add_module(name, observer)
        return self._add("call_module", name, (node,), {})

    def _add(self, op: str, target: Any, args: tuple[Any, ...], kwargs: Any) -> Node:
        with self._graph.inserting_after(self._last):
            self._last = self._graph.create_node(op, target, args, kwargs)
        self.made.add(self._last)
        return self._last

    def _name(self, kind: str) -> str:
        number = 0
        while hasattr(self._prepared, name := f"_arm_recipes_{kind}_{number}"):
            number += 1
        return name
