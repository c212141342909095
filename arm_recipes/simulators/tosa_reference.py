"""Arm's TOSA reference model, for every delegated subgraph; the rest of the program runs in eager mode.

For TOSA recipes that is all there is to run. For Ethos-U and VGF it runs the graphs that their compilers were handed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from executorch.backends.arm.constants import NHWC_ORDER, NNHWC_ORDER
from executorch.exir.lowered_backend_module import LoweredBackendModule
from executorch.export import ExportSession
from torch import Tensor

from arm_recipes.errors import LoweringError, SimulationError
from arm_recipes.lowering.snapshot import Snapshot
from arm_recipes.simulators.worker.process import running
from arm_recipes.upstream.delegates import ARM_BACKENDS, Recompiled, recompiled
from arm_recipes.upstream.graphs import origin_of
from arm_recipes.upstream.tosa_graphs import Produced, with_all_outputs

from .base import SimulatedDelegate, Trace, Traced
from .edge_program import logical, physical, program_of, run


class TosaReference:
    """See `base.Simulator`."""

    name = "TOSA reference model"
    inside = "program"

    def __init__(self, session: ExportSession, snapshot: Snapshot, *, timeout: float) -> None:
        """
        Args:
            session: done with its export.
            snapshot: one method's lowered program.
            timeout: seconds for one delegate and sample.

        Raises:
            SimulationError: the program can't be simulated.
        """
        process = running("tosa", self.name)
        process.call({"do": "forget"}, {}, timeout=timeout)
        process.loaded.clear()
        self.proves = snapshot.recipe.family.facts.reference_proves
        self.notes: tuple[str, ...] = ()
        self._timeout = timeout
        self._modules = {
            name: module for name, module in snapshot.modules.items() if isinstance(module, LoweredBackendModule)
        }
        self._program = program_of(snapshot)
        self._compiled = {name: _recompiled(module) for name, module in self._modules.items()}
        try:
            self._graphs = {name: compiled.graph for name, compiled in self._compiled.items()}
        except LoweringError as error:
            raise SimulationError(str(error)) from error
        self._nodes = {node.name: node for node in snapshot.graph.nodes}
        self._traced: dict[str, tuple[bytes, list[str], list[Produced]]] = {}

    @cached_property
    def delegates(self) -> tuple[SimulatedDelegate, ...]:
        try:
            return tuple(
                SimulatedDelegate(name, module.backend_id, len(module.processed_bytes), self._compiled[name].reproduced)
                for name, module in self._modules.items()
            )
        except LoweringError as error:
            raise SimulationError(str(error)) from error

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        return run(self._program, inputs, self._delegate)

    def trace(self, inputs: Sequence[Tensor]) -> Trace:
        traced: list[Traced] = []

        def delegate(name: str, given: Sequence[Tensor]) -> list[Tensor]:
            if name not in self._traced:
                self._traced[name] = with_all_outputs(self._graphs[name])
            graph, names, produced = self._traced[name]
            origins = self._compiled[name].origins
            arrays = self._simulated(name, graph, given)
            values = dict(zip(names, arrays, strict=True))
            traced.extend(
                Traced(
                    origins[tensor.name].nodes if tensor.name in origins else (),
                    torch.from_numpy(values[tensor.name]),
                    tensor.computes,
                )
                for tensor in produced
            )
            return self._outputs(name, arrays)

        def watch(step: str, value: Any) -> None:
            if isinstance(value, Tensor):
                traced.append(Traced(origin_of(self._nodes[step]), value, True))

        return Trace(run(self._program, inputs, delegate, watch), traced)

    def _delegate(self, name: str, given: Sequence[Tensor]) -> list[Tensor]:
        return self._outputs(name, self._simulated(name, self._graphs[name], given))

    def _simulated(self, name: str, graph: bytes, given: Sequence[Tensor]) -> list[np.ndarray[Any, Any]]:
        """What the reference model gives for `graph`, which is that of the delegate `name` or has its inputs."""
        process = running("tosa", self.name)
        key = hashlib.sha256(graph).hexdigest()
        if key not in process.loaded:
            process.call({"do": "load", "graph": key}, {"graph": np.frombuffer(graph, np.uint8)}, timeout=self._timeout)
            process.loaded.add(key)
        placeholders = user_inputs(self._modules[name])
        inputs = {
            str(index): physical(value, declared_order(node.meta["val"]))
            for index, (value, node) in enumerate(zip(given, placeholders, strict=True))
        }
        _, outputs = process.call({"do": "run", "graph": key}, inputs, timeout=self._timeout)
        return [outputs[str(index)] for index in range(len(outputs))]

    def _outputs(self, name: str, arrays: Sequence[np.ndarray[Any, Any]]) -> list[Tensor]:
        """As the program declares them. TOSA knows no dimension order, so an NHWC tensor has NHWC's shape there."""
        nodes = self._modules[name].original_module.graph.output_node().args[0]
        outputs = []
        # With all tensors as outputs, the graph's own come first.
        for node, array in zip(nodes, arrays, strict=False):
            declared = node.meta["val"]
            order = declared_order(declared)
            outputs.append(logical(array.reshape([declared.shape[dimension] for dimension in order]), order))
        return outputs


def _recompiled(module: LoweredBackendModule) -> Recompiled:
    if module.backend_id not in ARM_BACKENDS:
        raise SimulationError(
            f"The program has a delegate of {module.backend_id}, which no simulator here runs. Allowed: "
            f"{', '.join(ARM_BACKENDS)}. Export without that backend to verify the Arm part."
        )
    return recompiled(module)


def user_inputs(module: LoweredBackendModule) -> list[torch.fx.Node]:
    """The placeholders of what a delegate is called with, in order."""
    program = module.original_module
    nodes = {node.name: node for node in program.graph.find_nodes(op="placeholder")}
    return [nodes[name] for name in program.graph_signature.user_inputs]


def declared_order(declared: Tensor) -> list[int]:
    """The order of dimensions in which a tensor goes to TOSA, for which upstream looks for NHWC alone."""
    order = declared.dim_order()
    return list(order if order in (NHWC_ORDER, NNHWC_ORDER) else range(declared.dim()))
