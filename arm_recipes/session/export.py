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
from pathlib import Path
from typing import Any

import torch
from executorch.export import ExportRecipe, ExportSession
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from arm_recipes.errors import ArmRecipeError, ModelError, nearest
from arm_recipes.lowering.calibration import CalibrationWatch, Show, watched_by
from arm_recipes.lowering.checks import ProgramCheck, quantized, refuse_dynamic
from arm_recipes.provider import register
from arm_recipes.recipes.types import ArmRecipeType
from arm_recipes.samples import InputSpec, load_calibration, specs_of
from arm_recipes.tools import vela
from arm_recipes.upstream import partitioner
from arm_recipes.upstream.session import keep, vela_summaries

from .progress import shown

Model = nn.Module | ExportedProgram
Inputs = tuple[Any, ...]


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
    **options: Any,
) -> ExportSession:
    """Export with the standard ExportSession, and take care of what it leaves to its caller.

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
        **options: of the recipe, if it is given as an `ArmRecipeType`.

    Returns:
        The session, with everything done.

    Raises:
        OptionError: an option of the recipe is not legal.
        CalibrationError: a calibration sample does not fit the model.
        ModelError: the model or its inputs can't be exported as asked.
        LoweringError: the program is not what the recipe promises.
    """
    export_recipe = _recipe(recipe, options)
    models = _models(model)
    inputs = {
        method: _samples(given, _for_method(example_inputs, method, models, "example_inputs"), method)
        for method, given in models.items()
    }
    shapes = _dynamic_shapes(dynamic_shapes, model, models)
    _refuse_dynamic(export_recipe, shapes, models)
    quantizes = bool(export_recipe.quantization_recipe and export_recipe.quantization_recipe.quantizers)
    data = _calibration_data(calibration, models, inputs, export_recipe, quantizes)
    if quantizes:
        models = _as_modules(models)

    with contextlib.ExitStack() as stack:
        for method, given in models.items():
            if isinstance(given, nn.Module) and not isinstance(given, GraphModule):
                stack.enter_context(_in_eval_mode(given, method))
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
        with vela.printed_to_log(logging.INFO) as printed, partitioner.watched() as verdicts:
            try:
                session.export()
            except RuntimeError as error:
                # The session wraps what a recipe's quantization passes raise.
                if isinstance(error.__cause__, ArmRecipeError):
                    raise error.__cause__ from None
                raise
    keep(session, models, verdicts, printed.getvalue())
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


def _models(model: Any) -> dict[str, Model]:
    given = dict(model) if isinstance(model, Mapping) else {"forward": model}
    if not given:
        raise ModelError("model is an empty dict. Give at least one method: {'forward': module}.")
    models = {
        method: load_program(one) if isinstance(one, (str, os.PathLike)) else one for method, one in given.items()
    }
    for method, one in models.items():
        if not isinstance(one, (nn.Module, ExportedProgram)):
            kind = f"the class {one.__name__}" if isinstance(one, type) else f"of type {type(one).__name__}"
            raise ModelError(
                f"The model of method {method!r} is {kind}. Allowed: an nn.Module, an ExportedProgram, or the path of "
                "a .pt2 file."
            )
    kinds = {"an ExportedProgram" if isinstance(one, ExportedProgram) else "a module" for one in models.values()}
    if len(kinds) > 1:
        raise ModelError(
            "The methods are ExportedPrograms and modules together, which executorch can't export in one session. "
            "Give all in one form: torch.export.export(module, inputs) makes a program."
        )
    return models


def load_program(path: str | os.PathLike[str]) -> ExportedProgram:
    """Read a .pt2 file.

    Raises:
        ModelError: there is none, or it can't be loaded.
    """
    file = Path(path)
    if not file.is_file():
        raise ModelError(f"model={os.fspath(path)!r}: no such file. Give the path of a .pt2 file, or a module.")
    try:
        return torch.export.load(file)
    except Exception as error:
        raise ModelError(
            f"model={os.fspath(path)!r} is no .pt2 file that this version of torch can load ({error}). "
            "Make it with torch.export.save(torch.export.export(module, inputs), path)."
        ) from error


def _for_method(given: object, method: str, models: Mapping[str, Model], argument: str) -> object:
    """The share of one method in an argument that is a dict by method name where there are several methods."""
    if not isinstance(given, Mapping):
        if given is not None and len(models) > 1:
            raise ModelError(f"{argument} is one for several methods. Give a dict by method name: {', '.join(models)}.")
        return given
    unknown = [key for key in given if key not in models]
    if unknown:
        raise ModelError(
            f"{argument} has the keys {', '.join(map(repr, unknown))}, which are no methods. "
            f"Allowed: {', '.join(map(repr, models))}."
        )
    return given.get(method)


