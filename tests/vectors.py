"""What executorch's own kernels gave for small programs, kept as data, so that the reference simulator is held to it.

    python -m tests.vectors --runner PROGRAM --runtime TEXT

writes tests/simulators/vectors.npz anew. PROGRAM is called as ``PROGRAM model.pte FOLDER in0.bin in1.bin ...``, runs
the program's only method with executorch's runtime and kernels, and leaves ``out-0.bin`` ... in FOLDER: raw bytes in
the order of memory. TEXT says which sources it was built of.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from arm_recipes import ArmRecipeType, export
from arm_recipes.lowering.snapshot import snapshots
from arm_recipes.simulators.edge_program import (
    Program,
    declared_inputs,
    declared_outputs,
    from_message,
    packed,
    physical,
    program_of,
    read_back,
    to_message,
    unpacked,
)
from tests import device_networks, models
from tests.exports import random_samples
from tests.models import Example

FILE = Path(__file__).parent / "simulators/vectors.npz"


@dataclass(frozen=True)
class Vector:
    """One program, an input, and what the real kernels gave for it.

    Attributes:
        program: as the reference simulator runs it.
        inputs: of the program.
        outputs: of executorch's runtime.
        kernels: that it calls, e.g. ``cortex_m.quantized_add``.
        runtime: which sources gave the outputs.
    """

    program: Program
    inputs: list[Tensor]
    outputs: list[Tensor]
    kernels: tuple[str, ...]
    runtime: str


def names() -> list[str]:
    """Of all that were measured."""
    with np.load(FILE) as arrays:
        return sorted(key.removesuffix("/text") for key in arrays if key.endswith("/text"))


def load(name: str) -> Vector:
    """The vector of a name."""
    with np.load(FILE) as arrays:
        text = json.loads(str(arrays[f"{name}/text"]))
        tensors = {key.removeprefix(f"{name}/"): arrays[key] for key in arrays if key.startswith(f"{name}/")}
    program = from_message(text["content"], {key: tensors[f"tensor/{key}"] for key in text["content"]["orders"]})
    values = unpacked(text["orders"], {key: tensors[key] for key in text["orders"]})
    inputs = [values[f"in{index}"] for index in range(sum(key.startswith("in") for key in values))]
    outputs = [values[f"out{index}"] for index in range(sum(key.startswith("out") for key in values))]
    return Vector(program, inputs, outputs, tuple(text["kernels"]), text["runtime"])


def _cases() -> Iterator[tuple[str, ArmRecipeType, Example]]:
    for name in device_networks.NETWORKS:
        yield name, ArmRecipeType.CORTEX_M55_INT8, device_networks.example(name)
    for row in (ArmRecipeType.CORTEX_M55_INT8, ArmRecipeType.CORTEX_M4_INT8, ArmRecipeType.CORTEX_M0_INT8):
        yield f"{row.name}: conv_net", row, models.conv_net()


def _measured(row: ArmRecipeType, example: Example, runner: Path, runtime: str) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of one vector."""
    samples = random_samples(example, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        session = export(example.model, row, samples, allow_portable_fallback=True, progress=False)
    (snapshot,) = snapshots(session).values()
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "model.pte").write_bytes(session.get_pte_buffer())
        files = []
        for index, (value, declared) in enumerate(zip(samples[0], declared_inputs(snapshot), strict=True)):
            files.append(here / f"in{index}.bin")
            physical(value, declared.dim_order()).tofile(files[-1])
        subprocess.run([runner, here / "model.pte", here, *files], check=True, capture_output=True)
        declared_out = declared_outputs(snapshot)
        data = b"".join((here / f"out-{index}.bin").read_bytes() for index in range(len(declared_out)))
    outputs = read_back(data, declared_out, str(runner))
    content, tensors = to_message(program_of(snapshot))
    values = {f"in{index}": value for index, value in enumerate(samples[0])}
    values |= {f"out{index}": value for index, value in enumerate(outputs)}
    orders, arrays = packed(values)
    kernels = sorted({step["operator"].rpartition(".")[0] for step in content["steps"] if "." in step["operator"]})
    text = json.dumps({"content": content, "orders": orders, "kernels": kernels, "runtime": runtime})
    return {"text": np.array(text), **{f"tensor/{key}": value for key, value in tensors.items()}, **arrays}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runner", type=Path, required=True, metavar="PROGRAM")
    parser.add_argument("--runtime", required=True, metavar="TEXT")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    arrays = {}
    for name, row, example in _cases():
        measured = _measured(row, example, arguments.runner.resolve(), arguments.runtime)
        arrays.update({f"{name}/{key}": value for key, value in measured.items()})
        print(name)
    np.savez_compressed(FILE, **arrays)


if __name__ == "__main__":
    main()
