"""What executorch's own kernels gave for small programs, kept as data, so that the reference simulator is held to it.

    python -m tests.vectors --runner PROGRAM --runtime TEXT

writes tests/simulators/vectors.npz anew. PROGRAM is called as ``PROGRAM model.pte FOLDER in0.bin in1.bin ...``, runs
the program's only method with executorch's runtime and kernels, and leaves ``out-0.bin`` ... in FOLDER: raw bytes in
the order of memory. Where it fails it says so as executorch logs it. TEXT says which sources it was built of.

There are vectors of programs of arm_recipes, of those that executorch's own script makes of the same networks, and of
programs of one kernel whose tensors lie in all memory orders. Of the last two what fails on the device is kept as well.
"""

from __future__ import annotations

import argparse
import copy
import json
import re
import subprocess
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from executorch.exir._serialize._program import PTEFile, serialize_pte_binary
from executorch.exir.tensor import get_scalar_type
from torch import Tensor

from arm_recipes import ArmRecipeType, export
from arm_recipes.lowering.snapshot import snapshots
from arm_recipes.simulators import planned_program
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
from arm_recipes.simulators.planned_program import PlannedProgram
from arm_recipes.upstream.programs import read_pte
from tests import device_networks, kernel_calls, models
from tests.exports import random_samples
from tests.models import Example
from tests.script import compile_with_script

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


@dataclass(frozen=True)
class Planned:
    """A program as a .pte has it, and what the real kernels made of it.

    Attributes:
        program: as the reference simulator runs it.
        inputs: of the program.
        outputs: of executorch's runtime, as they lie in memory, one after the other; empty where it failed.
        failed: the kernel that did, and the status: e.g. ``aten::cat.out 0x12``.
    """

    program: PlannedProgram
    inputs: list[Tensor]
    outputs: list[np.ndarray[Any, Any]]
    failed: str


SCRIPT, CALL = "script: ", "call: "


def names(kind: str = "") -> list[str]:
    """Of all that were measured: programs of arm_recipes, or those whose names begin with `SCRIPT` or `CALL`."""
    with np.load(FILE) as arrays:
        found = [key.removesuffix("/text") for key in arrays if key.endswith("/text")]
    others = (SCRIPT, CALL)
    return sorted(name for name in found if (name.startswith(kind) if kind else not name.startswith(others)))


def load_planned(name: str) -> dict[str, Planned]:
    """The vectors of a name of `SCRIPT` or `CALL`, by their tensors' memory orders; ``""`` for the program's own."""
    with np.load(FILE) as arrays:
        text = json.loads(str(arrays[f"{name}/text"]))
        tensors = {key.removeprefix(f"{name}/"): arrays[key] for key in arrays if key.startswith(f"{name}/")}
    inputs = [torch.from_numpy(tensors[f"in{index}"]) for index in range(sum(key.startswith("in") for key in tensors))]
    constants = {key.removeprefix("constant/"): value for key, value in tensors.items() if key.startswith("constant/")}
    found = {}
    for orders, (declared, failed) in text["cases"].items():
        content = copy.deepcopy(text["content"])
        for index, order in declared.items():
            content["values"][int(index)]["slot"]["order"] = order
        outputs = [value for key, value in tensors.items() if key.startswith(f"out/{orders}/")]
        found[orders] = Planned(planned_program.from_message(content, constants), inputs, outputs, failed)
    return found


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


def _run_planned(program: Any, inputs: Sequence[Tensor], runner: Path) -> tuple[str, list[np.ndarray[Any, Any]]]:
    """What failed, or the outputs as they lie in memory."""
    plan = program.execution_plan[0]
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "model.pte").write_bytes(bytes(serialize_pte_binary(PTEFile(program=program))))
        files: list[Path] = []
        for index, value in zip(plan.inputs, inputs, strict=True):
            files.append(here / f"in{len(files)}.bin")
            physical(value, [int(each) for each in plan.values[index].val.dim_order]).tofile(files[-1])
        ended = subprocess.run([runner, here / "model.pte", here, *files], capture_output=True, text=True)
        if ended.returncode:
            missing = re.search(r"Missing operator: \[\d+\] (\S+)", ended.stderr)
            failed = re.search(r"in operator (\S+): (0x\w+)", ended.stderr)
            if missing is not None:
                return f"{missing[1]} 0x14", []
            return f"{failed[1]} {failed[2]}" if failed is not None else f"signal {-ended.returncode}", []
        dtypes = [get_scalar_type(plan.values[index].val.scalar_type) for index in plan.outputs]
        files = [here / f"out-{index}.bin" for index in range(len(dtypes))]
        read = [
            np.fromfile(file, torch.empty(0, dtype=dtype).numpy().dtype)
            for file, dtype in zip(files, dtypes, strict=True)
        ]
        return "", read


def _measured_planned(
    programs: Iterable[tuple[str, Any]], inputs: Sequence[Tensor], runner: Path, runtime: str
) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of the vectors of one program in several memory orders."""
    arrays = {f"in{index}": value.numpy() for index, value in enumerate(inputs)}
    first: dict[str, Any] = {}
    cases = {}
    for orders, program in programs:
        failed, outputs = _run_planned(program, inputs, runner)
        content, constants = planned_program.to_message(
            planned_program.planned_program(program, program.execution_plan[0])
        )
        if not first:
            first = content
            arrays |= {f"constant/{key}": value for key, value in constants.items()}
        slots = {index: value["slot"]["order"] for index, value in enumerate(content["values"]) if "slot" in value}
        cases[orders] = (slots if orders else {}, failed)
        arrays |= {f"out/{orders}/{index}": value for index, value in enumerate(outputs)}
    return {"text": np.array(json.dumps({"content": first, "cases": cases, "runtime": runtime})), **arrays}


def _script_program(name: str) -> Any:
    """What executorch's own script makes of a network of `device_networks`."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = compile_with_script(f"tests.device_networks:example({name!r})", "cortex-m55", Path(folder), "-q")
    return read_pte(data, name)


def _planned_cases(runner: Path, runtime: str, only: str) -> Iterator[tuple[str, dict[str, np.ndarray[Any, Any]]]]:
    for name in (name for name in device_networks.NETWORKS if only in SCRIPT + name):
        (inputs,) = random_samples(device_networks.example(name), 1)
        try:
            yield SCRIPT + name, _measured_planned([("", _script_program(name))], inputs, runner, runtime)
        except Exception as error:  # of the script's own, or of what isn't loaded on a device either
            print(f"{SCRIPT}{name}: none, {type(error).__name__}: {error}")
    for name, call in ((name, call) for name, call in kernel_calls.CALLS.items() if only in CALL + name):
        yield CALL + name, _measured_planned(kernel_calls.programs(name), call.made(), runner, runtime)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runner", type=Path, required=True, metavar="PROGRAM")
    parser.add_argument("--runtime", required=True, metavar="TEXT")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases with this in their name; others stay")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    arrays: dict[str, np.ndarray[Any, Any]] = dict(np.load(FILE)) if arguments.only else {}
    for name, row, example in _cases():
        if arguments.only in name:
            measured = _measured(row, example, arguments.runner.resolve(), arguments.runtime)
            arrays.update({f"{name}/{key}": value for key, value in measured.items()})
            print(name)
    for name, measured in _planned_cases(arguments.runner.resolve(), arguments.runtime, arguments.only):
        arrays.update({f"{name}/{key}": value for key, value in measured.items()})
        print(name)
    np.savez_compressed(FILE, **arrays)


if __name__ == "__main__":
    main()
