"""`verify`: runs what was lowered on a reference simulator, and says how far it is from the model, stage by stage."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import torch
from executorch.export import ExportRecipe, ExportSession, StageType
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule
from torch.utils import _pytree as pytree

from arm_recipes.errors import ArmRecipeError, CalibrationError, ModelError, SimulationError
from arm_recipes.gates import Gate, check_limits
from arm_recipes.lowering.checks import quantized as is_quantized
from arm_recipes.lowering.integer_io import QuantizedIO, QuantizedTensor, quantized_io
from arm_recipes.lowering.snapshot import Kept, kept
from arm_recipes.recipes.catalog import BY_NAME
from arm_recipes.recipes.types import ArmRecipeType
from arm_recipes.samples import InputSpec, specs_of
from arm_recipes.samples.labels import LabelledData, is_label
from arm_recipes.session.arguments import Model, carried, in_eval_mode, load_program, specs_for
from arm_recipes.session.export import export
from arm_recipes.session.progress import shown
from arm_recipes.simulators.base import Simulator
from arm_recipes.simulators.registry import check_simulator, make_simulator

from .layer_errors import STEPS, LayerTracer, captured
from .metrics import CLASSIFICATION, METRICS, Moments, sqnr_db
from .result import Accuracy, Comparison, IntegerMatch, VerifyReport

Metric = Callable[[list[Tensor], int], float]
Outputs = list[Tensor]

FLOAT, QUANTIZED, SIMULATED = "float", "quantized", "simulated"


@overload
def verify(
    session: ExportSession,
    data: object,
    /,
    *,
    labels: object = None,
    method: str | None = None,
    float_model: Model | None = None,
    simulator: str = "auto",
    per_layer: bool = False,
    metric: Metric | None = None,
    min_sqnr: float | None = None,
    max_accuracy_drop: float | None = None,
    max_samples: int = 1000,
    timeout: float = 120.0,
    progress: bool | None = None,
) -> VerifyReport: ...


@overload
def verify(
    model: Model | str | os.PathLike[str],
    recipe: ExportRecipe | ArmRecipeType,
    data: object,
    /,
    *,
    example_inputs: object = None,
    calibration: object = None,
    labels: object = None,
    method: str | None = None,
    float_model: Model | None = None,
    simulator: str = "auto",
    per_layer: bool = False,
    metric: Metric | None = None,
    min_sqnr: float | None = None,
    max_accuracy_drop: float | None = None,
    max_samples: int = 1000,
    timeout: float = 120.0,
    progress: bool | None = None,
    **options: Any,
) -> VerifyReport: ...


def verify(
    subject: Any,
    /,
    *given: Any,
    example_inputs: object = None,
    calibration: object = None,
    labels: object = None,
    method: str | None = None,
    float_model: Model | None = None,
    simulator: str = "auto",
    per_layer: bool = False,
    metric: Metric | None = None,
    min_sqnr: float | None = None,
    max_accuracy_drop: float | None = None,
    max_samples: int = 1000,
    timeout: float = 120.0,
    progress: bool | None = None,
    **options: Any,
) -> VerifyReport:
    """Compare a lowered program, run on a reference simulator, with the model it was made from.

    ``verify(session, data)`` takes any session of a recipe of arm_recipes, also one from executorch's own `export`.
    ``verify(model, recipe, data)`` exports first, with `export`. The same inputs give the same report.

    Args:
        session: done with its export.
        model: what `export` takes for one method.
        recipe: an `ArmRecipeType`, of which `options` are the options, or an ExportRecipe.
        data: what `load_calibration` takes; or the same with labels: pairs of a sample and its label or of a batch and
            its labels, as a DataLoader gives them, one such pair, or dicts with a key ``label``.
        labels: class indices, one per sample, where the data holds none; or the path of a file of them: .npy, .pt and
            the like, or .txt or .csv with one on each line; or ``folders``, for data in one folder per class: the
            classes are numbered in the order of the folders' names.
        method: of the program; may be left out where there is but one.
        float_model: the model in float, where the session was given a program that was quantized before.
        simulator: ``auto``: for VGF the emulated Vulkan device where it works here, else the reference model, and for
            any other recipe the reference simulator of its family; ``reference`` or ``vulkan`` for one of them.
            ``fvp``, for Ethos-U, Cortex-M55 and M85: the .pte on Arm's FVP on PATH, by the runner that the environment
            variable ARM_RECIPES_FVP_RUNNER names.
        per_layer: trace the error layer by layer.
        metric: a figure of one sample, the higher the better, from a stage's outputs and the label, in the place of
            top-1 and top-5. Its name is what the report calls it.
        min_sqnr: a gate: the least SQNR in dB of each simulated output against the float model's (or the quantized
            module's where there is no float model).
        max_accuracy_drop: a gate: by how much the simulated program's accuracy may be below the float model's, in
            percentage points for top-1, in the metric's own unit for a metric. Needs labels.
        max_samples: the most samples that are used.
        timeout: seconds that the simulator may take for one delegate, or one program, on one sample.
        progress: show a progress bar on standard error; by default where that is a terminal.
        example_inputs: only with a model: what `export` takes; by default the first sample.
        calibration: only with a model: what `export` takes; by default the samples of `data`, for want of better ones.
        **options: of the recipe, if it is given as an `ArmRecipeType`.

    Raises:
        CalibrationError: the data is not what the model takes.
        SimulationError: the simulator crashed, took too long, or does not accept the program.
        ModelError: the session is not of a recipe of arm_recipes, or not done.
        ToolError: the simulator asked for is not installed.
    """
    check_limits(min_sqnr=min_sqnr, max_accuracy_drop=max_accuracy_drop)
    if isinstance(subject, ExportSession):
        extra = {"example_inputs": example_inputs, "calibration": calibration, **options}
        extra = {name: value for name, value in extra.items() if value is not None}
        if extra or len(given) != 1:
            raise ArmRecipeError(
                f"verify(session, data) takes one positional argument after the session and got {len(given)}"
                f"{', and no ' + ', '.join(extra) if extra else ''}. An exported session has its recipe and options; "
                "to export with others give verify(model, recipe, data)."
            )
        session, data = subject, given[0]
        notes: tuple[str, ...] = ()
    else:
        if len(given) != 2:
            raise ArmRecipeError(
                f"verify(model, recipe, data) takes two positional arguments after the model and got {len(given)}. For "
                "what was exported already give verify(session, data)."
            )
        recipe, data = given
        if isinstance(data, Iterator):  # to be gone through for calibration and for verification
            data = list(itertools.islice(data, max_samples))
        session, notes = _exported(
            subject,
            recipe,
            data,
            labels,
            max_samples,
            max_accuracy_drop,
            example_inputs,
            calibration,
            progress,
            options,
        )

    programs = kept(session)
    name = _method(programs, method)
    program = programs[name]
    check_simulator(simulator, program.recipe, per_layer=per_layer)
    stages = _Stages(session, name, program, float_model)
    samples = LabelledData(data, stages.specs, labels=labels, max_samples=max_samples)
    _check_labelled(samples, max_accuracy_drop)
    simulated = make_simulator(simulator, session, program, timeout=timeout)
    tracer = None
    if per_layer:
        reference, twin = stages.for_layers()
        tracer = LayerTracer(reference, twin)

    work = _Work(stages.names, stages.integers(), metric)
    with shown(sys.stderr.isatty() if progress is None else progress) as bars, stages.in_eval_mode():
        try:
            total = len(samples)
        except TypeError:
            total = None
        for inputs, label in bars.samples(samples, total, "verify"):
            lowered_inputs = stages.as_integers(inputs)
            outputs = {}
            for stage, run in stages.runs.items():
                with _named(stage, work.samples):
                    outputs[stage] = run(inputs)
            with _named(SIMULATED, work.samples):
                outputs[SIMULATED] = stages.as_reals(simulated.run(lowered_inputs))
            work.add(outputs, label)
            if tracer is not None:
                tracer.add(inputs, simulated.trace(lowered_inputs))

    layers = tracer.errors() if tracer is not None else ()
    comparisons = work.comparisons()
    accuracy = work.accuracy()
    return VerifyReport(
        recipe=program.recipe.name,
        target=program.recipe.target.name,
        method=name,
        simulator=simulated.name,
        proves=simulated.proves,
        notes=(*simulated.notes, *stages.notes, *notes),
        source=samples.source,
        samples=work.samples,
        stages=(*stages.names, SIMULATED),
        comparisons=comparisons,
        accuracy=accuracy,
        integers=work.integers(),
        delegates=simulated.delegates,
        layers=layers,
        gates=tuple(_gates(comparisons, accuracy, work.nearness(), simulated, min_sqnr, max_accuracy_drop)),
    )


class _Stages:
    """What the session has of the model before it was lowered, ready to run.

    Attributes:
        runs: stage -> what gives its outputs for the inputs of a sample.
        specs: the model's inputs.
        notes: which stage is missing, and why.
    """

    def __init__(self, session: ExportSession, method: str, program: Kept, float_model: Model | None) -> None:
        self._session = session
        self._method = method
        self._program = program
        artifacts = session.get_stage_artifacts()
        given = session._model[method]
        quantizes = program.recipe.precision.quantized
        quantized = artifacts[StageType.QUANTIZE].data[method] if StageType.QUANTIZE in artifacts else None
        self._float: Any = float_model
        self._quantized: Any = None
        if quantizes and isinstance(quantized, GraphModule) and quantized is not given:
            self._quantized = quantized
            self._float = given if float_model is None else float_model
        elif quantizes:
            self._quantized = given.module(check_guards=False) if isinstance(given, ExportedProgram) else given
        elif float_model is None:
            self._float = given
        if isinstance(self._float, ExportedProgram):
            self._float = self._float.module(check_guards=False)
        self.notes: tuple[str, ...] = ()
        if self._float is None:
            self.notes = (
                "The session was given a program that was quantized already, so there is no float stage. Give "
                "float_model= to compare with it.",
            )
        self._io = quantized_io(session).get(method, QuantizedIO({}, {}))
        self.example = _example(session, method, given)
        self.specs = _specs(self.example, program)
        self.runs: dict[str, Callable[[Sequence[Tensor]], Outputs]] = {}
        for stage, module in ((FLOAT, self._float), (QUANTIZED, self._quantized)):
            if module is not None:
                self.runs[stage] = _runner(module)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.runs)

    def in_eval_mode(self) -> contextlib.AbstractContextManager[None]:
        """The float model in eval mode for the time being, as it was exported."""
        return contextlib.nullcontext() if self._float is None else in_eval_mode(self._float)

    def as_integers(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """A sample as the lowered program takes it, with io_dtype in integers."""
        scales = self._io.inputs
        return [scales[index].quantize(value) if index in scales else value for index, value in enumerate(inputs)]

    def as_reals(self, outputs: Sequence[Tensor]) -> Outputs:
        """The lowered program's outputs, with io_dtype from integers."""
        scales = self._io.outputs
        return [scales[index].dequantize(value) if index in scales else value for index, value in enumerate(outputs)]

    def integers(self) -> list[QuantizedTensor | None]:
        """The scale and zero point of each of the quantized module's outputs, None where it is not quantized."""
        if not isinstance(self._quantized, GraphModule):
            return []
        return [_output_scale(node) for node in pytree.tree_leaves(self._quantized.graph.output_node().args[0])]

    def for_layers(self) -> tuple[GraphModule, GraphModule | None]:
        """What the lowered program's layers are compared with, and the float model with the same layers.

        Raises:
            ModelError: the session has no such graph.
        """
        with self.in_eval_mode():
            twin = captured(self._float, self.example) if self._float is not None else None
        if isinstance(self._quantized, GraphModule):
            return self._quantized, twin
        artifact = self._session.get_stage_artifacts().get(StageType.TORCH_EXPORT)
        exported = artifact.data[self._method] if artifact is not None else self._session._model[self._method]
        if not isinstance(exported, ExportedProgram):
            raise ModelError("The session keeps no exported program to compare layers with. Leave out per_layer.")
        module: GraphModule = exported.module(check_guards=False)
        return module, twin


