"""`verify`: runs what was lowered on a reference simulator, and says how far it is from the model, stage by stage."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from executorch.export import ExportRecipe, ExportSession
from torch import Tensor, nn
from torch.export import ExportedProgram

from arm_recipes.checking.run import not_checked, reference_of
from arm_recipes.errors import ArmRecipeError
from arm_recipes.gates import check_limits, check_timeout
from arm_recipes.lowering.checks import quantized
from arm_recipes.lowering.snapshot import method_of, snapshots
from arm_recipes.recipes.catalog import BY_NAME
from arm_recipes.recipes.types import ArmRecipeType
from arm_recipes.samples import InputSpec, specs_of
from arm_recipes.samples.labels import LabelledData, is_label
from arm_recipes.samples.models import Model, specs_for
from arm_recipes.session.arguments import carried, load_program
from arm_recipes.session.export import export
from arm_recipes.session.progress import shown
from arm_recipes.simulators.base import Simulator
from arm_recipes.simulators.program_file import program_file
from arm_recipes.simulators.registry import check_simulator, make_simulator

from .layer_errors import LayerTracer
from .layers import Layers
from .metrics import Metric
from .result import VerifyReport
from .stages import Stages
from .totals import Totals, gates_of, gates_of_layers


@overload
def verify(
    session: ExportSession | str | os.PathLike[str],
    data: object,
    /,
    *,
    example_inputs: object = None,
    labels: object = None,
    method: str | None = None,
    float_model: Model | None = None,
    simulator: str = "auto",
    per_layer: bool = False,
    metric: Metric | None = None,
    output: int | str | None = None,
    min_sqnr: float | None = None,
    max_accuracy_drop: float | None = None,
    max_samples: int = 1000,
    timeout: float = 120.0,
    runner: str | os.PathLike[str] | None = None,
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
    output: int | str | None = None,
    min_sqnr: float | None = None,
    max_accuracy_drop: float | None = None,
    max_samples: int = 1000,
    timeout: float = 120.0,
    runner: str | os.PathLike[str] | None = None,
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
    output: int | str | None = None,
    min_sqnr: float | None = None,
    max_accuracy_drop: float | None = None,
    max_samples: int = 1000,
    timeout: float = 120.0,
    runner: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    **options: Any,
) -> VerifyReport:
    """Compare a lowered program, run on a reference simulator, with the model it was made from.

    ``verify(session, data)`` takes any session of a recipe of arm_recipes, also one from executorch's own `export`.
    ``verify(model, recipe, data)`` exports first, with `export`. ``verify("model.pte", data, float_model=model)``
    takes a file of Cortex-M kernels, whoever made it; without its model there are only accuracies, of labels. The same
    inputs give the same report.

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
        float_model: the model in float, where the session was given a program that was quantized before, or of a file.
        simulator: ``auto``: for VGF the emulated Vulkan device where it works here, else the reference model, and for
            any other recipe the reference simulator of its family; ``reference`` or ``vulkan`` for one of them.
            ``fvp``, for Ethos-U, Cortex-M55 and M85: the .pte on Arm's FVP on PATH. ``qemu``, for Cortex-M55 and M85:
            the .pte on QEMU's Cortex-M55.
        per_layer: trace the error layer by layer.
        metric: a figure of one sample, the higher the better, from a stage's outputs and the label, in the place of
            top-1 and top-5. Its name is what the report calls it. The labels may then be anything: numbers, tensors.
        output: the one that the labels are classes of, by its index or, of a model that gives a dict or named tuple, by
            its name. May be left out where there is but one.
        min_sqnr: a gate: the least SQNR in dB of each simulated output against the float model's (or the quantized
            module's where there is no float model).
        max_accuracy_drop: a gate: by how much the simulated program's accuracy may be below the float model's, in
            percentage points for top-1, in the metric's own unit for a metric. Needs labels.
        max_samples: the most samples that are used.
        timeout: seconds that the simulator may take for one delegate, or one program, on one sample.
        runner: the firmware that ``fvp`` or ``qemu`` runs the .pte by: executorch's arm_executor_runner, built for the
            board with semihosting. By default the one that the environment variable ARM_RECIPES_FVP_RUNNER or
            ARM_RECIPES_RUNNER names; for ``qemu`` else that of the package mlia-ethos-u.
        progress: show a progress bar on standard error; by default where that is a terminal.
        example_inputs: with a model what `export` takes, by default the first sample; with a file what its float model
            is called with, where those are not flat.
        calibration: only with a model: what `export` takes; by default the samples of `data`, for want of better ones.
        **options: of the recipe, if it is given as an `ArmRecipeType`.

    Raises:
        CalibrationError: the data is not what the model takes.
        SimulationError: the simulator crashed, took too long, or does not accept the program.
        ModelError: the session is not of a recipe of arm_recipes, or not done.
        ToolError: the simulator asked for is not installed.
    """
    check_limits(min_sqnr=min_sqnr, max_accuracy_drop=max_accuracy_drop)
    check_timeout(timeout)
    settings = _Settings(
        labels=labels,
        method=method,
        float_model=float_model,
        simulator=simulator,
        per_layer=per_layer,
        metric=metric,
        output=output,
        min_sqnr=min_sqnr,
        max_accuracy_drop=max_accuracy_drop,
        max_samples=max_samples,
        timeout=timeout,
        runner=None if runner is None else os.fspath(runner),
        progress=progress,
    )
    if isinstance(subject, (str, os.PathLike)) and os.fspath(subject).endswith(".pte"):
        _check_given("file", given, {"calibration": calibration, **options})
        return _verify_file(os.fspath(subject), given[0], settings, example_inputs)
    if not isinstance(subject, ExportSession):
        if len(given) != 2:
            raise ArmRecipeError(
                f"verify(model, recipe, data) takes two positional arguments after the model and got {len(given)}. For "
                "what was exported already give verify(session, data)."
            )
        return _verify_model(subject, *given, settings, example_inputs, calibration, options)
    _check_given("session", given, {"example_inputs": example_inputs, "calibration": calibration, **options})
    return _verify_session(subject, given[0], settings)


def _check_given(subject: str, given: tuple[Any, ...], of_export: dict[str, Any]) -> None:
    """
    Raises:
        ArmRecipeError: there is more than data, or there are arguments of an export.
    """
    of_export = {name: value for name, value in of_export.items() if value is not None}
    if of_export or len(given) != 1:
        raise ArmRecipeError(
            f"verify({subject}, data) takes one positional argument after the {subject} and got {len(given)}"
            f"{', and no ' + ', '.join(of_export) if of_export else ''}. What was exported has its recipe and "
            "options; to export with others give verify(model, recipe, data)."
        )


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """The arguments of `verify` that both of its forms take."""

    labels: object
    method: str | None
    float_model: Model | None
    simulator: str
    per_layer: bool
    metric: Metric | None
    output: int | str | None
    min_sqnr: float | None
    max_accuracy_drop: float | None
    max_samples: int
    timeout: float
    runner: str | None
    progress: bool | None

    def samples(self, data: object, specs: Sequence[InputSpec]) -> LabelledData:
        """The data, checked against the model's inputs and for what the gates need.

        Raises:
            CalibrationError: it is not what the model takes.
            ArmRecipeError: it has no labels, and a gate needs them.
        """
        samples = LabelledData(
            data, specs, labels=self.labels, max_samples=self.max_samples, any_label=self.metric is not None
        )
        if self.max_accuracy_drop is not None and not samples.labelled:
            raise ArmRecipeError(
                f"max_accuracy_drop={self.max_accuracy_drop:g} needs labels, and the data has none. Give pairs "
                "(inputs, label) as the data, or labels=[...]."
            )
        return samples


def _verify_model(
    model: Any,
    recipe: ExportRecipe | ArmRecipeType,
    data: object,
    settings: _Settings,
    example_inputs: object,
    calibration: object,
    options: dict[str, Any],
) -> VerifyReport:
    """Export, with the data's first sample as the example and all of them for calibration where there are no others."""
    if isinstance(data, Iterator):  # to be gone through for calibration and for verification
        data = list(itertools.islice(data, settings.max_samples))
    if isinstance(model, (str, os.PathLike)):
        model = load_program(model)
    if example_inputs is None and carried(model) is None:
        example_inputs = _first(data)
    example = carried(model) if example_inputs is None else example_inputs
    notes: tuple[str, ...] = ()
    if isinstance(example, (tuple, Tensor)):
        inputs = (example,) if isinstance(example, Tensor) else example
        named = isinstance(model, (nn.Module, ExportedProgram))  # and not a dict
        # What is wrong with the data shows here, before the long part.
        samples = settings.samples(data, specs_for(model, inputs) if named else specs_of(inputs))
        if calibration is None and _wants_calibration(model, recipe):
            calibration = lambda: (inputs for inputs, _ in samples)  # noqa: E731
            notes = ("Calibrated on the very samples that it is verified on, for want of others: others may do worse.",)
    session = export(
        model, recipe, example_inputs, calibration=calibration, progress=settings.progress, check=False, **options
    )
    return _verify_session(session, data, settings, notes)


