"""One sample's way through the reference graph: each layer from the simulator's own values of what it reads.

A layer's place in the simulated program is not taken on trust. A tensor counts as a layer's value only where it is, to
rounding, what the layer makes of its inputs. A layer without such a tensor is open: it may have no place of its own, as
what a lowering fuses or decomposes hasn't, or it may be wrong. Its readers tell: computed from what the layer should
give, they are right in the first case; in the second only what the simulator has in its place explains their values.
Outputs have a known place, so that nothing wrong stays open to the end.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from arm_recipes.simulators.base import Trace

from .bounds import TABLE_DB, Difference, clamped, difference, distance, likeness, limit_of, moved, sqnr_db
from .graph import Layer, Reference
from .places import Places

# Elements that are looked at first where a tensor is one of many that may be a layer's value.
_PROBED = 256
# The most steps by which an open layer's rounding may spread in its reader before the comparison tells nothing.
_TELLING = 4.0
# How far beyond half a step what is rounded once may be, and how far it is at most in 8 bits.
_ONE_ROUNDING = 0.25
_NEAR = 0.02
# The most values tried in the place of open layers.
_TRIED = 24


@dataclass
class Finding:
    """What one sample says of a layer.

    Attributes:
        layer: the layer.
        value: what its readers are computed from: the simulator's where `compared`, else what it should be.
        real: what it should be before it is quantized.
        compared: whether the simulator's value was found.
        wrong: whether the simulator's value is another than it should be.
        difference: of the simulator's value; of a wrong layer that is what its readers have.
        slack: steps by which `value` may be off, as the simulator rounds elsewhere; 0 where it is the simulator's.
        function: of a table with lines between its points that is off by more than rounding, what its function gives;
            `value` is the table's.
        candidates: what the simulator has that was made from the layer, where none of it is the layer's value.
        among: open layers before it one of which may be what is wrong.
        widened: whether it was compared only as closely as open layers before it allow.
        wrong_outputs: the program's outputs that should have the value and haven't.
        output_differences: of those, by index, where the shapes are the same.
    """

    layer: Layer
    value: Any
    real: Any = None
    compared: bool = False
    wrong: bool = False
    difference: Difference | None = None
    slack: float = 0.0
    function: Tensor | None = None
    candidates: list[Tensor] = field(default_factory=list)
    among: tuple[Layer, ...] = ()
    widened: bool = False
    wrong_outputs: tuple[int, ...] = ()
    output_differences: dict[int, Difference | None] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        return not (self.compared or self.wrong) and bool(self.layer.group)


@dataclass(frozen=True)
class _Match:
    value: Tensor
    real: Tensor
    difference: Difference


class Walk:
    """Holds a simulator's values against a reference."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference

    @torch.no_grad()
    def sample(self, inputs: Sequence[Tensor], trace: Trace) -> list[Finding]:
        """What one sample says of each layer, in the model's order.

        Args:
            inputs: as the reference takes them.
            trace: of the simulated program for the same sample.
        """
        return list(_Sample(self._reference, inputs, trace).findings.values())


