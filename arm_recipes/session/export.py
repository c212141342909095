"""`export`: the front door over the standard ExportSession, for what a recipe alone can't reach."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from executorch.export import ExportRecipe, ExportSession, StageType
from torch import nn
from torch.export import Dim
from torch.fx import GraphModule

from arm_recipes.checking import run
from arm_recipes.checking.result import failure
from arm_recipes.errors import ArmRecipeError, CalibrationError, LoweringError, ToolError, nearest
from arm_recipes.lowering.calibration import CalibrationWatch, Show, watched_by
from arm_recipes.lowering.checks import ProgramCheck, refuse_dynamic
from arm_recipes.lowering.snapshot import TakeSnapshot, has_snapshots
from arm_recipes.provider import register
from arm_recipes.recipes import catalog
from arm_recipes.recipes.types import ArmRecipeType
from arm_recipes.samples import load_calibration
from arm_recipes.samples.models import Model, argument_names, specs_for
from arm_recipes.simulators.registry import start_early
from arm_recipes.tools import vela
from arm_recipes.upstream import failures, leftovers, lowered_graphs, partitioner, savings
from arm_recipes.upstream.session import keep, vela_summaries

from .arguments import (
    Captured,
    Inputs,
    as_modules,
    dynamic_shapes_of,
    for_method,
    in_eval_mode,
    models_of,
    refusal_of,
    samples_of,
)
from .progress import shown


def export(
    model: Model | Mapping[str, Model] | str | os.PathLike[str],
    recipe: ExportRecipe | ArmRecipeType,
    example_inputs: object = None,
    *,
    calibration: object = None,
    dynamic_shapes: Any = None,
    name: str | None = None,
    constant_methods: dict[str, Any] | None = None,
    artifact_dir: str | None = None,
    generate_etrecord: bool = False,
    progress: bool | None = None,
    check: bool = True,
    **options: Any,
) -> ExportSession:
    """Export with the standard ExportSession, and take care of what it leaves to its caller.

    Threads export one after the other: torch keeps state of the whole process meanwhile.

    What Vela prints goes to the logger ``arm_recipes.vela`` (level INFO) and not to standard output.

    Args:
        model: an nn.Module, an ExportedProgram, the path of a .pt2 file, or a dict of these by method name. An
            ExportedProgram that is still float is quantized as a module would be. A module in training mode is
            exported in eval mode, with a warning, and handed back as it was.
        recipe: an `ArmRecipeType`, of which `options` are the options, or an ExportRecipe.
        example_inputs: a tuple of tensors, one tensor, or a list of tuples, of which all serve as calibration data;
            for several methods a dict of these. May be left out where the model has them: an ExportedProgram, or a
            module with an attribute `example_inputs` or `example_input_array`.
        calibration: what `load_calibration` takes: a file, a folder, samples, any iterable; for several methods a
            dict of these by method name.
        dynamic_shapes: as torch.export takes them; for several methods a dict of these by method name.
        name: of the session.
        constant_methods: methods without inputs that return a constant, by name.
        artifact_dir: as ExportSession takes it.
        generate_etrecord: keep what an ETRecord needs.
        progress: show a progress bar on standard error; by default where that is a terminal.
        check: run each method's lowered program on its reference simulator, on the first two samples that it was
            calibrated on, and hold every layer against the model's, as `check` does. What can't be simulated is
            exported unchecked, which the report says.
        **options: of the recipe, if it is given as an `ArmRecipeType`.

    Returns:
        The session, with everything done.

    Raises:
        OptionError: an option of the recipe is not legal.
        CalibrationError: a calibration sample does not fit the model.
        ModelError: the model or its inputs can't be exported as asked.
        LoweringError: the program is not what the recipe promises, does not compute what the model does, or can't be
            lowered by executorch.
        ToolError: a tool is missing or fails, or this machine has no memory or disk left.
    """
    export_recipe = _recipe(recipe, options)
    models = models_of(model)
    inputs = {
        method: samples_of(module, for_method(example_inputs, method, models, "example_inputs"), method)
        for method, module in models.items()
    }
    shapes = dynamic_shapes_of(dynamic_shapes, model, models)
    _refuse_dynamic(export_recipe, shapes, models)
    quantizes = bool(export_recipe.quantization_recipe and export_recipe.quantization_recipe.quantizers)
    data = _calibration_data(calibration, models, inputs, export_recipe, quantizes)
    if quantizes:
        models = as_modules(models)

    with contextlib.ExitStack() as stack:
        stack.enter_context(_state_of_the_process())
        _to_eval_mode(models, stack)
        bars = stack.enter_context(shown(sys.stderr.isatty() if progress is None else progress))
        session = ExportSession(
            model=dict(models),
            example_inputs=inputs,
            export_recipe=_with_calibration(export_recipe, data, bars.samples),
            name=name,
            dynamic_shapes=shapes,
            constant_methods=constant_methods,
            artifact_dir=artifact_dir,
            generate_etrecord=generate_etrecord,
        )
        bars.stages(session)
        for kept in _snapshots_of(export_recipe) if check else ():
            start_early(kept.recipe)
        if _takes_snapshot(export_recipe):
            stack.enter_context(lowered_graphs.keeping())
        with savings.once(), vela.printed_to_log(logging.INFO) as printed, partitioner.watched() as verdicts:
            try:
                session.export()
            except Exception as error:
                told = _told(export_recipe, error) or refusal_of(models, inputs)
                if told is None:
                    raise
                raise told from (None if told is error.__cause__ else error)
        keep(session, models, verdicts, printed.getvalue())
        if check and has_snapshots(session):
            _check(session, models, inputs)
    return session


@contextlib.contextmanager
def _state_of_the_process() -> Iterator[None]:
    """What torch, executorch and Vela read and write of it: for one thread at a time, as they want it within the
    context, and as it was after it."""
    with vela.temporary_without_spaces(), torch.random.fork_rng(devices=[]), leftovers.none_kept():
        dtype = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


def _to_eval_mode(models: Mapping[str, Model], stack: contextlib.ExitStack) -> None:
    """Have the modules in eval mode while `stack` is open."""
    for method, module in models.items():
        if isinstance(module, nn.Module) and not isinstance(module, (GraphModule, Captured)):
            if module.training:
                warnings.warn(
                    f"The model of method {method!r} is in training mode. It is exported in eval mode, and stays as it "
                    "is.",
                    stacklevel=3,
                )
            stack.enter_context(in_eval_mode(module))


def _check(session: ExportSession, models: Mapping[str, Model], inputs: Mapping[str, list[Inputs]]) -> None:
    """
    Raises:
        LoweringError: the program does not compute what the model does.
        ModelError: the model can't be run itself: torch's fake tensors take what real ones don't.
    """
    outcome = run.check(session)
    refusal = None if all(method.checked for method in outcome.methods) else refusal_of(models, inputs)
    if refusal is not None:
        raise refusal
    for method in outcome.methods:
        if not method.right:
            raise LoweringError(failure(outcome.recipe, method))


def vela_estimates(session: ExportSession) -> tuple[vela.Estimate, ...]:
    """Vela's estimates of the delegated subgraphs of a session from `export`, in the order in which Vela compiled them.

    Empty for targets that are not compiled by Vela, and for sessions from executorch's own `export`, which leaves what
    Vela prints to standard output.

    Raises:
        ToolError: Vela printed something of another form than is known here.
    """
    return tuple(map(vela.estimate_of, vela_summaries(session)))


def _told(recipe: ExportRecipe, error: Exception) -> ArmRecipeError | None:
    """What is raised in the place of what a session raised; None where it stays.

    What the calibration, executorch's lowering or Vela raised is told in its innermost cause's words, not in names of
    passes.
    """
    if isinstance(error, ArmRecipeError):
        return None
    if isinstance(error.__cause__, ArmRecipeError):  # the session wraps what a recipe's quantization passes raise
        return error.__cause__
    name = next((row.name for row in catalog.RECIPES if row.value == recipe.name), recipe.name)
    refused = failures.of_this_machine(error)
    if refused is not None:
        return ToolError(f"{name}: {refused}")
    observed = failures.not_finite(error)
    if observed is not None:
        return CalibrationError(
            f"{name}: a value of {observed} is NaN or infinite on a calibration sample, and would spoil the "
            "quantization. It arises inside the model: look there for a logarithm, a root or a division of what may be "
            "zero or negative."
        )
    flow = failures.control_flow(error)
    if flow is not None:
        return LoweringError(
            f"{name}: executorch can't quantize the model's {flow}: {failures.words(failures.chain(error)[-1])}. Take "
            "it out of the model, or take a float recipe."
        )
    if not failures.from_lowering(error):
        return None
    place = failures.place(error)
    return LoweringError(
        f"{name}: executorch's lowering fails{f' at {place}' if place else ''}, with "
        f"{failures.words(failures.chain(error)[-1]).rstrip('.')}. Change the model there, or take another recipe; the "
        "exceptions that this one was raised from tell more."
    )


def _recipe(recipe: object, options: dict[str, Any]) -> ExportRecipe:
    if isinstance(recipe, ArmRecipeType):
        register()
        return ExportRecipe.get_recipe(recipe, **options)
    if not isinstance(recipe, ExportRecipe):
        hint = ""
        if isinstance(recipe, str):
            name = nearest(recipe, [member.name for member in ArmRecipeType])
            hint = f" Did you mean ArmRecipeType.{name}?" if name else ""
        raise ArmRecipeError(
            f"recipe={recipe!r} is neither an ArmRecipeType nor an ExportRecipe.{hint} "
            "Give e.g. ArmRecipeType.ETHOSU_U85_INT8, or what ExportRecipe.get_recipe returned."
        )
    if options:
        raise ArmRecipeError(
            f"{', '.join(options)}: not taken beside an ExportRecipe, whose options are settled. Give them to "
            "ExportRecipe.get_recipe, or give the ArmRecipeType here. (export's own arguments are "
            f"{', '.join(list(inspect.signature(export).parameters)[:-1])}.)"
        )
    return recipe


def _snapshots_of(recipe: ExportRecipe) -> list[TakeSnapshot]:
    """What takes the snapshots of a recipe's programs; of a recipe that was combined of several, for each."""
    passes = (recipe.lowering_recipe and recipe.lowering_recipe.edge_manager_transform_passes) or []
    return [each for each in passes if isinstance(each, TakeSnapshot)]


