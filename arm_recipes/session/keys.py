"""What an export's result depends on, as one digest: the key of its entry in a cache.

Content only: a model's graph as torch.export captures it, with its weights and the names of its modules; the samples
and what the report calls them; the recipe and its options, with what is in a file that one names; the versions of all
that makes the program, and the sources of arm_recipes itself. No time, and no file of the model's.
"""

from __future__ import annotations

import functools
import hashlib
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule

from arm_recipes.files import PACKAGE
from arm_recipes.recipes.catalog import Recipe
from arm_recipes.recipes.options import DATA, PATH, Options, declared
from arm_recipes.samples import CalibrationData
from arm_recipes.samples.models import Model
from arm_recipes.tools import model_converter, versions
from arm_recipes.upstream.digests import add_to_digest, program_digest
from arm_recipes.upstream.private import tree_flatten

from .arguments import Inputs, in_eval_mode

_PLAIN = (str, bytes, int, float, bool, complex, type(None), torch.dtype, torch.memory_format)


class NoKeyError(Exception):
    """What an export depends on can't be told by content."""


def key_of(
    recipe: Recipe,
    options: Options,
    models: Mapping[str, Model],
    inputs: Mapping[str, Sequence[Inputs]],
    others: Mapping[str, Any],
) -> str:
    """The key of an export.

    Args:
        recipe: the catalog row.
        options: as resolved.
        models: by method.
        inputs: example inputs by method, all of which may be calibrated on.
        others: further arguments, plain values or tensors; among them what is known of the calibration data.

    Raises:
        NoKeyError: a model can't be captured, or a value is of a kind whose content isn't known.
    """
    digest = hashlib.sha256(_surroundings().encode())
    digest.update(json.dumps([recipe.name, _resolved(recipe, options)]).encode())
    for method, model in models.items():
        digest.update(f"method {method!r}\n".encode())
        _add_model(digest, model, inputs[method])
        for sample in inputs[method]:
            _add_values(digest, sample)
    _add_values(digest, dict(sorted(others.items())))
    return digest.hexdigest()


def samples_digest(data: CalibrationData | Iterable[Inputs]) -> str:
    """Of the values of calibration samples: what `CalibrationSummary.digest` is after they were calibrated on."""
    if isinstance(data, CalibrationData):
        for _ in data:
            pass
        assert data.record is not None
        return data.record.digest
    digest = hashlib.sha256()
    for value in (value for sample in data for value in tree_flatten(sample)[0]):
        if isinstance(value, Tensor):
            add_to_digest(digest, value)
    return digest.hexdigest()


@functools.cache
def _sources() -> str:
    """Of arm_recipes, which change without its version where it is being worked on."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def _surroundings() -> str:
    converter = model_converter.find_another()
    return json.dumps(
        {
            "sources": _sources(),
            "versions": versions.installed(),
            "python": platform.python_version(),
            "converter": hashlib.sha256(Path(converter).read_bytes()).hexdigest() if converter is not None else None,
            "machine": [platform.system(), platform.machine()],
        }
    )


def _resolved(recipe: Recipe, options: Options) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, declaration in declared(recipe).items():
        if declaration.kind is DATA:
            continue
        value = getattr(options, name)
        values[name] = _json(name, value)
        # Names that are none of a file are Vela's own, whose version is known.
        if declaration.kind is PATH and value and Path(value).is_file():
            values[f"content of {name}"] = hashlib.sha256(Path(value).read_bytes()).hexdigest()
    return values


def _json(name: str, value: object) -> object:
    try:
        json.dumps(value)
    except TypeError as error:
        raise NoKeyError(f"the option {name} is {value!r}") from error
    return value


def _add_model(digest: hashlib._Hash, model: Model, inputs: Sequence[Inputs]) -> None:
    program = model if isinstance(model, ExportedProgram) else _captured(model, inputs[0])
    digest.update(program_digest(program).encode())
    digest.update(str(program.graph_signature).encode())
    for module in program.graph_module.modules():
        if isinstance(module, GraphModule):
            for node in module.graph.nodes:
                stack = node.meta.get("nn_module_stack") or {}
                digest.update(f"{node.name} {list(stack.values())}\n".encode())


def _captured(model: nn.Module, inputs: Inputs) -> ExportedProgram:
    """What the model computes. The export itself captures it in another way (strict), with the same operators."""
    try:
        with in_eval_mode(model):
            return torch.export.export(model, inputs, strict=False)
    except Exception as error:
        words = (str(error).splitlines() or [type(error).__name__])[0]
        raise NoKeyError(f"torch.export can't capture the model ({words})") from error


def _add_values(digest: hashlib._Hash, values: object) -> None:
    leaves, form = tree_flatten(values)
    digest.update(str(form).encode())
    for value in leaves:
        if isinstance(value, Tensor):
            digest.update(f"{value.stride()}".encode())
            add_to_digest(digest, value)
        elif isinstance(value, _PLAIN):
            digest.update(f"{type(value).__name__} {value!r}\n".encode())
        else:
            raise NoKeyError(f"an argument is of type {type(value).__name__}")
