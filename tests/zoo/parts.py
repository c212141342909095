"""What the models of the zoo share: how a model is written down, made and fed, and the usual layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tests.models import Example, estimate_batch_norm

_ESTIMATED_ON = 8  # samples that batch norm's statistics are of


class Model(NamedTuple):
    """One architecture.

    Attributes:
        paper: who published it.
        make: makes its module, with random weights.
        sample: makes one tuple of inputs, of batch 1, from torch's generator.
    """

    paper: str
    make: Callable[[], nn.Module]
    sample: Callable[[], tuple[Tensor, ...]]

    def module(self) -> nn.Module:
        """In eval mode, always the same. Batch norms scale, shift and have the statistics of samples, so that it
        matters how they are folded and where they stand."""
        torch.manual_seed(0)
        module = self.make().eval()
        norms = [each for each in module.modules() if isinstance(each, nn.modules.batchnorm._NormBase) and each.affine]
        for norm in norms:
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.bias, -0.3, 0.3)
        samples = self.samples(_ESTIMATED_ON)
        if any(isinstance(each, nn.modules.batchnorm._BatchNorm) for each in norms):
            estimate_batch_norm(module, *(torch.cat(values) for values in zip(*samples, strict=True)))
        return module

    def samples(self, count: int) -> list[tuple[Tensor, ...]]:
        """`count` different samples, always the same."""
        torch.manual_seed(1)
        return [self.sample() for _ in range(count)]


def known(paper: str, example: Callable[[], Example], sample: Callable[[], tuple[Tensor, ...]]) -> Model:
    """A network that other tests have too."""
    return Model(paper, lambda: example().model, sample)


def image(size: int, channels: int = 3) -> Callable[[], tuple[Tensor, ...]]:
    """A picture of mean 0 and deviation 1, float32 [1, channels, size, size]: areas, and a little noise."""

    def sample() -> tuple[Tensor, ...]:
        areas = nn.functional.interpolate(torch.randn(1, channels, 5, 5), size=(size, size), mode="bilinear")
        picture = areas + 0.2 * torch.randn(1, channels, size, size)
        return ((picture - picture.mean()) / picture.std(),)

    return sample


def signal(*shape: int) -> Callable[[], tuple[Tensor, ...]]:
    """Tones and noise along the last dimension, float32 of deviation 1."""

    def sample() -> tuple[Tensor, ...]:
        time = torch.arange(shape[-1]) / shape[-1]
        tones = [torch.sin(6.28 * (time * 8 * torch.rand(*shape[:-1], 1) + torch.rand(*shape[:-1], 1))) for _ in "123"]
        wave = sum(tones) + 0.2 * torch.randn(shape)
        return (wave / wave.std(),)

    return sample


def noise(*shapes: tuple[int, ...]) -> Callable[[], tuple[Tensor, ...]]:
    """Features of deviation 1, float32."""
    return lambda: tuple(map(torch.randn, shapes))


def conv(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    stride: int = 1,
    *,
    groups: int = 1,
    act: type[nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """Convolution of as many pixels as before, batch norm, activation."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([act()] if act else []))


class SqueezeExcite(nn.Module):
    """Channels weighed by what is in all of the picture (Hu et al., 2017)."""

    def __init__(self, channels: int, squeezed: int, act: type[nn.Module], gate: type[nn.Module]) -> None:
        super().__init__()
        self.reduce, self.act = nn.Conv2d(channels, squeezed, 1), act()
        self.expand, self.gate = nn.Conv2d(squeezed, channels, 1), gate()

    def forward(self, x: Tensor) -> Tensor:
        weights = nn.functional.adaptive_avg_pool2d(x, 1)
        y: Tensor = x * self.gate(self.expand(self.act(self.reduce(weights))))
        return y


class Classifier(nn.Module):
    """Features, mean over the picture, dropout, linear."""

    def __init__(self, features: nn.Module, channels: int, classes: int = 10) -> None:
        super().__init__()
        self.features = features
        self.pool, self.dropout = nn.AdaptiveAvgPool2d(1), nn.Dropout(0.2)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.dropout(torch.flatten(self.pool(self.features(x)), 1)))
        return y


class Shortcut(nn.Module):
    """A branch whose input is added to its output."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module | None = None, act: nn.Module | None = None) -> None:
        super().__init__()
        self.branch, self.shortcut, self.act = branch, shortcut or nn.Identity(), act or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.shortcut(x) + self.branch(x))
        return y
