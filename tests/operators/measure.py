"""What becomes of an operator on a row of the catalog, by `export`, `report` and `verify`."""

from __future__ import annotations

import math
import re
import traceback
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from executorch.export import ExportSession
from torch import Tensor

from arm_recipes import ArmRecipeError, ArmRecipeType, ExportReport, export, report, verify
from arm_recipes.recipes import catalog

from .table import Form, sums

TAKEN, PART, LEFT, GONE, REFUSED, FAILED = "taken", "part", "left", "gone", "refused", "failed"

# Verified on some of what they were calibrated on: what is clipped beyond that says nothing of an operator.
_CALIBRATED, _VERIFIED = 4, 2
_SUM = ("aten.add.Tensor", "cortex_m::quantized_add.out", "aten::add.out")
# Kernels that move or convert values at the program's ends, or give memory another shape.
_BORDER = re.compile(r"quantize_per_|_clone_dim_order|_to_dim_order_copy")


@dataclass(frozen=True)
class Measured:
    """Of one form on one row.

    Attributes:
        verdict: ``taken``: all that the operator became is on the accelerator, or a kernel of CMSIS-NN; ``part``: some
            of it; ``left``: it stays on the CPU; ``gone``: nothing is left of it; ``refused``: by an error of ours;
            ``failed``: by another.
        quantized_db: SQNR of the quantized module against the float one; None where there is none, infinite for equal.
        program_db: SQNR of the program against the quantized module, or against the float one for a float recipe.
        taken: operators, or kernels, that the target computes.
        left: those that it doesn't, each with the reason.
        words: the error's first sentence.
        trace: of an error that is not ours.
    """

    verdict: str
    quantized_db: float | None = None
    program_db: float | None = None
    taken: tuple[str, ...] = ()
    left: tuple[tuple[str, str], ...] = ()
    words: str = ""
    trace: str = ""


def measured(form: Form, row: str, **options: Any) -> Measured:
    """Export a network of `form` for a row of the catalog, report on it and verify it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _measured(form, catalog.BY_NAME[row], options)
        except ArmRecipeError as error:
            return Measured(REFUSED, words=f"{type(error).__name__}: {_first_sentence(str(error))}")
        except Exception as error:
            trace = "".join(traceback.format_exception(error)[-6:])
            return Measured(FAILED, words=f"{type(error).__name__}: {str(error)[:300]}", trace=trace[-3000:])


def _measured(form: Form, recipe: catalog.Recipe, options: Mapping[str, Any]) -> Measured:
    network, samples = form.network(), form.samples(_CALIBRATED)
    session = exported(network.module(), samples, recipe, **options)
    told = report(session, layers=False)
    taken, left = _of_delegates(told) if recipe.family.facts.delegates else _of_kernels(told)
    _take_away(taken, left, sums(network))
    quantized_db, program_db = _decibels(session, samples[:_VERIFIED], recipe)
    if not form.gives_floats:
        quantized_db = program_db = None  # of truths and indices no ratio of noise means anything
    return Measured(
        (PART if left else TAKEN) if taken else (LEFT if left else GONE),
        quantized_db,
        program_db,
        tuple(sorted(taken)),
        tuple(sorted(left)),
    )


def exported(
    module: torch.nn.Module, samples: Sequence[tuple[Tensor, ...]], recipe: catalog.Recipe, **options: Any
) -> ExportSession:
    """With nothing refused for what stays on the CPU."""
    if recipe.precision.quantized:
        options["calibration"] = samples
    options["allow_no_delegation" if recipe.family.facts.delegates else "allow_portable_fallback"] = True
    return export(module, ArmRecipeType[recipe.name], samples[0], progress=False, **options)


_Left = Counter[tuple[str, str]]


def _of_delegates(told: ExportReport) -> tuple[Counter[str], _Left]:
    taken: Counter[str] = Counter()
    left: _Left = Counter()
    for method in told.methods:
        taken.update({each.operator: each.count for each in method.delegated if not _BORDER.search(each.operator)})
        for each in method.not_delegated:
            if "quantize_per_" not in each.operator:
                left[each.operator, each.reason or ""] += each.count
    return taken, left


def _of_kernels(told: ExportReport) -> tuple[Counter[str], _Left]:
    taken: Counter[str] = Counter()
    left: _Left = Counter()
    for method in told.methods:
        for each in method.kernels:
            if each.operator.startswith("cortex_m::"):
                if not _BORDER.search(each.operator):
                    taken[each.operator] += each.count
            elif not _BORDER.search(each.operator):
                left[each.operator, ""] += each.count
    return taken, left


def _take_away(taken: Counter[str], left: _Left, count: int) -> None:
    """The sums around the operator, of those that are taken first."""
    for name in _SUM:
        found = min(count, taken[name])
        taken[name] -= found
        count -= found
    for name, reason in list(left):
        if name in _SUM:
            found = min(count, left[name, reason])
            left[name, reason] -= found
            count -= found
    for counter in (taken, left):
        for key in [key for key, number in counter.items() if not number]:
            del counter[key]


def _decibels(
    session: ExportSession, samples: Sequence[tuple[Tensor, ...]], recipe: catalog.Recipe
) -> tuple[float | None, float | None]:
    found = verify(session, samples, progress=False)
    failed = [gate for gate in found.gates if not gate.passed]
    if failed:
        raise AssertionError(f"verify: {failed[0]}")
    by_stages = {(each.reference, each.candidate): each.metrics.get("sqnr_db") for each in found.comparisons}
    before = "quantized" if recipe.precision.quantized else "float"
    return _rounded(by_stages.get(("float", "quantized"))), _rounded(by_stages.get((before, "simulated")))


def _rounded(figure: float | None) -> float | None:
    return None if figure is None or math.isnan(figure) else round(figure, 1)


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.)])\s+(?=[A-Z])", text.replace("\n", " "))[0][:300]
