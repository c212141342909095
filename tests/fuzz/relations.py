"""Networks that compute the same as a given one, whose programs should therefore too."""

from __future__ import annotations

import dataclasses
import random

from .network import Line, Network

_COMMUTE = ("{0} + {1}", "{0} * {1}", "torch.maximum({0}, {1})", "torch.minimum({0}, {1})")


def swapped(network: Network) -> Network:
    """With the operands of what commutes swapped, and the order of its outputs."""
    lines = [
        dataclasses.replace(line, reads=line.reads[::-1]) if line.expression in _COMMUTE else line
        for line in network.lines
    ]
    return dataclasses.replace(network, lines=tuple(lines), outputs=network.outputs[::-1])


def with_identity(network: Network) -> Network:
    """With a copy of one value in the place of that value, for all that read it."""
    if not network.lines:
        return network
    at = random.Random(network.seed).randrange(len(network.lines))
    value = len(network.inputs) + at

    def moved(each: int) -> int:
        return each + 1 if each >= value else each

    lines = [
        line if index <= at else dataclasses.replace(line, reads=tuple(map(moved, line.reads)))
        for index, line in enumerate(network.lines)
    ]
    lines.insert(at + 1, Line("{m}({0})", (value,), "nn.Identity()"))
    return dataclasses.replace(network, lines=tuple(lines), outputs=tuple(map(moved, network.outputs)))
