"""Nodes of captured and lowered graphs: which compute, what they are called, where in the model they come from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from .private import EdgeOpOverload, FakeTensor, OpOverload, tree_leaves, tree_map_only, tree_unflatten


def calls(graph_module: GraphModule) -> Iterator[Node]:
    """All that is called in the graph and in the graphs of its branches and loops, in order."""
    for module in graph_module.modules():
        if isinstance(module, GraphModule):
            yield from (node for node in module.graph.nodes if node.op == "call_function")


def is_operator(node: Node) -> bool:
    """Whether the node computes something, as opposed to taking a part of a tuple or reserving memory."""
    return isinstance(node.target, (EdgeOpOverload, OpOverload))


def operator_of(target: Any) -> OpOverload | None:
    """The operator that a node calls, of the edge dialect's the one that it stands for; None where it calls none."""
    # Upstream: EdgeOpOverload._op. Holds for executorch 1.5.1;
    # tests/upstream/test_private_names.py::test_edge_operators_wrap_others fails when it can go.
    operator = target._op if isinstance(target, EdgeOpOverload) else target
    return operator if isinstance(operator, OpOverload) else None


def kernel_name(target: Any) -> tuple[str, str]:
    """Namespace and name of the operator that a node calls, without its overload: ``aten``, ``convolution``."""
    operator = operator_of(target)
    if operator is None:
        return "", ""
    namespace, _, name = operator.name().partition("::")  # type: ignore[no-untyped-call]
    return namespace, name.partition(".")[0]


def operator_name(node: Node) -> str:
    """E.g. ``aten.topk`` or ``aten.add.Tensor``; the kind of node (``placeholder``) where it is no operator."""
    if not is_operator(node):
        return node.op
    # The edge dialect's operators spell themselves with their whole schema.
    return str(operator_of(node.target)).removesuffix(".default")


def nested(module: GraphModule, values: Sequence[Any]) -> tuple[Any, ...]:
    """The tensors of a call in the lists and dicts in which a captured module takes them."""
    # Upstream: GraphModule._in_spec. Holds for torch 2.13;
    # tests/verification/test_nested_inputs.py::test_a_captured_module_says_what_it_takes fails when it can go.
    structure = getattr(module, "_in_spec", None)
    if structure is None or structure.num_leaves != len(values):
        return tuple(values)
    arguments, _ = tree_unflatten(list(values), structure)
    return tuple(arguments)


def quantizes(node: Node) -> bool:
    """Whether the node is a quantize or dequantize operator."""
    return is_operator(node) and "quantize_per_" in operator_name(node)


def module_path(node: Node) -> str:
    """Where in the user's model a node comes from, e.g. ``features.3.conv``; empty where it is not known."""
    return stack_path(node.meta.get("nn_module_stack") or {})


def stack_path(stack: Mapping[str, Sequence[str]]) -> str:
    """The innermost path of a node's ``nn_module_stack``; empty where it names none."""
    paths = [path for path, _ in stack.values() if path]
    return paths[-1].removeprefix("L__self___").removeprefix("L['self'].") if paths else ""


def arguments_by_name(node: Node) -> dict[str, Any]:
    """The arguments of an operator's call by their names in its schema; those that take their default are left out.
    None for what is no operator."""
    # Upstream: OpOverload._schema, which torch has no public name for. Holds for torch 2.13;
    # tests/upstream/test_private_names.py::test_schemas_are_private fails when it can go.
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return {}
    names = [argument.name for argument in schema.arguments]
    return {**dict(zip(names, node.args, strict=False)), **node.kwargs}


def writes_to(node: Node) -> tuple[int, ...]:
    """Positions of the arguments that a node's operator writes to; none for most."""
    # OpOverload._schema, as above.
    schema = getattr(node.target, "_schema", None)
    if node.op != "call_function" or schema is None or not schema.is_mutable:
        return ()
    return tuple(
        index
        for index, argument in enumerate(schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    )


def is_view(node: Node) -> bool:
    """Whether what a node gives may share memory with an argument that it does not write to."""
    schema = getattr(node.target, "_schema", None)
    if node.op != "call_function" or schema is None:
        return False
    return any(result.alias_info is not None and not result.alias_info.is_write for result in schema.returns)


def where(node: Node) -> str:
    """The operator, and the module that it comes from."""
    path = module_path(node)
    return f"{operator_name(node)} of {path}" if path else operator_name(node)


def where_in_code(node: Node) -> str:
    """`where`, and the line of the user's model: ``aten.cat of neck (model.py:12)``; without where it isn't known."""
    lines = re.findall(r'File "([^"]+)", line (\d+)', node.meta.get("stack_trace") or "")
    own = [(file, line) for file, line in lines if "site-packages" not in file and "dist-packages" not in file]
    return f"{where(node)} ({Path(own[-1][0]).name}:{own[-1][1]})" if own else where(node)


def origin_of(node: Node) -> tuple[str, ...]:
    """Names of the nodes that `node` was made from, graph by graph, back to the captured model's."""
    names: list[str] = []
    sources = list(node.meta.get("from_node", ()))
    while sources:
        source = sources.pop()
        names.append(source.name)
        sources.extend(source.from_node)
    return tuple(names)


def captured_operator(node: Node) -> str:
    """The operator of the captured model that a node was made from, e.g. ``aten.softplus.default`` of an exp; its own
    where that isn't known, or was put in since."""
    operators = [str(operator_of(node.target) or "")]
    sources = list(node.meta.get("from_node", ()))
    while sources:
        source = sources.pop()
        operators.append(source.target)
        sources.extend(source.from_node)
    return next((each for each in reversed(operators) if each.startswith("aten.")), operators[0])


def evaluate(node: Node) -> None:
    """Work out a node's fake value from those of its arguments."""
    values = tree_map_only(Node, lambda each: each.meta["val"], (node.args, node.kwargs))
    mode = next(value.fake_mode for value in tree_leaves(values) if isinstance(value, FakeTensor))

    def fake(value: Tensor) -> Tensor:
        return value if isinstance(value, FakeTensor) else mode.from_tensor(value, static_shapes=True)

    args, kwargs = tree_map_only(Tensor, fake, values)
    with mode, torch.no_grad():
        node.meta["val"] = node.target(*args, **kwargs)  # type: ignore[operator]


def call_before(node: Node, target: Any, *arguments: Any) -> Node:
    """Insert a call before `node`, with what that knows of where it comes from."""
    with node.graph.inserting_before(node):
        made = node.graph.call_function(target, arguments)
    made.meta = {key: value for key, value in node.meta.items() if key not in ("val", "spec")}
    evaluate(made)
    return made
