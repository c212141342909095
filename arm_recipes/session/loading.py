"""From a name on the command line to a model and its example inputs.

`load_model` runs the code of a .py file or module, and a .pt2 file may run code too. `read_inputs` runs none.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import math
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from arm_recipes.errors import ArmRecipeError, ModelError, nearest, spell
from arm_recipes.files import given_path
from arm_recipes.recipes.names import UPSTREAM_MODEL, split_model
from arm_recipes.samples.files import TENSOR_SUFFIXES, read
from arm_recipes.samples.models import Model, argument_names

from .arguments import load_program

# Beside its ModelUnderTest, in a file for upstream's aot_arm_compiler.
_UPSTREAM_INPUTS = "ModelInputs"

_FORMS = "path/to/file.py:name, package.module:name, or a .pt2 file"


@dataclass(frozen=True)
class LoadedModel:
    """A model that was found by name.

    Attributes:
        model: the module or program.
        example_inputs: what came with it: a tuple of tensors, or a list of such; None where nothing did.
    """

    model: Model
    example_inputs: Any = None


def load_model(given: str) -> LoadedModel:
    """Find the model that `given` names: ``file.py:name``, ``package.module:name``, or a .pt2 file.

    The object is a module or an ExportedProgram, a function without arguments that gives one, or either of these with
    its example inputs in a tuple. Without a name ``ModelUnderTest`` and ``ModelInputs`` are taken, or else the only
    module that the file has.

    Raises:
        ModelError: there is no such file, name or model, or the user's code raised.
    """
    place, name = split_model(given)
    if place.endswith(".pt2"):
        return LoadedModel(load_program(_existing(place)))
    if place.endswith((".pt", ".pth", ".pte")):
        raise ModelError(
            f"model={given!r}: {_NOT_TAKEN[Path(place).suffix]} Allowed: {_FORMS} (made by torch.export.save)."
        )
    with _importing_from(Path(place).resolve().parent if place.endswith(".py") else Path.cwd()):
        module = _run_file(place) if place.endswith(".py") else _import(given, place)
        where, value = (name, _named(module, name, place)) if name else _only_model(module, place)
        return _resolved(value, where, place, module)


_NOT_TAKEN = {
    ".pt": "a .pt file is either tensors, or a pickle that runs any code it likes.",
    ".pth": "a .pth file is either tensors, or a pickle that runs any code it likes.",
    ".pte": "a .pte file is compiled already.",
}


def _existing(place: str) -> Path:
    path = given_path(place)
    if path.is_file():
        return path
    if path.is_dir():
        raise ModelError(f"model={place!r} is a folder. Allowed: {_FORMS}.")
    siblings = (
        [each.name for each in path.parent.iterdir() if each.suffix == path.suffix] if path.parent.is_dir() else []
    )
    near = nearest(path.name, siblings)
    hint = f" Did you mean {str(path.with_name(near))!r}?" if near else ""
    where = "" if path.parent.is_dir() else f" There is no folder {str(path.parent)!r} either."
    raise ModelError(f"model={place!r}: no such file.{hint}{where} Allowed: {_FORMS}.")


@contextlib.contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """Let what lies in `folder` be imported for the time being, as if a script there ran."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))


def _run_file(place: str) -> ModuleType:
    path = _existing(place).resolve()
    # Under a name of its own: the file may be called as a package is (torch.py), or be imported by a sibling.
    name = f"arm_recipes_model_{re.sub(r'[^0-9a-zA-Z_]', '_', path.stem)}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, "Python has a loader for .py files"
    loader = spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # torch.export and pickle look classes up there
    _run(lambda: loader.exec_module(module), f"model={place!r}: the file raised while it was run", str(path))
    return module


def _import(given: str, place: str) -> ModuleType:
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", place):
        raise ModelError(f"model={given!r} names no model. Allowed: {_FORMS}.")
    parent = ""
    for part in place.split("."):
        parent = f"{parent}.{part}" if parent else part
        if _find(parent) is None:
            hint = f" There is a file {place}.py: did you mean {place}.py{given[len(place) :]!s}?"
            raise ModelError(
                f"model={given!r}: there is no module {parent!r}.{hint if Path(f'{place}.py').is_file() else ''} "
                f"Allowed: {_FORMS}."
            )
    module: ModuleType = _run(
        lambda: importlib.import_module(place), f"model={given!r}: the module raised on import", None
    )
    return module


