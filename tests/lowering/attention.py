"""One head of attention, masked in the ways in which people mask it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.models import Example, seeded


class Attention(nn.Module):
    """The first position sees itself alone, the last one all."""

    hidden: Tensor
    added: Tensor

    def __init__(self, mask: str) -> None:
        super().__init__()
        self.query, self.key, self.value = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.mask = mask
        hidden = torch.ones(6, 6, dtype=torch.bool).triu(1)
        self.register_buffer("hidden", hidden)
        self.register_buffer("added", torch.zeros(6, 6).masked_fill(hidden, -1e9))

    def forward(self, x: Tensor) -> Tensor:
        scores = self.query(x) @ self.key(x).transpose(1, 2) * 2
        if self.mask == "added":
            scores = scores + self.added
        elif self.mask == "computed":
            scores = scores + self.hidden.to(x.dtype) * -1e9
        else:
            scores = scores.masked_fill(self.hidden, float(self.mask))
        result: Tensor = scores.softmax(-1) @ self.value(x)
        return result


def added() -> Example:
    return seeded(lambda: Attention("added"), (1, 6, 8))


def computed() -> Example:
    return seeded(lambda: Attention("computed"), (1, 6, 8))


def filled() -> Example:
    return seeded(lambda: Attention("-inf"), (1, 6, 8))


def filled_with_a_number() -> Example:
    return seeded(lambda: Attention("-1e9"), (1, 6, 8))