def _wants_calibration(model: Any, recipe: ExportRecipe | ArmRecipeType) -> bool:
    """Whether the export quantizes, and the recipe has no data for it."""
    if isinstance(model, ExportedProgram) and quantized(model.graph_module):
        return False
    if isinstance(recipe, ExportRecipe):
        quantization = recipe.quantization_recipe
        return bool(quantization and quantization.quantizers and quantization.calibration_inputs_fn is None)
    return isinstance(recipe, ArmRecipeType) and BY_NAME[recipe.name].precision.quantized


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


def _verify_session(
    session: ExportSession, data: object, settings: _Settings, notes: tuple[str, ...] = ()
) -> VerifyReport:
    """Run every sample through the session's stages, and through its program on the simulator."""
    programs = snapshots(session)
    method = method_of(programs, settings.method)
    program = programs[method]
    check_simulator(settings.simulator, program.recipe, per_layer=settings.per_layer, runner=settings.runner)
    stages = Stages.of_session(session, method, program, settings.float_model)
    samples = settings.samples(data, stages.specs)
    simulator = make_simulator(settings.simulator, session, program, timeout=settings.timeout, runner=settings.runner)
    tracer = LayerTracer(reference_of(session, method), stages.twin()) if settings.per_layer else None
    layers = Layers(session, method, program, simulator, tracer)
    names = program.recipe.name, program.recipe.target.name, method
    return _report(names, stages, simulator, samples, settings, layers, notes)


