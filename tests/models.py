"""Networks for the tests: small, seeded, in eval mode, each with its example inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Example(NamedTuple):
    model: nn.Module
    inputs: tuple[Tensor, ...]


class ConvNet(nn.Module):
    """Convolution, batch norm, ReLU, dropout, linear."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.conv(x)))
        y: Tensor = self.head(self.dropout(x.mean((2, 3))))
        return y


class TwoInputs(nn.Module):
    """Two convolutions, added."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 4, 3, padding=1)
        self.right = nn.Conv2d(2, 4, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.relu(self.left(x) + self.right(y))


class PartlyDelegated(nn.Module):
    """A convolution, and an operator with a weight that no Arm delegate takes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.weight = nn.Parameter(torch.randn(1, 4, 8, 8))

    def forward(self, x: Tensor) -> Tensor:
        return torch.atan2(self.conv(x), self.weight)


class _InvertedResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6()]
        layers += [
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """MobileNetV2 at width 1.0 (Sandler et al., 2018, table 2)."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6()]
        channels = 32
        for expansion, outputs, repeats, stride in (
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        ):
            for index in range(repeats):
                layers.append(_InvertedResidual(channels, outputs, stride if index == 0 else 1, expansion))
                channels = outputs
        layers += [nn.Conv2d(channels, 1280, 1, bias=False), nn.BatchNorm2d(1280), nn.ReLU6()]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.classifier(self.features(x).mean((2, 3)))
        return y


def estimate_batch_norm(model: nn.Module, *inputs: Tensor) -> None:
    """Set the BatchNorm statistics from `inputs`, so that a random network's outputs don't vanish."""
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # a cumulative average
        norm.reset_running_stats()
        norm.train()
    with torch.no_grad():
        model(*inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def seeded(make: Callable[[], nn.Module], *shapes: tuple[int, ...]) -> Example:
    """Make a network in eval mode and random inputs of `shapes`, always the same."""
    torch.manual_seed(0)
    model = make().eval()
    inputs = tuple(torch.randn(shape) for shape in shapes)
    estimate_batch_norm(model, *inputs)
    return Example(model, inputs)


def linear(seed: int = 0) -> Example:
    """What is lowered soonest, for tests that are not about the network."""
    torch.manual_seed(seed)
    return Example(nn.Sequential(nn.Linear(16, 8), nn.ReLU()).eval(), (torch.randn(1, 16),))


def conv_net() -> Example:
    return seeded(ConvNet, (1, 3, 8, 8))


def two_inputs() -> Example:
    return seeded(TwoInputs, (1, 3, 8, 8), (1, 2, 8, 8))


def partly_delegated() -> Example:
    return seeded(PartlyDelegated, (1, 3, 8, 8))


def mobilenet_v2() -> Example:
    return seeded(MobileNetV2, (1, 3, 224, 224))
