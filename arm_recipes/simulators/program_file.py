"""A .pte of Cortex-M kernels as a function of its inputs, without the session that made it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from executorch.exir.schema import Double, ExecutionPlan, Program
from torch import Tensor

from arm_recipes.errors import ArmRecipeError, ModelError, SimulationError
from arm_recipes.lowering.integer_io import declared_io
from arm_recipes.upstream.private import tree_leaves
from arm_recipes.upstream.programs import read_pte

from .base import SimulatedDelegate, Trace
from .cortex_m_reference import NAME, Loaded, outputs_of
from .planned_program import Slot, notes_on, planned_program, to_message
from .registry import AUTO, REFERENCE


class ProgramFile:
    """One method of a .pte, run on the reference simulator: as a function of its inputs, and as a `base.Simulator`.

    Attributes:
        name: name of the simulator.
        proves: what an agreement of its outputs proves, and what not.
        method: name of the method.
        example: zeros, as the method takes them.
        notes: which calls give wrong values, on the device as here.
        scales: of its inputs and outputs that stand for real numbers as integers.
    """

    name = NAME
    inside = ""
    delegates: tuple[SimulatedDelegate, ...] = ()
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
        try:
            self._read(read_pte(data, os.fspath(path)), os.fspath(path), method, timeout)
        except (TypeError, ValueError, LookupError, AttributeError, RuntimeError) as error:
            if isinstance(error, ArmRecipeError):
                raise
            raise ModelError(
                f"{os.fspath(path)!r} is damaged: {type(error).__name__}: {error}. Make it anew, or copy it again."
            ) from error

    def _read(self, program: Program, path: str, method: str | None, timeout: float) -> None:
        plans = {plan.name: plan for plan in program.execution_plan}
        constants = {name: _constant(plan) for name, plan in plans.items() if not plan.inputs and not plan.operators}
        plans = {name: plan for name, plan in plans.items() if name not in constants}
        if method is None and len(plans) == 1:
            (method,) = plans
        if method is None or method not in plans:
            raise ModelError(
                f"method={method!r}: {path!r} has the methods {', '.join(map(repr, plans))}. Give one of them."
            )
        self.scales = declared_io(constants, method)
        self._path, self.method = path, method
        planned = planned_program(program, plans[method])
        self.notes = notes_on(planned)
        slots = [Slot(**planned.values[index]["slot"]) for index in planned.inputs]
        self.example = tuple(torch.zeros(slot.sizes, dtype=getattr(torch, slot.dtype)) for slot in slots)
        self._program = Loaded(*to_message(planned), timeout=timeout)

    def __repr__(self) -> str:
        return f"<method {self.method!r} of {self._path} on {self.name}>"

    def __call__(self, *inputs: Any) -> Any:
        """Run the program on one sample.

        Args:
            *inputs: tensors, as the program takes them in shape and dtype; lists and dicts of them by their order.

        Returns:
            The program's output; a tuple of them where there are several.

        Raises:
            SimulationError: the inputs are not what the program takes, or a kernel would fail on the device.
        """
        outputs = self.run(tree_leaves(inputs))
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        given, wanted = [_form(value) for value in inputs], [_form(value) for value in self.example]
        if given != wanted:
            raise SimulationError(f"The program takes {', '.join(wanted)}, and got {', '.join(given) or 'nothing'}.")
        return outputs_of(self._program.run(inputs))

    def trace(self, inputs: Sequence[Tensor]) -> Trace:
        raise SimulationError("A .pte doesn't say which of its tensors are which of the model's. Leave out per_layer.")


def program_file(
    path: str | os.PathLike[str], method: str | None, simulator: str, *, timeout: float, runner: object = None
) -> ProgramFile:
    """A `ProgramFile`, for a caller who may have asked for another simulator.

    Raises:
        ArmRecipeError: it was another than the reference simulator, or a runner was given.
    """
    asked = f"runner={runner!r}" if runner is not None else f"simulator={simulator!r}"
    if runner is not None or simulator not in (AUTO, REFERENCE):
        raise ArmRecipeError(
            f"{asked}: a file is run on the reference simulator. Leave it out, or give the session that made the file."
        )
    return ProgramFile(path, method, timeout)


def _constant(plan: ExecutionPlan) -> Any:
    """What a method returns that computes nothing."""
    value = plan.values[plan.outputs[0]].val
    return float(value.double_val) if isinstance(value, Double) else next(iter(vars(value).values()), None)


def _form(value: Any) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
