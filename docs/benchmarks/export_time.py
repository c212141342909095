"""Whole-process time from a model file to an Ethos-U55 .pte: executorch's script, and the same through arm_recipes.

    python docs/benchmarks/export_time.py [--runs 3] [--model tests.models:mobilenet_v2]

Each run is a process of its own, the two sides take turns, and the .pte files are compared.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]

_MODEL = """
from {module} import {factory}
ModelUnderTest, ModelInputs = {factory}()
"""

_OURS = """
from executorch.export import ExportRecipe, export
from arm_recipes import ArmRecipeType
from model import ModelInputs, ModelUnderTest

session = export(ModelUnderTest, [ModelInputs], ExportRecipe.get_recipe(ArmRecipeType.ETHOSU_U55_INT8, macs=128))
session.save_to_pte("ours.pte")
"""

_SCRIPT = [
    "-m",
    "executorch.backends.arm.scripts.aot_arm_compiler",
    "-m",
    "model.py",
    "-d",
    "-q",
    "-t",
    "ethos-u55-128",
    "-o",
    "script.pte",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--model", default="tests.models:mobilenet_v2", help="MODULE:FUNCTION giving (model, inputs)")
    arguments = parser.parse_args()
    module, _, factory = arguments.model.partition(":")

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.py").write_text(_MODEL.format(module=module, factory=factory))
        (folder / "ours.py").write_text(_OURS)
        commands = {"script": _SCRIPT, "arm_recipes": ["ours.py"]}
        seconds: dict[str, list[float]] = {side: [] for side in commands}
        for run in range(arguments.runs):
            for side, command in commands.items():
                start = time.perf_counter()
                done = subprocess.run(
                    [sys.executable, *command],
                    cwd=folder,
                    capture_output=True,
                    text=True,
                    check=False,
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                )
                seconds[side].append(time.perf_counter() - start)
                if done.returncode:
                    sys.exit(f"{side} failed:\n{done.stderr}")
                print(f"run {run + 1}  {side:12} {seconds[side][-1]:6.2f} s", flush=True)
        same = (folder / "script.pte").read_bytes() == (folder / "ours.pte").read_bytes()

    print(f"\n{arguments.model}, ethos-u55-128, INT8, whole process, {arguments.runs} runs")
    print(f"{'':12} {'median':>8} {'least':>8} {'most':>8}")
    for side, taken in seconds.items():
        print(f"{side:12} {statistics.median(taken):6.2f} s {min(taken):6.2f} s {max(taken):6.2f} s")
    medians = {side: statistics.median(taken) for side, taken in seconds.items()}
    print(f"script / arm_recipes: {medians['script'] / medians['arm_recipes']:.2f}")
    print(f".pte files equal: {same}")


if __name__ == "__main__":
    main()
