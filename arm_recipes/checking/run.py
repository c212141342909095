"""`check`: whether a lowered program computes, layer by layer, what its model does."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from executorch.export import ExportSession
from torch import Tensor
from torch.fx import GraphModule, Node

from arm_recipes.errors import ArmRecipeError, ModelError
from arm_recipes.lowering.integer_io import QuantizedTensor
from arm_recipes.lowering.observed import calibration_samples
from arm_recipes.lowering.snapshot import Snapshot, snapshots
from arm_recipes.samples import load_calibration
from arm_recipes.samples.models import specs_for
from arm_recipes.simulators.base import Simulator
from arm_recipes.simulators.registry import REFERENCE, make_simulator
from arm_recipes.upstream.cached_session import entry_of, taken_from_cache
from arm_recipes.upstream.graphs import quantizes
from arm_recipes.upstream.private import tree_leaves
from arm_recipes.upstream.session import (
    example_inputs,
    exported_programs,
    given_models,
    keep_outcome,
    kept_outcome,
    quantized_modules,
)

from .graph import Reference
from .result import CheckResult, MethodCheck
from .tally import Tally
from .walk import Finding, Walk

_logger = logging.getLogger(__name__)

SAMPLES = 2
TIME_LIMIT = 120.0

_PART = "check.json"


def check(
    session: ExportSession,
    data: object = None,
    *,
    samples: int = SAMPLES,
    time_limit: float = TIME_LIMIT,
) -> CheckResult:
    """Hold each layer of each method's lowered program, run on its reference simulator, against the model's.

    Each layer of the quantized module (of the exported program, where nothing is quantized) is computed in eager mode
    from the values that the simulator itself has for the layer's inputs, and compared with the simulator's. So rounding
    doesn't add up from layer to layer: in a program that is right each layer is to a step or two, whatever its outputs'
    distance from the model's.

    Args:
        session: done with its export; also one of executorch's own `export`.
        data: what `load_calibration` takes; for several methods a dict of these by method name. By default the
            first samples that it was calibrated on, or the session's example inputs where nothing was quantized.
        samples: how many of them are run.
        time_limit: seconds for each method, after which no further sample is begun.

    Returns:
        The outcome for each method, which the session's report has from then on. What can't be simulated (state,
        control flow, other backends) is no error: the result says that it was not checked, and why.

    Raises:
        ModelError: the session is not of a recipe of arm_recipes, or not done.
        CalibrationError: the data is not what the model takes.
    """
    if data is None and (samples, time_limit) == (SAMPLES, TIME_LIMIT) and taken_from_cache(session):
        kept = kept_check(session)
        if kept is not None:
            return kept
    programs = snapshots(session)
    methods = []
    for method, program in sorted(programs.items()):
        own = data[method] if isinstance(data, Mapping) and data.keys() == programs.keys() else data
        given = itertools.islice(_samples(session, method, own), samples)
        methods.append(_checked(session, method, program, list(given), time_limit))
    recipe = next(iter(programs.values())).recipe
    outcome = CheckResult(recipe=recipe.name, target=recipe.target.name, methods=tuple(methods))
    keep_outcome(session, outcome)
    return outcome


def keep_check(session: ExportSession) -> None:
    """Keep the outcome of the session's last check, if there was one, in its entry of a cache."""
    entry, outcome = entry_of(session), kept_outcome(session)
    if entry is not None and outcome is not None:
        entry.write(_PART, outcome.to_json().encode())


def kept_check(session: ExportSession) -> CheckResult | None:
    """The outcome that was kept so."""
    entry = entry_of(session)
    kept = entry.read(_PART) if entry is not None else None
    return CheckResult.from_json(kept.decode()) if kept is not None else None


def recorded(session: ExportSession) -> Mapping[str, MethodCheck]:
    """The outcome of the last check, by method, without the seconds that it took; empty where there was none."""
    outcome: CheckResult | None = kept_outcome(session)
    methods = outcome.methods if outcome is not None else ()
    return {method.method: dataclasses.replace(method, seconds=None) for method in methods}


class Checker:
    """Holds each layer of one method's program against the model's, sample by sample.

    Attributes:
        samples: number of samples so far.
    """

    def __init__(self, program: Snapshot, reference: GraphModule, simulator: Simulator) -> None:
        """
        Args:
            program: the lowered program.
            reference: the quantized module, or the exported program's module where nothing is quantized.
            simulator: runs `program`, and shows what is inside.

        Raises:
            ModelError: the reference can't be followed.
        """
        self._program = program
        self._reference = Reference(reference)
        self._simulator = simulator
        self._walk, self._tally = Walk(self._reference), Tally(self._reference, program.recipe)
        self.samples = 0

    def add(self, sample: Sequence[Tensor]) -> list[Finding]:
        """Add one sample, as the model takes it: real numbers also where the program takes integers.

        Raises:
            SimulationError: the simulator failed.
        """
        findings = self._walk.sample(sample, self._simulator.trace(_lowered(self._program, self._reference, sample)))
        self._tally.add(findings)
        self.samples += 1
        return findings

    def result(self, method: str, note: str = "") -> MethodCheck:
        """The outcome so far.

        Args:
            method: name of the method.
            note: what to know besides.
        """
        return self._tally.result(method, self._simulator.name, note)


