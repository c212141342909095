"""Runs TOSA graphs on Arm's reference model. A process of its own, which loads neither torch nor executorch."""

from __future__ import annotations

from typing import Any

import tosa_reference_model

from .messages import Arrays, serve

_graphs: dict[str, bytes] = {}


def handle(request: dict[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
    """``forget`` all graphs, ``load`` one under a name, or ``run`` one on inputs ``0``, ``1``..."""
    if request["do"] == "forget":
        _graphs.clear()
    elif request["do"] == "load":
        _graphs[request["graph"]] = arrays["graph"].tobytes()
    elif request["do"] == "run":
        inputs = [arrays[str(index)] for index in range(len(arrays))]
        outputs, status = tosa_reference_model.run(
            _graphs[request["graph"]], inputs, initialize_variable_tensor_from_numpy=True
        )
        if status != tosa_reference_model.GraphStatus.TOSA_VALID:
            raise ValueError(f"the TOSA graph is not valid: {status}")
        return {}, {str(index): output for index, output in enumerate(outputs)}
    return {}, {}


if __name__ == "__main__":
    serve(handle)
