"""VGF delegates as they are in the program, on Arm's emulation of a Vulkan device with the ML extensions.

Needs Arm's scenario runner, emulation layer and VGF library (the extra ``vulkan`` of this package), a Vulkan loader of
1.4, and Mesa's llvmpipe of 25 or later. Where the system's are older, another Linux tree that has them serves: its
folder goes into the environment variable ARM_RECIPES_VULKAN_ROOT (see docs/verify.md).
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from executorch.export import ExportSession
from torch import Tensor

from arm_recipes.errors import SimulationError, ToolError
from arm_recipes.lowering.snapshot import Kept

from .edge_program import physical
from .tosa_reference import TosaReference, declared_order, user_inputs

ROOT = "ARM_RECIPES_VULKAN_ROOT"

_INSTALL = "pip install 'arm_recipes[vulkan]'"
_LAYERS = "VK_LAYER_ML_Graph_Emulation:VK_LAYER_ML_Tensor_Emulation"


class VgfEmulation(TosaReference):
    """See `base.Simulator`. `trace` looks at the TOSA graphs on the reference model, as a .vgf shows nothing inside."""

    name = "Arm's ML emulation layer for Vulkan on Mesa's llvmpipe"

    def __init__(self, session: ExportSession, kept: Kept, *, timeout: float) -> None:
        """
        Args:
            session: done with its export.
            kept: one method's lowered program.
            timeout: seconds for one delegate and sample.

        Raises:
            ToolError: a tool is missing.
            SimulationError: this machine's Vulkan, or the tools, do not accept the program.
        """
        self._runner, self._environment = _scenario_runner()
        self._dump = _executable("vgf_lib", "vgf_dump")
        super().__init__(session, kept, timeout=timeout)
        self.proves = (
            "that the .vgf files in the program compute what the model does, in Arm's emulation of the ML extensions. "
            "It does not prove a device's driver"
        )
        self.notes = ()
        self._scenarios = {name: self._scenario(module.processed_bytes) for name, module in self._modules.items()}
        for name in self._modules:
            self._run(name, None)

    def _delegate(self, name: str, given: Sequence[Tensor]) -> list[Tensor]:
        nodes = user_inputs(self._modules[name])
        inputs = [physical(value, declared_order(node.meta["val"])) for value, node in zip(given, nodes)]
        return self._outputs(name, self._run(name, inputs))

    def _scenario(self, vgf: bytes) -> dict[str, Any]:
        """What the VGF library proposes for a file: its graph, its inputs and outputs."""
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "graph.vgf").write_bytes(vgf)
            command = [str(self._dump), "--input", "graph.vgf", "--output", "scenario.json", "--scenario-template"]
            self._call(command, folder, dict(os.environ))
            scenario: dict[str, Any] = json.loads((Path(folder) / "scenario.json").read_text())
            return scenario

    def _run(self, name: str, inputs: Sequence[np.ndarray[Any, Any]] | None) -> list[np.ndarray[Any, Any]]:
        """Outputs of one delegate; without inputs it is only set up, which shows whether this Vulkan can do it."""
        scenario = json.loads(json.dumps(self._scenarios[name]))
        tensors = [one["tensor"] for one in scenario["resources"] if "tensor" in one]
        takes = [one for one in tensors if "src" in one]
        gives = [one for one in tensors if "dst" in one]
        with tempfile.TemporaryDirectory() as folder:
            here = Path(folder)
            (here / "graph.vgf").write_bytes(self._modules[name].processed_bytes)
            for index, tensor in enumerate(takes):
                tensor["src"] = f"input{index}.npy"
                shape = tensor["dims"]
                given = np.zeros(shape, _DTYPES[tensor["format"]]) if inputs is None else inputs[index].reshape(shape)
                np.save(here / tensor["src"], given)
            for index, tensor in enumerate(gives):
                tensor["dst"] = f"output{index}.npy"
            (here / "scenario.json").write_text(json.dumps(scenario))
            dry = ["--dry-run"] if inputs is None else []
            self._call([*self._runner, "--scenario", "scenario.json", "--output", ".", *dry], folder, self._environment)
            return [np.load(here / tensor["dst"], allow_pickle=False) for tensor in gives] if inputs is not None else []

    def _call(self, command: Sequence[str], folder: str, environment: Mapping[str, str]) -> None:
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=self._timeout, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise SimulationError(
                f"{self.name} did not answer within {self._timeout:g} s, and was stopped. Give verify a longer "
                "timeout=."
            ) from error
        if done.returncode != 0:
            words = (done.stdout + done.stderr).strip().splitlines()[-3:]
            raise SimulationError(
                f"{self.name}: {Path(command[0]).name} ended with status {done.returncode}. It said last: "
                f"{' / '.join(words) or 'nothing'}. A Vulkan loader of 1.4 and Mesa 25 are needed; a Linux tree that "
                f"has them can be named by the environment variable {ROOT}."
            )


_DTYPES: dict[str, Any] = {
    "VK_FORMAT_R8_SINT": np.int8,
    "VK_FORMAT_R8_BOOL_ARM": np.bool_,
    "VK_FORMAT_R16_SINT": np.int16,
    "VK_FORMAT_R32_SINT": np.int32,
    "VK_FORMAT_R32_SFLOAT": np.float32,
}


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ToolError(f"Running .vgf files needs the Python package {name}, which is not installed. {_INSTALL}")
    return Path(next(iter(spec.submodule_search_locations)))


def _executable(package: str, name: str) -> Path:
    found = _package(package) / "binaries" / "bin" / name
    if not found.is_file():
        raise ToolError(f"The Python package {package} brings no {name} for this system. {_INSTALL}")
    return found


def _scenario_runner() -> tuple[list[str], dict[str, str]]:
    """The command that runs a scenario, and its environment."""
    runner = _executable("scenario_runner", "scenario-runner")
    deployed = _package("emulation_layer") / "deploy"
    libraries = [str(deployed / "lib")]
    environment = {
        **os.environ,
        "VK_LAYER_PATH": str(deployed / "share" / "vulkan" / "explicit_layer.d"),
        "VK_INSTANCE_LAYERS": _LAYERS,
    }
    root = os.environ.get(ROOT)
    if root is None:
        environment["LD_LIBRARY_PATH"] = os.pathsep.join([*libraries, environment.get("LD_LIBRARY_PATH", "")])
        return [str(runner)], environment
    tree = Path(root)
    loader = next((path for pattern in ("lib64/ld-linux-*", "lib/ld-linux-*") for path in tree.glob(pattern)), None)
    drivers = sorted((tree / "usr/share/vulkan/icd.d").glob("lvp_icd*.json"))
    if loader is None or not drivers:
        raise ToolError(
            f"{ROOT}={root!r} is no Linux tree with Mesa's llvmpipe in it. Make one, e.g.: debootstrap "
            "--variant=minbase --include=libvulkan1,mesa-vulkan-drivers,libstdc++6 trixie FOLDER"
        )
    # Its own dynamic loader takes all of the tree's libraries, and none of the system's.
    libraries = [*map(str, tree.glob("usr/lib/*-linux-gnu")), *libraries]
    environment["VK_DRIVER_FILES"] = str(drivers[0])
    return [str(loader), "--library-path", os.pathsep.join(libraries), str(runner)], environment
