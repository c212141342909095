"""What a recipe changed in a model to make its program right: noted where it is done, read from the session."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from executorch.exir.lowered_backend_module import LoweredBackendModule
from executorch.export import ExportSession
from torch.export import ExportedProgram
from torch.fx import Graph, GraphModule, Node

from arm_recipes.upstream.session import exported_programs, quantized_modules

from .records import Change
from .snapshot import snapshots

_CHANGES = "arm_recipes.changes"
# In node.meta["custom"], the one part of a node's meta that reaches the lowered program. ETRecords hold it as JSON.
_ON_NODE = "arm_recipes_changes"


def note(changed: GraphModule | ExportedProgram | Node, change: Change) -> None:
    """Keep a change with what was changed.

    Args:
        changed: the module that the session captured; the program that it exported; or a node, which is all that is
            left to note on once the program is being lowered, where passes make graphs anew.
        change: what was done.
    """
    if isinstance(changed, Node):
        custom = changed.meta.get("custom", {})
        changed.meta["custom"] = {**custom, _ON_NODE: [*custom.get(_ON_NODE, ()), dataclasses.asdict(change)]}
        return
    module = changed.graph_module if isinstance(changed, ExportedProgram) else changed
    module.meta[_CHANGES] = (*module.meta.get(_CHANGES, ()), change)


def changes(session: ExportSession) -> dict[str, tuple[Change, ...]]:
    """What the recipe changed in each method of a session, in order; methods that it left as they are aren't there.

    Works for any session of a recipe of arm_recipes, also one from executorch's own `export`.

    Raises:
        ModelError: the session has no lowered program of such a recipe.
    """
    captured = quantized_modules(session)
    exported = exported_programs(session)
    noted: dict[str, tuple[Change, ...]] = {}
    for method, lowered in snapshots(session).items():
        told: list[Change] = []
        if method in captured:
            told += _of_module(captured[method])
        if method in exported:
            told += _of_module(exported[method].graph_module)
        told += _of_graph(lowered.graph, lowered.modules)
        if told:
            noted[method] = tuple(dict.fromkeys(told))
    return noted


def _of_module(module: GraphModule) -> Iterator[Change]:
    yield from module.meta.get(_CHANGES, ())
    for part in module.modules():
        if isinstance(part, GraphModule):
            yield from _of_graph(part.graph, {})


def _of_graph(graph: Graph, modules: Mapping[str, Any]) -> Iterator[Change]:
    for node in graph.nodes:
        yield from (Change(**values) for values in node.meta.get("custom", {}).get(_ON_NODE, ()))
    for module in modules.values():
        if isinstance(module, LoweredBackendModule):
            yield from _of_module(module.original_module.graph_module)