@dataclass
class _Sum:
    moments: Moments
    worst: tuple[float, int]


class _Work:
    """Adds up what the report says, sample by sample."""

    def __init__(self, stages: Sequence[str], scales: list[QuantizedTensor | None], metric: Metric | None) -> None:
        names = (*stages, SIMULATED)
        self._pairs = [(one, other) for index, one in enumerate(names) for other in names[index + 1 :]]
        self._names = names
        self._scales = scales
        self._metric = metric
        self._sums: dict[tuple[str, str, int], _Sum] = {}
        self._right: dict[str, dict[str, float]] = {name: {} for name in names}
        self._labelled = 0
        self._match: dict[int, list[int]] = {}
        self.samples = 0

    def add(self, outputs: Mapping[str, Outputs], label: int | None) -> None:
        counts = {stage: len(tensors) for stage, tensors in outputs.items()}
        if len(set(counts.values())) > 1:
            raise SimulationError(
                f"The stages give unequal numbers of outputs: {counts}. The program is not the model's."
            )
        for one, other in self._pairs:
            for index, (reference, candidate) in enumerate(zip(outputs[one], outputs[other])):
                if reference.shape != candidate.shape:
                    raise SimulationError(
                        f"Output {index} has shape {list(reference.shape)} in the {one} stage and "
                        f"{list(candidate.shape)} in the {other} stage. The program is not the model's."
                    )
                self._compare((one, other, index), Moments.of(reference, candidate))
        if QUANTIZED in outputs:
            for index, scale in enumerate(self._scales):
                if scale is not None:
                    self._match_integers(index, scale, outputs[QUANTIZED][index], outputs[SIMULATED][index])
        if label is not None:
            self._labelled += 1
            for stage, tensors in outputs.items():
                for name, figure in self._judge(tensors, label).items():
                    self._right[stage][name] = self._right[stage].get(name, 0.0) + figure
        self.samples += 1

    def comparisons(self) -> tuple[Comparison, ...]:
        return tuple(
            Comparison(
                reference=one,
                candidate=other,
                output=index,
                metrics={name: metric(found.moments) for name, metric in METRICS.items()},
                worst_sample=found.worst[1],
                worst_sqnr_db=found.worst[0],
            )
            for (one, other, index), found in sorted(
                self._sums.items(), key=lambda item: (self._pairs.index(item[0][:2]), item[0][2])
            )
        )

    def accuracy(self) -> Accuracy | None:
        if not self._labelled:
            return None
        figures = {
            stage: {name: figure / self._labelled for name, figure in sums.items()}
            for stage, sums in self._right.items()
        }
        return Accuracy(labelled=self._labelled, figures=figures)

    def integers(self) -> tuple[IntegerMatch, ...]:
        return tuple(IntegerMatch(index, *counts) for index, counts in sorted(self._match.items()))

    def nearness(self) -> dict[int, tuple[float, int]]:
        """By how many dB each quantized output is nearer, simulated, to the quantized module's than that to the float
        model's, inf where rounding explains the difference; and of how many elements. Nothing without a float stage."""
        found = {}
        for index, match in self._match.items():
            scale = self._scales[index]
            assert scale is not None
            if match[2] <= STEPS.get(getattr(torch, scale.dtype), 2):
                found[index] = math.inf, match[0]
            elif FLOAT in self._names:
                lowered = sqnr_db(self._sums[QUANTIZED, SIMULATED, index].moments)
                found[index] = lowered - sqnr_db(self._sums[FLOAT, QUANTIZED, index].moments), match[0]
        return found

    def _compare(self, key: tuple[str, str, int], moments: Moments) -> None:
        sqnr = sqnr_db(moments)
        found = self._sums.get(key)
        if found is None:
            self._sums[key] = _Sum(moments, (sqnr, self.samples))
            return
        found.moments += moments
        if not sqnr >= found.worst[0] and found.worst[0] == found.worst[0]:
            found.worst = (sqnr, self.samples)

    def _match_integers(self, index: int, scale: QuantizedTensor, quantized: Tensor, simulated: Tensor) -> None:
        difference = (scale.steps(quantized.to(torch.float64)) - scale.steps(simulated.to(torch.float64))).abs()
        counts = self._match.setdefault(index, [0, 0, 0])
        counts[0] += difference.numel()
        counts[1] += int((difference != 0).sum())
        counts[2] = max(counts[2], int(difference.nan_to_num(2**31).max()) if difference.numel() else 0)

    def _judge(self, outputs: Outputs, label: int) -> dict[str, float]:
        if self._metric is not None:
            return {getattr(self._metric, "__name__", "metric"): float(self._metric(outputs, label))}
        scores = outputs[0]
        classes = scores.shape[-1] if scores.dim() else 0
        if scores.numel() != classes or not 0 <= label < classes:
            raise CalibrationError(
                f"Label {label} names no class of output 0, whose shape is {list(scores.shape)}. Labels are class "
                "indices for the last dimension of an output of one row; for others give metric=."
            )
        return {name: judge(scores, label) for name, judge in CLASSIFICATION.items() if name == "top1" or classes > 5}


