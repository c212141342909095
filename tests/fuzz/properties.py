"""What is held of a network and a row of the catalog: right, refused for a reason, or a failure."""

from __future__ import annotations

import traceback
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from executorch.export import ExportSession
from torch import Tensor, nn

from arm_recipes import ArmRecipeError, ArmRecipeType, export, report, retarget, simulate, verify
from arm_recipes.checking.bounds import sqnr_db
from arm_recipes.recipes import catalog

from .network import Network
from .relations import swapped, with_identity

RIGHT, REFUSED, BLAMED, FAILED = "right", "refused", "blamed", "failed"

_CALIBRATED, _VERIFIED = 3, 2


@dataclass(frozen=True)
class Outcome:
    """Of one network on one row.

    Attributes:
        kind: "right"; "refused" by an error of ours; "blamed" by the check, which is a wrong program or a wrong check;
            "failed": something else was raised, a gate of `verify` failed, or the caller's objects were changed.
        words: the error's first line, or what failed.
        trace: the end of the traceback.
    """

    kind: str
    words: str = ""
    trace: str = ""


def held(network: Network, row: str, *, thorough: bool = False) -> Outcome:
    """Export, verify on other samples, and look at what the caller has afterwards.

    Args:
        network: to export.
        row: of the catalog.
        thorough: export it twice, and retarget it where that means something.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _held(network, catalog.BY_NAME[row], thorough)
        except ArmRecipeError as error:
            words = str(error).partition("\n")[0]
            return Outcome(
                BLAMED if "does not compute what the model does" in words else REFUSED,
                f"{type(error).__name__}: {words}",
            )
        except Exception as error:
            trace = "".join(traceback.format_exception(error)[-6:])
            return Outcome(FAILED, f"{type(error).__name__}: {str(error).partition(chr(10))[0][:300]}", trace[-3000:])


def _held(network: Network, recipe: catalog.Recipe, thorough: bool) -> Outcome:
    module, samples = network.module(), network.samples(_CALIBRATED + _VERIFIED)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    given = [tuple(value.clone() for value in sample) for sample in samples]
    session = _exported(module, samples, recipe)
    told = report(session, layers=False)
    assert told.text() and told.pte_bytes == len(session.get_pte_buffer())
    found = verify(session, samples[_CALIBRATED:], progress=False)
    failed = [gate for gate in found.gates if not gate.passed]
    if failed:
        return Outcome(FAILED, f"verify: {failed[0]}"[:400])
    if not _same(module.state_dict(), before) or not all(map(_equal, samples, given)):
        return Outcome(FAILED, "the caller's module or samples were changed")
    differs = _differs(network, module, session, recipe) if thorough else ""
    if differs:
        return Outcome(FAILED, differs)
    checked = [method.check for method in told.methods]
    unchecked = [each.why_not for each in checked if each is not None and not each.checked]
    return Outcome(RIGHT, f"unchecked: {unchecked[0]}" if unchecked else "")


def _exported(
    module: nn.Module, samples: list[tuple[Tensor, ...]], recipe: catalog.Recipe, **options: Any
) -> ExportSession:
    if recipe.precision.quantized:
        options["calibration"] = samples[:_CALIBRATED]
    if recipe.family.facts.delegates:
        options["allow_no_delegation"] = True
    return export(module, ArmRecipeType[recipe.name], samples[0], progress=False, **options)


def _differs(network: Network, module: nn.Module, session: ExportSession, recipe: catalog.Recipe) -> str:
    """What differs in another export of the same, or of what computes the same; empty for nothing."""
    samples = network.samples(_CALIBRATED + _VERIFIED)
    if _exported(module, samples, recipe).get_pte_buffer() != session.get_pte_buffer():
        return "a second export gives other bytes"
    if recipe.name == "ETHOSU_U55_INT8":
        fresh = _exported(module, samples, recipe, macs=256)
        if retarget(session, macs=256).get_pte_buffer() != fresh.get_pte_buffer():
            return "retarget differs from a fresh export"
    with torch.no_grad():
        exact = _tuple(module(*samples[-1]))
    outputs = _tuple(simulate(session)(*samples[-1]))
    for relation in (swapped, with_identity):
        related = relation(network)
        others = _tuple(simulate(_exported(related.module(), samples, recipe))(*samples[-1]))
        others = others[::-1] if related.outputs == network.outputs[::-1] else others
        for output, other, real in zip(outputs, others, exact, strict=True):
            # As far from each other as from the float module at most; 20 dB where both are near it.
            needed = min(20.0, sqnr_db(real, output) - 6)
            if sqnr_db(output, other) < needed:
                return f"{relation.__name__}: {sqnr_db(output, other):.1f} dB from each other, {needed:.1f} needed"
    return ""


def _tuple(outputs: Any) -> tuple[Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _same(state: dict[str, Tensor], before: dict[str, Tensor]) -> bool:
    return state.keys() == before.keys() and all(torch.equal(state[name], before[name]) for name in before)


def _equal(sample: tuple[Tensor, ...], before: tuple[Tensor, ...]) -> bool:
    return all(map(torch.equal, sample, before))