def _verify_file(path: str, data: object, settings: _Settings, example_inputs: object) -> VerifyReport:
    """The same with a .pte, of which nothing else is known. There are no layers, and no quantized module."""
    gates = {"min_sqnr": settings.min_sqnr, "max_accuracy_drop": settings.max_accuracy_drop}
    for name, limit in gates.items():
        if limit is not None and settings.float_model is None:
            raise ArmRecipeError(f"{name}={limit:g} holds the program against its model. Give float_model= as well.")
    if settings.per_layer:
        raise ArmRecipeError("per_layer=True: a .pte has no layers of a model. Leave it out, or give the session.")
    program = program_file(path, settings.method, settings.simulator, timeout=settings.timeout, runner=settings.runner)
    model = settings.float_model
    if example_inputs is None and model is not None:
        example_inputs = carried(model)
    stages = Stages.of_file(program, model, example_inputs)
    samples = settings.samples(data, stages.specs)
    return _report((Path(path).name, "", program.method), stages, program, samples, settings)


def _report(
    names: tuple[str, str, str],
    stages: Stages,
    simulator: Simulator,
    samples: LabelledData,
    settings: _Settings,
    layers: Layers | None = None,
    notes: tuple[str, ...] = (),
) -> VerifyReport:
    """What comes of running all samples. `names` are those of the recipe, or file, of the target, and of the method."""
    totals = Totals(stages.names, stages.scales(), settings.metric, settings.output)
    with shown(sys.stderr.isatty() if settings.progress is None else settings.progress) as bars, stages.in_eval_mode():
        for inputs, label in bars.samples(samples, _length(samples), "verify"):
            lowered_inputs = stages.as_integers(inputs)
            outputs = stages.outputs(inputs, lowered_inputs, simulator, totals.samples)
            totals.add(outputs, label, stages.output_names)
            if layers is not None:
                layers.add(inputs)
    recipe, target, method = names
    comparisons = totals.comparisons()
    accuracy = totals.accuracy()
    outcome = not_checked(method, "a file has no layers of a model") if layers is None else layers.result()
    nearness = {} if outcome.checked and simulator.inside == "program" else totals.nearness()
    gates = (
        *gates_of_layers(simulator.delegates, outcome, nearness),
        *gates_of(comparisons, accuracy, settings.min_sqnr, settings.max_accuracy_drop),
    )
    return VerifyReport(
        recipe=recipe,
        target=target,
        method=method,
        simulator=simulator.name,
        proves=simulator.proves,
        notes=(*simulator.notes, *stages.notes, *notes),
        source=samples.source,
        samples=totals.samples,
        stages=totals.stages,
        comparisons=comparisons,
        accuracy=accuracy,
        integers=totals.integers(),
        delegates=simulator.delegates,
        check=outcome,
        layers=layers.errors() if layers is not None else (),
        gates=gates,
    )


def _length(samples: LabelledData) -> int | None:
    try:
        return len(samples)
    except TypeError:
        return None