class _Sample:
    def __init__(self, reference: Reference, inputs: Sequence[Tensor], trace: Trace) -> None:
        self._reference = reference
        self._outputs = trace.outputs
        self._places = Places(trace.tensors)
        self._cache: dict[Node, Any] = {}
        self._inputs: dict[Node, Any] = dict(zip(reference.inputs, inputs, strict=True))
        self.findings: dict[Node, Finding] = {}
        for layer in reference.layers:
            self.findings[layer.node] = self._finding(layer)

    def _finding(self, layer: Layer) -> Finding:
        real = self._reference.evaluate(layer, self._values(layer), self._cache)
        if not isinstance(real, Tensor):
            return Finding(layer, real, real, compared=True)
        function = real
        table = self._reference.looked_up(layer, self._values(layer))
        if table is not None and layer.scale is not None:
            real = layer.scale.dequantize(table)
            if sqnr_db(clamped(function, layer.scale), real) < TABLE_DB:
                real = function
        match = self._match(layer, real)
        if match is None or (layer.scale is not None and match.difference.beyond > _NEAR):
            match = self._explained(layer, match)
        widened = match is None
        if match is None:
            match = self._widened(layer, real)
        if match is not None:
            off = match.difference
            own = _as_integers(match.value, layer.dtype(real))
            finding = Finding(layer, own, match.real, True, difference=off, widened=widened)
        else:
            finding = self._left_open(layer, real)
        if table is not None and real is not function:
            if not difference(function, table, layer.scale).within(limit_of(layer)):
                finding.function = function
            if match is not None:
                finding.difference = difference(function, match.value, layer.scale)
        self._hold_tables(layer, real)
        self._hold_outputs(finding)
        return finding

    def _hold_tables(self, layer: Layer, real: Tensor) -> None:
        """Hold tables before a layer against their functions, by what the layer makes of them: it may read but a part,
        which is worse than the rest."""
        for node in layer.sources:
            finding = self.findings.get(node)
            if finding is None or finding.function is None or finding.wrong or finding.layer.scale is None:
                continue
            function = finding.layer.scale.quantize(finding.function)
            wanted = self._reference.evaluate(layer, self._values(layer, {node: function}))
            ends = (wanted, real) if layer.scale is None else (clamped(wanted, layer.scale), clamped(real, layer.scale))
            if sqnr_db(*ends) < TABLE_DB:
                finding.wrong, finding.among = True, ()
                finding.difference = difference(finding.function, finding.value, finding.layer.scale)

    def _values(self, layer: Layer, instead: Mapping[Node, Any] | None = None) -> dict[Node, Any]:
        values = {
            node: self._inputs[node] if node in self._inputs else self.findings[node].value for node in layer.sources
        }
        return {**values, **(instead or {})}

    # --- A layer's value in the program -------------------------------------------------------------------------

    def _match(self, layer: Layer, real: Tensor, limit: float | None = None) -> _Match | None:
        """The simulator's value of a layer that is `real` to rounding: of several the nearest, and rather one that was
        made from the layer than another."""
        limit = limit_of(layer) if limit is None else limit
        dtype = layer.dtype(real)
        best: _Match | None = None
        for candidate in (*self._given(layer, real), *self._places.of(layer, real.shape, dtype)):
            off = difference(real, candidate, layer.scale)
            if off.within(limit) and (best is None or off.beyond < best.difference.beyond):
                best = _Match(candidate, real, off)
        if best is not None:
            return best
        probed = torch.linspace(0, max(real.numel() - 1, 0), min(real.numel(), _PROBED)).long()
        probe = real.reshape(-1)[probed]
        for candidate in self._places.others(layer, real.shape, dtype):
            if difference(probe, candidate[torch.unravel_index(probed, candidate.shape)], layer.scale).within(limit):
                candidate = candidate.reshape(real.shape)
                off = difference(real, candidate, layer.scale)
                if off.within(limit) and (best is None or off.beyond < best.difference.beyond):
                    best = _Match(candidate, real, off)
        return best

    def _given(self, layer: Layer, real: Tensor) -> Iterator[Tensor]:
        """The program's outputs that are the layer's value."""
        for index in layer.outputs:
            value = self._output(layer, index)
            if value.shape == real.shape:
                yield value

    def _output(self, layer: Layer, index: int) -> Tensor:
        """An output of the program as the layer has it: integers, where the layer is quantized and the program's are
        the real numbers that these stand for."""
        value = self._outputs[index]
        if layer.scale is None or not value.is_floating_point():
            return value
        integers = layer.scale.steps(value.to(torch.float64)) + layer.scale.zero_point
        # Further than the integers go, so that what is wrong stays wrong.
        return integers.nan_to_num(1e9).clamp(-(2.0**30), 2.0**30).to(torch.int32)

    # --- What open layers before it explain ---------------------------------------------------------------------

    def _explained(self, layer: Layer, but_for: _Match | None) -> _Match | None:
        """The simulator's value, where it follows better from other values of layers before: from theirs without the
        rounding or the range, which a program that fuses them does not have; or from what the simulator has that was
        made from open ones, which says that they are wrong.

        Args:
            layer: the layer.
            but_for: how it is explained by what the open layers should give; None for not at all.
        """
        sources = [self.findings[node] for node in layer.sources if node in self.findings]
        before = [finding for finding in sources if finding.open]
        best, limit = but_for, limit_of(layer)
        for instead in (*_unrounded(before), *_unlimited(sources)):
            match = self._match(layer, self._reference.evaluate(layer, self._values(layer, instead)), limit)
            if match is not None and (best is None or match.difference.beyond < best.difference.beyond):
                best = match
        if best is not None:
            # A better explanation than one that is nearly as good as one can be.
            limit = min(_ONE_ROUNDING, best.difference.beyond / 2)
        for instead in itertools.islice(_alternatives(before), _TRIED):
            match = self._match(layer, self._reference.evaluate(layer, self._values(layer, instead)), limit)
            if match is not None and _tells(match, instead, best) and not self._moves(match, instead):
                for node, value in instead.items():
                    self._blame(self.findings[node], value)
                self._repeat(list(instead))
                return match
        return best

    def _moves(self, match: _Match, instead: Mapping[Node, Tensor]) -> bool:
        """Whether what is found follows from an open layer's own values, which the program has in another order: where
        transposes were joined into one, as in torch's attention. Of integers only what is but a view of them."""
        for node, value in instead.items():
            finding = self.findings[node]
            own, other = finding.value.flatten().sort().values, value.flatten().sort().values
            if finding.layer.scale is None:
                if difference(own, other, None).within(limit_of(finding.layer)):
                    return True
            elif torch.equal(value.flatten(), match.value.flatten()) and torch.equal(other, own.to(other.dtype)):
                return True
        return False

    def _widened(self, layer: Layer, real: Tensor) -> _Match | None:
        """The simulator's value, where open layers before, rounded elsewhere, may make it what it is."""
        slack = self._spread(layer, real)
        return self._match(layer, real, limit_of(layer) + slack) if 0 < slack <= _TELLING else None

    def _spread(self, layer: Layer, real: Tensor) -> float:
        """How many steps of a layer the slack of what it reads may make."""
        before = {node: self.findings[node] for node in layer.sources if node in self.findings}
        loose = {node: finding for node, finding in before.items() if finding.slack and finding.real is not None}
        if not loose:
            return 0.0
        most = 0.0
        generator = torch.Generator().manual_seed(0)
        for sign in (1.0, -1.0, None, None):
            instead = {}
            for node, finding in loose.items():
                signs = torch.full(finding.real.shape, sign or 1.0)
                if sign is None:
                    signs = torch.randint(0, 2, finding.real.shape, generator=generator) * 2.0 - 1
                instead[node] = moved(finding.value, signs * finding.slack, finding.layer.scale)
            most = max(most, distance(real, self._reference.evaluate(layer, self._values(layer, instead)), layer.scale))
        return 1.5 * most

    # --- What is wrong ------------------------------------------------------------------------------------------

    def _left_open(self, layer: Layer, real: Tensor) -> Finding:
        value = real if layer.scale is None else layer.scale.quantize(real)
        dtype = layer.dtype(real)
        candidates = [*self._given(layer, real), *self._places.of(layer, real.shape, dtype)]
        candidates += self._places.nameless(layer, real.shape, dtype) if layer.tabled else []
        # Not made from it are what is but moved, for it to compute, and other outputs of its operator.
        others = list(self._values(layer).values()) if layer.weighs else []
        others += [each.value for each in self.findings.values() if set(each.layer.keys) & set(layer.keys)]
        known = [each.flatten().sort().values for each in others if isinstance(each, Tensor)]
        candidates = [each for each in candidates if not _is_one_of(each.flatten().sort().values, known)]
        candidates.sort(key=lambda candidate: -likeness(value, candidate))
        slack = limit_of(layer) + self._spread(layer, real)
        return Finding(layer, value, real, slack=slack, candidates=candidates)

    def _repeat(self, changed: list[Node]) -> None:
        """Look once more at open layers that follow from values that turned out to be others."""
        self._cache.clear()
        for node, finding in list(self.findings.items()):
            if finding.open and any(source in changed for source in finding.layer.sources):
                self.findings[node] = self._finding(finding.layer)
                changed.append(node)

    def _blame(self, finding: Finding, value: Tensor) -> None:
        """An open layer is wrong: its readers have `value`."""
        finding.among = tuple(each.layer for each in self._open_before(finding.layer))
        finding.wrong = True
        finding.difference = difference(finding.real, value, finding.layer.scale)
        finding.value = _as_integers(value, finding.value.dtype)
        finding.slack = 0.0

    def _hold_outputs(self, finding: Finding) -> None:
        """Hold the program's outputs against the layer whose value they should have, whose places are known."""
        for index in finding.layer.outputs:
            value, alike, off = self._output(finding.layer, index), False, None
            if value.shape == finding.real.shape:
                off = difference(finding.real, value, finding.layer.scale)
                same = finding.compared and torch.equal(value.to(finding.value.dtype), finding.value)
                alike = same or off.within(limit_of(finding.layer))
            if not alike:
                finding.wrong_outputs = (*finding.wrong_outputs, index)
                finding.output_differences[index] = off
                if finding.open and value.shape == finding.real.shape:
                    self._blame(finding, value)

    def _open_before(self, layer: Layer) -> list[Finding]:
        """The open layers that a layer's value follows from, through nothing but open ones, in order."""
        todo, reached = list(layer.sources), {}
        while todo:
            node = todo.pop()
            finding = self.findings.get(node)
            if finding is not None and finding.open and node not in reached:
                reached[node] = finding
                todo.extend(finding.layer.sources)
        return sorted(reached.values(), key=lambda each: each.layer.index)


