"""Where a node comes from."""

from __future__ import annotations

from torch.fx import Node


def origin_of(node: Node) -> tuple[str, ...]:
    """Names of the nodes that `node` was made from, graph by graph, back to the captured model's."""
    names: list[str] = []
    sources = list(node.meta.get("from_node", ()))
    while sources:
        source = sources.pop()
        names.append(source.name)
        sources.extend(source.from_node)
    return tuple(names)
