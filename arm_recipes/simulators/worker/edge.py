"""Runs edge programs without delegates on the Python reference kernels of executorch's operator libraries."""

from __future__ import annotations

from typing import Any

from arm_recipes.simulators.edge_program import Program, from_message, packed, run, unpacked

from .messages import Arrays, serve

_programs: dict[str, Program] = {}


def handle(request: dict[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
    """``forget`` all programs, ``load`` one under a name, or ``run`` one, with what each step gives where asked."""
    if request["do"] == "forget":
        _programs.clear()
    elif request["do"] == "load":
        _programs[request["program"]] = from_message(request["content"], arrays)
    elif request["do"] == "run":
        inputs = unpacked(request["orders"], arrays)
        values: dict[str, Any] = {}
        outputs = run(
            _programs[request["program"]],
            [inputs[str(index)] for index in range(len(inputs))],
            watch=values.__setitem__,
        )
        tensors = {f"output.{index}": output for index, output in enumerate(outputs)}
        if request["traced"]:
            tensors |= {f"step.{name}": value for name, value in values.items() if hasattr(value, "dim_order")}
        orders, results = packed(tensors)
        return {"orders": orders}, results
    return {}, {}


if __name__ == "__main__":
    import executorch.backends.cortex_m.passes  # noqa: F401 - registers the kernels

    serve(handle)