def _find(module: str) -> object:
    try:
        return importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    except (ImportError, ValueError):
        return module  # let the import itself say what is wrong


def _run(call: Callable[[], Any], what: str, file: str | None) -> Any:
    """Run the user's code. What it raises comes out with the frames of the user's own files, and none of ours."""
    try:
        return call()
    except ArmRecipeError:
        raise
    except (Exception, SystemExit) as error:
        raise ModelError(f"{what}:\n{_frames(error, file)}") from None


def _frames(error: BaseException, file: str | None) -> str:
    """The end of a traceback, from the user's file on."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = str(Path(__file__).parents[1])
    start = next((index for index, frame in enumerate(frames) if file and frame.filename == file), None)
    if start is None:
        foreign = (index for index, frame in enumerate(frames) if not _internal(frame.filename, ours))
        start = next(foreign, len(frames))
    lines = traceback.format_list(frames[start:][-4:]) + traceback.format_exception_only(type(error), error)
    return "".join(lines).rstrip()


def _internal(filename: str, ours: str) -> bool:
    return filename.startswith((ours, "<frozen importlib")) or Path(filename).parent.name == "importlib"


def _named(module: ModuleType, name: str, place: str) -> Any:
    value: Any = module
    for part in name.split("."):
        if not hasattr(value, part):
            known = [key for key in vars(value) if not key.startswith("_")] if hasattr(value, "__dict__") else []
            near = nearest(part, known)
            candidates = _candidates(module)
            raise ModelError(
                f"model={place + ':' + name!r}: {place} has no {part!r}."
                f"{f' Did you mean {near!r}?' if near else ''}"
                f"{f' It has these models: {spell(candidates)}.' if candidates else ''}"
            )
        value = getattr(value, part)
    return value


def _candidates(module: ModuleType) -> list[str]:
    """Names of the models that a module has, and of its own functions and classes that make some."""
    own = [(name, value) for name, value in vars(module).items() if not name.startswith("_")]
    models = [name for name, value in own if isinstance(value, (nn.Module, ExportedProgram))]
    return models or [
        name
        for name, value in own
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not _required_arguments(value)
    ]


def _required_arguments(function: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    by_default = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in parameters if each.default is each.empty and each.kind not in by_default]


def _only_model(module: ModuleType, place: str) -> tuple[str, Any]:
    if hasattr(module, UPSTREAM_MODEL):
        return "", getattr(module, UPSTREAM_MODEL)
    candidates = _candidates(module)
    if len(candidates) == 1 and not inspect.isfunction(getattr(module, candidates[0])):
        return candidates[0], getattr(module, candidates[0])
    if candidates:
        raise ModelError(
            f"model={place!r}: it is not said which model of it is meant. It has {spell(candidates)}: give "
            f"{place}:{candidates[0]}."
        )
    raise ModelError(
        f"model={place!r}: there is no model in it: neither {UPSTREAM_MODEL}, nor a torch.nn.Module, nor a function "
        f"without arguments that makes one. Add one, and give {place}:name."
    )


def _resolved(value: Any, name: str, place: str, module: ModuleType) -> LoadedModel:
    label = f"{place}:{name or UPSTREAM_MODEL}"
    what = "it is"
    if isinstance(value, type):
        raise ModelError(
            f"model={label!r} is the class {value.__name__}. Give an instance of it, or a function that makes one: "
            f"def make(): return {value.__name__}(...)."
        )
    if callable(value) and not isinstance(value, (nn.Module, ExportedProgram)):
        missing = _required_arguments(value)
        if missing:
            raise ModelError(
                f"model={label!r} is a function that wants arguments ({', '.join(missing)}). Give one that takes none: "
                f"def make(): return {getattr(value, '__name__', 'function')}(...)."
            )
        value = _run(value, f"model={label!r}: the function raised", module.__file__)
        what = "the function gives"
    if isinstance(value, (nn.Module, ExportedProgram)):
        inputs = getattr(module, _UPSTREAM_INPUTS, None) if name in ("", UPSTREAM_MODEL) else None
        return LoadedModel(value, _tupled(inputs))
    if isinstance(value, (tuple, list)) and len(value) == 2 and isinstance(value[0], (nn.Module, ExportedProgram)):
        return LoadedModel(value[0], _tupled(value[1]))
    raise ModelError(
        f"model={label!r}: {what} {_kind(value)}. Allowed: a torch.nn.Module, an ExportedProgram, or a tuple of one "
        "and its example inputs, (model, (tensor, ...))."
    )


def _tupled(inputs: Any) -> Any:
    """Example inputs as the session takes them; upstream's script takes a list of tensors for one call's inputs."""
    if isinstance(inputs, list) and inputs and all(isinstance(each, Tensor) for each in inputs):
        return tuple(inputs)
    return inputs


def _kind(value: object) -> str:
    return "None" if value is None else f"something of type {type(value).__name__}"


def read_inputs(paths: Sequence[str], model: Model) -> tuple[Tensor, ...]:
    """Read the inputs of one call from files: one file for all, or one for each, in order. Runs no code.

    A .pt or .npz or .safetensors file may hold several; those with names go to the model's arguments of these names.

    Raises:
        ModelError: a file is missing, or holds something other than tensors, or not those that the model takes.
    """
    inputs: list[Tensor] = []
    for given in paths:
        path = given_path(given)
        if path.suffix.lower() not in TENSOR_SUFFIXES:
            raise ModelError(
                f"inputs={given!r}: files of kind {path.suffix or 'no suffix'!r} hold no inputs. "
                f"Allowed: {spell(TENSOR_SUFFIXES)}."
            )
        if not path.is_file():
            raise ModelError(f"inputs={given!r}: no such file. Give tensors that the model is called with.")
        try:
            samples = read(path, None)
        except ArmRecipeError as error:
            raise ModelError(f"inputs={error}") from error
        content = samples[0] if len(samples) == 1 else tuple(samples)
        inputs += _tensors(content, given, argument_names(model))
    return tuple(inputs)


def _tensors(content: Any, given: str, arguments: list[str]) -> list[Tensor]:
    if isinstance(content, Tensor):
        return [content.clone()]  # not mapped to the file any more
    if isinstance(content, dict) and all(isinstance(value, Tensor) for value in content.values()):
        if len(content) == 1:
            return [value.clone() for value in content.values()]
        ordered = [name for name in arguments if name in content]
        if len(ordered) == len(content):
            return [content[name].clone() for name in ordered]
        raise ModelError(
            f"inputs={given!r} holds {spell(content)}, and the model's arguments are {spell(arguments) or 'unknown'}. "
            "Name the tensors as the arguments are named, or give one file per input, in order."
        )
    if isinstance(content, (tuple, list)) and content and all(isinstance(each, Tensor) for each in content):
        return [each.clone() for each in content]
    raise ModelError(
        f"inputs={given!r} is not the inputs of one call. Allowed: a tensor, a tuple of tensors, or tensors by the "
        "names of the model's arguments."
    )


_MOST_ELEMENTS = 2**30

_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.float64,
        torch.int8,
        torch.uint8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.bool,
    )
}


def random_inputs(shapes: Sequence[str]) -> tuple[Tensor, ...]:
    """Make inputs of these shapes, each ``1x3x224x224`` or ``1x3x224x224:dtype`` (float32 where not given).

    The same on every call. Floats are normally distributed, integers and bools are 0 and 1.

    Raises:
        ModelError: a shape or dtype is none.
    """
    generator = torch.Generator().manual_seed(0)
    inputs = []
    for given in shapes:
        sizes, _, name = given.partition(":")
        name = name or "float32"
        if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", sizes):
            raise ModelError(f"shape={given!r} is no shape. Allowed: sizes joined with x, e.g. 1x3x224x224.")
        if name not in _DTYPES:
            near = nearest(name, _DTYPES)
            hint = f" Did you mean {near!r}?" if near else ""
            raise ModelError(f"shape={given!r}: {name!r} is no dtype.{hint} Allowed: {spell(_DTYPES)}.")
        dtype = _DTYPES[name]
        shape = [int(size) for size in sizes.split("x")]
        if math.prod(shape) > _MOST_ELEMENTS:
            raise ModelError(f"shape={given!r} has {math.prod(shape):,} elements. At most {_MOST_ELEMENTS:,} are made.")
        if dtype.is_floating_point:
            inputs.append(torch.randn(shape, generator=generator).to(dtype))
        else:
            inputs.append(torch.randint(0, 2, shape, generator=generator).to(dtype))
    return tuple(inputs)
