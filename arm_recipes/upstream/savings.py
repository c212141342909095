"""What torch and torchao do again and again while a model is lowered, done once.

- Every pass notes for each node which one it was made from, with a deep copy of all that this one came from. Nothing
  changes such a note once it is made, so one is enough: a sixth of an export's time.
- Each of some ten steps looks through all of torch's operators for those that decompose, once for each namespace.
  What it comes to changes only when an operator is registered: 0.1 s each time.
- Every change of a graph has its Python code written and compiled, which hardly ever runs (`lazy_code`).
- torchao's observers look for the best range step by step (`histogram_search`): 30 to 300 ms each.

docs/benchmarks/savings.py prints what each is worth.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.export import decomp_utils, exported_program
from torch.fx.graph_module import GraphModule
from torch.fx.traceback import NodeSource
from torchao.quantization.pt2e.observer import HistogramObserver

from .histogram_search import search
from .lazy_code import recompile_now, recompile_when_asked

_lock = threading.Lock()
_within = 0


@contextmanager
def once() -> Iterator[None]:
    """Within the context torch does these things once. May be entered in several threads, and within itself."""
    global _within
    with _lock:
        _within += 1
        for replacement in REPLACEMENTS if _within == 1 else ():
            replacement.put()
    try:
        yield
    finally:
        with _lock:
            _within -= 1
            for replacement in REPLACEMENTS if not _within else ():
                replacement.take_away()


class _Replacement:
    """A function in the place of an attribute, or of none, of upstream's; only where that is what is known here."""

    def __init__(self, owners: list[Any], name: str, known: object, own: Callable[..., Any]) -> None:
        self._owners = owners
        self._name = name
        self._known = known
        self._own = own

    def put(self) -> None:
        if all(vars(owner).get(self._name) is self._known for owner in self._owners):
            for owner in self._owners:
                setattr(owner, self._name, self._own)

    def take_away(self) -> None:
        for owner in self._owners:
            if vars(owner).get(self._name) is self._own:
                if self._known is None:
                    delattr(owner, self._name)
                else:
                    setattr(owner, self._name, self._known)


def _itself(source: Any, _memo: Any) -> Any:
    return source


# Upstream: _collect_all_valid_cia_ops of torch._export.utils, by the two that call it. Holds for torch 2.13;
# tests/upstream/test_savings.py::test_upstream_looks_for_operators_each_time fails when it can go.
_collect: Callable[[], set[Any]] = vars(exported_program)["_collect_all_valid_cia_ops"]
_collected: tuple[object, set[Any]] = (None, set())


def _collect_once() -> set[Any]:
    """Operators that decompose, which callers do not change."""
    global _collected
    registered = torch._C._dispatch_get_registrations_for_dispatch_key("CompositeImplicitAutograd")
    key = (registered, list(torch.ops._dir))
    if _collected[0] != key:
        _collected = (key, _collect())
    return _collected[1]


# Upstream: HistogramObserver._non_linear_param_search. Holds for torchao 0.18;
# tests/upstream/test_histogram_search.py::test_upstream_goes_step_by_step fails when it can go.
stepwise_search: Callable[[Any], tuple[torch.Tensor, torch.Tensor]] = HistogramObserver._non_linear_param_search

REPLACEMENTS: tuple[_Replacement, ...] = (
    # Upstream: NodeSource has no __deepcopy__. Holds for torch 2.13;
    # tests/upstream/test_savings.py::test_upstream_copies_provenance fails when it can go.
    _Replacement([NodeSource], "__deepcopy__", None, _itself),
    _Replacement([exported_program, decomp_utils], "_collect_all_valid_cia_ops", _collect, _collect_once),
    _Replacement([GraphModule], "recompile", recompile_now, recompile_when_asked),
    _Replacement([HistogramObserver], "_non_linear_param_search", stepwise_search, search),
)
