"""What is done once and not again and again says the same, and the programs are the same."""

from __future__ import annotations

import contextlib
import copy
import functools
import gc
import inspect
import operator
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from executorch.export import ExportRecipe
from executorch.export import export as upstream_export
from executorch.export.stages import TorchExportStage
from torch import nn
from torch._dynamo import convert_frame
from torch.export import decomp_utils, exported_program
from torch.fx.traceback import NodeSource

from arm_recipes import ArmRecipeType, export, report
from arm_recipes.upstream import decompositions, savings
from arm_recipes.upstream.recapture import run_without_dynamo
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


_LINEAR = torch.ops.aten.linear.default


def _overridden(decomposition: object) -> tuple[dict[Any, Any], Any]:
    """linear's kernels, and its rule for fake tensors, where it is decomposed so."""
    with vars(exported_program)["_override_composite_implicit_decomp"]({_LINEAR: decomposition}):
        return dict(_LINEAR.py_kernels), decompositions._fake_rules[_LINEAR]


def test_upstream_makes_the_same_kernels_each_time() -> None:
    """The same."""
    kernels, rule = _overridden(print)
    again, rule_again = _overridden(print)
    assert kernels.keys() == again.keys() and rule is not rule_again
    assert {key: one.__code__ for key, one in kernels.items() if hasattr(one, "__code__")} == {
        key: one.__code__ for key, one in again.items() if hasattr(one, "__code__")
    }


def test_kernels_are_made_once_for_what_is_the_same() -> None:
    def decomposed() -> Any:
        def call(*arguments: Any, kernel: Any) -> Any:
            return kernel(*arguments)

        return functools.partial(call, kernel=_LINEAR)

    before, expected = dict(_LINEAR.py_kernels), _overridden(print)
    with savings.once():
        kernels, rule = _overridden(print)
        assert kernels.keys() == expected[0].keys()
        ours = _overridden(decomposed())
        assert ours[0] != kernels and set(ours[0].values()) - set(kernels.values())
        assert (kernels, rule) == _overridden(print)
        assert ours == _overridden(decomposed())
        with pytest.raises(KeyError), vars(exported_program)["_override_composite_implicit_decomp"]({_LINEAR: print}):
            raise KeyError
        assert _LINEAR.py_kernels == before and _LINEAR not in decompositions._fake_rules
        _LINEAR.py_impl(torch._C.DispatchKey.XPU)(len)
        try:
            assert _overridden(print)[0][torch._C.DispatchKey.XPU] is len
        finally:
            del _LINEAR.py_kernels[torch._C.DispatchKey.XPU]
            _LINEAR._dispatch_cache.clear()
        assert (kernels, rule) == _overridden(print)
    assert _LINEAR.py_kernels == before


