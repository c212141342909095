"""Networks whose delegates have borders that executorch or Vela gets wrong, and such as they get right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .models import Example, seeded


class Parts(nn.Module):
    """Convolutions that a function puts together."""

    def __init__(self, together: Callable[..., Any]) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 4, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.together = together

    def forward(self, *inputs: Tensor) -> Any:
        return self.together(self, *inputs)


class MaskedAttention(nn.Module):
    """One head, whose mask U55 can't fill in; its values are an output too if asked."""

    def __init__(self, values: bool = False) -> None:
        super().__init__()
        self.values = values
        self.qkv = nn.Linear(16, 48)
        self.out = nn.Linear(16, 16)
        self.register_buffer("mask", torch.triu(torch.ones(8, 8, dtype=torch.bool), 1))

    def forward(self, x: Tensor) -> Any:
        q, k, v = self.qkv(x).split(16, -1)
        scores = (q @ k.transpose(-1, -2) * 0.25).masked_fill(self.mask, float("-inf"))
        y = self.out(scores.softmax(-1) @ v)
        return (y, v) if self.values else y


def _map_and_head(net: Parts, x: Tensor) -> Any:
    y = torch.relu(net.first(x))
    return y, net.second(y)


def _head_and_map(net: Parts, x: Tensor) -> Any:
    y = torch.relu(net.first(x))
    return net.second(y), y


def _signed_map_and_head(net: Parts, x: Tensor) -> Any:
    y = net.first(x)
    return y, net.second(y)


def _head_and_signed_map(net: Parts, x: Tensor) -> Any:
    y = net.first(x)
    return net.second(y), y


def _permuted(net: Parts, x: Tensor) -> Any:
    y = net.first(x)
    return y, y.permute(0, 2, 3, 1)


def _pooled(net: Parts, x: Tensor) -> Any:
    y = net.first(x)
    return y, F.max_pool2d(y, 1)


def _depthwise(net: Parts, x: Tensor) -> Any:
    y = net.first(x)
    return net.depthwise(y), y


def _depthwise_last(net: Parts, x: Tensor) -> Any:
    y = net.first(x)
    return y, net.depthwise(y)


def _cloned(net: Parts, x: Tensor) -> Any:
    y = net.first(x)
    return net.second(y), y.clone()


def _up_sampled(net: Parts, x: Tensor) -> Any:
    y = net.first(x)
    return y, F.interpolate(y, scale_factor=2)


def _three_of_one_shape(net: Parts, x: Tensor) -> Any:
    y = net.first(x)
    z = net.depthwise(y)
    return y, z, net.depthwise(z)


def _rank_5(net: Parts, x: Tensor) -> Any:
    y = net.first(x).view(1, 2, 4, 8, 8).permute(0, 2, 1, 3, 4)
    return y, y.permute(0, 3, 1, 2, 4)


# Outputs that Vela would lose, by name.
_COMMON = (_map_and_head, _head_and_map, _signed_map_and_head, _head_and_signed_map, _permuted, _pooled, _depthwise)
_OTHERS = (_depthwise_last, _cloned, _up_sampled, _three_of_one_shape, _rank_5)
COMMON = {function.__name__.strip("_"): function for function in _COMMON}
OTHERS = {function.__name__.strip("_"): function for function in _OTHERS}


def _right_outputs(net: Parts, x: Tensor) -> Any:
    y = net.first(x)
    return (
        torch.relu(y),
        y[:, 1:],
        y.view(1, 4, 16, 8),
        *torch.chunk(y, 2, 1),
        y.argmax(1),
        torch.ones(2, 3),
    )


def _right_inputs(net: Parts, unused: Tensor, x: Tensor, numbers: Tensor) -> Any:
    y = net.first(x.reshape(1, 3, 8, 6))
    return x, y, y, numbers + 1, numbers.permute(0, 2, 1)


def _shape_alone(net: Parts, shape: Tensor, x: Tensor) -> Any:
    return net.first(x) + torch.zeros_like(shape)


def _overwritten(net: Parts, whole: Tensor, x: Tensor) -> Any:
    whole = whole.clone()
    whole[:, :] = net.first(x)
    return whole


def lost(name: str) -> Example:
    """One of `COMMON` or `OTHERS`."""
    return seeded(lambda: Parts((COMMON | OTHERS)[name]), (1, 3, 8, 8))


def map_and_head() -> Example:
    """A feature map and a head, as backbones have them: Vela loses the map."""
    return lost("map_and_head")


def permuted() -> Example:
    """A tensor and its transpose, of which Vela loses one."""
    return lost("permuted")


def rank_5() -> Example:
    """The same in five dimensions."""
    return lost("rank_5")


def right_outputs() -> Example:
    """Outputs of many kinds, all of which Vela lists."""
    return seeded(lambda: Parts(_right_outputs), (1, 3, 8, 8))


def right_inputs() -> Example:
    """Inputs that are not used, reshaped, returned as they are; and an output twice."""
    torch.manual_seed(0)
    numbers = torch.arange(20, dtype=torch.int32).view(1, 4, 5)
    return Example(Parts(_right_inputs).eval(), (torch.randn(1, 8, 8, 8), torch.randn(1, 3, 6, 8), numbers))


def shape_alone() -> Example:
    """An input of which the shape alone is used: the TOSA graph lacks it."""
    return seeded(lambda: Parts(_shape_alone), (1, 8, 8, 8), (1, 3, 8, 8))


def overwritten() -> Example:
    """An input that is overwritten before it is read: the same."""
    return seeded(lambda: Parts(_overwritten), (1, 8, 8, 8), (1, 3, 8, 8))


def masked_attention() -> Example:
    """Two delegates on U55; upstream declares a float between them that is an integer."""
    return seeded(MaskedAttention, (1, 8, 16))


def masked_attention_and_values() -> Example:
    """The same, with what is between the delegates as an output of the program."""
    return seeded(lambda: MaskedAttention(values=True), (1, 8, 16))
