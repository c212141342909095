"""What torch does about operators that decompose, before and after each of some ten steps of a lowering."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from executorch.exir.graph_module import contains_any_call_fn_target_op
from torch.export import ExportedProgram, exported_program

_Kernels = dict[Any, Callable[..., Any]]

# Upstream: _collect_all_valid_cia_ops of torch._export.utils, by the two that call it. Holds for torch 2.13;
# tests/upstream/test_savings.py::test_upstream_looks_for_operators_each_time fails when it can go.
collect: Callable[[], set[Any]] = vars(exported_program)["_collect_all_valid_cia_ops"]
_collected: tuple[object, set[Any]] = (None, set())

# Upstream: the context in which operators that decompose have other kernels, and what it registers for fake tensors.
# Holds for torch 2.13; tests/upstream/test_savings.py::test_upstream_makes_the_same_kernels_each_time fails when it can
# go.
override: Callable[[Mapping[Any, Any]], AbstractContextManager[None]] = vars(exported_program)[
    "_override_composite_implicit_decomp"
]
_has_fake_rule: Callable[[Any], bool] = vars(exported_program)["_is_op_registered_to_fake_rule"]
_forget_fake_rule: Callable[[Any], None] = vars(exported_program)["_deregister_op_impl"]
_register_fake_rule: Callable[[Any], Callable[[Any], Any]] = vars(exported_program)["register_op_impl"]
_fake_rules: Mapping[Any, Any] = torch._subclasses.fake_impls.op_implementations_dict


def collect_once() -> set[Any]:
    """Operators that decompose, which callers do not change."""
    global _collected
    registered = torch._C._dispatch_get_registrations_for_dispatch_key("CompositeImplicitAutograd")
    key = (registered, list(torch.ops._dir))
    if _collected[0] != key:
        _collected = (key, collect())
    return _collected[1]


@dataclass(frozen=True)
class _Made:
    """What upstream made of an operator: its kernels `before` and `after`, and its rule for fake tensors."""

    decomposition: object
    before: _Kernels
    after: _Kernels
    rule: Any


_WAYS = 4
# By operator, the last of them: steps differ in which they let decompose.
_made: dict[Any, list[_Made]] = {}


@contextmanager
def override_as_before(decompositions: Mapping[Any, Any]) -> Iterator[None]:
    """Upstream's context, with the very kernels that it made for an operator when it made them last."""
    kernels: dict[Any, _Kernels] = {operator: operator.py_kernels for operator in decompositions}
    known = {}
    for operator, decomposition in decompositions.items():
        for made in _made.get(operator, ()):
            ruled = (made.rule is None) == _has_fake_rule(operator)
            if ruled and _same(made.decomposition, decomposition) and made.before == kernels[operator]:
                known[operator] = made
    try:
        for operator, made in known.items():
            _set(operator, made.after)
            if made.rule is not None:
                _register_fake_rule(operator)(made.rule)
        others = {operator: each for operator, each in decompositions.items() if operator not in known}
        before = {operator: (dict(kernels[operator]), _has_fake_rule(operator)) for operator in others}
        with override(others):
            for operator, (had, ruled) in before.items():
                rule = None if ruled else _fake_rules[operator]
                made = _Made(others[operator], had, dict(kernels[operator]), rule)
                _made[operator] = [made, *_made.get(operator, [])][:_WAYS]
            yield
    finally:
        for operator, made in known.items():
            _set(operator, made.before)
            _forget_fake_rule(operator)


# Upstream: run_decompositions traces the program anew, also where it has nothing to decompose, which executorch asks of
# it three times for a delegate's sake. Holds for torch 2.13;
# tests/upstream/test_savings.py::test_upstream_traces_what_has_nothing_to_decompose fails when it can go.
decompose: Callable[..., ExportedProgram] = ExportedProgram.run_decompositions
# What upstream made: functional, and with no operator of its table left.
_traced: weakref.WeakSet[ExportedProgram] = weakref.WeakSet()


def decompose_what_is_there(
    program: ExportedProgram, decomp_table: Mapping[Any, Any] | None = None, **given: Any
) -> ExportedProgram:
    """Upstream's method, which here gives back what it made before if nothing of the table is in it."""
    if decomp_table and program in _traced and not contains_any_call_fn_target_op(program.graph_module, decomp_table):
        return program
    made = decompose(program, decomp_table, **given)
    _traced.add(made)
    return made


def _same(one: Any, other: Any) -> bool:
    """Whether these do the same: upstream makes its own function of an operator anew each time."""
    if one is other or not (isinstance(one, functools.partial) and isinstance(other, functools.partial)):
        return one is other
    code = getattr(one.func, "__code__", None)
    closed = getattr(one.func, "__closure__", None) or getattr(other.func, "__closure__", None)
    alike = code is not None and not closed and code is getattr(other.func, "__code__", None)
    return alike and (one.args, one.keywords) == (other.args, other.keywords)


def _set(operator: Any, kernels: _Kernels) -> None:
    operator.py_kernels.clear()
    operator.py_kernels.update(kernels)
    operator._dispatch_cache.clear()