def _takes_snapshot(recipe: ExportRecipe) -> bool:
    """Whether the session comes to the stage in which recipes of arm_recipes look at the lowered program."""
    stages = recipe.pipeline_stages
    return stages is None or StageType.EDGE_PROGRAM_MANAGER_TRANSFORM in stages


def _refuse_dynamic(recipe: ExportRecipe, shapes: Mapping[str, Any], models: Mapping[str, Model]) -> None:
    """Refuse before the export what the recipe itself could refuse only after torch.export took it."""
    passes = (recipe.lowering_recipe and recipe.lowering_recipe.edge_transform_passes) or []
    for check in (each for each in passes if isinstance(each, ProgramCheck)):
        for method, sizes_of in shapes.items():
            names = argument_names(models[method])
            by_name = sizes_of if isinstance(sizes_of, Mapping) else dict(zip(names, sizes_of or (), strict=False))
            dynamic = {name: _dynamic_dimensions(sizes) for name, sizes in by_name.items()}
            refuse_dynamic(check.recipe, method, {name: indices for name, indices in dynamic.items() if indices})


def _dynamic_dimensions(sizes: Any) -> list[int]:
    by_dimension = sizes if isinstance(sizes, Mapping) else dict(enumerate(sizes or ()))
    static = (None, Dim.STATIC)
    return [index for index, size in by_dimension.items() if size not in static and not isinstance(size, int)]


