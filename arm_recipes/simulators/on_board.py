"""What simulators have in common that run the .pte itself, on a virtual or an emulated board."""

from __future__ import annotations

from collections.abc import Sequence

from executorch.export import ExportSession
from torch import Tensor

from arm_recipes.errors import ModelError, SimulationError
from arm_recipes.lowering.snapshot import Snapshot, snapshots

from .base import SimulatedDelegate, Trace
from .edge_program import declared_inputs, declared_outputs, refuse_state


class OnBoard:
    """See `base.Simulator`. Shows nothing of a program's inside, so that `trace` is refused."""

    name: str
    inside = ""
    delegates: tuple[SimulatedDelegate, ...] = ()

    def __init__(self, session: ExportSession, program: Snapshot, simulator: str, timeout: float) -> None:
        """
        Args:
            session: done with its export.
            program: its only method.
            simulator: name in the registry, for messages.
            timeout: seconds for one sample.

        Raises:
            SimulationError: the program keeps state.
            ModelError: the session's program has other methods.
        """
        if len(snapshots(session)) > 1:
            raise ModelError(
                f"simulator={simulator!r} runs a program's only method, and this one has several. Export it alone."
            )
        refuse_state(program.signature)
        self._pte = session.get_pte_buffer()
        self._timeout = timeout
        self._inputs = declared_inputs(program)
        self._outputs = declared_outputs(program)

    def trace(self, inputs: Sequence[Tensor]) -> Trace:
        raise SimulationError(f"{self.name} shows nothing of a program's inside. Leave out per_layer.")
