"""How a model is quantized, read off annotations while the session goes on, or off what conversion left.

Upstream's reporter (executorch.backends.cortex_m.quantizer_reporter) knows the patterns, and why others were refused;
its print of a spec leaves out scheme, channel axis, observer and whether it is dynamic. Here specs are written from
their own attributes, whatever those are, so that two that differ never read the same.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from executorch.export import ExportSession, StageType
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e.quantizer import Quantizer
from torchao.quantization.pt2e.quantizer.quantizer import Q_ANNOTATION_KEY

from arm_recipes.errors import ArmRecipeError
from arm_recipes.upstream.graphs import arguments_by_name, is_operator, module_path, operator_name, quantizes
from arm_recipes.upstream.session import exported_programs

from .records import MethodQuantization, QuantizedInput, QuantizedNode, RefusedPattern, Spec

_RECORD = "arm_recipes.quantization"
# What upstream's quantizers say of a node that an earlier one of them has taken: nothing was refused.
_TAKEN = "Tried annotating already quantized node."


class QuantizationRecorder:
    """A post-prepare pass that keeps the annotations, which conversion would drop. It changes nothing else."""

    def __init__(self, *quantizers: Quantizer) -> None:
        """
        Args:
            quantizers: that annotate; if their parts report to upstream's reporter, patterns are known as well.
        """
        self._quantizers = quantizers

    def __call__(self, model: GraphModule) -> GraphModule:
        model.meta[_RECORD] = _annotated(model, *_patterns(self._quantizers))
        return model


def method_quantizations(quantized: ExportSession | GraphModule) -> dict[str, MethodQuantization]:
    """How each method is quantized, by name; a module is one method, ``forward``.

    Raises:
        ArmRecipeError: it is neither a session nor a GraphModule.
    """
    if isinstance(quantized, GraphModule):
        return {"forward": _of(quantized)}
    if not isinstance(quantized, ExportSession):
        raise ArmRecipeError(
            f"quantization_report of {type(quantized).__name__}: allowed are a session and a GraphModule."
        )
    artifact = quantized.get_stage_artifacts().get(StageType.QUANTIZE)
    data = artifact.data if artifact is not None else {}
    modules = {method: program.graph_module for method, program in exported_programs(quantized).items()}
    # The recorded annotations are on these.
    modules |= {method: module for method, module in data.items() if isinstance(module, GraphModule)}
    return {method: _of(module) for method, module in modules.items()}


def _of(model: GraphModule) -> MethodQuantization:
    if _RECORD in model.meta:
        recorded: MethodQuantization = model.meta[_RECORD]
        return recorded
    # A converted module's nodes still carry annotations, which speak of nodes that are gone.
    return _converted(model) if any(map(quantizes, model.graph.nodes)) else _annotated(model, (), ())


def _patterns(quantizers: Iterable[Quantizer]) -> tuple[tuple[tuple[str, ...], ...], tuple[RefusedPattern, ...]]:
    """What the parts of upstream's composed quantizers reported: patterns that were quantized, and refused ones."""
    accepted: list[tuple[str, ...]] = []
    refused: dict[RefusedPattern, None] = {}
    composed = [getattr(quantizer, "quantizer", quantizer) for quantizer in quantizers]
    for part in [part for each in composed for part in getattr(each, "quantizers", (each,))]:
        reporter = getattr(part, "reporter", None)
        report = getattr(reporter, "quantizers", {}).get(part)
        if report is None:
            continue
        accepted += [tuple(node.name for node in pattern.nodes) for pattern in report.accepted_patterns]
        for pattern in report.rejected_patterns:
            if pattern.rejection_reason != _TAKEN:
                refused[RefusedPattern(tuple(pattern.node_names), str(pattern.rejection_reason))] = None
    taken = {name for pattern in accepted for name in pattern}
    # What one part refuses another may take.
    return tuple(accepted), tuple(each for each in refused if not set(each.nodes) <= taken)


