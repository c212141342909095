"""`simulate`: a session's lowered program as a function of its inputs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from executorch.export import ExportSession
from torch import Tensor
from torch.fx import Node

from arm_recipes.errors import SimulationError
from arm_recipes.gates import check_timeout
from arm_recipes.lowering.snapshot import method_of, snapshots
from arm_recipes.samples.inputs import dtype_text
from arm_recipes.samples.models import argument_names
from arm_recipes.samples.nesting import of_call, without_nesting
from arm_recipes.upstream.session import example_inputs, given_models

from .program_file import ProgramFile, program_file
from .registry import check_simulator, make_simulator


class SimulatedProgram:
    """One method of a lowered program, run on a simulator as a function of its inputs.

    Attributes:
        name: name of the simulator.
        proves: what an agreement of its outputs proves, and what not.
    """

    def __init__(
        self, session: ExportSession, method: str | None, simulator: str, timeout: float, runner: str | None
    ) -> None:
        """See `simulate`."""
        programs = snapshots(session)
        self._method = method_of(programs, method)
        program = programs[self._method]
        check_simulator(simulator, program.recipe, per_layer=False, runner=runner)
        self._simulator = make_simulator(simulator, session, program, timeout=timeout, runner=runner)
        self.name, self.proves = self._simulator.name, self._simulator.proves
        (example, *_) = example_inputs(session, self._method)
        self._names = list(of_call(example, argument_names(given_models(session)[self._method])))
        placeholders = {node.name: node for node in program.graph.find_nodes(op="placeholder")}
        self._inputs = [placeholders[str(name)] for name in program.signature.user_inputs if str(name) in placeholders]

    def __repr__(self) -> str:
        return f"<method {self._method!r} on {self.name}>"

    def __call__(self, *inputs: Any) -> Any:
        """Run the program on one sample.

        Args:
            *inputs: as the program takes them, in shape and dtype: integers with ``io_dtype``. What the model takes
                nested may be nested.

        Returns:
            The program's output; a tuple of them where there are several.

        Raises:
            SimulationError: the inputs are not what the program takes, or the simulator failed.
        """
        values = self._in_order(inputs)
        wanted = ", ".join(map(_described, self._inputs))
        if len(values) != len(self._inputs):
            raise SimulationError(f"The program takes {len(self._inputs)} inputs and got {len(values)}: {wanted}.")
        for index, (value, node) in enumerate(zip(values, self._inputs, strict=True)):
            declared = node.meta.get("val")
            if not isinstance(declared, Tensor):
                continue
            if not isinstance(value, Tensor):
                raise SimulationError(f"Input {index} is of type {type(value).__name__}. The program takes {wanted}.")
            if value.shape != declared.shape or value.dtype != declared.dtype:
                raise SimulationError(
                    f"Input {index} is {_form(value)}, and the program takes {wanted}. With io_dtype it takes "
                    "integers: quantized_io(session) has their scales."
                )
        outputs = self._simulator.run(values)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _in_order(self, inputs: tuple[Any, ...]) -> list[Any]:
        """What is in the lists and dicts of the inputs, by its name and not by a dict's order."""
        values = without_nesting(inputs, self._names)
        if isinstance(values, Mapping):
            missing = [name for name in self._names if name not in values]
            if missing:
                raise SimulationError(f"The program takes {', '.join(self._names)}, and got no {', '.join(missing)}.")
            return [values[name] for name in self._names]
        return list(values) if isinstance(values, (list, tuple)) else [values]


def simulate(
    session: ExportSession | str | os.PathLike[str],
    *,
    method: str | None = None,
    simulator: str = "auto",
    timeout: float = 120.0,
    runner: str | os.PathLike[str] | None = None,
) -> SimulatedProgram | ProgramFile:
    """The lowered program of a session as a function, run on this machine by a simulator.

        detect = simulate(export(detector, ArmRecipeType.ETHOSU_U55_INT8, image, calibration=images))
        boxes, scores = detect(image)

    So that a pipeline of several networks, with what is between them, can be run as a whole on what was lowered.

    Args:
        session: done with its export; also one of executorch's own `export`. Or the path of a .pte of Cortex-M kernels,
            whoever made it, which is run in its planned memory on the reference simulator.
        method: of the program; may be left out where there is but one.
        simulator: as `verify` takes it, for a session.
        timeout: seconds that the simulator may take for one delegate, or one program, in one call.
        runner: as `verify` takes it, for a session.

    Raises:
        ModelError: the session is not of a recipe of arm_recipes, or not done, or has no such method.
        SimulationError: the program can't be simulated.
        ToolError: the simulator asked for is not installed.
    """
    check_timeout(timeout)
    if isinstance(session, (str, os.PathLike)):
        return program_file(session, method, simulator, timeout=timeout, runner=runner)
    return SimulatedProgram(session, method, simulator, timeout, None if runner is None else os.fspath(runner))


def _described(node: Node) -> str:
    value = node.meta.get("val")
    if not isinstance(value, Tensor):
        return node.name
    return f"{node.name}: {_form(value)}"


def _form(value: Tensor) -> str:
    return f"{dtype_text(value.dtype)} {list(value.shape)}"
