"""What flows through a prepared model: its observers, and its float values on a few of the calibration's samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from executorch.export import ExportSession
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Interpreter, Node
from torchao.quantization.pt2e import DerivedObserverOrFakeQuantize, ObserverBase

from arm_recipes.upstream.private import tree_leaves
from arm_recipes.upstream.session import quantized_modules

Inputs = tuple[Any, ...]

# More would cost time and tell little: what is looked for shows on nearly any sample.
SAMPLES = 4

_HANDED_ON = "arm_recipes.calibration_samples"
_SAMPLES = "arm_recipes.first_samples"


def keep_samples(prepared: GraphModule) -> GraphModule:
    """A post-prepare pass: keep copies of the first samples that the prepared model is calibrated on."""
    kept: list[Inputs] = []

    def keep(_: nn.Module, inputs: Inputs) -> None:
        if len(kept) < SAMPLES:
            values = tree_leaves(inputs)
            kept.append(tuple(value.clone() if isinstance(value, Tensor) else value for value in values))
        else:
            handle.remove()

    handle = prepared.register_forward_pre_hook(keep)
    prepared.meta[_SAMPLES] = (kept, handle)
    return prepared


def samples_of(prepared: GraphModule) -> list[Inputs]:
    """The samples that were kept."""
    kept: list[Inputs] = prepared.meta[_SAMPLES][0]
    return kept


def take_samples(prepared: GraphModule) -> list[Inputs]:
    """The samples that were kept. None afterwards: they are not to outlive the quantization."""
    kept, handle = prepared.meta.pop(_SAMPLES, ((), None))
    if handle is not None:
        handle.remove()
    return list(kept)


def hand_on_samples(converted: GraphModule, samples: list[Inputs]) -> None:
    """Let `calibration_samples` have them."""
    converted.meta[_HANDED_ON] = tuple(samples)


def calibration_samples(session: ExportSession, method: str) -> tuple[Inputs, ...]:
    """The first samples that a method was calibrated on; none where nothing was quantized."""
    module = quantized_modules(session).get(method)
    samples: tuple[Inputs, ...] = module.meta.get(_HANDED_ON, ()) if module is not None else ()
    return samples


def observer_of(module: nn.Module, node: Node) -> ObserverBase | None:
    """The observer that a node calls; None for any other node, and for a bias, whose scale others decide."""
    if node.op != "call_module":
        return None
    called = module.get_submodule(str(node.target))
    return (
        called if isinstance(called, ObserverBase) and not isinstance(called, DerivedObserverOrFakeQuantize) else None
    )


def observers(prepared: GraphModule) -> Iterator[tuple[Node, ObserverBase]]:
    """The nodes that observe, each with its observer. Tensors that share a range share one observer."""
    for node in prepared.graph.nodes:
        observer = observer_of(prepared, node)
        if observer is not None:
            yield node, observer


def observed(node: Node) -> Node:
    """The node whose value it is: that before the observers."""
    while node.op == "call_module" and node.all_input_nodes:
        node = node.all_input_nodes[0]
    return node


def without_observers(prepared: GraphModule) -> GraphModule:
    """The float model of a prepared one, with the same names of nodes and the same tensors; its inputs are flat."""
    graph = Graph()
    copies: dict[Node, Node] = {}
    for node in prepared.graph.nodes:
        if node.op == "call_module" and isinstance(prepared.get_submodule(str(node.target)), ObserverBase):
            copies[node] = copies[node.all_input_nodes[0]]
        else:
            copies[node] = graph.node_copy(node, lambda argument: copies[argument])
    named = [str(node.target) for node in graph.nodes if node.op in ("get_attr", "call_module")]
    return GraphModule({name: attribute(prepared, name) for name in named}, graph)


def attribute(module: nn.Module, target: str) -> Any:
    """What a get_attr node gives."""
    path, _, name = target.rpartition(".")
    return getattr(module.get_submodule(path), name)


class Stepper(Interpreter):
    """Runs a graph node by node, and drops what no later node reads."""

    def steps(self, inputs: Inputs) -> Iterator[tuple[Node, Any]]:
        self.args_iter = iter(tree_leaves(inputs))
        self.env = {}
        with torch.no_grad():
            for node in self.graph.nodes:
                self.env[node] = self.run_node(node)
                yield node, self.env[node]
                for done in self.user_to_last_uses.get(node, []):
                    del self.env[done]


def run_float(prepared: GraphModule, samples: Sequence[Inputs], see: Callable[[Node, Tensor], None]) -> None:
    """Run samples through a prepared model in float, and show what each observer would see."""
    by_source: dict[str, list[Node]] = {}
    for node, _ in observers(prepared):
        by_source.setdefault(observed(node).name, []).append(node)
    stepper = Stepper(without_observers(prepared))
    for inputs in samples:
        for step, value in stepper.steps(inputs):
            if isinstance(value, Tensor) and value.is_floating_point():
                for node in by_source.get(step.name, ()):
                    see(node, value)
