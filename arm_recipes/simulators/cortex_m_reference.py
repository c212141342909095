"""Upstream's Python reference kernels for ``cortex_m::*``: the whole program in eager mode, in a process of its own.

What comes out is computed as the .pte has it, in its planned memory. What is inside is looked at in the lowered graph.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import executorch.backends.cortex_m.passes  # noqa: F401 - registers the kernels
from executorch.export import ExportSession
from torch import Tensor

from arm_recipes.errors import SimulationError
from arm_recipes.lowering.snapshot import Snapshot, snapshots
from arm_recipes.simulators.worker.messages import Arrays
from arm_recipes.simulators.worker.process import Process, running
from arm_recipes.upstream.graphs import operator_name, origin_of

from . import planned_program
from .base import SimulatedDelegate, Trace, Traced
from .edge_program import packed, program_of, to_message, unpacked

NAME = "executorch's Python reference kernels for Cortex-M"


class CortexMReference:
    """See `base.Simulator`."""

    name = NAME
    inside = "program"
    delegates: tuple[SimulatedDelegate, ...] = ()

    def __init__(self, session: ExportSession, snapshot: Snapshot, *, timeout: float) -> None:
        """
        Args:
            session: done with its export.
            snapshot: one method's lowered program.
            timeout: seconds for one sample.

        Raises:
            SimulationError: the program can't be simulated.
        """
        self.proves = snapshot.recipe.family.facts.reference_proves
        self.notes: tuple[str, ...] = ()
        self._graph = snapshot.graph
        self._lowered = Loaded(*to_message(program_of(snapshot)), timeout=timeout)
        self._planned = self._lowered
        try:
            self._planned = Loaded(*planned_program.to_message(_planned(session, snapshot)), timeout=timeout)
        except SimulationError as error:
            self.notes = (f"Run as it was lowered, and not as the .pte has it. {error}",)
        process = running("edge", self.name)
        process.call({"do": "forget"}, {}, timeout=timeout)
        process.loaded.clear()

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        return outputs_of(self._planned.run(inputs))

    def trace(self, inputs: Sequence[Tensor]) -> Trace:
        values = self._lowered.run(inputs, traced=True)
        tensors = [
            Traced(origin_of(node), values[f"step.{node.name}"], "clone" not in operator_name(node))
            for node in self._graph.nodes
            if f"step.{node.name}" in values
        ]
        return Trace(outputs_of(values), tensors)


class Loaded:
    """A program that the simulators' process runs, which is given it when it has it not."""

    def __init__(self, content: dict[str, Any], arrays: Arrays, *, timeout: float) -> None:
        self._content, self._arrays, self._timeout = content, arrays, timeout
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
        for name in sorted(arrays):
            digest.update(arrays[name].tobytes())
        self._key = digest.hexdigest()

    def run(self, inputs: Sequence[Tensor], *, traced: bool = False) -> dict[str, Tensor]:
        """Outputs by ``output.`` and their index; where traced also what each step gives, by ``step.`` and its name."""
        process = self._process()
        orders, arrays = packed({str(index): value for index, value in enumerate(inputs)})
        request = {"do": "run", "program": self._key, "orders": orders, "traced": traced}
        answer, results = process.call(request, arrays, timeout=self._timeout)
        return unpacked(answer["orders"], results)

    def _process(self) -> Process:
        process = running("edge", NAME)
        if self._key not in process.loaded:
            request = {"do": "load", "program": self._key, "content": self._content}
            process.call(request, self._arrays, timeout=self._timeout)
            process.loaded.add(self._key)
        return process


def outputs_of(values: dict[str, Tensor]) -> list[Tensor]:
    """The outputs of a run, in order."""
    return [values[f"output.{index}"] for index in range(sum(name.startswith("output.") for name in values))]


def _planned(session: ExportSession, snapshot: Snapshot) -> planned_program.PlannedProgram:
    method = next(name for name, kept in snapshots(session).items() if kept is snapshot)
    program = session.get_executorch_program()
    plan = next(plan for plan in program.execution_plan if plan.name == method)
    return planned_program.planned_program(program, plan)
