"""What a session is given: models, samples and dynamic shapes by method, and the names of a model's arguments."""

from __future__ import annotations

import contextlib
import inspect
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule

from arm_recipes.errors import ModelError
from arm_recipes.lowering.checks import quantized
from arm_recipes.samples.inputs import dtype_text
from arm_recipes.samples.models import Model, argument_names
from arm_recipes.upstream.private import tree_leaves

Inputs = tuple[Any, ...]


def models_of(model: Any) -> dict[str, Model]:
    """The model of each method, read where it is a path; ``forward`` where it is but one.

    Raises:
        ModelError: there is none, one is no model, or they are modules and programs together.
    """
    given = dict(model) if isinstance(model, Mapping) else {"forward": model}
    if not given:
        raise ModelError("model is an empty dict. Give at least one method: {'forward': module}.")
    models = {
        method: load_program(value) if isinstance(value, (str, os.PathLike)) else value
        for method, value in given.items()
    }
    for method, value in models.items():
        if not isinstance(value, (nn.Module, ExportedProgram)):
            kind = f"the class {value.__name__}" if isinstance(value, type) else f"of type {type(value).__name__}"
            raise ModelError(
                f"The model of method {method!r} is {kind}. Allowed: an nn.Module, an ExportedProgram, or the path of "
                "a .pt2 file."
            )
    if len({isinstance(value, ExportedProgram) for value in models.values()}) > 1:
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
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"model={os.fspath(path)!r} is no .pt2 file that this version of torch can load ({reason}). "
            "Make it with torch.export.save(torch.export.export(module, inputs), path)."
        ) from error


def for_method(given: object, method: str, models: Mapping[str, Model], argument: str) -> object:
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


def samples_of(model: Model, given: object, method: str) -> list[Inputs]:
    """The example inputs of a method as a list of calls, the model's own where none are given.

    Raises:
        ModelError: there are none, or they are in no form that says what one call is, or the model can't be called so.
    """
    samples = _calls(model, given, method)
    _check_call(model, samples[0], method)
    return samples


def _calls(model: Model, given: object, method: str) -> list[Inputs]:
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


def _check_call(model: Model, sample: Inputs, method: str) -> None:
    """
    Raises:
        ModelError: a module can't be called with as many inputs, or one is an array.
    """
    arrays = [index for index, value in enumerate(tree_leaves(sample)) if type(value).__module__ == "numpy"]
    if arrays:
        raise ModelError(
            f"example_inputs of method {method!r}: input {arrays[0]} is a NumPy array. Give torch.from_numpy(array)."
        )
    if isinstance(model, nn.Module) and not isinstance(model, GraphModule):
        try:
            inspect.signature(model.forward).bind(*sample)
        except TypeError as error:
            names = ", ".join(argument_names(model)) or "nothing"
            raise ModelError(
                f"example_inputs of method {method!r} has {len(sample)} inputs, and the model takes {names} ({error}). "
                "Give one for each."
            ) from error


def refusal_of(models: Mapping[str, Model], inputs: Mapping[str, Sequence[Inputs]]) -> ModelError | None:
    """Why a model can't be run on its own example inputs; None where all can, or are no modules."""
    for method, model in models.items():
        if not isinstance(model, nn.Module):
            continue
        sample = inputs[method][0]
        try:
            with torch.no_grad(), buffers_kept(model):
                model(*sample)
        except Exception as error:
            tensors = [value for value in tree_leaves(sample) if isinstance(value, Tensor)]
            forms = ", ".join(f"{dtype_text(value.dtype)} {list(value.shape)}" for value in tensors)
            words = (str(error).splitlines() or [""])[0].rstrip(".")
            return ModelError(
                f"The model of method {method!r} itself fails on its example inputs, {forms}, with "
                f"{type(error).__name__}: {words}. Give inputs that it takes."
            )
    return None


def carried(model: Model) -> object:
    """The example inputs that a model brings with it; None where it has none.

    Raises:
        ModelError: they are of a call with keywords.
    """
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
        inputs = getattr(model, attribute, None)
        if inputs is not None:
            return inputs() if callable(inputs) and not isinstance(inputs, Tensor) else inputs
    return None


def dynamic_shapes_of(given: Any, model: object, models: Mapping[str, Model]) -> dict[str, Any]:
    """By method name, as the session wants it. (It takes any dict for one, and drops names that are no methods.)"""
    if given is None:
        return {}
    if isinstance(model, Mapping) or (isinstance(given, Mapping) and given.keys() == {"forward"}):
        return {method: for_method(given, method, models, "dynamic_shapes") for method in models}
    module = models["forward"]
    if isinstance(given, Mapping) and isinstance(module, nn.Module):
        arguments = inspect.signature(module.forward).parameters  # the names of *args and keywords are legal too
        unknown = [key for key in given if key not in arguments]
        if unknown:
            raise ModelError(
                f"dynamic_shapes has the keys {', '.join(map(repr, unknown))}, which are no arguments of the model. "
                f"Allowed: {', '.join(map(repr, arguments))}."
            )
    return {"forward": given}


class Captured(nn.Module):
    """An exported program as a module that the session quantizes: it leaves a GraphModule as it is."""

    def __init__(self, program: ExportedProgram) -> None:
        super().__init__()
        self.program = program.module(check_guards=False)

    def forward(self, *inputs: Any) -> Any:
        return self.program(*inputs)


def as_modules(models: Mapping[str, Model]) -> dict[str, Model]:
    """The models, programs that are still float as modules to quantize. A session takes either all or none."""
    programs = [model.graph_module for model in models.values() if isinstance(model, ExportedProgram)]
    if not programs or all(map(quantized, programs)):
        return dict(models)
    if any(map(quantized, programs)):
        raise ModelError("Some of the methods are quantized and some are not. Give all of them in float, or none.")
    return {method: Captured(model) for method, model in models.items() if isinstance(model, ExportedProgram)}


def to_eval(models: Mapping[str, Model]) -> list[nn.Module]:
    """The modules that are exported in eval mode: all but those that torch.export captured."""
    return [
        module
        for module in models.values()
        if isinstance(module, nn.Module) and not isinstance(module, (GraphModule, Captured))
    ]


def warn_of_training(models: Mapping[str, Model]) -> None:
    """Warn the caller's caller of modules that are in training mode."""
    modules = to_eval(models)
    for method, module in models.items():
        if any(module is each for each in modules) and module.training:  # type: ignore[union-attr]
            warnings.warn(
                f"The model of method {method!r} is in training mode. It is exported in eval mode, and stays as it is.",
                stacklevel=3,
            )


@contextlib.contextmanager
def in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Every submodule in eval mode for the time being. A graph module stays as it is."""
    modules = [] if isinstance(model, GraphModule) else list(model.modules())
    training = [module for module in modules if module.training]
    try:
        if any(isinstance(module, GraphModule) for module in modules):
            for module in training:  # programs from torch.export have no eval()
                module.training = False
        elif training:
            model.eval()
        yield
    finally:
        for module in training:
            module.training = True


@contextlib.contextmanager
def buffers_kept(module: nn.Module) -> Iterator[None]:
    """The module's buffers as before, afterwards: one that keeps state writes to them, and it may be the caller's."""
    before = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        for buffer, value in before:
            if not torch.equal(buffer, value):
                buffer.copy_(value)
