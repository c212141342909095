"""Networks for the benchmarks that the tests have no use for: recurrent ones and transformers, of any length."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class _Recurrent(nn.Module):
    def __init__(self, kind: Any, units: int) -> None:
        super().__init__()
        self.recurrent = kind(units, units, batch_first=True)
        self.head = nn.Linear(units, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.recurrent(x)[0][:, -1])
        return y


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_dense = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.dense = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        parts = self.qkv(self.before_attention(x)).reshape(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        attended = nn.functional.scaled_dot_product_attention(query, key, value)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, tokens, width))
        y: Tensor = x + self.dense(self.before_dense(x))
        return y


class _VisionTransformer(nn.Module):
    def __init__(self, blocks: int, width: int, heads: int, patch: int, size: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.position = nn.Parameter(torch.randn(1, (size // patch) ** 2, width) * 0.02)
        self.blocks = nn.Sequential(*(_Block(width, heads) for _ in range(blocks)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.position
        y: Tensor = self.head(self.norm(self.blocks(tokens)).mean(1))
        return y


def gru(steps: int, units: int = 64) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A GRU and its inputs, float32 [1, steps, units]."""
    torch.manual_seed(0)
    return _Recurrent(nn.GRU, units).eval(), (torch.randn(1, steps, units),)


def lstm(steps: int, units: int = 64) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """An LSTM and its inputs, float32 [1, steps, units]."""
    torch.manual_seed(0)
    return _Recurrent(nn.LSTM, units).eval(), (torch.randn(1, steps, units),)


def vit(blocks: int) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A vision transformer of width 192 on 16 tokens, and its input, float32 [1, 3, 64, 64]."""
    torch.manual_seed(0)
    return _VisionTransformer(blocks, 192, 3, 16, 64).eval(), (torch.randn(1, 3, 64, 64),)
