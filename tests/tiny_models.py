"""Networks for small devices: those of MLPerf Tiny, MobileNetV3, and one of each kind of operator.

Definitions are our own, after the papers; weights are random, BatchNorm statistics estimated.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from .models import Example, estimate_batch_norm, seeded


def _conv(inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution with "same" padding, batch norm, ReLU."""
    sizes = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (sizes[0] // 2, sizes[1] // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def _separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A depthwise 3x3 and a pointwise convolution."""
    return nn.Sequential(_conv(inputs, inputs, 3, stride, groups=inputs), _conv(inputs, outputs, 1))


class _Classifier(nn.Module):
    """Features, mean over height and width, dropout, linear."""

    def __init__(self, features: nn.Module, channels: int, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.features = features
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.dropout(self.features(x).mean((2, 3))))
        return y


class _BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut, as in ResNet (He et al., 2015)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _conv(inputs, outputs, 3, stride)
        self.second = nn.Sequential(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(self.first(x)) + self.shortcut(x))


class _DeepAutoencoder(nn.Module):
    """Fully connected autoencoder with a bottleneck of 8."""

    def __init__(self) -> None:
        super().__init__()
        widths = (640, 128, 128, 128, 128, 8, 128, 128, 128, 128)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], widths[0]))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


class _SqueezeExcite(nn.Module):
    """Channel attention (Hu et al., 2017) with MobileNetV3's hard sigmoid."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.relu(self.reduce(x.mean((2, 3), keepdim=True)))
        gated: Tensor = self.gate(self.expand(scale))
        return gated * x


def _divisible(channels: float) -> int:
    """The multiple of 8 nearest to `channels`, but not below nine tenths of it."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class _Bneck(nn.Module):
    """MobileNetV3's bottleneck (Howard et al., 2019)."""

    def __init__(
        self, inputs: int, kernel: int, hidden: int, outputs: int, squeeze: bool, act: type[nn.Module], stride: int
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if hidden != inputs:
            layers += [nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), act()]
        layers += [
            nn.Conv2d(hidden, hidden, kernel, stride, kernel // 2, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            act(),
        ]
        if squeeze:
            layers.append(_SqueezeExcite(hidden, _divisible(hidden / 4)))
        layers += [nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


class _MobileNetV3Small(nn.Module):
    """MobileNetV3-small at width 1.0 (Howard et al., 2019, table 2), or what its first blocks make."""

    def __init__(self, blocks: int = 11, classes: int = 1000) -> None:
        super().__init__()
        relu, hswish = nn.ReLU, nn.Hardswish
        layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), hswish()]
        channels = 16
        rows = (
            (3, 16, 16, True, relu, 2),
            (3, 72, 24, False, relu, 2),
            (3, 88, 24, False, relu, 1),
            (5, 96, 40, True, hswish, 2),
            (5, 240, 40, True, hswish, 1),
            (5, 240, 40, True, hswish, 1),
            (5, 120, 48, True, hswish, 1),
            (5, 144, 48, True, hswish, 1),
            (5, 288, 96, True, hswish, 2),
            (5, 576, 96, True, hswish, 1),
            (5, 576, 96, True, hswish, 1),
        )
        for kernel, hidden, outputs, squeeze, act, stride in rows[:blocks]:
            layers.append(_Bneck(channels, kernel, hidden, outputs, squeeze, act, stride))
            channels = outputs
        layers += [nn.Conv2d(channels, 576, 1, bias=False), nn.BatchNorm2d(576), hswish()]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Linear(576, 1024), hswish(), nn.Dropout(0.2), nn.Linear(1024, classes))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.classifier(self.features(x).mean((2, 3)))
        return y


class _Residual(nn.Module):
    """A convolution whose input is added to its output."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv(3, 8, 3)
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y: Tensor = self.body(x)
        return torch.relu(x + y)


class _Conv1d(nn.Module):
    """A 1-D convolution over time and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(8, 16, 3, padding=1)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(torch.relu(self.conv(x)).mean(2))
        return y


class _Lstm(nn.Module):
    """An LSTM over a short sequence, and a linear layer on its last step."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 6, batch_first=True)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        sequence, _ = self.lstm(x)
        y: Tensor = self.head(sequence[:, -1])
        return y


class _Conv3d(nn.Module):
    """A linear layer that CMSIS-NN has, and a 3-D convolution that it has not."""

    def __init__(self) -> None:
        super().__init__()
        self.deep = nn.Sequential(nn.Conv3d(2, 4, 3, padding=1))
        self.head = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(torch.relu(self.deep(x)).mean((2, 3, 4)))
        return y


class _Reshaped(nn.Module):
    """A convolution over what a linear layer made, which is not channels_last."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 64)
        self.conv = nn.Conv2d(4, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(self.linear(x).view(1, 4, 4, 4))
        return y


def ds_cnn() -> Example:
    """Keyword spotting: 49 frames of 10 MFCCs to 12 words."""

    def make() -> nn.Module:
        layers = [_conv(1, 64, (10, 4), 2), *(_separable(64, 64) for _ in range(4))]
        return _Classifier(nn.Sequential(*layers), 64, 12, dropout=0.4)

    return seeded(make, (1, 1, 49, 10))


def resnet8() -> Example:
    """Image classification: CIFAR-10."""

    def make() -> nn.Module:
        blocks = [_BasicBlock(16, 16, 1), _BasicBlock(16, 32, 2), _BasicBlock(32, 64, 2)]
        return _Classifier(nn.Sequential(_conv(3, 16, 3), *blocks), 64, 10)

    return seeded(make, (1, 3, 32, 32))


def mobilenet_v1_025() -> Example:
    """Visual wake words: MobileNetV1 at a quarter of its width, 96 x 96 pixels to 2 classes."""
    widths = (8, 16, 32, 32, 64, 64, 128, 128, 128, 128, 128, 128, 256, 256)
    strides = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)

    def make() -> nn.Module:
        blocks = [_separable(*shape) for shape in zip(widths, widths[1:], strides, strict=False)]
        return _Classifier(nn.Sequential(_conv(3, 8, 3, 2), *blocks), 256, 2)

    return seeded(make, (1, 3, 96, 96))


def deep_autoencoder() -> Example:
    """Anomaly detection: 5 frames of 128 mel bands."""
    torch.manual_seed(0)
    model = _DeepAutoencoder().eval()
    estimate_batch_norm(model, torch.randn(64, 640))  # one sample has no variance
    return Example(model, (torch.randn(1, 640),))


def mobilenet_v3_small() -> Example:
    return seeded(_MobileNetV3Small, (1, 3, 224, 224))


def mobilenet_v3_blocks() -> Example:
    """MobileNetV3-small's first five of eleven blocks: of each kind one."""
    return seeded(lambda: _MobileNetV3Small(blocks=5, classes=10), (1, 3, 32, 32))


def residual() -> Example:
    return seeded(_Residual, (1, 3, 8, 8))


def depthwise() -> Example:
    return seeded(lambda: nn.Sequential(_separable(8, 16), _separable(16, 16, 2)), (1, 8, 8, 8))


def linear_only() -> Example:
    return seeded(lambda: nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)), (1, 16))


def conv1d() -> Example:
    return seeded(_Conv1d, (1, 8, 16))


def lstm() -> Example:
    return seeded(_Lstm, (1, 4, 8))


def conv3d() -> Example:
    return seeded(_Conv3d, (1, 2, 4, 6, 6))


def reshaped() -> Example:
    return seeded(_Reshaped, (1, 16))
