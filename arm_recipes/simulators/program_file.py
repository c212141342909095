"""A .pte of Cortex-M kernels as a function of its inputs, without the session that made it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import Tensor

from arm_recipes.errors import ModelError, SimulationError
from arm_recipes.upstream.private import tree_leaves
from arm_recipes.upstream.programs import read_pte

from .cortex_m_reference import NAME, Loaded, outputs_of
from .planned_program import Slot, planned_program, to_message


class ProgramFile:
    """One method of a .pte, run on the reference simulator as a function of its inputs.

    Attributes:
        name: name of the simulator.
        proves: what an agreement of its outputs proves, and what not.
    """

    name = NAME
    proves = (
        "what the .pte's calls of kernels compute in its planned memory, with CMSIS-NN's integers. It does not prove a "
        "device's timing"
    )

    def __init__(self, path: str | os.PathLike[str], method: str | None, timeout: float) -> None:
        """
        Args:
            path: of the .pte.
            method: may be left out where there is but one.
            timeout: seconds for one call.

        Raises:
            ModelError: there is no such file, or it is no .pte, or has no such method.
            SimulationError: the program has delegates or branches.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise ModelError(f"{os.fspath(path)!r} can't be read: {error.strerror}.") from error
        program = read_pte(data, os.fspath(path))
        plans = {plan.name: plan for plan in program.execution_plan}
        if method is None and len(plans) == 1:
            (method,) = plans
        if method is None or method not in plans:
            raise ModelError(
                f"method={method!r}: {os.fspath(path)!r} has the methods {', '.join(map(repr, plans))}. Give one of "
                "them."
            )
        self._path, self._method = os.fspath(path), method
        planned = planned_program(program, plans[method])
        self._inputs = [Slot(**planned.values[index]["slot"]) for index in planned.inputs]
        self._program = Loaded(*to_message(planned), timeout=timeout)

    def __repr__(self) -> str:
        return f"<method {self._method!r} of {self._path} on {self.name}>"

    def __call__(self, *inputs: Any) -> Any:
        """Run the program on one sample.

        Args:
            *inputs: tensors, as the program takes them in shape and dtype; lists and dicts of them by their order.

        Returns:
            The program's output; a tuple of them where there are several.

        Raises:
            SimulationError: the inputs are not what the program takes, or a kernel would fail on the device.
        """
        values = tree_leaves(inputs)
        given = [_form(value) for value in values]
        wanted = [f"{slot.dtype} {slot.sizes}" for slot in self._inputs]
        if given != wanted:
            raise SimulationError(f"The program takes {', '.join(wanted)}, and got {', '.join(given) or 'nothing'}.")
        outputs = outputs_of(self._program.run(values))
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _form(value: Any) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
