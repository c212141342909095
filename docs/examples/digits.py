"""From training to a .pte for Ethos-U85: a small convolutional network on scikit-learn's handwritten digits.

    python docs/examples/digits.py [--recipe ETHOSU_U85_INT8] [--output digits.pte]

Trains for some seconds, exports with calibration on 200 training images, and prints the float model's accuracy, the
.pte's size and Vela's estimate.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from arm_recipes import ArmRecipeType, export, vela_estimates


class Split(NamedTuple):
    """Images of shape (N, 1, 8, 8), float32 in 0..1, and labels of shape (N,)."""

    images: Tensor
    labels: Tensor


def load() -> tuple[Split, Split]:
    """The 1,797 bundled digits, three quarters to train on and one to test on."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target)
    split = train_test_split(images, labels, test_size=0.25, random_state=0, stratify=labels)
    return Split(split[0], split[2]), Split(split[1], split[3])


def network() -> nn.Module:
    """Two convolutions and a linear layer, untrained."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AvgPool2d(4),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(32, 10),
    )


def train(model: nn.Module, data: Split, epochs: int = 40) -> None:
    """Train in place and leave in eval mode."""
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    model.train()
    for _ in range(epochs):
        for batch in torch.split(torch.randperm(len(data.images)), 64):
            optimizer.zero_grad()
            loss: Tensor = nn.functional.cross_entropy(model(data.images[batch]), data.labels[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    model.eval()


def trained() -> nn.Module:
    """The example's network, trained on its training split, always the same."""
    torch.manual_seed(0)
    model = network()
    train(model, load()[0])
    return model


@torch.no_grad()
def accuracy(model: nn.Module, data: Split) -> float:
    """Share of the images that are told right."""
    return float((model(data.images).argmax(1) == data.labels).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="ETHOSU_U85_INT8", choices=[recipe.name for recipe in ArmRecipeType])
    parser.add_argument("--output", type=Path, default=Path("digits.pte"))
    arguments = parser.parse_args()

    train_split, test_split = load()
    model = trained()
    session = export(
        model,
        ArmRecipeType[arguments.recipe],
        (train_split.images[:1],),
        calibration=train_split.images[:200],
    )
    session.save_to_pte(str(arguments.output))
    print(f"float accuracy   {accuracy(model, test_split):.1%} of {len(test_split.images)} test images")
    print(f"{arguments.output!s:16} {arguments.output.stat().st_size:,} bytes for {arguments.recipe}")
    for estimate in vela_estimates(session):
        memory = ", ".join(f"{name} {kib} KiB" for name, kib in estimate.memory_kib.items())
        print(f"Vela's estimate  {estimate.cycles:,} cycles at {estimate.clock_mhz:.0f} MHz, {memory}")


if __name__ == "__main__":
    main()
