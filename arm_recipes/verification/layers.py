"""The layers of a program on the first samples: the check, and what is traced of their errors."""

from __future__ import annotations

from collections.abc import Sequence

from executorch.export import ExportSession
from torch import Tensor

from arm_recipes.checking.result import MethodCheck
from arm_recipes.checking.run import Checker, not_checked, reference_of
from arm_recipes.errors import ModelError, SimulationError
from arm_recipes.lowering.snapshot import Snapshot
from arm_recipes.simulators.base import Simulator

from .layer_errors import LayerTracer
from .result import LayerError

# A fault of a layer shows on any sample; more would only cost time.
_SAMPLES = 4


class Layers:
    """Checks the layers on the first samples, or on all where they are traced."""

    def __init__(
        self,
        session: ExportSession,
        method: str,
        program: Snapshot,
        simulator: Simulator,
        tracer: LayerTracer | None,
    ) -> None:
        """
        Args:
            session: has what the layers are compared with.
            method: name of the method.
            program: its lowered program.
            simulator: runs the program.
            tracer: adds up the errors; None where nobody asked for them.
        """
        self._method = method
        self._tracer = tracer
        self._checker: Checker | None = None
        self._why_not: object = f"{simulator.name} shows nothing of its inside"
        if simulator.inside:
            try:
                self._checker = Checker(program, reference_of(session, method), simulator)
            except ModelError as error:
                self._why_not = error

    def add(self, inputs: Sequence[Tensor]) -> None:
        """Add one sample, as the model takes it.

        Raises:
            SimulationError: the simulator failed, and the layers were asked for.
        """
        if self._checker is None or (self._tracer is None and self._checker.samples >= _SAMPLES):
            return
        try:
            findings = self._checker.add(inputs)
        except SimulationError as error:
            if self._tracer is not None:
                raise
            self._checker, self._why_not = None, error
            return
        if self._tracer is not None:
            self._tracer.add(inputs, findings)

    def result(self) -> MethodCheck:
        """The outcome so far."""
        if self._checker is None or not self._checker.samples:
            return not_checked(self._method, self._why_not)
        return self._checker.result(self._method)

    def errors(self) -> tuple[LayerError, ...]:
        """What was traced of each layer; nothing where nobody asked for it."""
        return self._tracer.errors() if self._tracer is not None else ()
