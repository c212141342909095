"""What torch and torchao do again and again while a model is lowered, done once.

- Every pass notes for each node which one it was made from, with a deep copy of all that this one came from. Nothing
  changes such a note once it is made, so one is enough: a sixth of an export's time.
- Each of some ten steps looks through all of torch's operators for those that decompose, once for each namespace.
  What it comes to changes only when an operator is registered: 0.1 s each time.
- Before each of them these operators get a few dozen kernels each, which are made anew: an eighth of an export's time.
- A program is traced anew to have its operators decomposed, three times on its way to a delegate, also where it has
  none that decompose: a tenth of an export's time.
- torch.export proves by guards, Python code of its own, that sizes are what they are (`guards`): a sixteenth.
- The quantized module, a graph that Dynamo captured, is captured by Dynamo once more (`recapture`): a seventh.
- Every pass runs each operator of its graph on fake tensors, for the shape that it gives (`retrace`): half of the
  export of a transformer or a recurrent network.
- Every change of a graph has its Python code written and compiled, which hardly ever runs (`lazy_code`).
- torchao's observers look for the best range step by step (`histogram_search`): 30 to 300 ms each.
- The collector of garbage goes through all that torch has imported: a fifth of a small export's time.

docs/benchmarks/savings.py prints what each is worth.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from executorch.exir.pass_base import _ExportPassBase
from executorch.export.stages import TorchExportStage
from torch._dynamo import functional_export
from torch.export import ExportedProgram, decomp_utils, exported_program
from torch.fx.graph_module import GraphModule
from torch.fx.traceback import NodeSource
from torchao.quantization.pt2e.observer import HistogramObserver

from .decompositions import collect, collect_once, decompose, decompose_what_is_there, override, override_as_before
from .guards import prove, prove_what_varies
from .histogram_search import search
from .lazy_code import recompile_now, recompile_when_asked
from .recapture import run, run_without_dynamo
from .retrace import trace, trace_what_changed

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


class _Collector:
    """Looks for garbage less often, and only in what comes after."""

    _THRESHOLD = 50_000

    def __init__(self) -> None:
        self._threshold: tuple[int, int, int] | None = None
        self._froze = False

    def put(self) -> None:
        if gc.isenabled() and 0 < gc.get_threshold()[0] < self._THRESHOLD:
            self._threshold = gc.get_threshold()
            gc.set_threshold(self._THRESHOLD, *self._threshold[1:])
            if not gc.get_freeze_count():
                gc.freeze()
                self._froze = True

    def take_away(self) -> None:
        if self._threshold is not None:
            gc.set_threshold(*self._threshold)
        if self._froze:
            gc.unfreeze()
        self._threshold, self._froze = None, False


def _itself(source: Any, _memo: Any) -> Any:
    return source


# Upstream: HistogramObserver._non_linear_param_search. Holds for torchao 0.18;
# tests/upstream/test_histogram_search.py::test_upstream_goes_step_by_step fails when it can go.
stepwise_search: Callable[[Any], tuple[torch.Tensor, torch.Tensor]] = HistogramObserver._non_linear_param_search

REPLACEMENTS: tuple[_Replacement | _Collector, ...] = (
    # Upstream: NodeSource has no __deepcopy__. Holds for torch 2.13;
    # tests/upstream/test_savings.py::test_upstream_copies_provenance fails when it can go.
    _Replacement([NodeSource], "__deepcopy__", None, _itself),
    _Replacement([exported_program, decomp_utils], "_collect_all_valid_cia_ops", collect, collect_once),
    _Replacement([exported_program], "_override_composite_implicit_decomp", override, override_as_before),
    _Replacement([ExportedProgram], "run_decompositions", decompose, decompose_what_is_there),
    _Replacement([functional_export], "_suggest_or_raise_constraint_violation", prove, prove_what_varies),
    _Replacement([TorchExportStage], "run", run, run_without_dynamo),
    _Replacement([_ExportPassBase], "_fx", trace, trace_what_changed),
    _Replacement([GraphModule], "recompile", recompile_now, recompile_when_asked),
    _Replacement([HistogramObserver], "_non_linear_param_search", stepwise_search, search),
    _Collector(),
)
