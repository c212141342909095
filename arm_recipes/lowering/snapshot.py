"""What a session has to keep so that its program can be run later: to_executorch rewrites the edge program in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from executorch.exir.lowered_backend_module import LoweredBackendModule
from executorch.exir.pass_manager import PassType
from executorch.exir.program import EdgeProgramManager
from executorch.export import ExportSession
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import ExportGraphSignature
from torch.fx import Graph, GraphModule

from arm_recipes.errors import ModelError
from arm_recipes.recipes.catalog import Recipe
from arm_recipes.recipes.options import Options
from arm_recipes.upstream.delegates import keep_lowered

from .borders import BorderCheckPass
from .records import BorderCheck


@dataclass(frozen=True)
class Snapshot:
    """One method's lowered program, as it was before to_executorch. Nothing in it but the graph's nodes is a copy.

    Attributes:
        recipe: the catalog row that it was lowered with.
        options: of the recipe as resolved.
        graph: the edge program's graph; delegates are called by executorch_call_delegate.
        modules: what the graph's get_attr nodes name, such as the delegates' LoweredBackendModules.
        signature: tells which placeholders are parameters and which are inputs.
        tensors: parameters, buffers and constants by their names in the signature.
        borders: of its delegates, which agree with the tables in their payloads; None where there is nothing to check.
    """

    recipe: Recipe
    options: Options
    graph: Graph
    modules: Mapping[str, Any]
    signature: ExportGraphSignature
    tensors: Mapping[str, Tensor]
    borders: BorderCheck | None = None


# Beside the managers and not on them, as they are upstream's. What is kept goes when its manager and session go.
_SNAPSHOTS: WeakKeyDictionary[EdgeProgramManager, dict[str, Snapshot]] = WeakKeyDictionary()


# What simulators and reports need of a node's meta: its shape and layout, where it comes from, what was changed.
_META = ("val", "from_node", "nn_module_stack", "custom")


class TakeSnapshot:
    """The last edge manager callable of every recipe. Asks for no passes, and copies the nodes of each method's graph.

    That is less than a millisecond for a delegated program, whose graph is a few nodes, and a few milliseconds for
    one without delegates. Delegates and tensors are shared with the session, which holds them in any case.
    """

    def __init__(self, recipe: Recipe, options: Options, borders: BorderCheckPass | None = None) -> None:
        """
        Args:
            recipe: the catalog row.
            options: of the recipe as resolved.
            borders: the check that goes before, where there is one.
        """
        self.recipe = recipe
        self.options = options
        self._borders = borders

    def __call__(self, manager: EdgeProgramManager) -> list[PassType]:
        _SNAPSHOTS[manager] = {
            method: self._copied(method, manager.exported_program(method)) for method in sorted(manager.methods)
        }
        for snapshot in _SNAPSHOTS[manager].values():
            for module in snapshot.modules.values():
                if isinstance(module, LoweredBackendModule):
                    keep_lowered(module)
        return []

    def _copied(self, method: str, program: ExportedProgram) -> Snapshot:
        graph = Graph()
        nodes: dict[Any, Any] = {}
        graph.output(graph.graph_copy(program.graph, nodes))
        for node in graph.nodes:
            node.meta = {key: node.meta[key] for key in _META if key in node.meta}
        names = [node.target for node in graph.find_nodes(op="get_attr")]
        return Snapshot(
            self.recipe,
            self.options,
            graph,
            {name: _kept_module(getattr(program.graph_module, name)) for name in names},
            program.graph_signature,
            # The tensors themselves: to_executorch writes to none of them.
            {**program.state_dict, **program.constants},
            self._borders.outcome[method] if self._borders is not None else None,
        )


def _kept_module(module: Any) -> Any:
    """A delegate as it is; of a branch's or a loop's body a copy, as to_executorch rewrites that too."""
    if not isinstance(module, GraphModule):
        return module
    graph = Graph()
    graph.output(graph.graph_copy(module.graph, {}))
    body = GraphModule(module, graph)
    for name, child in module.named_children():
        setattr(body, name, _kept_module(child))
    return body


def method_of(programs: Mapping[str, Snapshot], method: str | None) -> str:
    """The method that is meant, which may be left out where there is but one.

    Raises:
        ModelError: there is no such method, or there are several.
    """
    if method is None and len(programs) == 1:
        return next(iter(programs))
    if method is None or method not in programs:
        raise ModelError(
            f"method={method!r}: the program has the methods {', '.join(map(repr, programs))}. Give one as method=."
        )
    return method


def has_snapshots(session: ExportSession) -> bool:
    """Whether `snapshots` has something."""
    return _kept(session) is not None


def snapshots(session: ExportSession) -> dict[str, Snapshot]:
    """The lowered programs of a session by method, as they were before to_executorch.

    Works for any session of a recipe of arm_recipes, also one from executorch's own `export`.

    Raises:
        ModelError: the session has none.
    """
    kept = _kept(session)
    if kept is not None:
        return kept
    raise ModelError(
        "The session keeps no lowered program of an Arm recipe: it was not exported, its recipe is not of arm_recipes, "
        "its pipeline_stages leave out EDGE_PROGRAM_MANAGER_TRANSFORM, or another recipe that it was combined with "
        "changed the program afterwards. Export with a recipe of arm_recipes alone, with the default stages."
    )


def _kept(session: ExportSession) -> dict[str, Snapshot] | None:
    for artifact in reversed(session.get_stage_artifacts().values()):
        if isinstance(artifact.data, EdgeProgramManager) and artifact.data in _SNAPSHOTS:
            return _SNAPSHOTS[artifact.data]
    return None