def check_method(
    program: Snapshot,
    reference: GraphModule,
    simulator: Simulator,
    samples: Iterable[Sequence[Tensor]],
    *,
    method: str = "forward",
    time_limit: float = TIME_LIMIT,
) -> MethodCheck:
    """Hold each layer of one method's program against the model's.

    Args:
        program: the lowered program.
        reference: the quantized module, or the exported program's module where nothing is quantized.
        simulator: runs `program`, and shows what is inside.
        samples: as the model takes them: real numbers also where the program takes integers.
        method: name of the method.
        time_limit: seconds after which no further sample is begun.

    Returns:
        The outcome; where the simulator fails or the reference can't be followed, that it was not checked, and why.
    """
    start = time.monotonic()
    try:
        checker, note = Checker(program, reference, simulator), ""
        for sample in samples:
            if checker.samples and time.monotonic() - start > time_limit:
                note = f"The time limit of {time_limit:g} s was up after {checker.samples} of the samples."
                break
            checker.add(sample)
    except ArmRecipeError as error:
        return not_checked(method, error, seconds=time.monotonic() - start)
    except Exception as error:  # the check must not cost an export that works
        _logger.exception("the check of method %r failed", method)
        why = f"the check itself failed, with {type(error).__name__}: {error}. Please report it with the model."
        return not_checked(method, why, seconds=time.monotonic() - start)
    if not checker.samples:
        return not_checked(method, "there is no sample", seconds=time.monotonic() - start)
    return dataclasses.replace(checker.result(method, note), seconds=time.monotonic() - start)


def not_checked(method: str, why: object, *, seconds: float | None = None) -> MethodCheck:
    """The outcome for a program that was not checked.

    Args:
        method: name of the method.
        why: an error or a sentence, as ``checked: no, because ...`` goes on.
        seconds: what it took to find out.
    """
    told = str(why)
    told = told[0].lower() + told[1:] if told[:2] != told[:2].upper() else told
    return MethodCheck(method, False, told, seconds=seconds)


def reference_of(session: ExportSession, method: str) -> GraphModule:
    """What the lowered program of a method has to compute: the quantized module, or that of the exported program.

    Raises:
        ModelError: the session keeps neither.
    """
    quantized = quantized_modules(session)
    if method in quantized:
        return quantized[method]
    programs = exported_programs(session)
    if method not in programs:
        raise ModelError("The session keeps no exported program to compare with.")
    exported: GraphModule = programs[method].module(check_guards=False)
    return exported


def _checked(
    session: ExportSession, method: str, program: Snapshot, samples: Sequence[Sequence[Tensor]], time_limit: float
) -> MethodCheck:
    try:
        reference = reference_of(session, method)
        simulator = make_simulator(REFERENCE, session, program, timeout=max(time_limit, 1.0))
    except ArmRecipeError as error:
        return not_checked(method, error)
    return check_method(program, reference, simulator, samples, method=method, time_limit=time_limit)


def _samples(session: ExportSession, method: str, data: object) -> Iterable[Any]:
    if data is None and (calibrated := calibration_samples(session, method)):
        return calibrated
    examples = example_inputs(session, method)
    if data is None or not examples:
        return [tuple(tree_leaves(example)) for example in examples]
    return load_calibration(data).bind(specs_for(given_models(session)[method], tuple(examples[0])))


def _lowered(program: Snapshot, reference: Reference, sample: Sequence[Tensor]) -> list[Tensor]:
    """A sample as the program takes it: with io_dtype in integers, by the model's own scales."""
    placeholders = {node.name: node for node in program.graph.find_nodes(op="placeholder")}
    taken = [placeholders.get(str(name)) for name in program.signature.user_inputs]
    return [_as_taken(value, node, source) for value, node, source in zip(sample, taken, reference.inputs, strict=True)]


def _as_taken(value: Tensor, taken: Node | None, source: Node) -> Tensor:
    declared = taken.meta.get("val") if taken is not None else None
    if not isinstance(declared, Tensor) or declared.dtype == value.dtype or not value.is_floating_point():
        return value
    scale = next((QuantizedTensor.of(reader) for reader in source.users if quantizes(reader)), None)
    return value if scale is None else scale.quantize(value)
