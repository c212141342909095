"""What comes of one model on one row of the catalog: figures, or why there are none."""

from __future__ import annotations

import resource
import traceback
import warnings
from typing import Any

from executorch.export import ExportSession

from arm_recipes import ArmRecipeError, ArmRecipeType, LoweringError, export, report, verify
from arm_recipes.recipes import catalog
from arm_recipes.recipes.options import declared

from .parts import Model

CALIBRATED, VERIFIED = 16, 2
_EQUAL = 200.0  # dB: of values that are equal, which have no noise

# How an export may end.
RIGHT, REFUSED, BLAMED, FAILED = "right", "refused", "blamed", "failed"

Figures = dict[str, Any]


def measured(model: Model, row: str) -> Figures:
    """Export, with the check that is in it, report, and verify on samples that were not calibrated on.

    Returns:
        `kind`: "right"; "refused" by an error of ours, whose sentences are `words`; "blamed" by the check; "failed" by
        another error or a gate. What came out right has the figures of `_figures`. What Cortex-M refuses, and portable
        kernels compute, has in `fallback` the same of that.
    """
    recipe = catalog.BY_NAME[row]
    result = _attempt(model, recipe)
    if result["kind"] == REFUSED and "allow_portable_fallback" in declared(recipe):
        result["fallback"] = _attempt(model, recipe, allow_portable_fallback=True)
    return result


def _attempt(model: Model, recipe: catalog.Recipe, **options: Any) -> Figures:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _figures(model, recipe, options)
        except ArmRecipeError as error:
            wrong = isinstance(error, LoweringError) and "does not compute what the model does" in str(error)
            return {"kind": BLAMED if wrong else REFUSED, "words": f"{type(error).__name__}: {error}"}
        except Exception as error:
            trace = "".join(traceback.format_exception(error)[-6:])
            return {"kind": FAILED, "words": f"{type(error).__name__}: {error}"[:1000], "trace": trace[-3000:]}


def _cpu_seconds() -> float:
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in spent)


def _figures(model: Model, recipe: catalog.Recipe, options: dict[str, Any]) -> Figures:
    samples = model.samples(CALIBRATED + VERIFIED)
    if recipe.precision.quantized:
        options["calibration"] = samples[:CALIBRATED]
    if recipe.family.facts.delegates:
        options["allow_no_delegation"] = True
    module = model.module()
    before = _cpu_seconds()
    session: ExportSession = export(module, ArmRecipeType[recipe.name], samples[0], progress=False, **options)
    seconds = _cpu_seconds() - before
    told = report(session, layers=False)
    found = verify(session, samples[CALIBRATED:], simulator="reference", progress=False)
    failed = [gate for gate in found.gates if not gate.passed]
    (method,) = told.methods
    check = method.check
    return {
        "kind": FAILED if failed else RIGHT,
        "words": "; ".join(map(str, failed)) if failed else "",
        "share": told.delegation,
        "subgraphs": len(method.delegates),
        "left": {each.operator: each.count for each in method.not_delegated},
        "kernels": {each.operator: each.count for each in method.kernels},
        "quantized_db": _worst(found, "float", "quantized"),
        "program_db": _worst(found, "float", "simulated"),
        "lowering_db": _worst(found, "quantized", "simulated"),
        "bytes": told.pte_bytes,
        "cycles": sum(each.cycles for each in told.vela_estimates) if told.vela_estimates else None,
        "seconds": round(seconds, 1),
        "unchecked": "" if check is None or check.checked else check.why_not,
        "changes": len(method.changes),
    }


def _worst(found: Any, reference: str, candidate: str) -> float | None:
    """The SQNR in dB of the worst output, at most 200; None where there is no such comparison."""
    pairs = [each for each in found.comparisons if (each.reference, each.candidate) == (reference, candidate)]
    return min((min(_EQUAL, round(each.metrics["sqnr_db"], 2)) for each in pairs), default=None)
