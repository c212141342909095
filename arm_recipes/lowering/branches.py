"""Branches and loops: what a program hands to their bodies has to be what these were made for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from executorch.exir.pass_manager import PassType
from executorch.exir.program import EdgeProgramManager
from torch import Tensor
from torch.fx import GraphModule, Node

from arm_recipes.errors import LoweringError
from arm_recipes.recipes.catalog import Recipe
from arm_recipes.upstream.private import HigherOrderOperator, tree_leaves


class BranchCheck:
    """An edge manager callable that asks for no passes. Refuses a program that hands a body values of another dtype.

    Upstream's Cortex-M passes fold a dequantize operator into what reads it, also where that is a branch, whose body
    stays in float: on a device it would take integers for floats.

    Raises:
        LoweringError: such a body.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    def __call__(self, manager: EdgeProgramManager) -> list[PassType]:
        for method in sorted(manager.methods):
            graph_module = manager.exported_program(method).graph_module
            for node in graph_module.graph.nodes:
                if not isinstance(node.target, HigherOrderOperator):
                    continue
                for given, taken in _operands(graph_module, node):
                    if given.dtype != taken.dtype:
                        raise LoweringError(
                            f"{self._recipe.name}: in method {method!r}, a body of {node.target.__name__} takes "
                            f"{taken.dtype} and would be handed {given.dtype}: executorch's passes for this target do "
                            "not know branches and loops. Take them out of the model, e.g. by torch.where, or take a "
                            "recipe with a delegate."
                        )
        return []


def _operands(graph_module: GraphModule, node: Node) -> Iterator[tuple[Tensor, Tensor]]:
    """What each body of a branch or loop is handed, beside what it takes."""
    leaves: list[Any] = tree_leaves(list(node.args))
    bodies = [leaf for leaf in leaves if isinstance(leaf, Node) and leaf.op == "get_attr"]
    for name in bodies:
        body = getattr(graph_module, str(name.target), None)
        if not isinstance(body, GraphModule):
            continue
        placeholders = body.graph.find_nodes(op="placeholder")
        handed = leaves[len(leaves) - len(placeholders) :] if placeholders else []
        for value, placeholder in zip(handed, placeholders, strict=True):
            given, taken = (each.meta.get("val") if isinstance(each, Node) else None for each in (value, placeholder))
            if isinstance(given, Tensor) and isinstance(taken, Tensor):
                yield given, taken
