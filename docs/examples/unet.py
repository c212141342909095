"""A U-Net that finds shapes, on every INT8 target: its IoU in float, quantized, and as the lowered program.

    python docs/examples/unet.py [--up transposed | bilinear] [RECIPE ...]

Trains for half a minute on pictures of discs and squares that are drawn for it, exports with calibration on 64 of them,
and runs 32 others through the lowered program. A U-Net concatenates what it saw on the way down with what it makes on
the way up: a ReLU beside signed values, which executorch's own lowering gets wrong where they share their range.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from arm_recipes import ArmRecipeType, export, verify

RECIPES = ["TOSA_INT8", "ETHOSU_U55_INT8", "ETHOSU_U85_INT8", "VGF_INT8", "CORTEX_M55_INT8"]
SIZE = 32


class Split(NamedTuple):
    """Pictures of shape (N, 3, 32, 32), float32 about 0, and masks (N, 32, 32): 0 background, 1 disc, 2 square."""

    images: Tensor
    masks: Tensor


def draw(count: int, seed: int) -> Split:
    """Pictures of one disc and one square each, on noise."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    images = torch.randn(count, 3, SIZE, SIZE, generator=generator) * 0.3
    masks = torch.zeros(count, SIZE, SIZE, dtype=torch.long)
    for image, mask in zip(images, masks, strict=True):
        for kind in (1, 2):
            row, column = torch.randint(6, SIZE - 6, (2,), generator=generator).tolist()
            radius = int(torch.randint(3, 7, (1,), generator=generator))
            across, along = rows - row, columns - column
            if kind == 1:
                inside = across**2 + along**2 <= radius**2
            else:
                inside = torch.maximum(across.abs(), along.abs()) <= radius
            colour = torch.rand(3, 1, generator=generator) * 1.5 + 0.5
            image[:, inside] = colour + 0.2 * torch.randn(3, int(inside.sum()), generator=generator)
            mask[inside] = kind
    return Split(images, masks)


class Block(nn.Sequential):
    """Two convolutions with batch norm and ReLU."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(
            nn.Conv2d(channels, out, 3, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
        )


class UNet(nn.Module):
    """Three levels, 8 to 32 channels; takes (N, 3, 32, 32) and gives the scores (N, 3, 32, 32) of three classes."""

    def __init__(self, up: str) -> None:
        super().__init__()
        self.down = nn.ModuleList([Block(3, 8), Block(8, 16)])
        self.bottom = Block(16, 32)
        self.ups = nn.ModuleList([_up(up, 32, 16), _up(up, 16, 8)])
        self.merges = nn.ModuleList([Block(32, 16), Block(16, 8)])
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        skips = []
        value = image
        for block in self.down:
            value = block(value)
            skips.append(value)
            value = nn.functional.max_pool2d(value, 2)
        value = self.bottom(value)
        for up, merge, skip in zip(self.ups, self.merges, reversed(skips), strict=True):
            value = merge(torch.cat([skip, up(value)], 1))
        scores: Tensor = self.head(value)
        return scores


def _up(kind: str, channels: int, out: int) -> nn.Module:
    if kind == "transposed":
        return nn.ConvTranspose2d(channels, out, 2, stride=2)
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(channels, out, 1))


def trained(up: str, steps: int = 300) -> UNet:
    """The network, trained; always the same."""
    torch.manual_seed(0)
    model = UNet(up).train()
    data = draw(512, seed=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(steps):
        batch = torch.randint(0, len(data.images), (16,))
        optimizer.zero_grad()
        loss: Tensor = nn.functional.cross_entropy(model(data.images[batch]), data.masks[batch])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.eval()


def iou(scores: Tensor, mask: Tensor) -> float:
    """Mean over the disc and the square of what is found of each, shared over united.

    Args:
        scores: (1, 3, 32, 32).
        mask: (32, 32).
    """
    found = scores[0].argmax(0)
    shares = []
    for kind in (1, 2):
        united = int(((found == kind) | (mask == kind)).sum())
        shares.append(int(((found == kind) & (mask == kind)).sum()) / max(united, 1))
    return sum(shares) / len(shares)


def compare(model: nn.Module, recipe: str, samples: int = 32) -> dict[str, float]:
    """The IoU of each stage on pictures that it was not trained on, by the stage's name."""
    test = draw(samples, seed=1)

    def mean_iou(outputs: list[Tensor], label: int) -> float:
        return iou(outputs[0], test.masks[label])

    session = export(model, ArmRecipeType[recipe], (test.images[:1],), calibration=draw(64, seed=2).images)
    report = verify(
        session, (test.images, torch.arange(samples)), metric=mean_iou, simulator="reference", progress=False
    )
    assert report.accuracy is not None
    return {stage: figures["mean_iou"] for stage, figures in report.accuracy.figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=f"default: {' '.join(RECIPES)}")
    parser.add_argument("--up", choices=["transposed", "bilinear"], help="how it goes up; default: each")
    arguments = parser.parse_args()

    table = Table("goes up by", "recipe", "float", "quantized", "program")
    for up in [arguments.up] if arguments.up else ["transposed", "bilinear"]:
        model = trained(up)
        for recipe in arguments.recipes or RECIPES:
            table.add_row(up, recipe, *(f"{share:.3f}" for share in compare(model, recipe).values()))
    Console().print(table)


if __name__ == "__main__":
    main()
