"""The error of a lowered program layer by layer: each layer's value in float, in the quantized module and simulated.

A layer here is what is quantized as one: an operator with the activation or batch norm that was fused into it. In a
program that is not quantized it is an operator.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node

from arm_recipes.checking.walk import Finding
from arm_recipes.lowering.integer_io import QuantizedTensor
from arm_recipes.upstream.graphs import operator_name, origin_of, where

from .metrics import Moments, sqnr_db
from .result import LayerError


@dataclass
class _Layer:
    """A layer of the reference graph, and sums over the samples.

    Attributes:
        name: the operator and the module that it came from.
        node: name of the reference graph's node that gives its value, integers where it is quantized.
        twin: name of the float model's node with the same value; None where there is none.
        inputs: the layers before it.
        scale: scale and zero point of its integers; None where it is not quantized.
        is_input: whether it is an input of the model, quantized.
        quantized: of the quantized module's value against the float model's.
        simulated: of the simulated value against the float model's.
        agreement: of the simulated value against the quantized module's, as integers where it is quantized.
        different: number of elements that differ in the latter.
        largest: largest difference in the latter.
        wrong: whether the check found the layer wrong.
    """

    name: str
    node: str
    twin: str | None
    inputs: list[_Layer]
    scale: QuantizedTensor | None = None
    is_input: bool = False
    quantized: Moments = field(default_factory=Moments)
    simulated: Moments = field(default_factory=Moments)
    agreement: Moments = field(default_factory=Moments)
    different: int = 0
    largest: float = 0.0
    wrong: bool = False

    def real(self, value: Tensor) -> Tensor:
        return value if self.scale is None else self.scale.dequantize(value, torch.float64)


class LayerTracer:
    """Adds up the errors of the layers, sample by sample."""

    def __init__(self, reference: GraphModule, captured: GraphModule | None) -> None:
        """
        Args:
            reference: the quantized module, or the module of the exported program where nothing is quantized.
            captured: the float model as torch.export captures it; None where there is none.
        """
        self._reference = reference
        self._captured = captured
        twins = {} if captured is None else _twins(captured)
        self._layers = list(_layers(reference, twins))
        # Of an operator that was decomposed only the last part has its value; the others were made of it as well.
        last = {layer.twin: layer for layer in self._layers}
        for layer in self._layers:
            if last[layer.twin] is not layer:
                layer.twin = None

    def add(self, inputs: Sequence[Tensor], findings: Sequence[Finding]) -> None:
        """Add one sample, with what the check found in it."""
        expected = _values(self._reference, inputs, {layer.node for layer in self._layers})
        floats = {}
        if self._captured is not None:
            floats = _values(self._captured, inputs, {layer.twin for layer in self._layers if layer.twin})
        found = {finding.layer.node.name: finding for finding in findings}
        for layer in self._layers:
            want = expected[layer.node]
            twin = floats.get(layer.twin or "")
            twin = twin if twin is not None and twin.shape == want.shape else None
            if twin is not None:
                layer.quantized += Moments.of(twin, layer.real(want))
            finding = found.get(layer.node)
            if finding is None or not (finding.compared or finding.wrong) or finding.value.shape != want.shape:
                continue
            value = finding.value
            layer.wrong = layer.wrong or finding.wrong
            layer.agreement += Moments.of(want, value)
            difference = (value.to(torch.float64) - want.to(torch.float64)).abs()
            layer.different += int((difference != 0).sum())
            layer.largest = max(layer.largest, float(difference.max()) if difference.numel() else 0.0)
            if twin is not None:
                layer.simulated += Moments.of(twin, layer.real(value))

    def errors(self) -> tuple[LayerError, ...]:
        """In the order in which the model computes the layers."""
        return tuple(_error(layer) for layer in self._layers if not layer.is_input)


def _error(layer: _Layer) -> LayerError:
    own = _sqnr(layer)
    before = [sqnr for sqnr in map(_sqnr, _known_before(layer)) if sqnr is not None and math.isfinite(sqnr)]
    known = own is not None and math.isfinite(own) and before
    return LayerError(
        layer.name,
        sqnr_db(layer.quantized) if layer.quantized.elements else None,
        sqnr_db(layer.simulated) if layer.simulated.elements else None,
        min(before) - own if known and own is not None else None,
        layer.agreement.elements,
        layer.different,
        layer.largest,
        layer.wrong,
        tuple(_fused_into(layer)) if layer.agreement.elements else (),
    )


def _known_before(layer: _Layer) -> Iterator[_Layer]:
    """The layers before it whose error is known, through parts of decomposed operators, whose isn't."""
    for before in layer.inputs:
        if before.twin is not None or before.is_input:
            yield before
        else:
            yield from _known_before(before)


