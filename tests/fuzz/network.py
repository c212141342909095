"""A small network as text: what it is made of, its module, and the source that reproduces it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# What the lines of a network may name.
NAMES = {"torch": torch, "nn": nn, "F": F, "Tensor": Tensor}


@dataclass(frozen=True)
class Line:
    """One operation.

    Attributes:
        expression: of `forward`, with the values that it reads as ``{0}``, ``{1}``... and its module as ``{m}``.
        reads: indices of those values.
        module: what makes its module, if it has one.
        after: what is done to the module then, e.g. ``{m}.weight.data[0] *= 1000``.
    """

    expression: str
    reads: tuple[int, ...]
    module: str = ""
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Network:
    """Values by index: first the inputs, then what the lines give.

    Attributes:
        seed: of its inputs.
        inputs: their shapes; all are float32.
        scale: of the inputs' values.
        lines: in order.
        outputs: indices of values; one is returned as it is, several as a tuple.
        integers: whether the program's inputs and outputs are integers, where a recipe has that.
        channels_last: whether images come in NHWC.
    """

    seed: int
    inputs: tuple[tuple[int, ...], ...]
    scale: float
    lines: tuple[Line, ...]
    outputs: tuple[int, ...]
    integers: bool = False
    channels_last: bool = False

    def source(self) -> str:
        """A class `Net`."""
        names = [f"x{index}" for index in range(len(self.inputs))]
        made, forward = [], []
        for index, line in enumerate(self.lines):
            module = f"self.m{index}"
            if line.module:
                # Its own seed, so that it stays as it is where others go.
                made += [f"torch.manual_seed({index_seed(self.seed, line)})", f"{module} = {line.module}"]
                made += [each.replace("{m}", module) for each in line.after]
            names.append(f"v{index}")
            reads = [names[each] for each in line.reads]
            forward.append(f"v{index} = {line.expression.replace('{m}', module).format(*reads)}")
        outputs = ", ".join(names[each] for each in self.outputs)
        body = [
            "class Net(nn.Module):",
            "    def __init__(self):",
            "        super().__init__()",
            *(f"        {each}" for each in made),
            "",
            f"    def forward(self, {', '.join(names[: len(self.inputs)])}):",
            *(f"        {each}" for each in forward),
            f"        return {outputs}",
        ]
        return "\n".join(body)

    def module(self) -> nn.Module:
        """In eval mode; the random generator stays as it was."""
        names: dict[str, Any] = dict(NAMES)
        with torch.random.fork_rng(devices=[]):
            exec(compile(self.source(), "<network>", "exec"), names)
            module: nn.Module = names["Net"]().eval()
        return module.requires_grad_(False)

    def samples(self, count: int) -> list[tuple[Tensor, ...]]:
        """Inputs, always the same."""
        generator = torch.Generator().manual_seed(self.seed)
        return [
            tuple(torch.randn(shape, generator=generator) * self.scale for shape in self.inputs) for _ in range(count)
        ]

    def without(self, index: int, instead: int) -> Network:
        """With value `instead` in the place of what line `index` gives."""
        value = len(self.inputs) + index

        def moved(each: int) -> int:
            each = instead if each == value else each
            return each - 1 if each > value else each

        lines = [
            dataclasses.replace(line, reads=tuple(map(moved, line.reads)))
            for number, line in enumerate(self.lines)
            if number != index
        ]
        return dataclasses.replace(self, lines=tuple(lines), outputs=tuple(map(moved, self.outputs)))

    def used(self) -> Network:
        """Without the lines that no output needs."""
        network = self
        while True:
            first = len(network.inputs)
            read = {each for line in network.lines for each in line.reads} | set(network.outputs)
            unread = [index for index in range(len(network.lines)) if first + index not in read]
            if not unread:
                return network
            network = network.without(unread[-1], 0)


def index_seed(seed: int, line: Line) -> int:
    """Of a module's weights: the same wherever the line stands."""
    return (seed * 1009 + sum(map(ord, line.module))) % 2**31


def runs(network: Network) -> Sequence[Tensor] | None:
    """What a network gives for its first sample; None where it can't be run, or gives no finite float tensors."""
    try:
        with torch.no_grad():
            given = network.module()(*network.samples(1)[0])
    except Exception:
        return None
    outputs = given if isinstance(given, tuple) else (given,)
    if not all(isinstance(each, Tensor) and each.numel() for each in outputs):
        return None
    return outputs if all(bool(each.isfinite().all()) for each in outputs) else None
