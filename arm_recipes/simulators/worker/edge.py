"""Runs programs without delegates on the Python reference kernels of executorch's operator libraries: lowered graphs,
and what a .pte has of them."""

from __future__ import annotations

from typing import Any

from arm_recipes.simulators import planned_program
from arm_recipes.simulators.edge_program import Program, from_message, packed, run, unpacked
from arm_recipes.simulators.planned_program import PlannedProgram

from .messages import Arrays, serve

_programs: dict[str, Program | PlannedProgram] = {}


def handle(request: dict[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
    """``forget`` all programs, ``load`` one under a name, or ``run`` one, with what each step gives where asked."""
    if request["do"] == "forget":
        _programs.clear()
    elif request["do"] == "load":
        make = planned_program.from_message if "instructions" in request["content"] else from_message
        _programs[request["program"]] = make(request["content"], arrays)
    elif request["do"] == "run":
        given = unpacked(request["orders"], arrays)
        inputs = [given[str(index)] for index in range(len(given))]
        values: dict[str, Any] = {}
        program = _programs[request["program"]]
        if isinstance(program, PlannedProgram):
            outputs = planned_program.run(program, inputs)
        else:
            outputs = run(program, inputs, watch=values.__setitem__)
        tensors = {f"output.{index}": output for index, output in enumerate(outputs)}
        if request["traced"]:
            tensors |= {f"step.{name}": value for name, value in values.items() if hasattr(value, "dim_order")}
        orders, results = packed(tensors)
        return {"orders": orders}, results
    return {}, {}


if __name__ == "__main__":
    import executorch.backends.cortex_m.passes  # noqa: F401 - registers the kernels

    serve(handle)
