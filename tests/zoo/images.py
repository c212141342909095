"""Classifiers of pictures."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from tests import models, tiny_models

from .parts import Classifier, Model, Shortcut, SqueezeExcite, conv, image, known


class _SamePadded(nn.Conv2d):
    """A convolution that pads as TensorFlow's "same" does, more at the end than before where that is uneven."""

    def forward(self, x: Tensor) -> Tensor:
        sides: list[int] = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            sides += [missing // 2, missing - missing // 2]
        return super().forward(nn.functional.pad(x, sides))


def _inverted(
    inputs: int,
    outputs: int,
    expansion: int,
    kernel: int,
    stride: int,
    act: type[nn.Module],
    squeeze: nn.Module | None = None,
) -> nn.Module:
    """MobileNetV2's bottleneck, as EfficientNet has it too (Sandler et al., 2018; Tan and Le, 2019)."""
    hidden = inputs * expansion
    layers = [conv(inputs, hidden, 1, act=act)] if expansion != 1 else []
    depthwise = _SamePadded(hidden, hidden, kernel, stride, groups=hidden, bias=False)
    layers += [nn.Sequential(depthwise, nn.BatchNorm2d(hidden), act())]
    branch = nn.Sequential(*layers, *([squeeze] if squeeze else []), conv(hidden, outputs, 1, act=None))
    return Shortcut(branch) if stride == 1 and inputs == outputs else branch


def _mobilenet_v2() -> nn.Module:
    rows = ((1, 8, 1), (6, 12, 2), (6, 12, 1), (6, 16, 2), (6, 16, 1), (6, 24, 2))
    channels, blocks = 16, []
    for expansion, outputs, stride in rows:
        blocks.append(models._InvertedResidual(channels, outputs, stride, expansion))
        channels = outputs
    return Classifier(nn.Sequential(conv(3, 16, 3, 2, act=nn.ReLU6), *blocks, conv(24, 64, 1, act=nn.ReLU6)), 64)


def _efficientnet_lite() -> nn.Module:
    stem = nn.Sequential(_SamePadded(3, 16, 3, 2, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
    rows = ((1, 8, 3, 1), (6, 16, 3, 2), (6, 16, 3, 1), (6, 24, 5, 2), (6, 24, 5, 1), (6, 32, 3, 2))
    channels, blocks = 16, []
    for expansion, outputs, kernel, stride in rows:
        blocks.append(_inverted(channels, outputs, expansion, kernel, stride, nn.ReLU6))
        channels = outputs
    return Classifier(nn.Sequential(stem, *blocks, conv(channels, 64, 1, act=nn.ReLU6)), 64)


def _efficientnet() -> nn.Module:
    channels, blocks = 16, []
    for expansion, outputs, kernel, stride in ((1, 8, 3, 1), (6, 16, 3, 2), (6, 16, 3, 1), (6, 24, 5, 2)):
        squeeze = SqueezeExcite(channels * expansion, max(1, channels // 4), nn.SiLU, nn.Sigmoid)
        blocks.append(_inverted(channels, outputs, expansion, kernel, stride, nn.SiLU, squeeze))
        channels = outputs
    return Classifier(nn.Sequential(conv(3, 16, 3, 2, act=nn.SiLU), *blocks, conv(channels, 64, 1, act=nn.SiLU)), 64)


def _mcunet() -> nn.Module:
    """What its search found: each block another kernel and expansion, the first ones narrow."""
    rows = ((1, 8, 3, 1), (4, 16, 7, 2), (3, 16, 3, 1), (5, 24, 5, 2), (4, 24, 7, 1), (6, 40, 7, 2), (3, 48, 5, 1))
    channels, blocks = 16, []
    for expansion, outputs, kernel, stride in rows:
        hidden = channels * expansion
        branch = [conv(channels, hidden, 1, act=nn.ReLU6)] if expansion != 1 else []
        branch += [
            conv(hidden, hidden, kernel, stride, groups=hidden, act=nn.ReLU6),
            conv(hidden, outputs, 1, act=None),
        ]
        block: nn.Module = nn.Sequential(*branch)
        blocks.append(Shortcut(block) if stride == 1 and channels == outputs else block)
        channels = outputs
    return Classifier(nn.Sequential(conv(3, 16, 3, 2, act=nn.ReLU6), *blocks), channels, 2)


class _UniversalBottleneck(nn.Module):
    """MobileNetV4's block: depthwise before, between, both or neither."""

    def __init__(self, inputs: int, outputs: int, before: int, between: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden, layers = inputs * expansion, []
        if before:
            layers.append(conv(inputs, inputs, before, 1 if between else stride, groups=inputs, act=None))
        layers.append(conv(inputs, hidden, 1))
        if between:
            layers.append(conv(hidden, hidden, between, stride, groups=hidden))
        self.layers = nn.Sequential(*layers, conv(hidden, outputs, 1, act=None))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


def _mobilenet_v4() -> nn.Module:
    features = nn.Sequential(
        conv(3, 16, 3, 2),
        conv(16, 16, 3, 2),  # fused inverted bottlenecks
        conv(16, 16, 1),
        _UniversalBottleneck(16, 24, 5, 5, 2, 3),  # extra depthwise
        _UniversalBottleneck(24, 24, 0, 3, 1, 2),  # inverted bottleneck
        _UniversalBottleneck(24, 24, 3, 0, 1, 4),  # as ConvNeXt
        _UniversalBottleneck(24, 24, 0, 0, 1, 2),  # feed forward
        _UniversalBottleneck(24, 32, 3, 3, 2, 6),
        conv(32, 64, 1),
    )
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(64, 96, 1), nn.Flatten(), nn.Linear(96, 10))
    return nn.Sequential(features, head)


def _bottleneck(inputs: int, width: int, outputs: int, stride: int, groups: int, squeeze: bool = False) -> nn.Module:
    """ResNet's, and with groups RegNet's."""
    excite = [SqueezeExcite(width, inputs // 4, nn.ReLU, nn.Sigmoid)] if squeeze else []
    branch = [conv(inputs, width, 1), conv(width, width, 3, stride, groups=groups), *excite]
    same = stride == 1 and inputs == outputs
    shortcut = None if same else conv(inputs, outputs, 1, stride, act=None)
    return Shortcut(nn.Sequential(*branch, conv(width, outputs, 1, act=None)), shortcut, nn.ReLU(inplace=True))


def _resnet() -> nn.Module:
    stem = nn.Sequential(conv(3, 16, 7, 2), nn.MaxPool2d(3, 2, 1))
    blocks = [_bottleneck(16, 8, 32, 1, 1), _bottleneck(32, 8, 32, 1, 1), _bottleneck(32, 16, 64, 2, 1)]
    return Classifier(nn.Sequential(stem, *blocks), 64)


def _regnet() -> nn.Module:
    blocks = [
        _bottleneck(16, 24, 24, 2, 3, True),
        _bottleneck(24, 24, 24, 1, 3, True),
        _bottleneck(24, 56, 56, 2, 7, True),
    ]
    return Classifier(nn.Sequential(conv(3, 16, 3, 2), *blocks), 56)


class _ShuffleUnit(nn.Module):
    """Half of the channels pass; the others are convolved; both are shuffled."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half, self.stride = outputs // 2, stride
        before = inputs if stride > 1 else half
        self.right = nn.Sequential(
            conv(before, half, 1), conv(half, half, 3, stride, groups=half, act=None), conv(half, half, 1)
        )
        if stride > 1:
            self.left = nn.Sequential(conv(inputs, inputs, 3, stride, groups=inputs, act=None), conv(inputs, half, 1))

    def forward(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            y = torch.cat((self.left(x), self.right(x)), 1)
        else:
            passed, convolved = x.chunk(2, dim=1)
            y = torch.cat((passed, self.right(convolved)), 1)
        batch, channels, height, width = y.size()
        return (
            y.view(batch, 2, channels // 2, height, width).transpose(1, 2).contiguous().view(batch, -1, height, width)
        )


def _shufflenet() -> nn.Module:
    stem = nn.Sequential(conv(3, 16, 3, 2), nn.MaxPool2d(3, 2, 1))
    units = [_ShuffleUnit(16, 32, 2), _ShuffleUnit(32, 32, 1), _ShuffleUnit(32, 32, 1), _ShuffleUnit(32, 64, 2)]
    return Classifier(nn.Sequential(stem, *units, conv(64, 96, 1)), 96)


class _Fire(nn.Module):
    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.narrow, self.wide = nn.Conv2d(squeezed, expanded, 1), nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.squeeze(x))
        return torch.cat([torch.relu(self.narrow(x)), torch.relu(self.wide(x))], 1)


def _squeezenet() -> nn.Module:
    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    features = [
        nn.Conv2d(3, 16, 3, 2),
        nn.ReLU(),
        pool(),
        _Fire(16, 8, 16),
        _Fire(32, 8, 16),
        pool(),
        _Fire(32, 12, 24),
    ]
    head = [nn.Dropout(0.5), nn.Conv2d(48, 10, 1), nn.ReLU(), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten()]
    return nn.Sequential(*features, *head)


class _Ghost(nn.Module):
    """Half of the channels by convolution, the others made of those cheaply; what is too many is cut off."""

    def __init__(self, inputs: int, outputs: int, relu: bool = True) -> None:
        super().__init__()
        self.outputs, half, act = outputs, -(-outputs // 2), nn.ReLU if relu else None
        self.primary, self.cheap = conv(inputs, half, 1, act=act), conv(half, half, 3, groups=half, act=act)

    def forward(self, x: Tensor) -> Tensor:
        primary = self.primary(x)
        return torch.cat([primary, self.cheap(primary)], dim=1)[:, : self.outputs, :, :]


def _ghost_bottleneck(inputs: int, hidden: int, outputs: int, kernel: int, stride: int, squeeze: bool) -> nn.Module:
    branch: list[nn.Module] = [_Ghost(inputs, hidden)]
    shortcut = None
    if stride > 1:
        branch.append(conv(hidden, hidden, kernel, stride, groups=hidden, act=None))
    if squeeze:
        branch.append(SqueezeExcite(hidden, hidden // 4, nn.ReLU, nn.Hardsigmoid))
    if stride > 1 or inputs != outputs:
        depthwise = conv(inputs, inputs, kernel, stride, groups=inputs, act=None)
        shortcut = nn.Sequential(depthwise, conv(inputs, outputs, 1, act=None))
    return Shortcut(nn.Sequential(*branch, _Ghost(hidden, outputs, relu=False)), shortcut)


def _ghostnet() -> nn.Module:
    rows = ((16, 16, 3, 1, False), (48, 24, 3, 2, False), (73, 25, 3, 1, False), (72, 40, 5, 2, True))
    channels, blocks = 16, []
    for hidden, outputs, kernel, stride, squeeze in rows:
        blocks.append(_ghost_bottleneck(channels, hidden, outputs, kernel, stride, squeeze))
        channels = outputs
    return Classifier(nn.Sequential(conv(3, 16, 3, 2), *blocks, conv(channels, 64, 1)), 64)


class _ChannelNorm(nn.Module):
    """Layer norm over the channels of [N, C, H, W], as ConvNeXt's own code has it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt(variance + 1e-6)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class _ConvNeXtBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.wide, self.act, self.narrow = nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.rand(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.scale * self.narrow(self.act(self.wide(y)))
        z: Tensor = x + y.permute(0, 3, 1, 2)
        return z


class _ConvNeXt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 4, 4), _ChannelNorm(16), _ConvNeXtBlock(16), _ChannelNorm(16), nn.Conv2d(16, 32, 2, 2),
            _ConvNeXtBlock(32),
        )  # fmt: skip
        self.norm, self.head = nn.LayerNorm(32, eps=1e-6), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.norm(self.features(x).mean([-2, -1])))
        return y


class _MobileOneBlock(nn.Module):
    """Two convolutions, one of 1x1 and a batch norm side by side; `merged` is the one convolution that they are."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> None:
        super().__init__()
        self.wide = nn.ModuleList(conv(inputs, outputs, kernel, stride, groups=groups, act=None) for _ in range(2))
        self.point = conv(inputs, outputs, 1, stride, groups=groups, act=None) if kernel > 1 else None
        self.skip = nn.BatchNorm2d(inputs) if inputs == outputs and stride == 1 else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.wide[0](x) + self.wide[1](x)
        y = y if self.point is None else y + self.point(x)
        return torch.relu(y if self.skip is None else y + self.skip(x))

    @torch.no_grad()
    def merged(self) -> nn.Sequential:
        like = cast(nn.Conv2d, self.wide[0].get_submodule("0"))
        one = nn.Conv2d(like.in_channels, like.out_channels, 1, groups=like.groups)
        one.kernel_size, one.stride, one.padding = like.kernel_size, like.stride, like.padding
        one.weight = nn.Parameter(torch.zeros_like(like.weight))
        branches = [*self.wide, *([self.point] if self.point else [])]
        kernels, biases = [], []
        for branch in branches:
            scale = branch[1].weight / (branch[1].running_var + branch[1].eps).sqrt()
            side = (one.kernel_size[0] - branch[0].kernel_size[0]) // 2
            kernels.append(nn.functional.pad(branch[0].weight, [side] * 4) * scale[:, None, None, None])
            biases.append(branch[1].bias - branch[1].running_mean * scale)
        if self.skip is not None:
            assert self.skip.running_var is not None and self.skip.running_mean is not None
            scale = self.skip.weight / (self.skip.running_var + self.skip.eps).sqrt()
            identity = torch.zeros_like(one.weight)
            middle = one.kernel_size[0] // 2
            for channel in range(one.out_channels):
                identity[channel, channel % identity.shape[1], middle, middle] = scale[channel]
            kernels.append(identity)
            biases.append(self.skip.bias - self.skip.running_mean * scale)
        assert one.bias is not None
        one.weight.copy_(sum(kernels))
        one.bias.copy_(sum(biases))
        return nn.Sequential(one, nn.ReLU())


def _mobileone() -> nn.Module:
    shapes = (
        (3, 16, 3, 2, 1),
        (16, 16, 3, 2, 16),
        (16, 32, 1, 1, 1),
        (32, 32, 3, 1, 32),
        (32, 32, 1, 1, 1),
        (32, 32, 3, 2, 32),
    )
    blocks = [_MobileOneBlock(*shape) for shape in shapes]
    sequence = nn.Sequential(*blocks)
    models.estimate_batch_norm(sequence, torch.randn(8, 3, 64, 64))
    return Classifier(nn.Sequential(*(block.merged() for block in blocks)), 32)


class _DenseLayer(nn.Module):
    """Batch norm and ReLU before the convolution, and its output beside all before it."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm, self.narrow = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.norm2, self.wide = nn.BatchNorm2d(4 * growth), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.narrow(torch.relu(self.norm(x)))
        return torch.cat([x, self.wide(torch.relu(self.norm2(y)))], 1)


def _densenet() -> nn.Module:
    first = [_DenseLayer(16 + 8 * index, 8) for index in range(3)]
    transition = [nn.BatchNorm2d(40), nn.ReLU(), nn.Conv2d(40, 20, 1, bias=False), nn.AvgPool2d(2, 2)]
    last = [_DenseLayer(20, 8), nn.BatchNorm2d(28), nn.ReLU()]
    return Classifier(nn.Sequential(conv(3, 16, 3, 2), nn.MaxPool2d(3, 2, 1), *first, *transition, *last), 28)


def _mlp(*widths: int) -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(nn.Flatten(), *layers[:-1])


IMAGES = {
    "MLP": Model("LeCun et al. 1998", lambda: _mlp(256, 64, 32, 10), image(16, 1)),
    "MobileNetV1-0.25": known("Howard et al. 2017", tiny_models.mobilenet_v1_025, image(96)),
    "MobileNetV2": Model("Sandler et al. 2018", _mobilenet_v2, image(64)),
    "MobileNetV3-small": known("Howard et al. 2019", tiny_models.mobilenet_v3_blocks, image(32)),
    "MobileNetV4": Model("Qin et al. 2024", _mobilenet_v4, image(64)),
    "MobileOne": Model("Vasu et al. 2022", _mobileone, image(64)),
    "MCUNet": Model("Lin et al. 2020", _mcunet, image(64)),
    "EfficientNet": Model("Tan and Le 2019", _efficientnet, image(32)),
    "EfficientNet-Lite": Model("Tan and Le 2019", _efficientnet_lite, image(32)),
    "ResNet8": known("He et al. 2015", tiny_models.resnet8, image(32)),
    "ResNet, bottlenecks": Model("He et al. 2015", _resnet, image(64)),
    "RegNetY": Model("Radosavovic et al. 2020", _regnet, image(32)),
    "DenseNet": Model("Huang et al. 2016", _densenet, image(32)),
    "ShuffleNetV2": Model("Ma et al. 2018", _shufflenet, image(64)),
    "SqueezeNet": Model("Iandola et al. 2016", _squeezenet, image(64)),
    "GhostNet": Model("Han et al. 2019", _ghostnet, image(32)),
    "ConvNeXt": Model("Liu et al. 2022", _ConvNeXt, image(32)),
}
