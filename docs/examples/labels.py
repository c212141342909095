"""Labels that are no classes, and outputs that are several: `verify` with `metric=` and with `output=`.

    python docs/examples/labels.py

A pitch estimator is judged by how often it is within a semitone, and a network with two heads by the classes of one.
Both are trained here, in a few seconds.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arm_recipes import ArmRecipeType, VerifyReport, export, verify

RATE, FRAME = 8000, 256


class Tones(NamedTuple):
    """Frames (N, 1, 1, 256) of a tone with overtones in noise, and their pitches (N,) in semitones above 110 Hz."""

    frames: Tensor
    pitches: Tensor


def tones(count: int, seed: int) -> Tones:
    generator = torch.Generator().manual_seed(seed)
    pitches = torch.rand(count, generator=generator) * 24
    time = torch.arange(FRAME) / RATE
    phases = (110 * 2 ** (pitches / 12))[:, None] * time * 2 * torch.pi
    phases = phases + torch.rand(count, 1, generator=generator) * 6
    frames = torch.sin(phases) + 0.4 * torch.sin(2 * phases) + 0.05 * torch.randn(count, FRAME, generator=generator)
    return Tones(frames[:, None, None], pitches)


def _trained(model: nn.Module, loss: object, steps: int) -> nn.Module:
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model, torch.randint(0, 2048, (128,))).backward()  # type: ignore[operator]
        optimizer.step()
    return model.eval()


def pitch_estimator(steps: int = 400) -> nn.Module:
    """(N, 1, 1, 256) -> (N, 1), semitones above 110 Hz. Always the same."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 32, (1, 64), (1, 4)),
        nn.ReLU(),
        nn.Conv2d(32, 32, (1, 5), (1, 2)),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 23, 64),
        nn.ReLU(),
        nn.Linear(64, 1),
    )
    data = tones(2048, seed=0)

    def loss(network: nn.Module, batch: Tensor) -> Tensor:
        return F.smooth_l1_loss(network(data.frames[batch])[:, 0], data.pitches[batch])

    return _trained(model, loss, steps)


def within_a_semitone(outputs: list[Tensor], pitch: Tensor) -> float:
    """Of one sample; the higher the better."""
    return float(abs(outputs[0].item() - float(pitch)) <= 1)


def verified_pitch(recipe: str, count: int = 64, steps: int = 400) -> VerifyReport:
    """With labels that are real numbers, and a metric that takes them."""
    data = tones(64, seed=1).frames
    session = export(pitch_estimator(steps), ArmRecipeType[recipe], data[:1], calibration=data)
    test = tones(count, seed=2)
    return verify(session, test.frames, labels=test.pitches, metric=within_a_semitone)


class TwoHeads(nn.Module):
    """A tone (N, 1, 1, 256) -> a dict of `loudness` (N, 1) and `octave` (N, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, (1, 64), (1, 8)), nn.ReLU(), nn.Flatten(), nn.Linear(400, 32), nn.ReLU()
        )
        self.loudness, self.octave = nn.Linear(32, 1), nn.Linear(32, 2)

    def forward(self, frame: Tensor) -> dict[str, Tensor]:
        features = self.body(frame)
        return {"loudness": self.loudness(features), "octave": self.octave(features)}


def two_heads(steps: int = 200) -> nn.Module:
    """Always the same."""
    torch.manual_seed(0)
    data = tones(2048, seed=0)

    def loss(network: nn.Module, batch: Tensor) -> Tensor:
        outputs = network(data.frames[batch])
        loud = data.frames[batch].square().mean((1, 2, 3))
        octave = (data.pitches[batch] >= 12).long()
        return F.mse_loss(outputs["loudness"][:, 0], loud) + F.cross_entropy(outputs["octave"], octave)

    return _trained(TwoHeads(), loss, steps)


def verified_heads(recipe: str, count: int = 64, steps: int = 200) -> VerifyReport:
    """With the classes of one of two outputs, by its name."""
    data = tones(64, seed=1).frames
    session = export(two_heads(steps), ArmRecipeType[recipe], data[:1], calibration=data)
    test = tones(count, seed=2)
    return verify(session, test.frames, labels=(test.pitches >= 12).long(), output="octave")


def main() -> None:
    for report in (verified_pitch("ETHOSU_U55_INT8"), verified_heads("ETHOSU_U55_INT8")):
        print(report)


if __name__ == "__main__":
    main()