@contextlib.contextmanager
def _named(stage: str, sample: int) -> Iterator[None]:
    """Say of an error in the model's own code, or an operator's, where it came up."""
    try:
        yield
    except ArmRecipeError:
        raise
    except Exception as error:
        kind = SimulationError if stage == SIMULATED else CalibrationError
        raise kind(
            f"The {stage} stage raised {type(error).__name__} on sample {sample}: {error}. Is every value of the sample"
            " one that the model takes?"
        ) from error


def _gates(
    comparisons: Sequence[Comparison],
    accuracy: Accuracy | None,
    nearness: Mapping[int, tuple[float, int]],
    simulator: Simulator,
    min_sqnr: float | None,
    max_accuracy_drop: float | None,
) -> Iterator[Gate]:
    for delegate in simulator.delegates:
        what = f"{delegate.name}: compiling it again gives its own bytes (1: yes, 0: no), at least"
        yield Gate("same_graph", what, 1.0, float(delegate.reproduced), delegate.reproduced)
    for index, (nearer, elements) in sorted(nearness.items()):
        # The lowering may add ten times the noise of the quantization, which on few elements may be small by luck.
        # Measured (docs/verify.md): 0 dB and more where a program is right, -6 on ten elements; below -11 where a small
        # one has a wrong weight.
        limit = -10 * (1 + 10 / max(elements, 1))
        what = (
            f"SQNR in dB of output {index}, simulated against quantized, less that of quantized against float, at least"
        )
        yield Gate("same_function", what, limit, nearer, nearer >= limit)
    if min_sqnr is not None:
        first = comparisons[0].reference
        for one in comparisons:
            if (one.reference, one.candidate) == (first, SIMULATED):
                figure = one.metrics["sqnr_db"]
                what = f"SQNR in dB of output {one.output}, simulated against {first}, at least"
                yield Gate("min_sqnr", what, min_sqnr, figure, figure >= min_sqnr)
    if max_accuracy_drop is not None and accuracy is not None:
        stage = next(iter(accuracy.figures))
        name = next(iter(accuracy.figures[stage]))
        unit = 100.0 if name in CLASSIFICATION else 1.0
        drop = (accuracy.figures[stage][name] - accuracy.figures[SIMULATED][name]) * unit
        what = f"loss of {name} from {stage} to simulated{' in percentage points' if unit == 100 else ''}, at most"
        # Differences of shares are not exact in binary.
        yield Gate("max_accuracy_drop", what, max_accuracy_drop, drop, drop <= max_accuracy_drop + 1e-9)


