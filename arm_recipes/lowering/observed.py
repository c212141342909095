"""What flows through a prepared model: its observers, and its float values on a few of the calibration's samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node
from torch.fx.node import Argument, Target
from torchao.quantization.pt2e import DerivedObserverOrFakeQuantize, ObserverBase

Inputs = tuple[Any, ...]

# More would cost time and tell little: what is looked for shows on nearly any sample.
SAMPLES = 4

_SAMPLES = "arm_recipes.first_samples"


def keep_samples(prepared: GraphModule) -> GraphModule:
    """A post-prepare pass: keep copies of the first samples that the prepared model is calibrated on."""
    kept: list[Inputs] = []

    def keep(_: nn.Module, inputs: Inputs) -> None:
        if len(kept) < SAMPLES:
            kept.append(tuple(value.clone() if isinstance(value, Tensor) else value for value in inputs))
        else:
            handle.remove()

    handle = prepared.register_forward_pre_hook(keep)
    prepared.meta[_SAMPLES] = (kept, handle)
    return prepared


def take_samples(prepared: GraphModule) -> list[Inputs]:
    """The samples that were kept. None afterwards: they are not to outlive the quantization."""
    kept, handle = prepared.meta.pop(_SAMPLES, ((), None))
    if handle is not None:
        handle.remove()
    return list(kept)


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


class _Float(Interpreter):
    """Runs a prepared model without its observers."""

    def __init__(self, prepared: GraphModule, see: Callable[[Node, Tensor], None]) -> None:
        super().__init__(prepared)
        self._see = see

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor) and value.is_floating_point():
            self._see(n, value)
        return value

    def call_module(self, target: Target, args: tuple[Argument, ...], kwargs: dict[str, Any]) -> Any:
        if isinstance(self.module.get_submodule(str(target)), ObserverBase):
            return args[0]
        return super().call_module(target, args, kwargs)


def run_float(prepared: GraphModule, samples: Sequence[Inputs], see: Callable[[Node, Tensor], None]) -> None:
    """Run samples through a prepared model in float, and show each node's value; observers see nothing."""
    interpreter = _Float(prepared, see)
    with torch.no_grad():
        for inputs in samples:
            interpreter.run(*inputs)
