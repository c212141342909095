"""A pass that traces its graph anew gives the nodes and values that upstream's own trace gives, with fewer runs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from executorch.exir import to_edge
from executorch.exir.dialects._ops import ops
from executorch.exir.pass_base import ExportPass, _ExportPassBase
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx import GraphModule, Interpreter, Node

from arm_recipes.upstream.retrace import trace, trace_what_changed

_ADD, _MUL, _SUM = ops.edge.aten.add.Tensor, ops.edge.aten.mul.Tensor, ops.edge.aten.sum.dim_IntList


class _Several(nn.Module):
    """A call with keywords, with lists, one of several results, and a view."""

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        z = torch.add(x, y, alpha=2) * x
        first, second = torch.split(z, [1, 3], 1)
        return torch.cat([first, second, z], 1).sum((1, 2), keepdim=True), z.permute(0, 2, 1), z.flatten(1) > 0.5


def _edge(dynamic: bool = False) -> GraphModule:
    sizes = {0: torch.export.Dim("batch", max=8)} if dynamic else None
    inputs = torch.randn(2, 4, 3), torch.randn(2, 4, 3)
    program = torch.export.export(_Several(), inputs, dynamic_shapes=(sizes, sizes))
    module = to_edge(program).exported_program().graph_module
    assert isinstance(module, GraphModule)
    return module


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of operators that are run."""
    names: list[str] = []
    own = Interpreter.call_function

    def call_function(self: Interpreter, target: Any, args: Any, kwargs: Any) -> Any:
        if type(self) is Interpreter:
            names.append(str(target))
        return own(self, target, args, kwargs)

    monkeypatch.setattr(Interpreter, "call_function", call_function)
    return names


@pytest.fixture(autouse=True)
def upstreams_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(_ExportPassBase, "_fx", trace)
    yield


def _traced(module: GraphModule, times: int = 1) -> GraphModule:
    for _ in range(times):
        module = ExportPass()(module).graph_module
    return module


def _described(module: GraphModule) -> list[Any]:
    return [(str(node), node.format_node(), sorted(node.meta), _value(node)) for node in module.graph.nodes]


def _value(node: Node) -> Any:
    values = node.meta.get("val")
    return [
        (value.dtype, value.shape, value.stride(), value.device) if isinstance(value, Tensor) else value
        for value in (values if isinstance(values, (list, tuple)) else [values])
    ]


def test_upstream_runs_every_operator_again(ran: list[str]) -> None:
    """Where this fails, the replacement can go."""
    module = _traced(_edge())
    ran.clear()
    _traced(module)
    assert len(ran) == len([node for node in module.graph.nodes if node.op == "call_function"])


def test_an_operator_is_not_run_again(ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ExportPassBase, "_fx", trace_what_changed)
    module = _traced(_edge())
    ran.clear()
    module = _traced(module)
    assert {name for name in ran if "getitem" not in name and "split" not in name} == set()  # of several results
    values = [node.meta["val"] for node in module.graph.nodes if isinstance(node.meta.get("val"), FakeTensor)]
    assert len({id(value) for value in values}) == len(values)


@pytest.mark.parametrize("dynamic", [False, True])
def test_what_a_pass_gives_is_the_same(dynamic: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    module = _edge(dynamic)
    expected = _described(_traced(module, 2))
    monkeypatch.setattr(_ExportPassBase, "_fx", trace_what_changed)
    assert _described(_traced(module, 2)) == expected


def test_a_graph_without_inputs_is_traced_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    class Constant(nn.Module):
        def forward(self) -> Tensor:
            return torch.full((3,), 2.0) * torch.arange(3.0)

    module = to_edge(torch.export.export(Constant(), ())).exported_program().graph_module
    assert isinstance(module, GraphModule)
    expected = _described(_traced(module, 2))
    monkeypatch.setattr(_ExportPassBase, "_fx", trace_what_changed)
    assert _described(_traced(module, 2)) == expected


def _only(module: GraphModule, target: Any) -> Node:
    found: Node = next(node for node in module.graph.nodes if node.target is target)
    return found


def _other_operator(module: GraphModule) -> None:
    node = _only(module, _MUL)
    node.target, node.args = ops.edge.aten.gt.Tensor, (node.args[0], node.args[0])


def _other_dimensions(module: GraphModule) -> None:
    node = _only(module, _SUM)
    node.args = (node.args[0], [1], True)


def _true_for_one(module: GraphModule) -> None:
    node = _only(module, _SUM)
    node.args = (node.args[0], [1, 2], 0)


def _other_type(module: GraphModule) -> None:
    node = _only(module, _SUM)
    node.kwargs = {"dtype": torch.float64}


def _other_input(module: GraphModule) -> None:
    node = next(node for node in module.graph.nodes if node.name == "x")
    node.meta["val"] = node.meta["val"].to(torch.float16)


def _other_strides(module: GraphModule) -> None:
    for node in [node for node in module.graph.nodes if node.name in ("x", "y")]:
        node.meta["val"] = node.meta["val"].permute(0, 2, 1).contiguous().permute(0, 2, 1)


@pytest.mark.parametrize(
    "change", [_other_operator, _other_dimensions, _true_for_one, _other_type, _other_input, _other_strides]
)
def test_what_was_changed_in_place_is_computed_anew(
    change: Callable[[GraphModule], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Passes leave old values on nodes that they change, and trace to have the new ones."""
    described = []
    for how in (trace, trace_what_changed):
        monkeypatch.setattr(_ExportPassBase, "_fx", how)
        module = copy.deepcopy(_traced(_edge()))
        before = _described(module)
        change(module)
        module = _traced(module)
        assert _described(module) != before
        described.append(_described(module))
    assert described[0] == described[1]


@pytest.mark.parametrize("how", [trace, trace_what_changed])
def test_an_operator_that_raises_raises(how: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ExportPassBase, "_fx", how)
    module = _traced(_edge())
    node = _only(module, _SUM)
    node.args = (node.args[0], [7])
    with pytest.raises(IndexError):
        _traced(module)
