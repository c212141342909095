"""Networks in which something reads memory in another way than the convolution before it writes it, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.models import Example


class Network(nn.Module):
    """What a function makes of the output of a convolution, the input and the parts it needs."""

    def __init__(self, function: Callable[..., Any], first: nn.Module, parts: dict[str, nn.Module]) -> None:
        super().__init__()
        self.first = first
        for name, part in parts.items():
            setattr(self, name, part)
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(self, self.first(x), x)


class _Row(NamedTuple):
    function: Callable[..., Any]
    parts: dict[str, Callable[[], nn.Module]]
    first: Callable[[], nn.Module]
    shape: tuple[int, ...]


def _conv(inputs: int, outputs: int, kernel: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=options.pop("padding", kernel // 2), **options)


def _of(
    function: Callable[..., Any],
    *,
    outputs: int = 6,
    channels: int = 4,
    size: int = 8,
    first: Callable[[], nn.Module] | None = None,
    **parts: Callable[[], nn.Module],
) -> _Row:
    return _Row(function, parts, first or (lambda: _conv(channels, outputs)), (1, channels, size, size))


def _last(inputs: int = 6) -> Callable[[], nn.Module]:
    return lambda: _conv(inputs, 3)


def _transposed(kernel: int, stride: int, padding: int, output_padding: int = 0) -> _Row:
    return _of(
        lambda net, y, x: net.up(y),
        up=lambda: nn.ConvTranspose2d(6, 4, kernel, stride, padding, output_padding),
    )


def _split(net: Any, y: Tensor, x: Tensor) -> Tensor:
    a, b = y.chunk(2, 1)
    joined: Tensor = net.last(torch.cat([a, b, b + net.inner(b)], 1))
    return joined


def _shut() -> nn.Module:
    """A gate that never opens halfway, so that the zero point of its hardsigmoid would be beyond int8."""
    gate = _conv(6, 6, groups=6)
    gate.bias = nn.Parameter(torch.full((6,), -2.0))
    return gate


def _normed(net: Any, y: Tensor, x: Tensor) -> Tensor:
    normed: Tensor = net.last(net.norm(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
    return normed


def _functions(net: Any, y: Tensor, x: Tensor) -> Tensor:
    """Of one number each, and of two; in float, as nothing quantizes them."""
    small, more = torch.tanh(y) * 0.9, y.abs() + 1.5
    of_any: list[Callable[..., Tensor]] = [torch.asinh, torch.atan, torch.ceil, torch.cos, torch.erf, torch.floor]
    of_any += [F.elu, F.gelu, F.leaky_relu, torch.neg, torch.round, torch.sign, torch.sin, torch.trunc, lambda a: 1 - a]
    of_small = [torch.acos, torch.asin, torch.atanh, torch.cosh, torch.exp, torch.expm1, torch.sinh, torch.tan]
    of_more = [torch.acosh, torch.log, torch.log10, torch.log1p, torch.log2, torch.reciprocal, torch.rsqrt, torch.sqrt]
    of_two = [torch.atan2, torch.remainder, torch.floor_divide, torch.maximum, torch.minimum, torch.div]
    values = [f(y) for f in of_any] + [f(small) for f in of_small] + [f(more) for f in of_more]
    values += [f(torch.sin(y), more) for f in of_two] + [more**2.5, torch.logit(torch.sigmoid(small))]
    joined: Tensor = net.last(torch.cat(values, 1))
    return joined


def _truths(net: Any, y: Tensor, x: Tensor) -> tuple[Tensor, ...]:
    a, b = torch.sin(y * 5), torch.cos(y * 5)
    first, second = a >= b, a < 0.5
    compared = (first, second, a.round() == b.round(), a.round() != b.round(), a <= b, a > 0)
    joined = (first & second, first | second, first ^ second, ~first, ~(torch.isnan(a) | torch.isinf(b) | first))
    logic = (torch.logical_and, torch.logical_or, torch.logical_xor)
    return *compared, *joined, *(f(first, second) for f in logic), torch.logical_not(second)


# The rows of the table that this was built from, with its cases and their neighbours.
ROWS: dict[str, dict[str, _Row]] = {
    "one channel": {
        "in": _of(lambda net, y, x: y, channels=1),
        "between": _of(lambda net, y, x: net.last(torch.sigmoid(y) * 0.5), outputs=1, last=_last(1)),
        "out": _of(lambda net, y, x: net.last(y) + 1.5, last=lambda: _conv(6, 1)),
    },
    "wrong values": {
        "cat": _of(lambda net, y, x: torch.cat([y, net.other(x)], 1), other=lambda: _conv(4, 5)),
        "cat in height": _of(lambda net, y, x: torch.cat([y, net.other(x)], 2), other=lambda: _conv(4, 6)),
        "permute": _of(lambda net, y, x: y.permute(0, 2, 3, 1)),
        "stack": _of(lambda net, y, x: torch.stack([y, y.unsqueeze(1).squeeze(1)], 1)),
        "flip": _of(lambda net, y, x: net.last(y.flip(3)), last=_last()),
        "maximum": _of(lambda net, y, x: torch.maximum(y, net.other(x)), other=lambda: _conv(4, 6)),
        "extremes per channel": _of(
            lambda net, y, x: torch.minimum(torch.maximum(y, net.other(x).mean((2, 3), keepdim=True)), y[:, :, :1, :1]),
            other=lambda: _conv(4, 6),
        ),
    },
    "fails": {
        "affine": _of(lambda net, y, x: y * 0.5 + 1),
        "prelu": _of(lambda net, y, x: net.prelu(y), prelu=lambda: nn.PReLU(6)),
        "where": _of(lambda net, y, x: torch.where(y > 0, y, y - y.mean((2, 3), keepdim=True))),
        "select": _of(lambda net, y, x: y[:, 2]),
        "amax": _of(lambda net, y, x: y.amax((2, 3))),
        "argmax": _of(lambda net, y, x: y.argmax(1)),
        "softmax": _of(lambda net, y, x: y.softmax(1)),
        "repeat": _of(lambda net, y, x: y.repeat(1, 2, 1, 1)),
        "roll": _of(lambda net, y, x: y.roll(2, 2)),
        "reflect": _of(lambda net, y, x: net.last(F.pad(y, (1, 1, 1, 1), mode="reflect")), last=_last()),
        "constant": _of(lambda net, y, x: y.abs() + torch.arange(6.0).view(6, 1, 1)),
        "layer norm": _of(lambda net, y, x: F.layer_norm(y, (8,))),
        "group norm": _of(lambda net, y, x: net.last(F.group_norm(y, 2)), last=_last()),
        "channel shuffle": _of(lambda net, y, x: net.last(F.channel_shuffle(y, 2)), last=_last()),
        "pixel shuffle": _of(lambda net, y, x: F.pixel_shuffle(y, 2), outputs=8),
        "conv3d": _of(lambda net, y, x: net.deep(y.unsqueeze(2)).squeeze(2), deep=lambda: nn.Conv3d(6, 2, (1, 3, 3))),
        "conv3d of depths": _of(
            lambda net, y, x: net.deep(y.unflatten(1, (2, 3))),
            deep=lambda: nn.Conv3d(2, 4, 3, (2, 1, 1), (1, 1, 1), groups=2),
        ),
        "nearest": _of(lambda net, y, x: F.interpolate(y, scale_factor=2.0), outputs=1),
    },
    "transposed": {
        "4, 2, 1": _transposed(4, 2, 1),
        "3, 2, 1, 1": _transposed(3, 2, 1, 1),
        "5, 3, 1, 2": _transposed(5, 3, 1, 2),
    },
    "average": {"pool": _of(lambda net, y, x: F.avg_pool2d(y, 2))},
    "of the input": {
        "add": _of(lambda net, y, x: x + y, outputs=4),
        "cat": _of(lambda net, y, x: net.last(torch.cat([y, x], 1)), last=_last(10)),
    },
    "between": {
        "chunk": _of(lambda net, y, x: net.last(y.chunk(2, 1)[1]), last=_last(3)),
        "slice": _of(lambda net, y, x: net.last(y[:, :, 1:, 1:]), last=_last()),
        "permute": _of(lambda net, y, x: net.last(y.permute(0, 1, 3, 2)), last=_last()),
        "layer norm": _of(_normed, norm=lambda: nn.LayerNorm(6), last=_last()),
        "glu": _of(lambda net, y, x: net.last(F.glu(y, 1)), last=_last(3)),
        "split": _of(_split, inner=lambda: nn.Sequential(_conv(3, 3), nn.ReLU()), last=_last(9)),
    },
    "hardswish": {
        "of the input": _of(lambda net, y, x: y, first=lambda: nn.Sequential(nn.Hardswish(), _conv(4, 6))),
        "of a sum": _of(lambda net, y, x: F.hardswish(y + net.other(x)), other=lambda: _conv(4, 6)),
        "read twice": _of(lambda net, y, x: net.last(F.hardswish(y)) + y[:, :3], last=_last()),
        "limits": _of(lambda net, y, x: F.hardtanh(y * torch.sigmoid(y.mean((2, 3), keepdim=True)), -0.1, 0.2)),
    },
    "hardsigmoid": {
        "gate": _of(lambda net, y, x: y * F.hardsigmoid(net.gate(y)), gate=lambda: _conv(6, 6, bias=False)),
        "shut": _of(lambda net, y, x: net.last(F.hardsigmoid(net.gate(y))), gate=_shut, last=_last()),
        "linear": _of(lambda net, y, x: F.hardsigmoid(net.gate(y.mean((2, 3)))), gate=lambda: nn.Linear(6, 5)),
        "transposed": _of(
            lambda net, y, x: F.hardsigmoid(net.up(y)), up=lambda: nn.ConvTranspose2d(6, 4, 2, 2, bias=False)
        ),
    },
    "pooling": {
        "ceil": _of(lambda net, y, x: net.last(F.max_pool2d(y, 3, 2, ceil_mode=True)), last=_last(), size=16),
    },
    "others": {
        "dilated": _of(lambda net, y, x: y, first=lambda: _conv(4, 6, dilation=2, padding=2)),
        "attention": _of(lambda net, y, x: (y.flatten(2).transpose(1, 2) @ y.flatten(2)).softmax(-1)),
        "bilinear": _of(lambda net, y, x: F.interpolate(y, scale_factor=2.0, mode="bilinear")),
        "excitation": _of(
            lambda net, y, x: y[:, :, 1:] * torch.sigmoid(y[:, :, 1:].mean((2, 3), keepdim=True)),
        ),
        "max pool": _of(lambda net, y, x: F.max_pool2d(y, 3, 2, 1), size=16),
        "division": _of(lambda net, y, x: y / (net.other(x).abs() + 1), other=lambda: _conv(4, 6)),
        "mean of channels": _of(lambda net, y, x: y - y.mean(1, keepdim=True)),
        "lstm": _of(
            lambda net, y, x: net.head(net.lstm(y.flatten(2).transpose(1, 2)[:, :5])[0][:, -1]),
            lstm=lambda: nn.LSTM(6, 5, batch_first=True),
            head=lambda: nn.Linear(5, 3),
        ),
        "joined": _of(
            lambda net, y, x: net.last(torch.cat([y, net.other(x), y], 1)), other=lambda: _conv(4, 5), last=_last(17)
        ),
        "filled": _of(
            lambda net, y, x: net.last(y + torch.ones_like(y)) * torch.full((1, 3, 1, 1), -0.3), last=_last()
        ),
        "functions": _of(_functions, outputs=2, size=4, last=_last(78)),
        "truths": _of(_truths, outputs=2, size=4),
        "several outputs": _of(lambda net, y, x: (y, y.amax(1), y.flatten(1), y > 0)),
    },
}
NETWORKS = {f"{row}: {name}": each for row, cases in ROWS.items() for name, each in cases.items()}


def example(name: str) -> Example:
    """The network, with random weights, and an input."""
    row = NETWORKS[name]
    torch.manual_seed(0)
    model = Network(row.function, row.first(), {part: make() for part, make in row.parts.items()})
    return Example(model.eval(), (torch.randn(row.shape),))