def _exported(
    model: Any,
    recipe: ExportRecipe | ArmRecipeType,
    data: object,
    labels: object,
    max_samples: int,
    max_accuracy_drop: float | None,
    example_inputs: object,
    calibration: object,
    progress: bool | None,
    options: dict[str, Any],
) -> tuple[ExportSession, tuple[str, ...]]:
    """Export, with the data's first sample as the example and all of them for calibration where there are no others.

    Returns:
        The session, and what there is to note about it.
    """
    if isinstance(model, (str, os.PathLike)):
        model = load_program(model)
    if example_inputs is None and carried(model) is None:
        example_inputs = _first(data)
    example = carried(model) if example_inputs is None else example_inputs
    if isinstance(recipe, ExportRecipe):
        quantization = recipe.quantization_recipe
        uncalibrated = bool(quantization and quantization.quantizers and quantization.calibration_inputs_fn is None)
    else:
        uncalibrated = isinstance(recipe, ArmRecipeType) and BY_NAME[recipe.name].precision.quantized
    if isinstance(model, ExportedProgram) and is_quantized(model.graph_module):
        uncalibrated = False
    notes: tuple[str, ...] = ()
    if isinstance(example, (tuple, Tensor)):
        inputs = (example,) if isinstance(example, Tensor) else example
        named = isinstance(model, (nn.Module, ExportedProgram))  # and not a dict
        specs = specs_for(model, inputs) if named else specs_of(inputs)
        # What is wrong with the data shows here, before the long part.
        samples = LabelledData(data, specs, labels=labels, max_samples=max_samples)
        _check_labelled(samples, max_accuracy_drop)
        if uncalibrated and calibration is None:
            calibration = lambda: (inputs for inputs, _ in samples)  # noqa: E731
            notes = ("Calibrated on the very samples that it is verified on, for want of others: others may do worse.",)
    return export(model, recipe, example_inputs, calibration=calibration, progress=progress, **options), notes


