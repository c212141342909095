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
from .relations import RELATIONS

RIGHT, REFUSED, BLAMED, FAILED = "right", "refused", "blamed", "failed"

_CALIBRATED, _VERIFIED = 3, 2
_INTEGERS = {catalog.Precision.INT8: "int8", catalog.Precision.A16W8: "int16"}

Tensors = tuple[Tensor, ...]


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
    session = _exported(network, module, samples, recipe)
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
    network: Network, module: nn.Module, samples: list[Tensors], recipe: catalog.Recipe, **options: Any
) -> ExportSession:
    if recipe.precision.quantized:
        options["calibration"] = samples[:_CALIBRATED]
        options["io_dtype"] = _INTEGERS[recipe.precision] if network.integers else "float32"
    if recipe.family.facts.delegates:
        options["allow_no_delegation"] = True
    if network.channels_last:
        options["io_layout"] = "channels_last"
    return export(module, ArmRecipeType[recipe.name], samples[0], progress=False, **options)


def _differs(network: Network, module: nn.Module, session: ExportSession, recipe: catalog.Recipe) -> str:
    """What differs in another export of the same, or of what computes the same; empty for nothing."""
    samples = network.samples(_CALIBRATED + _VERIFIED)
    if _exported(network, module, samples, recipe).get_pte_buffer() != session.get_pte_buffer():
        return "a second export gives other bytes"
    if recipe.name == "ETHOSU_U55_INT8":
        fresh = _exported(network, module, samples, recipe, macs=256)
        if retarget(session, macs=256).get_pte_buffer() != fresh.get_pte_buffer():
            return "retarget differs from a fresh export"
    if network.integers:
        return ""
    with torch.no_grad():
        exact = _tuple(module(*samples[-1]))
    outputs = _tuple(simulate(session)(*samples[-1]))
    for relation in RELATIONS:
        related = relation(network)
        given = [related.inputs(sample) for sample in samples]
        other = related.network.module()
        with torch.no_grad():
            real = related.outputs(_tuple(other(*given[-1])))
        if related.network == network and not all(map(_near, real, exact)):
            continue
        assert all(map(_near, real, exact)), relation.__name__
        others = related.outputs(_tuple(simulate(_exported(related.network, other, given, recipe))(*given[-1])))
        for output, other_output, real_output in zip(outputs, others, exact, strict=True):
            # As far from each other as from the float module at most; 20 dB where both are near it.
            needed = min(20.0, sqnr_db(real_output, output) - 6)
            if sqnr_db(output, other_output) < needed:
                return (
                    f"{relation.__name__}: {sqnr_db(output, other_output):.1f} dB from each other, {needed:.1f} needed"
                )
    return ""


def _near(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-3, atol=1e-4 * float(other.abs().max()) + 1e-6)


def _tuple(outputs: Any) -> Tensors:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _same(state: dict[str, Tensor], before: dict[str, Tensor]) -> bool:
    return state.keys() == before.keys() and all(torch.equal(state[name], before[name]) for name in before)


def _equal(sample: Tensors, before: Tensors) -> bool:
    return all(map(torch.equal, sample, before))
