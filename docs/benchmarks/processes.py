"""Whole processes, with their time: what the benchmarks run beside each other."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]

SCRIPT = ("-m", "executorch.backends.arm.scripts.aot_arm_compiler", "-m", "model.py", "-d", "-q", "-o", "script.pte")


def write_model(folder: Path, call: str) -> None:
    """Write model.py as executorch's script takes it: of ``tests.models:mobilenet_v2``, ``networks:gru(25)``..."""
    module, _, function = call.partition(":")
    name, _, arguments = function.partition("(")
    text = f"from {module} import {name}\nModelUnderTest, ModelInputs = {name}({arguments.rstrip(')')})\n"
    (folder / "model.py").write_text(text)


def run(command: list[str] | tuple[str, ...], folder: Path) -> tuple[float, str]:
    """Seconds that Python took with these arguments, and what it printed; the end where it fails."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])},
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return time.perf_counter() - start, done.stdout
