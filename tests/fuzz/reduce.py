"""Makes a network that fails smaller, as long as it fails in the same way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from .network import Network, runs


def reduced(network: Network, fails: Callable[[Network], bool], tries: int = 60) -> Network:
    """The smallest that was found in so many tries: fewer outputs, fewer lines, plain weights."""
    smaller = True
    while smaller and tries:
        smaller = False
        for candidate in _smaller(network):
            if not tries:
                break
            if runs(candidate) is None:
                continue
            tries -= 1
            if fails(candidate):
                network, smaller = candidate, True
                break
    return network


def _smaller(network: Network) -> Iterator[Network]:
    if len(network.outputs) > 1:
        for output in network.outputs:
            yield dataclasses.replace(network, outputs=(output,)).used()
    for index, line in enumerate(network.lines):
        for read in line.reads:
            yield network.without(index, read).used()
    for end in range(len(network.inputs), len(network.inputs) + len(network.lines) - 1):
        if len(network.outputs) == 1:
            yield dataclasses.replace(network, outputs=(end,)).used()
    for index, line in enumerate(network.lines):
        if line.after:
            lines = list(network.lines)
            lines[index] = dataclasses.replace(line, after=())
            yield dataclasses.replace(network, lines=tuple(lines))
    if network.scale != 1.0:
        yield dataclasses.replace(network, scale=1.0)