def _calibration_data(
    calibration: object,
    models: Mapping[str, Model],
    inputs: Mapping[str, list[Inputs]],
    recipe: ExportRecipe,
    quantizes: bool,
) -> list[Any]:
    """The calibration data of each method in order, checked against its inputs; empty where none was given.

    A method that a dict by method name leaves out keeps its example inputs.
    """
    if calibration is None:
        return []
    if not quantizes:
        raise ArmRecipeError(
            f"{recipe.name} quantizes nothing, so calibration has no use. Leave it out, or take a quantized recipe."
        )
    if len(models) == 1 and not (isinstance(calibration, Mapping) and calibration.keys() == models.keys()):
        calibration = {next(iter(models)): calibration}
    sources = {method: for_method(calibration, method, models, "calibration") for method in models}
    return [
        inputs[method]
        if source is None
        else load_calibration(source).bind(specs_for(models[method], inputs[method][0]))
        for method, source in sources.items()
    ]


def _with_calibration(recipe: ExportRecipe, data: list[Any], show: Show) -> ExportRecipe:
    """The recipe fed with `data`, if there is any. The caller's recipe stays as it is."""
    if not data:
        return recipe
    assert recipe.quantization_recipe is not None
    watch = CalibrationWatch(str(recipe.name), data, show)
    return dataclasses.replace(recipe, quantization_recipe=watched_by(recipe.quantization_recipe, watch, feed=True))
