"""VGF delegates as they are in the program, on Arm's emulation of a Vulkan device with the ML extensions.

Needs Arm's scenario runner, emulation layer and VGF library (the extra ``vulkan`` of this package), a Vulkan loader of
1.4, and Mesa's llvmpipe of 25 or later; `tools.vulkan` says where they are.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from executorch.export import ExportSession
from torch import Tensor

from arm_recipes.errors import SimulationError
from arm_recipes.lowering.snapshot import Snapshot
from arm_recipes.tools.processes import run_tool
from arm_recipes.tools.vulkan import ROOT, find_scenario_runner, find_vgf_dump

from .edge_program import physical
from .tosa_reference import TosaReference, declared_order, user_inputs


class VgfEmulation(TosaReference):
    """See `base.Simulator`. `trace` looks at the TOSA graphs on the reference model, as a .vgf shows nothing inside."""

    name = "Arm's ML emulation layer for Vulkan on Mesa's llvmpipe"
    inside = "graph"

    def __init__(self, session: ExportSession, snapshot: Snapshot, *, timeout: float) -> None:
        """
        Args:
            session: done with its export.
            snapshot: one method's lowered program.
            timeout: seconds for one delegate and sample.

        Raises:
            ToolError: a tool is missing.
            SimulationError: this machine's Vulkan, or the tools, do not accept the program.
        """
        self._runner, self._environment = find_scenario_runner()
        self._dump = find_vgf_dump()
        super().__init__(session, snapshot, timeout=timeout)
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
        inputs = [physical(value, declared_order(node.meta["val"])) for value, node in zip(given, nodes, strict=True)]
        return self._outputs(name, self._run(name, inputs))

    def _scenario(self, vgf: bytes) -> dict[str, Any]:
        """What the VGF library proposes for a file: its graph, its inputs and outputs."""
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "graph.vgf").write_bytes(vgf)
            command = [str(self._dump), "--input", "graph.vgf", "--output", "scenario.json", "--scenario-template"]
            self._call(command, Path(folder))
            with self._read(self._dump.name):
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
            self._call([*self._runner, "--scenario", "scenario.json", "--output", ".", *dry], here, self._environment)
            if inputs is None:
                return []
            with self._read(Path(self._runner[0]).name):
                return [np.load(here / tensor["dst"], allow_pickle=False) for tensor in gives]

    @contextlib.contextmanager
    def _read(self, tool: str) -> Iterator[None]:
        """Read what a tool wrote."""
        try:
            yield
        except (OSError, ValueError, EOFError) as error:
            raise SimulationError(f"{self.name}: {tool} wrote nothing that can be read ({error}). {_NEEDED}") from error

    def _call(self, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> None:
        finished = run_tool(
            command,
            name=self.name,
            timeout=self._timeout,
            cwd=folder,
            env=environment,
            error=SimulationError,
            advice="Give verify a longer timeout=.",
        )
        if finished.status != 0:
            raise SimulationError(
                f"{self.name}: {Path(command[0]).name} {finished.end}. It said last: {finished.last_words()}. {_NEEDED}"
            )


_NEEDED = (
    "A Vulkan loader of 1.4 and Mesa 25 are needed; a Linux tree that has them can be named by the environment "
    f"variable {ROOT}."
)
_DTYPES: dict[str, Any] = {
    "VK_FORMAT_R8_SINT": np.int8,
    "VK_FORMAT_R8_BOOL_ARM": np.bool_,
    "VK_FORMAT_R16_SINT": np.int16,
    "VK_FORMAT_R32_SINT": np.int32,
    "VK_FORMAT_R32_SFLOAT": np.float32,
}
