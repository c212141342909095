"""What NHWC inputs save: Vela's estimate of MobileNetV2 with io_layout contiguous and channels_last.

python docs/benchmarks/io_layout.py
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from torch import Tensor, nn

from arm_recipes import ArmRecipeType, CalibrationWarning, export, vela_estimates
from tests import models


class MobileNetV2(models.MobileNetV2):
    """With the adaptive pooling of torchvision's."""

    def forward(self, x: Tensor) -> Tensor:
        pooled = nn.functional.adaptive_avg_pool2d(self.features(x), (1, 1))
        y: Tensor = self.classifier(pooled.flatten(1))
        return y


def main() -> None:
    warnings.simplefilter("ignore", CalibrationWarning)
    print(f"{'':18} {'contiguous':>14} {'channels_last':>14}   ratio    (cycles, estimated by Vela)")
    for recipe in (ArmRecipeType.ETHOSU_U85_INT8, ArmRecipeType.ETHOSU_U55_INT8):
        cycles = []
        for layout in ("contiguous", "channels_last"):
            example = models.seeded(MobileNetV2, (1, 3, 224, 224))
            session = export(example.model, recipe, example.inputs, io_layout=layout)
            cycles.append(sum(estimate.cycles for estimate in vela_estimates(session)))
        print(f"{recipe.name:18} {cycles[0]:14,} {cycles[1]:14,}   {cycles[1] / cycles[0]:.3f}")


if __name__ == "__main__":
    main()