def _samples(model: Model, given: object, method: str) -> list[Inputs]:
    if given is None:
        given = carried(model)
    if given is None:
        raise ModelError(
            f"Method {method!r} has no example inputs. Give example_inputs=(tensor, ...), or a model that carries "
            "them: an ExportedProgram, or a module with an attribute example_inputs."
        )
    if isinstance(given, Tensor):
        return [(given,)]
    if isinstance(given, tuple):
        return [given]
    if isinstance(given, list) and given and all(isinstance(sample, tuple) for sample in given):
        return list(given)
    if isinstance(given, list) and given and all(isinstance(sample, Tensor) for sample in given):
        raise ModelError(
            f"example_inputs of method {method!r} is a list of tensors, which may be the inputs of one call or several "
            "samples. Give a tuple for the inputs of one call, or a list of tuples for samples: [(x,), (y,)]."
        )
    kind = "an empty list" if given == [] else f"of type {type(given).__name__}"
    raise ModelError(
        f"example_inputs of method {method!r} is {kind}. Allowed: a tuple of tensors, one tensor, or a list of tuples."
    )


def carried(model: Model) -> object:
    """The example inputs that a model brings with it."""
    if isinstance(model, ExportedProgram):
        if not model.example_inputs:
            return None
        positional, by_name = model.example_inputs
        if by_name:
            raise ModelError(
                f"The ExportedProgram takes keyword inputs ({', '.join(by_name)}), which executorch's session can't "
                "pass on. Export it with positional inputs."
            )
        return positional
    for attribute in ("example_inputs", "example_input_array"):
        found = getattr(model, attribute, None)
        if found is not None:
            return found() if callable(found) and not isinstance(found, Tensor) else found
    return None


def _dynamic_shapes(given: Any, model: object, models: Mapping[str, Model]) -> dict[str, Any]:
    """By method name, as the session wants it. (It takes any dict for one, and drops names that are no methods.)"""
    if given is None:
        return {}
    if isinstance(model, Mapping) or (isinstance(given, Mapping) and given.keys() == {"forward"}):
        return {method: _for_method(given, method, models, "dynamic_shapes") for method in models}
    one = models["forward"]
    if isinstance(given, Mapping) and isinstance(one, nn.Module):
        arguments = _argument_names(one)
        unknown = [key for key in given if key not in arguments]
        if unknown and arguments:
            raise ModelError(
                f"dynamic_shapes has the keys {', '.join(map(repr, unknown))}, which are no arguments of the model. "
                f"Allowed: {', '.join(map(repr, arguments))}."
            )
    return {"forward": given}


def _refuse_dynamic(recipe: ExportRecipe, shapes: Mapping[str, Any], models: Mapping[str, Model]) -> None:
    """Refuse before the export what the recipe itself could refuse only after torch.export took it."""
    passes = (recipe.lowering_recipe and recipe.lowering_recipe.edge_transform_passes) or []
    for check in (one for one in passes if isinstance(one, ProgramCheck)):
        for method, given in shapes.items():
            names = _argument_names(models[method])
            by_name = given if isinstance(given, Mapping) else dict(zip(names, given or ()))
            dynamic = {name: _dynamic_dimensions(sizes) for name, sizes in by_name.items()}
            refuse_dynamic(check.recipe, method, {name: indices for name, indices in dynamic.items() if indices})


def _dynamic_dimensions(sizes: Any) -> list[int]:
    by_dimension = sizes if isinstance(sizes, Mapping) else dict(enumerate(sizes or ()))
    static = (None, Dim.STATIC)
    return [index for index, size in by_dimension.items() if size not in static and not isinstance(size, int)]


def _argument_names(model: Model) -> list[str]:
    """Names of the model's inputs in order; empty where they can't be told."""
    if isinstance(model, ExportedProgram):
        return list(model.graph_signature.user_inputs)
    parameters = inspect.signature(model.forward).parameters.values()
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return []
    return [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]


def specs_for(model: Model, sample: Inputs) -> tuple[InputSpec, ...]:
    """What `model` takes, by an example, with the names of its arguments where they can be told."""
    names = _argument_names(model)[: len(sample)]
    return specs_of(sample, names if len(names) == len(sample) else None)


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
    sources = {method: _for_method(calibration, method, models, "calibration") for method in models}
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


class _Captured(nn.Module):
    """An exported program as a module that the session quantizes: it leaves a GraphModule as it is."""

    def __init__(self, program: ExportedProgram) -> None:
        super().__init__()
        self.program = program.module(check_guards=False)

    def forward(self, *inputs: Any) -> Any:
        return self.program(*inputs)


def _as_modules(models: Mapping[str, Model]) -> dict[str, Model]:
    """The models, programs that are still float as modules to quantize. A session takes either all or none."""
    programs = [model.graph_module for model in models.values() if isinstance(model, ExportedProgram)]
    if not programs or all(map(quantized, programs)):
        return dict(models)
    if any(map(quantized, programs)):
        raise ModelError("Some of the methods are quantized and some are not. Give all of them in float, or none.")
    return {method: _Captured(model) for method, model in models.items() if isinstance(model, ExportedProgram)}


@contextlib.contextmanager
def _in_eval_mode(model: nn.Module, method: str) -> Iterator[None]:
    """Put every submodule into eval mode for the time being."""
    training = [module for module in model.modules() if module.training]
    if not training or isinstance(model, _Captured):
        yield
        return
    if model.training:
        warnings.warn(
            f"The model of method {method!r} is in training mode. It is exported in eval mode, and stays as it is.",
            stacklevel=5,
        )
    try:
        model.eval()
        yield
    finally:
        for module in training:
            module.training = True
