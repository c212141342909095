"""The operators of aten that some Arm family takes, and a few that none does: each with a line of code that uses it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from tests.fuzz.network import NAMES, Line, Network

from .uses import USES, Use

_SEED = 1
_ARGUMENTS = "xyz"


@dataclass(frozen=True)
class Form:
    """An operator as a model uses it, with sums around it, so that it stands in the midst of what every target takes.

    Attributes:
        operator: that torch.export captures, e.g. ``aten.gelu.default``.
        code: of `forward`, e.g. ``F.gelu(x, approximate='tanh')``.
        use: its row in the table.
    """

    operator: str
    code: str
    use: Use

    @property
    def key(self) -> str:
        """Its name: the code, and what else there is to say."""
        return f"{self.code} [{self.use.about}]" if self.use.about else self.code

    def samples(self, count: int) -> list[tuple[Tensor, ...]]:
        """Inputs, always the same."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            return [tuple(eval(each, dict(NAMES)) for each in self.use.inputs) for _ in range(count)]

    def network(self) -> Network:
        """Adds each float input to itself, uses the operator, and adds what that gives to itself if it is float.

        A sum of a value with itself costs no precision.
        """
        sample = self.samples(1)[0]
        shapes = tuple(tuple(each.shape) for each in sample)
        before = [index for index, each in enumerate(sample) if each.is_floating_point()]
        lines = [Line("{0} + {0}", (index,)) for index in before]
        reads = tuple(len(sample) + before.index(index) if index in before else index for index in range(len(sample)))
        lines.append(Line(_placed(self.use.code), reads, self.use.module, self.use.after))
        last = len(sample) + len(lines) - 1
        network = Network(_SEED, shapes, 1.0, tuple(lines), (last,))
        if not _gives_floats(network, sample):
            return network
        return Network(_SEED, shapes, 1.0, (*lines, Line("{0} + {0}", (last,))), (last + 1,))

    @property
    def gives_floats(self) -> bool:
        return _gives_floats(self.network(), self.samples(1)[0])


def sums(network: Network) -> int:
    """How many of a network's lines are the sums around its operator."""
    return sum(line.expression == "{0} + {0}" for line in network.lines)


def _gives_floats(network: Network, sample: tuple[Tensor, ...]) -> bool:
    with torch.no_grad():
        given: Tensor = network.module()(*sample)
    return given.is_floating_point()


def _placed(code: str) -> str:
    """With ``{0}`` for x, ``{1}`` for y, ``{2}`` for z and ``{m}`` for the module."""
    for index, name in enumerate(_ARGUMENTS):
        code = re.sub(rf"\b{name}\b", f"{{{index}}}", code)
    return re.sub(r"\bm\b", "{m}", code)


FORMS: dict[str, Form] = {
    form.key: form for form in (Form(use.operator, re.sub(r"\bm\b", use.module or "m", use.code), use) for use in USES)
}
