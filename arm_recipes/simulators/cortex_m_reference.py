"""Upstream's Python reference kernels for ``cortex_m::*``: the whole edge program in eager mode, in its own process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from executorch.export import ExportSession
from torch import Tensor

from arm_recipes.lowering.snapshot import Snapshot
from arm_recipes.simulators.worker.process import Process, running
from arm_recipes.upstream.graphs import operator_name, origin_of

from .base import SimulatedDelegate, Trace, Traced
from .edge_program import packed, program_of, to_message, unpacked


class CortexMReference:
    """See `base.Simulator`."""

    name = "executorch's Python reference kernels for Cortex-M"
    inside = "program"
    delegates: tuple[SimulatedDelegate, ...] = ()
    notes: tuple[str, ...] = ()

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
        self._timeout = timeout
        self._graph = snapshot.graph
        self._content, self._tensors = to_message(program_of(snapshot))
        digest = hashlib.sha256(json.dumps(self._content, sort_keys=True).encode())
        for name in sorted(self._tensors):
            digest.update(self._tensors[name].tobytes())
        self._key = digest.hexdigest()
        process = running("edge", self.name)
        process.call({"do": "forget"}, {}, timeout=timeout)
        process.loaded.clear()

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        values = self._simulated(inputs, traced=False)
        return [values[f"output.{index}"] for index in range(len(values))]

    def trace(self, inputs: Sequence[Tensor]) -> Trace:
        values = self._simulated(inputs, traced=True)
        tensors = [
            Traced(origin_of(node), values[f"step.{node.name}"], "clone" not in operator_name(node))
            for node in self._graph.nodes
            if f"step.{node.name}" in values
        ]
        count = sum(name.startswith("output.") for name in values)
        return Trace([values[f"output.{index}"] for index in range(count)], tensors)

    def _simulated(self, inputs: Sequence[Tensor], *, traced: bool) -> dict[str, Tensor]:
        process = self._loaded()
        orders, arrays = packed({str(index): value for index, value in enumerate(inputs)})
        request = {"do": "run", "program": self._key, "orders": orders, "traced": traced}
        answer, results = process.call(request, arrays, timeout=self._timeout)
        return unpacked(answer["orders"], results)

    def _loaded(self) -> Process:
        process = running("edge", self.name)
        if self._key not in process.loaded:
            request = {"do": "load", "program": self._key, "content": self._content}
            process.call(request, self._tensors, timeout=self._timeout)
            process.loaded.add(self._key)
        return process
