"""Weights that a model computes from constants in its forward, as YOLO's DFL head does: made constants beforehand.

executorch's quantizer takes `conv2d(x, torch.arange(4.).view(1, 4, 1, 1))` for one of two activations. With 16 bits
that is a weight that TOSA's convolutions don't take.
"""

from __future__ import annotations

from operator import attrgetter

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from arm_recipes.upstream.graphs import is_operator, operator_name, where, writes_to

from .changes import note
from .records import Change

_LAYERS = ("aten.conv", "aten.linear")


def fold_constant_weights(model: GraphModule) -> GraphModule:
    """A pre-prepare pass: weights and biases that depend on no input become parameters."""
    # Upstream: TOSAQuantizer. Holds for executorch 1.5.1;
    # tests/lowering/test_constant_weights.py::test_upstream_can_t_lower_it fails when it can go.
    for node in list(model.graph.nodes):
        if not is_operator(node) or not operator_name(node).startswith(_LAYERS):
            continue
        for weight in node.args[1:3]:
            if (
                isinstance(weight, Node)
                and weight.op == "call_function"
                and (value := constant_value(model, weight)) is not None
            ):
                _replace(model, node, weight, value)
    model.graph.eliminate_dead_code()
    model.recompile()
    return model


def _replace(model: GraphModule, layer: Node, weight: Node, value: Tensor) -> None:
    name = f"_arm_recipes_{weight.name}"
    if not hasattr(model, name):
        model.register_parameter(name, nn.Parameter(value, requires_grad=False))  # as a batch norm is folded into
    with model.graph.inserting_before(layer):
        constant = model.graph.get_attr(name)
    constant.meta = {key: value for key, value in weight.meta.items() if key in ("val", "nn_module_stack")}
    layer.replace_input_with(weight, constant)
    what = f"{weight.name}, which its weights are computed by, is a constant"
    why = "executorch quantizes it to 16 bits, which the layer takes no weights of"
    note(model, Change("constant-weight", where(layer), what, why))


def constant_value(model: GraphModule, node: Node) -> Tensor | None:
    """What a node gives; None where that depends on an input, on chance or on what is written elsewhere."""
    known: dict[Node, object] = {}

    def of(node: Node) -> object:
        if node not in known:
            if node.op == "get_attr" and not any(map(writes_to, node.users)):
                known[node] = attrgetter(str(node.target))(model)
            elif (
                node.op != "call_function"
                or not is_operator(node)
                or writes_to(node)
                or torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
            ):
                raise LookupError(node.name)
            else:
                args, kwargs = torch.fx.map_arg((node.args, node.kwargs), of)  # type: ignore[arg-type]
                known[node] = node.target(*args, **kwargs)  # type: ignore[operator]
        return known[node]

    try:
        with torch.no_grad():
            value = of(node)
    except LookupError:
        return None
    return value.detach().clone() if isinstance(value, Tensor) else None
