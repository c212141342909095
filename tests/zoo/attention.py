"""Transformers and their like, and graphs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .parts import Model, image, noise


class _ViT(nn.Module):
    """A token for the class before those of the patches, and torch's own encoder layers, norms first."""

    def __init__(self, width: int = 48, size: int = 32, patch: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.position = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, width) * 0.02)
        block = nn.TransformerEncoderLayer(width, 3, 2 * width, activation="gelu", batch_first=True, norm_first=True)
        self.blocks = nn.ModuleList([block])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(x.shape[0], -1, -1), x), dim=1) + self.position
        for block in self.blocks:
            x = block(x)
        y: Tensor = self.head(self.norm(x)[:, 0])
        return y


class _BertLayer(nn.Module):
    """Attention written out, with a mask that is added to its scores."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.query, self.key, self.value = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width)
        self.attended, self.norm = nn.Linear(width, width), nn.LayerNorm(width, eps=1e-12)
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.last = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        def split(y: Tensor) -> Tensor:
            return y.view(*y.shape[:-1], self.heads, self.size).permute(0, 2, 1, 3)

        scores = split(self.query(x)) @ split(self.key(x)).transpose(-1, -2) / self.size**0.5 + mask
        attended = nn.functional.softmax(scores, dim=-1) @ split(self.value(x))
        attended = attended.permute(0, 2, 1, 3).contiguous().view(*x.shape)
        x = self.norm(x + self.attended(attended))
        y: Tensor = self.last(x + self.narrow(nn.functional.gelu(self.wide(x))))
        return y


class _Bert(nn.Module):
    """Words as int64 [N, tokens], and which of them count, float32 of the same shape."""

    def __init__(self, vocabulary: int = 100, width: int = 32, tokens: int = 12) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(tokens, width)
        self.register_buffer("position", torch.arange(tokens)[None])
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList([_BertLayer(width, 2)])
        self.pooler, self.head = nn.Linear(width, width), nn.Linear(width, 3)

    def forward(self, words: Tensor, counts: Tensor) -> Tensor:
        x = self.norm(self.words(words) + self.positions(self.position))
        mask = (1.0 - counts[:, None, None, :]) * -10000.0
        for layer in self.layers:
            x = layer(x, mask)
        y: Tensor = self.head(torch.tanh(self.pooler(x[:, 0])))
        return y


def _words() -> tuple[Tensor, ...]:
    length = int(torch.randint(6, 13, ()))
    return torch.randint(0, 100, (1, 12)), (torch.arange(12) < length).float()[None]


class _MixerBlock(nn.Module):
    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.before_tokens, self.before_channels = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = nn.Sequential(nn.Linear(tokens, 32), nn.GELU(), nn.Linear(32, tokens))
        self.channels = nn.Sequential(nn.Linear(width, 64), nn.GELU(), nn.Linear(64, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.before_tokens(x).transpose(1, 2)).transpose(1, 2)
        y: Tensor = x + self.channels(self.before_channels(x))
        return y


class _Mixer(nn.Module):
    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.blocks = nn.Sequential(_MixerBlock(16, width))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        y: Tensor = self.head(self.norm(self.blocks(tokens)).mean(dim=1))
        return y


class _Conformer(nn.Module):
    """A block: half a feed forward, attention, convolution, the other half."""

    def __init__(self, width: int = 32, heads: int = 4, kernel: int = 7) -> None:
        super().__init__()

        def forward() -> nn.Module:
            wide = [nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.SiLU(), nn.Dropout(0.1)]
            return nn.Sequential(*wide, nn.Linear(2 * width, width), nn.Dropout(0.1))

        self.first, self.second = forward(), forward()
        self.before_attention = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.before_conv = nn.LayerNorm(width)
        depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.conv = nn.Sequential(
            nn.Conv1d(width, 2 * width, 1),
            nn.GLU(dim=1),
            depthwise,
            nn.BatchNorm1d(width),
            nn.SiLU(),
            nn.Conv1d(width, width, 1),
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0.5 * self.first(x)
        normed = self.before_attention(x)
        x = x + self.attention(normed, normed, normed, need_weights=False)[0]
        x = x + self.conv(self.before_conv(x).transpose(1, 2)).transpose(1, 2)
        y: Tensor = self.norm(x + 0.5 * self.second(x))
        return y


class _Decoder(nn.Module):
    """Of a language model: RMS norms, rotary positions, causal attention, a gated feed forward."""

    def __init__(self, width: int = 32, heads: int = 2, tokens: int = 8, vocabulary: int = 50) -> None:
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.words = nn.Embedding(vocabulary, width)
        self.before, self.between, self.last = nn.RMSNorm(width), nn.RMSNorm(width), nn.RMSNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.gate, self.up = nn.Linear(width, 64, bias=False), nn.Linear(width, 64, bias=False)
        self.down, self.head = nn.Linear(64, width, bias=False), nn.Linear(width, vocabulary, bias=False)
        angles = torch.outer(torch.arange(tokens), 1e4 ** (-torch.arange(0, self.size, 2) / self.size))
        self.register_buffer("cos", torch.cat((angles, angles), -1).cos())
        self.register_buffer("sin", torch.cat((angles, angles), -1).sin())

    def _turned(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, -1)
        return x * self.cos + torch.cat((-right, left), -1) * self.sin  # type: ignore[operator]

    def forward(self, words: Tensor) -> Tensor:
        x = self.words(words)
        batch, tokens, width = x.shape
        parts = self.qkv(self.before(x)).view(batch, tokens, 3, self.heads, self.size).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        attended = nn.functional.scaled_dot_product_attention(
            self._turned(query), self._turned(key), value, is_causal=True
        )
        x = x + self.out(attended.transpose(1, 2).reshape(batch, tokens, width))
        y = self.between(x)
        x = x + self.down(nn.functional.silu(self.gate(y)) * self.up(y))
        logits: Tensor = self.head(self.last(x))
        return logits


class _GatedGraph(nn.Module):
    """Nodes [N, nodes, 12] that send messages along edges [N, nodes, nodes], and a GRU that hears them, three times."""

    def __init__(self, width: int = 12, steps: int = 3) -> None:
        super().__init__()
        self.steps = steps
        self.message, self.cell = nn.Linear(width, width), nn.GRUCell(width, width)
        self.gate, self.value = nn.Linear(2 * width, 8), nn.Linear(width, 8)

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        batch, count, width = nodes.shape
        state = nodes
        for _ in range(self.steps):
            heard = torch.bmm(edges, self.message(state))
            state = self.cell(heard.view(-1, width), state.view(-1, width)).view(batch, count, width)
        gate = torch.sigmoid(self.gate(torch.cat((state, nodes), -1)))
        return (gate * torch.tanh(self.value(state))).sum(1)


def _graph() -> tuple[Tensor, ...]:
    edges = (torch.rand(1, 10, 10) < 0.3).float()
    return torch.randn(1, 10, 12), edges / edges.sum(-1, keepdim=True).clamp(min=1.0)


ATTENTION = {
    "ViT": Model("Dosovitskiy et al. 2020", _ViT, image(32)),
    "MLP-Mixer": Model("Tolstikhin et al. 2021", _Mixer, image(32)),
    "TinyBERT": Model("Jiao et al. 2019", _Bert, _words),
    "Conformer block": Model("Gulati et al. 2020", _Conformer, noise((1, 16, 32))),
    "Llama block": Model("Touvron et al. 2023", _Decoder, lambda: (torch.randint(0, 50, (1, 8)),)),
    "Gated graph": Model("Li et al. 2015", _GatedGraph, _graph),
}