def _check_labelled(samples: LabelledData, max_accuracy_drop: float | None) -> None:
    if max_accuracy_drop is not None and not samples.labelled:
        raise ArmRecipeError(
            f"max_accuracy_drop={max_accuracy_drop:g} needs labels, and the data has none. Give pairs (inputs, label) "
            "as the data, or labels=[...]."
        )


def _first(data: object) -> object:
    """The first sample of `data` where that can be told without knowing what the model takes, else None."""
    if isinstance(data, Tensor):
        return (data[:1],)
    if isinstance(data, (list, tuple)) and data:
        first = data[0]
        if isinstance(first, (list, tuple)) and len(first) == 2 and is_label(first[1]):
            first = first[0]
        return (first,) if isinstance(first, Tensor) else tuple(first) if isinstance(first, (list, tuple)) else None
    return None


def _method(programs: Mapping[str, Kept], method: str | None) -> str:
    if method is None and len(programs) == 1:
        return next(iter(programs))
    if method is None or method not in programs:
        raise ModelError(
            f"method={method!r}: the program has the methods {', '.join(map(repr, programs))}. Give one as method=."
        )
    return method


def _example(session: ExportSession, method: str, given: Any) -> tuple[Tensor, ...]:
    samples = session._example_inputs.get(method)
    if samples:
        return tuple(samples[0])
    return tuple(given.example_inputs[0])


def _specs(example: Sequence[Tensor], program: Kept) -> tuple[InputSpec, ...]:
    names = [str(name) for name in program.signature.user_inputs]
    return specs_of(tuple(example), names if len(names) == len(example) else None)


def _runner(module: nn.Module) -> Callable[[Sequence[Tensor]], Outputs]:
    def run(inputs: Sequence[Tensor]) -> Outputs:
        with torch.no_grad():
            # Copies: a model may write to what it is given.
            outputs = module(*(value.clone() for value in inputs))
        return [leaf for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, Tensor)]

    return run


def _output_scale(node: Any) -> QuantizedTensor | None:
    if getattr(node, "op", None) != "call_function" or "dequantize_per_tensor" not in str(node.target):
        return None
    return QuantizedTensor.of(node)