def _fused_into(layer: _Layer) -> Iterator[str]:
    for before in layer.inputs:
        if not before.agreement.elements and not before.is_input:
            yield before.name
            yield from _fused_into(before)


def _sqnr(layer: _Layer) -> float | None:
    """Simulated where that is known, else quantized."""
    for moments in (layer.simulated, layer.quantized):
        if moments.elements:
            return sqnr_db(moments)
    return None


class _Recorder(Interpreter):
    def __init__(self, module: GraphModule, names: set[Any]) -> None:
        super().__init__(module)
        self._names = names
        self.values: dict[str, Tensor] = {}

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if n.name in self._names and isinstance(value, Tensor):
            self.values[n.name] = value.detach().clone()
        return value


def _values(module: GraphModule, inputs: Sequence[Tensor], names: set[Any]) -> dict[str, Tensor]:
    recorder = _Recorder(module, names)
    with torch.no_grad():
        recorder.run(*inputs, enable_io_processing=False)
    return recorder.values


def _layers(reference: GraphModule, twins: dict[str, str]) -> Iterator[_Layer]:
    quantizers = [node for node in reference.graph.nodes if _is(node, "quantize_per_tensor")]
    if not quantizers:
        yield from _float_layers(reference, twins)
        return
    layers: dict[Node, _Layer] = {}
    for node in quantizers:
        source = node.args[0]
        group, inputs = _group(source)
        scale = QuantizedTensor.of(node)
        if scale is None:
            continue
        calls = [member for member in group if member.op == "call_function"]
        layer = _Layer(
            where(calls[0]) if calls else f"input {source.name}",
            node.name,
            _twin(source, twins),
            [layers[before] for before in inputs if before in layers],
            scale,
            is_input=not calls,
        )
        layers[node] = layer
        yield layer


def _group(last: Node) -> tuple[list[Node], list[Node]]:
    """The nodes between quantized values and `last`, in order, and the quantize nodes of the former."""
    group: list[Node] = []
    inputs: list[Node] = []
    todo = [last]
    while todo:
        node = todo.pop()
        if _is(node, "dequantize_per_tensor"):
            inputs.extend(node.all_input_nodes[:1])
        elif (
            node.op in ("call_function", "placeholder") and "quantize_per" not in str(node.target) and node not in group
        ):
            group.append(node)
            todo.extend(node.all_input_nodes)
    order = {node: index for index, node in enumerate(last.graph.nodes)}
    return sorted(group, key=lambda node: order[node]), inputs


def _float_layers(reference: GraphModule, twins: dict[str, str]) -> Iterator[_Layer]:
    layers: dict[Node, _Layer] = {}
    for node in reference.graph.nodes:
        if node.op != "call_function" or not isinstance(node.meta.get("val"), Tensor) or _fused(node) is not None:
            continue
        before = [source for source in node.all_input_nodes if _fused(source) is node]
        sources = [*node.all_input_nodes, *(source for fused in before for source in fused.all_input_nodes)]
        layers[node] = _Layer(
            where(before[0] if before else node),
            node.name,
            _twin(node, twins),
            [layers[source] for source in sources if source in layers],
        )
        yield layers[node]


def _twins(captured: GraphModule) -> dict[str, str]:
    """The node of the float model that has the value of each node once batch norms are fused, by name."""
    twins = {}
    for node in captured.graph.nodes:
        fused = _fused(node)
        twins[node.name] = node.name if fused is None else fused.name
    return twins


def _fused(node: Node) -> Node | None:
    """The batch norm that becomes part of a convolution or linear, if any."""
    if node.op != "call_function" or not any(word in str(node.target) for word in ("conv", "linear")):
        return None
    users = list(node.users)
    return users[0] if len(users) == 1 and "batch_norm" in str(users[0].target) else None


def _twin(node: Node, twins: dict[str, str]) -> str | None:
    """By the name of the captured model's node that this one was made from, which it need not have itself."""
    origin = origin_of(node)
    return next((twins[name] for name in (*origin[:1], node.name) if name in twins), None)


def _is(node: Node, name: str) -> bool:
    return node.op == "call_function" and operator_name(node).split(".")[1:2] == [name]


def captured(model: nn.Module, inputs: Sequence[Tensor]) -> GraphModule | None:
    """The float model as the session captures it; None where that fails, as for a program that is lowered already."""
    try:
        return torch.export.export(model, tuple(inputs), strict=True).module()
    except Exception:
        return None
