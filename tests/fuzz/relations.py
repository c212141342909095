"""Networks that compute the same as a given one, whose programs should therefore too."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from .network import Line, Network

_COMMUTE = ("{0} + {1}", "{0} * {1}", "torch.maximum({0}, {1})", "torch.minimum({0}, {1})")

Tensors = tuple[Tensor, ...]


def _as_they_are(tensors: Tensors) -> Tensors:
    return tensors


@dataclass(frozen=True)
class Related:
    """Another network.

    Attributes:
        network: the network.
        inputs: makes its inputs of the given one's.
        outputs: makes the given one's outputs of its own.
    """

    network: Network
    inputs: Callable[[Tensors], Tensors] = _as_they_are
    outputs: Callable[[Tensors], Tensors] = _as_they_are


def swapped(network: Network) -> Related:
    """With the operands of what commutes swapped, and the order of its outputs."""
    lines = [
        dataclasses.replace(line, reads=line.reads[::-1]) if line.expression in _COMMUTE else line
        for line in network.lines
    ]
    swapped = dataclasses.replace(network, lines=tuple(lines), outputs=network.outputs[::-1])
    return Related(swapped, outputs=lambda outputs: outputs[::-1])


def with_identity(network: Network) -> Related:
    """With a copy of one value in the place of that value, for all that read it."""
    value = random.Random(network.seed).randrange(len(network.inputs) + len(network.lines))
    return Related(_inserted(network, value, "{m}({0})", "nn.Identity()"))


def channels_permuted(network: Network) -> Related:
    """With its first input's channels in another order, and put in order first."""
    shape = network.inputs[0]
    channels = list(range(shape[1])) if len(shape) > 1 else []
    random.Random(network.seed).shuffle(channels)
    if not channels:
        return Related(network)
    back = [channels.index(channel) for channel in range(len(channels))]
    permuted = _inserted(network, 0, f"{{0}}[:, {channels}]")
    return Related(permuted, inputs=lambda inputs: (inputs[0][:, back].clone(), *inputs[1:]))


def batch_reversed(network: Network) -> Related:
    """With samples of its batch in another order; of some networks, which mix them, that is no relation."""
    sizes = {shape[0] for shape in network.inputs if len(shape) > 1}
    return Related(network, _flipped, _flipped) if sizes - {1} else Related(network)


RELATIONS = (swapped, with_identity, channels_permuted, batch_reversed)


def _flipped(tensors: Tensors) -> Tensors:
    return tuple(tensor.flip(0) if tensor.dim() > 1 else tensor for tensor in tensors)


def _inserted(network: Network, value: int, expression: str, module: str = "") -> Network:
    """With what a new line makes of a value in the place of that value, for all that read it."""
    first = len(network.inputs)
    at = max(value - first + 1, 0)

    def moved(each: int) -> int:
        if each == value:
            return first + at
        return each + 1 if each >= first + at else each

    lines = [dataclasses.replace(line, reads=tuple(map(moved, line.reads))) for line in network.lines]
    lines.insert(at, Line(expression, (value,), module))
    return dataclasses.replace(network, lines=tuple(lines), outputs=tuple(map(moved, network.outputs)))