class _Doubles(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(nn.functional.silu(x)) * 2


_SILU = torch.ops.aten.silu.default
_TABLE = torch.export.default_decompositions()


class _Branches(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        taken: torch.Tensor = torch.cond(x.sum() > 0, nn.functional.silu, torch.relu, (x,))
        return taken


def _exported(module: nn.Module | None = None) -> torch.export.ExportedProgram:
    return torch.export.export(module or _Doubles(), (torch.ones(2),), strict=True)


def _code(program: torch.export.ExportedProgram) -> list[str]:
    return [module.code for module in program.graph_module.modules() if isinstance(module, torch.fx.GraphModule)]


def test_upstream_traces_what_has_nothing_to_decompose() -> None:
    """The same."""
    program = _exported().run_decompositions({})
    assert program.run_decompositions({_LINEAR: _TABLE[_LINEAR]}) is not program
    with savings.once():
        program = _exported().run_decompositions({})
        assert program.run_decompositions({_LINEAR: _TABLE[_LINEAR]}) is program


@pytest.mark.parametrize("module", [_Doubles(), _Branches()], ids=["flat", "in a branch"])
def test_what_decomposes_is_decomposed(module: nn.Module) -> None:
    tables: tuple[Any, ...] = ({}, {_LINEAR: _TABLE[_LINEAR]}, {_SILU: _TABLE[_SILU]}, None)
    expected = [_code(_exported(module).run_decompositions(table)) for table in tables]
    assert expected[0] == expected[1] != expected[2]
    with savings.once():
        program = _exported(module)  # torch.export may leave a graph that is not functional
        assert program.run_decompositions({_LINEAR: _TABLE[_LINEAR]}) is not program
        for table, code in zip(tables, expected, strict=True):
            assert _code(_exported(module).run_decompositions({}).run_decompositions(table)) == code


def test_upstream_makes_guards_of_constant_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same."""
    made = []
    build = convert_frame.GraphCaptureOutput.build_guards

    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        made.append(self)
        return build(self, *args, **kwargs)

    monkeypatch.setattr(convert_frame.GraphCaptureOutput, "build_guards", watched)
    _exported()
    assert len(made) == 1
    with savings.once():
        _exported()
        assert len(made) == 1
        torch.export.export(_Doubles(), (torch.ones(3),), dynamic_shapes=({0: torch.export.Dim("n")},), strict=True)
        assert len(made) == 2


def test_upstream_captures_by_dynamo_what_dynamo_captured() -> None:
    assert TorchExportStage().strict
    assert "strict=self.strict" in inspect.getsource(TorchExportStage.run)


class _Nested(nn.Module):
    """Weights in modules within modules, one of them of two layers; and inputs in a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.shared = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, more: dict[str, torch.Tensor]) -> torch.Tensor:
        y = self.body(x + more["bias"]).mean((2, 3))
        return torch.add(self.shared(self.shared(y)), y)


def _nested() -> tuple[nn.Module, tuple[Any, ...]]:
    torch.manual_seed(0)
    return (_Nested().eval(), (torch.randn(1, 3, 8, 8), {"bias": torch.randn(1, 3, 1, 1)}))


@pytest.mark.usefixtures("one_sample_is_enough")
@pytest.mark.parametrize("row", ["TOSA_INT8", "CORTEX_M55_INT8"])
@pytest.mark.parametrize("example", [two_inputs, _nested])
def test_a_quantized_graph_is_captured_without_dynamo(
    example: Callable[[], tuple[nn.Module, tuple[Any, ...]]], row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict: list[bool] = []
    capture = torch.export.export

    def counted(*arguments: Any, **by_name: Any) -> Any:
        strict.append(by_name["strict"])
        return capture(*arguments, **by_name)

    monkeypatch.setattr(torch.export, "export", counted)
    programs = []
    others = [each for each in savings.REPLACEMENTS if getattr(each, "_own", None) is not run_without_dynamo]
    for replacements in (savings.REPLACEMENTS, tuple(others)):
        monkeypatch.setattr(savings, "REPLACEMENTS", replacements)
        model, inputs = example()
        session = export(model, ArmRecipeType[row], inputs, progress=False)
        programs.append((bytes(session.get_pte_buffer()), report(session).to_json()))
    assert programs[0] == programs[1]
    assert strict == [True, False, True, True]


def test_sizes_that_may_not_vary_are_refused() -> None:
    class Fixed(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.ones(3)

    with savings.once(), pytest.raises(Exception, match="Constraints violated"):
        torch.export.export(Fixed(), (torch.ones(3),), dynamic_shapes=({0: torch.export.Dim("n")},), strict=True)


def test_the_collector_is_as_before() -> None:
    frozen, threshold = gc.get_freeze_count(), gc.get_threshold()
    try:
        gc.unfreeze()
        gc.set_threshold(700, 11, 12)
        with savings.once():
            assert gc.get_threshold() == (50_000, 11, 12) and gc.get_freeze_count() and gc.isenabled()
        assert gc.get_threshold() == (700, 11, 12) and not gc.get_freeze_count()
        gc.freeze()
        with savings.once():
            assert gc.get_threshold()[0] == 50_000
        assert gc.get_freeze_count()
        gc.disable()
        with savings.once():
            assert gc.get_threshold()[0] == 700 and not gc.isenabled()
    finally:
        gc.enable()
        gc.set_threshold(*threshold)
        if not frozen:
            gc.unfreeze()


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
    assert _collects(exported_program) is decompositions.collect
    assert _collects(decomp_utils) is decompositions.collect


def test_an_operator_that_is_registered_is_seen() -> None:
    with savings.once(), torch.library._scoped_library("arm_recipes_test", "DEF") as library:
        before = set(_collects(exported_program)())
        library.define("own(Tensor x) -> Tensor")
        library.impl("own", lambda x: x + 1, "CompositeImplicitAutograd")
        found = _collects(exported_program)()
        assert {str(operator) for operator in found - before} == {"arm_recipes_test.own.default"}
        assert found == decompositions.collect()


def test_what_is_not_known_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def other() -> set[object]:
        return set()

    monkeypatch.setattr(decomp_utils, "_collect_all_valid_cia_ops", other)
    with savings.once():
        assert _collects(exported_program) is decompositions.collect
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