@dataclass
class _Specs:
    """Names for specs: equal ones share one, and different ones never read the same."""

    _known: list[tuple[Any, Spec]] = field(default_factory=list)
    _callables: list[Any] = field(default_factory=list)

    def name(self, spec: Any) -> str | None:
        if spec is None:
            return None
        for known, made in self._known:
            if known is spec or (type(known) is type(spec) and _equal(known, spec)):
                return made.name
        kind = type(spec).__name__
        attributes = {key: self._plain(value) for key, value in _attributes(spec).items()}
        return self._add(spec, kind, attributes)

    def name_converted(self, attributes: dict[str, Any]) -> str:
        key = tuple(sorted((name, str(value)) for name, value in attributes.items()))
        for known, made in self._known:
            if known == key:
                return made.name
        return self._add(key, "converted", attributes)

    def all(self) -> tuple[Spec, ...]:
        return tuple(made for _, made in self._known)

    def _add(self, key: Any, kind: str, attributes: dict[str, Any]) -> str:
        text = _text(kind, attributes)
        same = sum(made.text == text or made.text.startswith(f"{text} [") for _, made in self._known)
        name = f"Q{len(self._known) + 1}"
        self._known.append((key, Spec(name, kind, attributes, f"{text} [{same + 1}]" if same else text)))
        return name

    def _plain(self, value: Any) -> Any:
        """An attribute as plain data for JSON, in which what differs stays different."""
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, Node):
            return value.name
        if isinstance(value, (list, tuple)):
            plain = [self._plain(each) for each in value]
            edge = len(value) == 2 and isinstance(value, tuple) and all(isinstance(each, Node) for each in value)
            return f"{plain[0]} -> {plain[1]}" if edge else plain
        if isinstance(value, (torch.dtype, torch.qscheme)):
            return str(value).removeprefix("torch.")
        if isinstance(value, dict):
            return {str(key): self._plain(each) for key, each in value.items()}
        if callable(value):
            return self._callable(value)
        return f"{type(value).__name__}({value})"

    def _callable(self, value: Any) -> str:
        partial = getattr(value, "p", value)  # observers with arguments come in a wrapper around a partial
        if isinstance(partial, functools.partial):
            words = [str(self._plain(each)) for each in partial.args]
            words += [f"{name}={self._plain(each)}" for name, each in sorted(partial.keywords.items())]
            # Arguments that are made at the time of the call, by functions.
            for name, each in sorted(getattr(value, "callable_args", {}).items()):
                words.append(f"{name}={self._callable(each)}()")
            return f"{self._callable(partial.func)}({', '.join(words)})"
        name = getattr(value, "__qualname__", type(value).__qualname__)
        if isinstance(value, type) or (isinstance(value, types.FunctionType) and "<" not in name):
            return str(name)
        name = name.rpartition(".")[2]
        # Two lambdas, or two closures of one function, have one name.
        if not any(value is known for known in self._callables):
            self._callables.append(value)
        number = next(index for index, known in enumerate(self._callables) if known is value)
        return f"{name}#{number + 1}"


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # what an unknown class compares may be tensors
        return False


