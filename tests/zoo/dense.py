"""What finds things in pictures, and what makes pictures of pictures."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from .parts import Model, Shortcut, conv, image, noise


def _double(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(conv(inputs, outputs), conv(outputs, outputs))


class _UNet(nn.Module):
    """Down twice and up twice, by transposed convolutions or by bilinear interpolation."""

    def __init__(self, transposed: bool, classes: int = 3) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = _double(3, 8), _double(8, 16), _double(16, 32)
        self.pool = nn.MaxPool2d(2)

        def up(inputs: int, outputs: int) -> nn.Module:
            if transposed:
                return nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
            larger = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
            return nn.Sequential(larger, nn.Conv2d(inputs, outputs, 1))

        self.up2, self.up1 = up(32, 16), up(16, 8)
        self.join2, self.join1 = _double(32, 16), _double(16, 8)
        self.head = nn.Conv2d(8, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.down1(x)
        second = self.down2(self.pool(first))
        x = self.up2(self.bottom(self.pool(second)))
        x = self.join2(torch.cat([second, x], dim=1))
        x = self.join1(torch.cat([first, self.up1(x)], dim=1))
        y: Tensor = self.head(x)
        return y


class _DeepLab(nn.Module):
    """A dilated backbone, pyramid pooling with the mean of the picture, and logits of the input's size."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.backbone = nn.Sequential(conv(3, 16, 3, 2), conv(16, 16, 3, 2), conv(16, 24, 3, 2))

        def dilated(rate: int) -> nn.Module:
            layers = [nn.Conv2d(24, 16, 3, padding=rate, dilation=rate, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
            return nn.Sequential(*layers)

        self.branches = nn.ModuleList([conv(24, 16, 1), dilated(2), dilated(4), dilated(6)])
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(24, 16, 1))
        self.project = nn.Sequential(conv(80, 16, 1), nn.Dropout(0.5), nn.Conv2d(16, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        features = self.backbone(x)
        parts = [branch(features) for branch in self.branches]
        mean = self.pooled(features)
        parts.append(nn.functional.interpolate(mean, size=features.shape[-2:], mode="bilinear", align_corners=False))
        logits = self.project(torch.cat(parts, dim=1))
        return nn.functional.interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=False)


class _SSD(nn.Module):
    """Boxes and classes of two scales, one behind the other; as in inference, classes by softmax."""

    def __init__(self, classes: int = 4, anchors: int = 3) -> None:
        super().__init__()
        self.classes = classes
        self.backbone = nn.Sequential(conv(3, 16, 3, 2, act=nn.ReLU6), conv(16, 24, 3, 2, act=nn.ReLU6))
        self.scales = nn.ModuleList([conv(24, 32, 3, 2, act=nn.ReLU6), conv(32, 32, 3, 2, act=nn.ReLU6)])
        self.boxes = nn.ModuleList(nn.Conv2d(32, anchors * 4, 3, padding=1) for _ in self.scales)
        self.scores = nn.ModuleList(nn.Conv2d(32, anchors * classes, 3, padding=1) for _ in self.scales)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.backbone(x)
        boxes, scores = [], []
        for scale, to_boxes, to_scores in zip(self.scales, self.boxes, self.scores, strict=True):
            x = scale(x)
            boxes.append(to_boxes(x).permute(0, 2, 3, 1).contiguous().view(x.size(0), -1, 4))
            scores.append(to_scores(x).permute(0, 2, 3, 1).contiguous().view(x.size(0), -1, self.classes))
        return torch.cat(boxes, 1), torch.cat(scores, 1).softmax(dim=-1)


class _C2f(nn.Module):
    """YOLOv8's block: channels in two halves, one of which goes on, all joined."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.width = outputs // 2
        self.first, self.last = conv(inputs, outputs, 1, act=nn.SiLU), conv(3 * self.width, outputs, 1, act=nn.SiLU)
        branch = nn.Sequential(conv(self.width, self.width, act=nn.SiLU), conv(self.width, self.width, act=nn.SiLU))
        self.block = Shortcut(branch)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.first(x).split((self.width, self.width), 1))
        y: Tensor = self.last(torch.cat([*parts, self.block(parts[-1])], 1))
        return y


class _PyramidPooling(nn.Module):
    """Three poolings in a row, joined (SPPF)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.last = (
            conv(channels, channels // 2, 1, act=nn.SiLU),
            conv(2 * channels, channels, 1, act=nn.SiLU),
        )
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        once = self.pool(x)
        twice = self.pool(once)
        y: Tensor = self.last(torch.cat((x, once, twice, self.pool(twice)), 1))
        return y


class _YOLO(nn.Module):
    """YOLOv8: a neck that goes up and down again, heads apart for boxes and classes, and boxes decoded from the
    distribution of their sides' distances."""

    centres: Tensor
    strides: Tensor

    def __init__(self, classes: int = 4, bins: int = 8, size: int = 64) -> None:
        super().__init__()
        self.classes, self.bins = classes, bins
        self.stem = nn.Sequential(conv(3, 8, 3, 2, act=nn.SiLU), conv(8, 16, 3, 2, act=nn.SiLU), _C2f(16, 16))
        self.fine = nn.Sequential(conv(16, 24, 3, 2, act=nn.SiLU), _C2f(24, 24))
        self.coarse = nn.Sequential(conv(24, 32, 3, 2, act=nn.SiLU), _PyramidPooling(32))
        self.larger = nn.Upsample(scale_factor=2, mode="nearest")
        self.up, self.smaller, self.down = _C2f(56, 24), conv(24, 24, 3, 2, act=nn.SiLU), _C2f(56, 32)
        self.boxes = nn.ModuleList(
            nn.Sequential(conv(width, 16, act=nn.SiLU), nn.Conv2d(16, 4 * bins, 1)) for width in (24, 32)
        )
        self.scores = nn.ModuleList(
            nn.Sequential(conv(width, 16, act=nn.SiLU), nn.Conv2d(16, classes, 1)) for width in (24, 32)
        )
        self.expected = nn.Conv2d(bins, 1, 1, bias=False)
        self.expected.weight.data[:] = torch.arange(bins, dtype=torch.float).view(1, bins, 1, 1)
        sides = [size // 8, size // 16]
        centres = [
            torch.stack(torch.meshgrid(torch.arange(n) + 0.5, torch.arange(n) + 0.5, indexing="xy")) for n in sides
        ]
        self.register_buffer("centres", torch.cat([each.view(2, -1) for each in centres], 1)[None])
        self.register_buffer("strides", torch.cat([torch.full((1, n * n), size / n) for n in sides], 1))

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(self.stem(x))
        coarse = self.coarse(fine)
        fine = self.up(torch.cat([self.larger(coarse), fine], 1))
        coarse = self.down(torch.cat([self.smaller(fine), coarse], 1))
        levels = [
            torch.cat((boxes(level), scores(level)), 1).view(x.shape[0], 4 * self.bins + self.classes, -1)
            for level, boxes, scores in zip((fine, coarse), self.boxes, self.scores, strict=True)
        ]
        distances, scores = torch.split(torch.cat(levels, 2), [4 * self.bins, self.classes], 1)
        batch, _, anchors = distances.shape
        distances = distances.view(batch, 4, self.bins, anchors).transpose(2, 1).softmax(1)
        before, behind = self.expected(distances).view(batch, 4, anchors).chunk(2, 1)
        start, end = self.centres - before, self.centres + behind
        decoded = torch.cat(((start + end) / 2, end - start), 1) * self.strides
        return torch.cat((decoded, scores.sigmoid()), 1)


def _espcn() -> nn.Module:
    layers = [nn.Conv2d(1, 16, 5, padding=2), nn.Tanh(), nn.Conv2d(16, 16, 3, padding=1), nn.Tanh()]
    return nn.Sequential(*layers, nn.Conv2d(16, 4, 3, padding=1), nn.PixelShuffle(2))


class _Padded(nn.Module):
    """A convolution with mirrored borders, behind an up-sampling or not."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, larger: int | None = None) -> None:
        super().__init__()
        self.pad, self.larger = nn.ReflectionPad2d(kernel // 2), larger
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride)

    def forward(self, x: Tensor) -> Tensor:
        if self.larger:
            x = nn.functional.interpolate(x, mode="nearest", scale_factor=self.larger)
        y: Tensor = self.conv(self.pad(x))
        return y


def _style() -> nn.Module:
    def normed(layer: nn.Module, channels: int) -> list[nn.Module]:
        return [layer, nn.InstanceNorm2d(channels, affine=True), nn.ReLU()]

    down = [*normed(_Padded(3, 8, 9), 8), *normed(_Padded(8, 16, 3, 2), 16)]
    residual = [*normed(_Padded(16, 16, 3), 16), _Padded(16, 16, 3), nn.InstanceNorm2d(16, affine=True)]
    up = [*normed(_Padded(16, 8, 3, larger=2), 8), _Padded(8, 3, 9)]
    return nn.Sequential(*down, Shortcut(nn.Sequential(*residual)), *up)


class _FaceDetector(nn.Module):
    """MTCNN's first and smallest network: PReLU, and two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 10, 3), nn.PReLU(10), nn.MaxPool2d(2, 2, ceil_mode=True), nn.Conv2d(10, 16, 3), nn.PReLU(16),
            nn.Conv2d(16, 32, 3), nn.PReLU(32),
        )  # fmt: skip
        self.face, self.box = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.features(x)
        return self.box(x), torch.softmax(self.face(x), dim=1)


class _BlazeBlock(nn.Module):
    """BlazeFace's: the shortcut is pooled, and zeros are put behind its channels."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride, self.more = stride, outputs - inputs
        self.depthwise = nn.Conv2d(
            inputs, inputs, 5 if stride == 1 else 3, stride, 2 if stride == 1 else 0, groups=inputs
        )
        self.pointwise = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        if self.stride == 2:
            y, x = nn.functional.pad(x, (0, 1, 0, 1)), nn.functional.max_pool2d(x, 2, 2)
        if self.more:
            x = nn.functional.pad(x, (0, 0, 0, 0, 0, self.more))
        return torch.relu(self.pointwise(self.depthwise(y)) + x)


class _BlazeFace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        blocks = [_BlazeBlock(16, 16, 1), _BlazeBlock(16, 24, 2), _BlazeBlock(24, 28, 1), _BlazeBlock(28, 32, 2)]
        self.features = nn.Sequential(nn.Conv2d(3, 16, 5, 2, 2), nn.ReLU(), *blocks)
        self.scores, self.boxes = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 32, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.features(x)
        batch = x.shape[0]
        scores = self.scores(x).permute(0, 2, 3, 1).reshape(batch, -1, 1)
        return self.boxes(x).permute(0, 2, 3, 1).reshape(batch, -1, 16), scores


class _PointNet(nn.Module):
    """Points as [N, 3, points]: turned by a matrix that the network finds, then the largest of each feature."""

    def __init__(self, classes: int = 8) -> None:
        super().__init__()

        def shared(*widths: int) -> nn.Module:
            pairs = pairwise(widths)
            layers = [[nn.Conv1d(*pair, 1), nn.BatchNorm1d(pair[1]), nn.ReLU()] for pair in pairs]
            return nn.Sequential(*(layer for each in layers for layer in each))

        self.turn, self.turned = shared(3, 16, 32), nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 9))
        self.features = shared(3, 16, 64)
        self.head = nn.Sequential(
            nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        matrix = self.turned(torch.max(self.turn(x), 2, keepdim=True)[0].view(-1, 32))
        matrix = (matrix + torch.eye(3).flatten()).view(-1, 3, 3)
        x = torch.bmm(x.transpose(2, 1), matrix).transpose(2, 1)
        x = torch.max(self.features(x), 2, keepdim=True)[0].view(-1, 64)
        return nn.functional.log_softmax(self.head(x), dim=1)


DENSE = {
    "U-Net, transposed": Model("Ronneberger et al. 2015", lambda: _UNet(transposed=True), image(32)),
    "U-Net, bilinear": Model("Ronneberger et al. 2015", lambda: _UNet(transposed=False), image(32)),
    "DeepLabV3": Model("Chen et al. 2017", _DeepLab, image(64)),
    "SSD": Model("Liu et al. 2015", _SSD, image(64)),
    "YOLOv8": Model("Jocher et al. 2023", _YOLO, image(64)),
    "BlazeFace": Model("Bazarevsky et al. 2019", _BlazeFace, image(64)),
    "MTCNN": Model("Zhang et al. 2016", _FaceDetector, image(24)),
    "ESPCN": Model("Shi et al. 2016", _espcn, image(24, 1)),
    "Style transfer": Model("Johnson et al. 2016", _style, image(32)),
    "PointNet": Model("Qi et al. 2016", _PointNet, noise((1, 3, 64))),
}
