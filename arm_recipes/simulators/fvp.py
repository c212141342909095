"""The .pte itself on an Arm FVP, a virtual Corstone board, by executorch's arm_executor_runner with semihosting.

Written after the command line of executorch's own test driver (backends/arm/test/runner_utils.py) and tested with a
stand-in that takes that command line. It has never run on an FVP.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from executorch.exir.lowered_backend_module import LoweredBackendModule
from executorch.export import ExportSession
from torch import Tensor

from arm_recipes.errors import SimulationError
from arm_recipes.lowering.snapshot import Snapshot
from arm_recipes.tools.fvp import RUNNER, find_board
from arm_recipes.tools.processes import run_tool
from arm_recipes.upstream.compile_specs import ethos_u_target

from .edge_program import physical, read_back
from .on_board import OnBoard

# What the runner and the board say when something went wrong, while the FVP ends with status 0.
_WRONG = re.compile(r"^[EF][: ].*$|^.*(?:Hard fault|Assertion).*$", re.MULTILINE)


class Fvp(OnBoard):
    """See `OnBoard`."""

    def __init__(self, session: ExportSession, program: Snapshot, *, timeout: float, runner: str | None = None) -> None:
        """
        Args:
            session: done with its export.
            program: its only method.
            timeout: seconds for one sample.
            runner: path of it; None for the one that the environment names.

        Raises:
            ToolError: the FVP or the runner is missing.
            SimulationError: the program keeps state.
            ModelError: the session's program has other methods.
        """
        super().__init__(session, program, "fvp", timeout)
        self._board, self._program, self._runner = find_board(program.recipe.target.name, runner)
        self.name = self._board.program
        self.proves = (
            "that the .pte, run by executorch's runtime on Arm's model of a board, computes what the model does. It "
            "does not prove a device's timing or memory"
        )
        self.notes: tuple[str, ...] = (
            f"Run by {self._runner}, of which arm_recipes knows no more than {RUNNER} says.",
        )
        self._macs = next(
            (_macs(one) for one in program.modules.values() if isinstance(one, LoweredBackendModule)), None
        )

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        with tempfile.TemporaryDirectory() as folder:
            here = Path(folder)
            (here / "program.pte").write_bytes(self._pte)
            # Short names, as the FVP cuts a long command line.
            line = "executor_runner -m program.pte -o out"
            for index, (value, declared) in enumerate(zip(inputs, self._inputs, strict=True)):
                physical(value, declared.dim_order()).tofile(here / f"i{index}.bin")
                line += f" -i i{index}.bin"
            self._call(here, line)
            return [self._output(here / f"out-{index}.bin", declared) for index, declared in enumerate(self._outputs)]

    def _call(self, folder: Path, line: str) -> None:
        cpu = self._board.processor
        settings = [
            *self._board.settings,
            f"{cpu}.semihosting-enable=1",
            f"{cpu}.semihosting-stack_base=0",
            f"{cpu}.semihosting-heap_limit=0",
            f"{cpu}.semihosting-cwd={folder}",
            f"{cpu}.semihosting-cmd_line='{line}'",
            f"{self._board.npu}.extra_args='--fast'",
        ]
        if self._macs is not None:
            settings.append(f"{self._board.npu}.num_macs={self._macs}")
        command = [str(self._program), "-a", str(self._runner)]
        for setting in settings:
            command += ["-C", setting]
        finished = run_tool(
            command,
            name=self.name,
            timeout=self._timeout,
            error=SimulationError,
            advice="Give verify a longer timeout=.",
        )
        wrong = _WRONG.findall(finished.said)
        if finished.status != 0 or wrong:
            words = " / ".join(wrong[:3]) or finished.last_words()
            raise SimulationError(
                f"{self.name} {finished.end}. It said: {words}. Is the "
                f"runner in {RUNNER} built for this board, with the kernels and the memory that the program needs?"
            )

    def _output(self, file: Path, declared: Tensor) -> Tensor:
        data = file.read_bytes() if file.is_file() else b""
        size = declared.numel() * declared.element_size()
        if len(data) != size:
            raise SimulationError(
                f"{self.name} left {len(data):,} bytes of an output of {size:,}. Is the runner in {RUNNER} built with "
                "semihosting?"
            )
        (value,) = read_back(data, [declared], self.name)
        return value


def _macs(module: LoweredBackendModule) -> str:
    """MACs per cycle that an Ethos-U delegate is compiled for, which the FVP's NPU has to have."""
    return ethos_u_target(module.compile_specs).rpartition("-")[2]