def _attributes(spec: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(spec):
        return {each.name: getattr(spec, each.name) for each in dataclasses.fields(spec)}
    return dict(vars(spec)) if hasattr(spec, "__dict__") else {"value": repr(spec)}


# Attribute -> how it reads in a line. Any other is written with its name.
_PHRASES: dict[str, Callable[[Any], str]] = {
    "dtype": str,
    "quant_min": str,
    "qscheme": lambda value: str(value).replace("_", " "),
    "ch_axis": lambda value: f"axis {value}",
    "is_dynamic": lambda value: "dynamic" if value else "static",
    "observer_or_fake_quant_ctr": str,
    "edge_or_node": lambda value: f"shared with {value}",
    "derived_from": lambda value: f"derived from {' and '.join(map(str, value))}",
    "derive_qparams_fn": lambda value: f"by {value}",
}
_ORDER = ("edge_or_node", "dtype", "quant_min", "qscheme", "ch_axis", "is_dynamic", "derived_from", "derive_qparams_fn")


def _text(kind: str, attributes: Mapping[str, Any]) -> str:
    given = {name: value for name, value in attributes.items() if value is not None}
    low, high = given.pop("quant_min", None), given.pop("quant_max", None)
    if low is not None or high is not None:
        given["quant_min"] = f"{'' if low is None else low}..{'' if high is None else high}"
    names = sorted(given, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
    words = []
    for name in names:
        phrase = _PHRASES.get(name)
        words.append(phrase(given[name]) if phrase else f"{name} {given[name]}")
    known = ("QuantizationSpec", "SharedQuantizationSpec", "DerivedQuantizationSpec", "converted")
    return ", ".join(words if kind in known else [kind, *words])


def _annotated(
    model: GraphModule, patterns: Iterable[tuple[str, ...]], refused: Iterable[RefusedPattern]
) -> MethodQuantization:
    specs = _Specs()
    nodes = []
    left = {}
    for node in model.graph.nodes:
        annotation = node.meta.get(Q_ANNOTATION_KEY)
        inputs = getattr(annotation, "input_qspec_map", {})
        output = getattr(annotation, "output_qspec", None)
        if output is None and not any(spec is not None for spec in inputs.values()):
            if is_operator(node) and annotation is None:
                left[node.name] = operator_name(node)
            continue
        nodes.append(
            QuantizedNode(
                name=node.name,
                operator=operator_name(node),
                module=module_path(node),
                inputs=tuple(_input(node, source, specs.name(spec)) for source, spec in inputs.items()),
                output=specs.name(output),
            )
        )
    within = {name for pattern in patterns for name in pattern}
    left = {name: operator for name, operator in left.items() if name not in within}
    return MethodQuantization(specs.all(), tuple(patterns), tuple(nodes), tuple(refused), left)


def _input(node: Node, source: Node, spec: str | None) -> QuantizedInput:
    argument = next((name for name, value in arguments_by_name(node).items() if _observed(value) is source), "")
    return QuantizedInput(source.name, argument, source.op == "get_attr", spec)


def _observed(value: object) -> object:
    """What an observer that prepare put into the graph observes; anything else as it is."""
    return value.args[0] if isinstance(value, Node) and value.op == "call_module" and value.args else value


def _converted(model: GraphModule) -> MethodQuantization:
    """Read it off the quantize and dequantize operators."""
    specs = _Specs()
    inputs: dict[Node, list[QuantizedInput]] = {}
    outputs: dict[Node, str] = {}
    for node in model.graph.nodes:
        if not quantizes(node) or not node.all_input_nodes:
            continue
        spec = specs.name_converted(_qdq_attributes(node))
        source = node.all_input_nodes[0]
        if "dequantize" not in operator_name(node):
            outputs[source] = spec
            continue
        while quantizes(source) and source.all_input_nodes:
            source = source.all_input_nodes[0]
        for user in node.users:
            found = dataclasses.replace(_input(user, node, spec), node=source.name, parameter=source.op == "get_attr")
            inputs.setdefault(user, []).append(found)
    quantized = [
        node
        for node in model.graph.nodes
        if (node in inputs or node in outputs) and not quantizes(node) and node.op != "output"
    ]
    return MethodQuantization(
        specs=specs.all(),
        patterns=(),
        nodes=tuple(
            QuantizedNode(
                node.name, operator_name(node), module_path(node), tuple(inputs.get(node, ())), outputs.get(node)
            )
            for node in quantized
        ),
        refused=(),
        not_quantized={
            node.name: operator_name(node)
            for node in model.graph.nodes
            if is_operator(node) and node not in quantized and not quantizes(node)
        },
    )


def _qdq_attributes(node: Node) -> dict[str, Any]:
    arguments = arguments_by_name(node)
    scheme = next((each for each in ("per_channel", "per_token", "per_tensor") if each in str(node.target)), None)
    found: dict[str, Any] = {
        "dtype": str(arguments.get("dtype")).removeprefix("torch."),
        "quant_min": arguments.get("quant_min"),
        "quant_max": arguments.get("quant_max"),
        "qscheme": scheme,
        "ch_axis": arguments.get("axis"),
    }
    for name in ("scale", "scales", "zero_point", "zero_points"):
        value = arguments.get(name)
        found[name] = f"of {value.name}" if isinstance(value, Node) else value
    return {name: value for name, value in found.items() if value is not None}
