"""Cures that change a quantized graph in place: what those have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

import torch
from executorch.exir.pass_manager import PassType
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Graph, GraphModule, Node
from torch.fx.passes.infra.pass_base import PassResult

from arm_recipes.upstream.private import EdgeOpOverload, edge_operators

from .changes import note
from .records import Change

Site = TypeVar("Site")

# What a new node's meta has of the one before it.
_ORIGIN = ("nn_module_stack", "stack_trace", "from_node", "source_fn_stack")


class QuantizedCure(Generic[Site]):
    """Changes in place the module that the session has quantized, by `in_module`; and the edge program of one that it
    was given quantized, as an edge transform callable."""

    def in_module(self, module: GraphModule) -> GraphModule:
        """A post-convert pass."""
        for _, change in self._changed(module.graph):
            note(module, change)
        module.recompile()
        return module

    def __call__(self, method: str, program: ExportedProgram) -> list[PassType]:
        return [self._in_program] if any(True for _ in self._sites(program.graph)) else []

    def _in_program(self, graph_module: GraphModule) -> PassResult:
        for node, change in self._changed(graph_module.graph):
            note(node, change)
        graph_module.recompile()
        return PassResult(graph_module, True)

    def _changed(self, graph: Graph) -> Iterator[tuple[Node, Change]]:
        for site in list(self._sites(graph)):
            yield self._change(graph, site)

    def _sites(self, graph: Graph) -> Iterable[Site]:
        """Where upstream's lowering would go wrong."""
        raise NotImplementedError

    def _change(self, graph: Graph, site: Site) -> tuple[Node, Change]:
        """Make the change; what it is, and the node of which the report tells it."""
        raise NotImplementedError


def requantize(graph: Graph, value: Node, reader: Node, like: Node, figures: tuple[Any, ...]) -> None:
    """Quantize and dequantize a value before one of its readers.

    Args:
        graph: of them all.
        value: float32.
        reader: gets it quantized and dequantized.
        like: a quantize operator of the graph.
        figures: scale, zero point, least and greatest integer, dtype.
    """
    operators: Any = edge_operators if isinstance(like.target, EdgeOpOverload) else torch.ops
    dequantize = operators.quantized_decomposed.dequantize_per_tensor.default
    after = value
    for target, dtype in ((like.target, figures[4]), (dequantize, torch.float32)):
        with graph.inserting_after(after):
            after = graph.call_function(target, (after, *figures))  # type: ignore[arg-type]
        after.meta = {key: each for key, each in value.meta.items() if key in _ORIGIN}
        if isinstance(value.meta.get("val"), Tensor):
            after.meta["val"] = value.meta["val"].to(dtype)
    reader.replace_input_with(value, after)
