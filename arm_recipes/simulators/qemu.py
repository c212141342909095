"""The .pte itself on emulated hardware: executorch's runtime and CMSIS-NN on QEMU's Cortex-M55."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from executorch.export import ExportSession
from torch import Tensor

from arm_recipes.errors import SimulationError
from arm_recipes.lowering.snapshot import Snapshot
from arm_recipes.tools.qemu import MACHINE, QEMU, RUNNER, find, run_packaged, run_semihosted

from .edge_program import physical, read_back
from .on_board import OnBoard


class Qemu(OnBoard):
    """See `OnBoard`."""

    name = f"QEMU's {MACHINE}, a Cortex-M55"
    proves = (
        "that the .pte, run by executorch's runtime and its kernels on an emulated Cortex-M55, computes what the model "
        "does. It does not prove a device's timing"
    )

    def __init__(self, session: ExportSession, program: Snapshot, *, timeout: float, runner: str | None = None) -> None:
        """
        Args:
            session: done with its export.
            program: its only method.
            timeout: seconds for one sample.
            runner: path of it; None for the one that the environment names.

        Raises:
            ToolError: QEMU or the runner is missing, or not for the recipe's target.
            SimulationError: the program keeps state, or calls a kernel that the runner has not.
            ModelError: the session's program has other methods.
        """
        super().__init__(session, program, "qemu", timeout)
        self._qemu, self._runner = find(program.recipe.target.name, runner)
        (plan,) = session.get_executorch_program().execution_plan
        missing = self._runner.lacks(frozenset(f"{each.name}.{each.overload}" for each in plan.operators))
        if missing:
            raise SimulationError(
                f"The runner {self._runner.path.name} has no {', '.join(missing)}, which the program calls. Set "
                f"{RUNNER} to an arm_executor_runner of executorch 1.5.1 with these kernels, or leave out simulator=."
            )
        self.notes: tuple[str, ...] = (f"Run by {self._runner.path.name} on {QEMU}.",)

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        data = [
            physical(value, declared.dim_order()).tobytes()
            for value, declared in zip(inputs, self._inputs, strict=True)
        ]
        with tempfile.TemporaryDirectory() as folder:
            run = (self._qemu, self._runner, self._pte)
            if self._runner.packaged:
                ran = run_packaged(*run, b"".join(data), Path(folder), timeout=self._timeout)
                self.notes = (self.notes[0], _pools(ran.method_bytes, ran.temp_bytes))
            else:
                ran = run_semihosted(*run, data, Path(folder), timeout=self._timeout)
        return read_back(ran.outputs, self._outputs, self.name)


def _pools(method: int | None, temp: int | None) -> str:
    return f"It took {method or 0:,} bytes of its method allocator, and {temp or 0:,} of its temporary one."
