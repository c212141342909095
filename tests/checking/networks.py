"""Small relatives of networks that multiply each rounding, so that their ends can't tell right from wrong."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.models import Example, estimate_batch_norm


class _Conv(nn.Sequential):
    """Convolution, batch norm and SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
            nn.SiLU(),
        )


class _MBConv(nn.Module):
    """EfficientNet's block: expansion, depthwise convolution, squeeze and excitation, projection."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = 4 * inputs
        self.expand, self.depthwise = _Conv(inputs, hidden), _Conv(hidden, hidden, kernel, stride, hidden)
        self.squeeze, self.excite = nn.Conv2d(hidden, inputs // 4, 1), nn.Conv2d(inputs // 4, hidden, 1)
        self.project = nn.Sequential(nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.depthwise(self.expand(x))
        y = y * torch.sigmoid(self.excite(F.silu(self.squeeze(y.mean((2, 3), keepdim=True)))))
        y = self.project(y)
        return x + y if self.residual else y


class _C2f(nn.Module):
    """YOLO's block: the halves of a convolution's channels, of which one goes on through a residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.first, self.last = _Conv(channels, channels), _Conv(half * 3, channels)
        self.inner = nn.Sequential(_Conv(half, half, 3), _Conv(half, half, 3))

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.first(x).chunk(2, 1)
        result: Tensor = self.last(torch.cat([a, b, b + self.inner(b)], 1))
        return result


class _Yolo(nn.Module):
    """Backbone, SPPF, a neck that goes up and down, and a head each for two strides with distances as distributions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_Conv(3, 8, 3, 2), _Conv(8, 16, 3, 2), _C2f(16))
        self.deep = nn.Sequential(_Conv(16, 32, 3, 2), _C2f(32))
        self.before_pooling, self.after_pooling = _Conv(32, 16), _Conv(48, 32)
        self.up, self.down = nn.Sequential(_Conv(48, 16), _C2f(16)), _Conv(16, 32, 3, 2)
        self.join = nn.Sequential(_Conv(64, 32), _C2f(32))
        self.boxes = nn.ModuleList(nn.Conv2d(channels, 4 * 4, 1) for channels in (16, 32))
        self.classes = nn.ModuleList(nn.Conv2d(channels, 5, 1) for channels in (16, 32))
        self.bins = nn.Conv2d(4, 1, 1, bias=False).requires_grad_(False)
        self.bins.weight.data[:] = torch.arange(4.0).view(1, 4, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        near = self.stem(x)
        pooled = [self.before_pooling(self.deep(near))]
        pooled += [F.max_pool2d(pooled[0], 5, 1, 2)]
        pooled += [F.max_pool2d(pooled[1], 5, 1, 2)]
        far = self.after_pooling(torch.cat(pooled, 1))
        near = self.up(torch.cat([F.interpolate(far, scale_factor=2.0), near], 1))
        maps = near, self.join(torch.cat([self.down(near), far], 1))
        boxes = torch.cat([box(one).flatten(2) for box, one in zip(self.boxes, maps, strict=True)], 2)
        classes = torch.cat([head(one).flatten(2) for head, one in zip(self.classes, maps, strict=True)], 2)
        distances = boxes.view(1, 4, 4, -1).transpose(1, 2).softmax(1)
        return self.bins(distances).view(1, 4, -1), classes.sigmoid()


class _States(nn.Module):
    """A recurrent layer whose states are inputs and outputs, as where a device steps through a stream."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.gru = nn.LSTM(6, 5, batch_first=True), nn.GRU(6, 5, batch_first=True)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        sequence, (h_after, c_after) = self.lstm(x, (h, c))
        _, state = self.gru(x, h)
        return sequence, h_after, c_after, state


def efficient_net() -> Example:
    torch.manual_seed(0)
    blocks = [_MBConv(8, 8, 3, 1), _MBConv(8, 12, 5, 2), _MBConv(12, 12, 5, 1)]
    model = nn.Sequential(_Conv(3, 8, 3, 2), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10))
    estimate_batch_norm(model, torch.randn(8, 3, 32, 32))
    return Example(model.eval(), (torch.randn(1, 3, 32, 32),))


def yolo() -> Example:
    torch.manual_seed(0)
    model = _Yolo()
    estimate_batch_norm(model, torch.randn(8, 3, 32, 32))
    return Example(model.eval(), (torch.randn(1, 3, 32, 32),))


def states() -> Example:
    torch.manual_seed(0)
    return Example(_States().eval(), (torch.randn(1, 1, 6), torch.randn(1, 1, 5), torch.randn(1, 1, 5)))