def _is_one_of(value: Tensor, others: Sequence[Tensor]) -> bool:
    return any(value.shape == other.shape and torch.equal(value.to(other.dtype), other) for other in others)


def _as_integers(value: Tensor, dtype: torch.dtype) -> Tensor:
    """An output's value as those read it that read the layer."""
    if value.dtype == dtype or dtype.is_floating_point:
        return value
    return value.clamp(torch.iinfo(dtype).min, torch.iinfo(dtype).max).to(dtype)


def _tells(match: _Match, instead: Mapping[Node, Tensor], but_for: _Match | None) -> bool:
    """Whether an explanation of a value by others is one: not where a value explains itself, as in
    minimum(minimum(a, b), b), nor where it is another value than what is to be explained."""
    if any(value.shape == match.value.shape and torch.equal(value, match.value) for value in instead.values()):
        return False
    return but_for is None or torch.equal(match.value, but_for.value)


def _unrounded(before: Sequence[Finding]) -> Iterator[dict[Node, Tensor]]:
    """The values of open layers without their rounding, and then without their range either, as 32 bits hold them."""
    quantized = [(finding.layer.node, finding.real, finding.layer.scale) for finding in before]
    if any(scale is not None for _, _, scale in quantized):
        yield {node: clamped(real, scale) for node, real, scale in quantized if scale is not None}
        yield {node: real for node, real, scale in quantized if scale is not None}


def _unlimited(sources: Sequence[Finding]) -> Iterator[dict[Node, Tensor]]:
    """The values of layers that end at their range for other readers, and for this one, in 32 bits, may not: a sum that
    is read by another sum is not rescaled in between."""
    quantized = [each for each in sources if each.layer.scale is not None]
    beyond = {
        each.layer.node: each.real
        for each in quantized
        if each.layer.scale is not None and not torch.equal(clamped(each.real, each.layer.scale), each.real)
    }
    if any(each.compared and each.layer.node in beyond for each in quantized):
        yield {**beyond, **{each.layer.node: each.real for each in quantized if each.open}}


def _alternatives(before: Sequence[Finding]) -> Iterator[dict[Node, Tensor]]:
    """What the simulator has that was made from open layers: of each alone, then of all."""
    for finding in before:
        yield from ({finding.layer.node: candidate} for candidate in finding.candidates)
    options = [[(finding.layer.node, candidate) for candidate in finding.candidates] for finding in before]
    if len(options) > 1:
        yield from (dict(choice) for choice in itertools.product(*(option for option in options if option)))
