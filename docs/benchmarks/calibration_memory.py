"""Peak memory of going through a folder of calibration data: 20 samples against 2,000. Prints both and the difference.

    python docs/benchmarks/calibration_memory.py [.npy | .safetensors | .pt | .png | array] ...

Each run is a process of its own, and its peak is the operating system's (``ru_maxrss``): imports, torch and all. The
samples are float tensors of 3x96x96, one per file; of `array`, all in one .npy file. Ends with status 1 where the
difference is above 50 MB.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FEW, MANY = 20, 2000
SHAPE = (1, 3, 96, 96)
LIMIT_MB = 50
KINDS = (".npy", ".safetensors", ".pt", ".png", "array")


def write(folder: Path, kind: str, number: int) -> None:
    import numpy as np
    import torch
    from PIL import Image
    from safetensors.torch import save_file

    random = np.random.default_rng(0)
    if kind == "array":
        np.save(folder / "all.npy", random.random((number, *SHAPE[1:]), dtype=np.float32))
        return
    for index in range(number):
        path = folder / f"{index:05}{kind}"
        sample = random.random(SHAPE, dtype=np.float32)
        if kind == ".npy":
            np.save(path, sample)
        elif kind == ".safetensors":
            save_file({"x": torch.from_numpy(sample)}, path)
        elif kind == ".pt":
            torch.save(torch.from_numpy(sample), path)
        else:
            Image.fromarray((sample[0].transpose(1, 2, 0) * 255).astype(np.uint8)).save(path)


def go_through(folder: str) -> None:
    """Run in the measured process. Prints the samples, the seconds and the peak in kB."""
    import torch

    from arm_recipes import load_calibration

    start = time.perf_counter()
    data = load_calibration(folder, example_inputs=torch.zeros(SHAPE), max_samples=MANY)
    number = sum(1 for _ in data)
    print(number, time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def measure(kind: str, number: int) -> tuple[float, float]:
    """Peak in MB, and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        # The files are written by a process of their own too: a child's peak begins at what its parent has in use.
        subprocess.run([sys.executable, __file__, "write", folder, kind, str(number)], check=True)
        run = subprocess.run(
            [sys.executable, __file__, "measure", folder], check=True, stdout=subprocess.PIPE, text=True
        )
    samples, seconds, peak = run.stdout.split()
    assert int(samples) == number
    return int(peak) / 1024, float(seconds)


def main(kinds: list[str]) -> int:
    above = False
    for kind in kinds or KINDS:
        few, _ = measure(kind, FEW)
        many, seconds = measure(kind, MANY)
        above |= many - few > LIMIT_MB
        print(
            f"{kind:>12}: {FEW} samples {few:.1f} MB, {MANY} samples {many:.1f} MB ({seconds:.1f} s), "
            f"difference {many - few:+.1f} MB (limit {LIMIT_MB})"
        )
    return int(above)


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        write(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    elif sys.argv[1:2] == ["measure"]:
        go_through(sys.argv[2])
    else:
        sys.exit(main(sys.argv[1:]))
