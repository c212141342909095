"""What is done once and not again and again says the same, and the programs are the same."""

from __future__ import annotations

import contextlib
import copy
import inspect
import operator
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from executorch.export import ExportRecipe
from executorch.export import export as upstream_export
from torch import nn
from torch.export import decomp_utils, exported_program
from torch.fx.traceback import NodeSource

from arm_recipes import ArmRecipeType, report
from arm_recipes.upstream import savings
from tests.models import two_inputs


@pytest.fixture(autouse=True)
def nothing_is_saved() -> Iterator[None]:
    """But in the tests themselves: the run of all tests is within the context."""
    outer, savings._within = savings._within, 0
    for replacement in savings.REPLACEMENTS:
        replacement.take_away()
    yield
    savings._within = outer
    for replacement in savings.REPLACEMENTS if outer else ():
        replacement.put()


def _collects(module: object) -> Any:
    return vars(module)["_collect_all_valid_cia_ops"]


def _source() -> NodeSource:
    graph = torch.fx.symbolic_trace(nn.Linear(2, 2)).graph
    return NodeSource(next(iter(graph.nodes)), "a pass")


def test_upstream_copies_provenance() -> None:
    """Where this fails, the replacement can go."""
    source = _source()
    assert copy.deepcopy(source) is not source


def test_upstream_looks_for_operators_each_time() -> None:
    """The same."""
    assert _collects(exported_program)() is not _collects(exported_program)()


def _doubled() -> torch.fx.GraphModule:
    class Doubled(nn.Module):
        def forward(self, x: torch.Tensor, times: int = 2) -> torch.Tensor:
            return x * times

    Doubled.forward.__annotations__ = {}  # as text they can't be pickled
    return torch.fx.symbolic_trace(Doubled())


def test_upstream_writes_code_at_once() -> None:
    """The same."""
    assert "_code" in vars(_doubled())
    with savings.once():
        assert "_code" not in vars(_doubled())


_USES: dict[str, Callable[[torch.fx.GraphModule], object]] = {
    "called": lambda module: module(torch.ones(2), times=3).tolist(),
    "its forward called": lambda module: module.forward(torch.ones(2)).tolist(),
    "its signature": lambda module: str(inspect.signature(module.forward)),
    "its class's forward": lambda module: inspect.signature(type(module).forward).parameters.keys(),
    "its code": lambda module: module.code,
    "printed": str,
    "what recompile returns": lambda module: (module.recompile().src, sorted(module.recompile().globals)),
    "copied": lambda module: copy.deepcopy(module)(torch.ones(2)).tolist(),
    "pickled": lambda module: pickle.loads(pickle.dumps(module))(torch.ones(2)).tolist(),
    "exported": lambda module: torch.export.export(module, (torch.ones(2),)).graph_module.code,
    "traced": lambda module: torch.fx.symbolic_trace(module).code,
}


@pytest.mark.parametrize("use", _USES.values(), ids=_USES)
@pytest.mark.parametrize("changed", [False, True], ids=["new", "changed"])
def test_code_that_is_written_late_is_the_same(use: Callable[[torch.fx.GraphModule], object], changed: bool) -> None:
    """Asked for within the context, after it, and again after the graph was changed."""

    def made() -> torch.fx.GraphModule:
        module = _doubled()
        if changed:
            module(torch.ones(2))
            next(node for node in module.graph.nodes if node.op == "call_function").target = operator.add
            module.recompile()
        return module

    expected = use(made())
    with savings.once():
        assert use(made()) == expected
        late = made()
    assert "_code" not in vars(late)
    assert use(late) == expected


def test_within_the_context_alone() -> None:
    source = _source()
    with savings.once():
        with pytest.raises(KeyError), savings.once():
            raise KeyError
        assert copy.deepcopy([source])[0] is source
        assert _collects(decomp_utils)() is _collects(exported_program)()
    assert copy.deepcopy(source) is not source
    assert _collects(exported_program) is savings._collect
    assert _collects(decomp_utils) is savings._collect


def test_an_operator_that_is_registered_is_seen() -> None:
    with savings.once(), torch.library._scoped_library("arm_recipes_test", "DEF") as library:
        before = set(_collects(exported_program)())
        library.define("own(Tensor x) -> Tensor")
        library.impl("own", lambda x: x + 1, "CompositeImplicitAutograd")
        found = _collects(exported_program)()
        assert {str(operator) for operator in found - before} == {"arm_recipes_test.own.default"}
        assert found == savings._collect()


def test_what_is_not_known_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def other() -> set[object]:
        return set()

    monkeypatch.setattr(decomp_utils, "_collect_all_valid_cia_ops", other)
    with savings.once():
        assert _collects(exported_program) is savings._collect
    assert _collects(decomp_utils) is other


@pytest.mark.no_cover
@pytest.mark.usefixtures("one_sample_is_enough")
def test_the_program_and_its_report_are_the_same() -> None:
    results = []
    for context in (savings.once(), contextlib.nullcontext()):
        model, inputs = two_inputs()
        with context:
            session = upstream_export(model, [inputs], ExportRecipe.get_recipe(ArmRecipeType.ETHOSU_U55_INT8))
        results.append((bytes(session.get_pte_buffer()), report(session).to_json()))
    assert results[0] == results[1]
