"""What a simulator is to `verify`. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from executorch.export import ExportSession
    from torch import Tensor

    from arm_recipes.lowering.snapshot import Snapshot


@dataclass(frozen=True)
class SimulatedDelegate:
    """A delegated subgraph that a simulator runs.

    Attributes:
        name: name in the lowered program, e.g. ``lowered_module_0``.
        backend: name of the backend, e.g. ``EthosUBackend``.
        bytes: bytes of its payload.
        reproduced: whether upstream's backend, run again on the delegate's own program, gives the payload's very bytes.
            If so, the graph that is simulated is the one that the payload was made of.
    """

    name: str
    backend: str
    bytes: int
    reproduced: bool


@dataclass(frozen=True)
class Traced:
    """A tensor from inside the lowered program.

    Attributes:
        origin: names of the nodes that it came from, from the lowered program's back to the captured model's.
        value: as the simulator has it; rank 4 may be NHWC where the model has NCHW.
        computes: whether its operator computes, and does not only move or rescale numbers.
    """

    origin: tuple[str, ...]
    value: Tensor
    computes: bool


@dataclass(frozen=True)
class Trace:
    """One run of a program, with what is inside.

    Attributes:
        outputs: the program's, as `Simulator.run` gives them.
        tensors: from inside, in the order in which they are computed.
    """

    outputs: list[Tensor]
    tensors: list[Traced]


class Maker(Protocol):
    """How a simulator is made, as `registry` does: its class, or a function."""

    def __call__(self, session: ExportSession, program: Snapshot, /, *, timeout: float, **more: Any) -> Simulator:
        """
        Args:
            session: done with its export.
            program: the session's method to run.
            timeout: seconds that it may take for one delegate, or one program, on one sample.
            **more: ``runner``, a path or None, where the simulator's row has one.

        Raises:
            ToolError: a tool is missing.
            SimulationError: the program can't be simulated.
        """
        ...


class Simulator(Protocol):
    """Runs one method of a lowered program.

    Attributes:
        name: of the simulator.
        proves: what an agreement of its outputs proves, and what not.
        notes: what a reader of the report has to know besides.
        inside: what `trace` shows: ``program``, the very run of `run`; ``graph``, the graph that what runs was made of;
            empty for nothing.
    """

    name: str
    proves: str
    notes: tuple[str, ...]
    inside: str

    @property
    def delegates(self) -> tuple[SimulatedDelegate, ...]:
        """The subgraphs it runs. Asking may take the time of their compiler.

        Raises:
            SimulationError: one can't be compiled again.
        """
        ...

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The program's outputs for the inputs of one sample.

        Raises:
            SimulationError: the simulator crashed, took too long, or does not accept the program.
        """
        ...

    def trace(self, inputs: Sequence[Tensor]) -> Trace:
        """The program's outputs, and tensors from inside: each that an operator outside of delegates gives, and what
        the operators of the delegates' graphs give, without 32 and 48 bits wide sums. Raises as `run` does."""
        ...
