"""`export`: the front door over the standard ExportSession, for what a recipe alone can't reach."""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Mapping
from typing import Any

from executorch.export import ExportRecipe, ExportSession
from torch.export import Dim

from arm_recipes import cache
from arm_recipes.errors import ArmRecipeError, nearest
from arm_recipes.lowering.calibration import CalibrationWatch, Show, watched_by
from arm_recipes.lowering.checks import ProgramCheck, refuse_dynamic
from arm_recipes.provider import register
from arm_recipes.recipes.types import ArmRecipeType
from arm_recipes.samples import load_calibration
from arm_recipes.samples.models import Model, argument_names, specs_for
from arm_recipes.tools import vela
from arm_recipes.upstream.session import vela_summaries

from .arguments import Inputs, as_modules, dynamic_shapes_of, for_method, models_of, samples_of, warn_of_training
from .cached import cached_session
from .lowering import Lowering


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
    cache_dir: str | os.PathLike[str] | None = None,
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
        cache_dir: a folder in which the program, its report and the outcome of its check are kept, and from which they
            come where an earlier export, of any process, had the same model, samples, recipe, options and versions.
            The session then exports only if it is asked for more. By default what the environment variable
            ARM_RECIPES_CACHE names. Has a say where `recipe` is an `ArmRecipeType`, and dynamic_shapes, artifact_dir
            and generate_etrecord are not given.
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
    warn_of_training(models)

    lowering = Lowering(export_recipe, models, inputs, check, progress)
    arguments = {
        "model": dict(models),
        "example_inputs": inputs,
        "export_recipe": _with_calibration(export_recipe, data, lowering.samples),
        "name": name,
        "dynamic_shapes": shapes,
        "constant_methods": constant_methods,
        "artifact_dir": artifact_dir,
        "generate_etrecord": generate_etrecord,
    }
    folder = cache_dir if cache_dir is not None else os.environ.get(cache.VARIABLE) or None
    if folder is not None and isinstance(recipe, ArmRecipeType):
        return cached_session(cache.Cache(folder), lowering, data, arguments)
    session = ExportSession(**arguments)
    lowering.run(session)
    return session


def vela_estimates(session: ExportSession) -> tuple[vela.Estimate, ...]:
    """Vela's estimates of the delegated subgraphs of a session from `export`, in the order in which Vela compiled them.

    Empty for targets that are not compiled by Vela, and for sessions from executorch's own `export`, which leaves what
    Vela prints to standard output.

    Raises:
        ToolError: Vela printed something of another form than is known here.
    """
    return tuple(map(vela.estimate_of, vela_summaries(session)))


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
