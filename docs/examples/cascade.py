"""A face detector of three small networks, judged as a whole on what was lowered: `simulate` and `verify`.

    python docs/examples/cascade.py [RECIPE ...]

Pictures hold one face each, a bright disc with two dark eyes, on noise. The first network proposes places on a grid,
the second says which of the crops around them are faces and moves them, the third finds the point between the eyes. All
are trained here, in some ten seconds. Prints for each recipe how often the cascade is within two pixels of it, in float
and lowered.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from arm_recipes import ArmRecipeType, export, simulate

RECIPES = ["ETHOSU_U55_INT8", "CORTEX_M55_INT8"]
SIZE, CROP = 32, 16
Network = Callable[[Tensor], tuple[Tensor, Tensor]]


class Faces(NamedTuple):
    """Pictures of shape (N, 1, 32, 32), float32, and the points between the eyes, (N, 2): row and column."""

    images: Tensor
    points: Tensor


def draw(count: int, seed: int) -> Faces:
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    points = torch.randint(8, SIZE - 8, (count, 2), generator=generator)
    images = torch.randn(count, 1, SIZE, SIZE, generator=generator) * 0.2
    for image, (row, column) in zip(images, points.tolist(), strict=True):
        image[0, (rows - row) ** 2 + (columns - column) ** 2 <= 36] += 1
        for eye in (-2, 2):
            image[0, row, column + eye] -= 1
    return Faces(images, points.float())


class Propose(nn.Module):
    """(N, 1, 32, 32) -> scores (N, 1, 8, 8) of cells of 4 x 4 pixels, and offsets (N, 2, 8, 8) in cells."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 5, 2, 2),
            nn.ReLU(),
            nn.Conv2d(8, 16, 5, 2, 2),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, 1, 1),
            nn.ReLU(),
        )
        self.score, self.offset = nn.Conv2d(16, 1, 1), nn.Conv2d(16, 2, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(image)
        return self.score(features), self.offset(features)


class Look(nn.Module):
    """A crop (N, 1, 16, 16) -> a score (N, 1) and where the point is from the crop's middle, (N, 2) in crops."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.Flatten()
        )
        self.score, self.offset = nn.Linear(256, 1), nn.Linear(256, 2)

    def forward(self, crop: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(crop)
        return self.score(features), self.offset(features)


def crop(image: Tensor, point: Tensor) -> Tensor:
    """What is around a point of one picture, (1, 1, 16, 16); zeros beyond the picture's edge."""
    half = CROP // 2
    padded = F.pad(image, (half, half, half, half))
    row, column = point.round().long().clamp(0, SIZE - 1).tolist()
    return padded[:, :, row : row + CROP, column : column + CROP]


def detect(image: Tensor, propose: Network, refine: Network, finish: Network, proposals: int = 3) -> Tensor:
    """The point between the eyes, by all three networks. They may be modules or lowered programs."""
    scores, offsets = propose(image)
    best: tuple[float, Tensor] = (-1e9, torch.zeros(2))
    for cell in scores.flatten().topk(proposals).indices.tolist():
        row, column = divmod(cell, 8)
        point = (torch.tensor([row, column]) + 0.5 + offsets[0, :, row, column]) * 4
        score, moved = refine(crop(image, point))
        best = max(best, (float(score), point + moved[0] * CROP), key=lambda scored: scored[0])
    _, moved = finish(crop(image, best[1]))
    at: Tensor = best[1].round() + moved[0] * CROP
    return at


def _train(model: nn.Module, loss: Callable[[nn.Module, Tensor], Tensor], steps: int) -> nn.Module:
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model, torch.randint(0, 256, (32,))).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.eval()


def trained(steps: int = 150) -> tuple[nn.Module, nn.Module, nn.Module]:
    """The three networks; always the same."""
    torch.manual_seed(0)
    faces = draw(256, seed=0)

    def proposal_loss(model: nn.Module, batch: Tensor) -> Tensor:
        scores, offsets = model(faces.images[batch])
        cells = faces.points[batch] / 4
        row, column = cells.floor().long().T
        wanted = torch.zeros_like(scores)
        each = torch.arange(len(batch))
        wanted[each, 0, row, column] = 1
        placed = F.l1_loss(offsets[each, :, row, column], cells - cells.floor() - 0.5)
        return F.binary_cross_entropy_with_logits(scores, wanted, pos_weight=torch.tensor(8.0)) + placed

    def crop_loss(spread: float) -> Callable[[nn.Module, Tensor], Tensor]:
        def loss(model: nn.Module, batch: Tensor) -> Tensor:
            off = torch.randn(len(batch), 2) * spread
            off[::2] += torch.randint(-1, 2, (len(off[::2]), 2)) * 10  # every other one is no face
            around = (faces.points[batch] + off).round()
            crops = torch.cat([crop(faces.images[i : i + 1], at) for i, at in zip(batch.tolist(), around, strict=True)])
            scores, offsets = model(crops)
            away = faces.points[batch] - around
            near = (away.abs().amax(1) < 6).float()
            placed = ((offsets - away / CROP).abs().mean(1) * near).sum() / near.sum().clamp(min=1)
            total: Tensor = F.binary_cross_entropy_with_logits(scores[:, 0], near) + 4 * placed
            return total

        return loss

    return (
        _train(Propose(), proposal_loss, steps),
        _train(Look(), crop_loss(3.0), steps),
        _train(Look(), crop_loss(1.5), steps),
    )


def lowered(networks: tuple[nn.Module, nn.Module, nn.Module], recipe: str) -> list[Network]:
    """The networks' lowered programs as functions."""
    faces = draw(32, seed=1)
    crops = torch.cat([crop(image[None], point) for image, point in zip(*faces, strict=True)])
    calibration = (faces.images, crops, crops)
    return [
        simulate(export(network, ArmRecipeType[recipe], data[:1], calibration=data))
        for network, data in zip(networks, calibration, strict=True)
    ]


def found(networks: Sequence[Network], count: int = 64) -> float:
    """Share of pictures in which the point is at most two pixels off."""
    faces = draw(count, seed=2)
    propose, refine, finish = networks
    with torch.no_grad():
        points = torch.stack([detect(image[None], propose, refine, finish) for image in faces.images])
    return float(((points - faces.points).abs().amax(1) <= 2).float().mean())


def main() -> None:
    networks = trained()
    table = Table("recipe", "float", "lowered")
    for recipe in sys.argv[1:] or RECIPES:
        table.add_row(recipe, f"{found(networks):.1%}", f"{found(lowered(networks, recipe)):.1%}")
    Console().print(table)


if __name__ == "__main__":
    main()
