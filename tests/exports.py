"""One export of each kind for all tests of a process. No test may change one: a test that does makes its own."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
from executorch.export import ExportSession
from torch import Tensor

from arm_recipes import ArmRecipeType, CalibrationWarning, ExportReport, export, report
from arm_recipes.recipes import catalog

from .models import Example, conv_net

Model = Callable[[], Example]

_SESSIONS: dict[tuple[str, Model, int, str], ExportSession] = {}


def exported(
    recipe: str | ArmRecipeType | catalog.Recipe, model: Model = conv_net, *, samples: int = 0, **options: Any
) -> ExportSession:
    """What `arm_recipes.export` makes of a network, once in each worker process.

    Args:
        recipe: the recipe, or its name in the enum.
        model: a function at the top of a module that makes the network and its example inputs.
        samples: how many of `random_samples` to export and calibrate with; 0 for the example inputs alone.
        options: of the recipe.
    """
    name = recipe if isinstance(recipe, str) else recipe.name
    key = (name, model, samples, repr(sorted(options.items())))
    if key not in _SESSIONS:
        example = model()
        inputs = random_samples(example, samples) if samples else example.inputs
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CalibrationWarning)
            _SESSIONS[key] = export(example.model, ArmRecipeType[name], inputs, **options)
    return _SESSIONS[key]


def reported(recipe: str | ArmRecipeType | catalog.Recipe, model: Model = conv_net, **options: Any) -> ExportReport:
    """The report, with its layers, of `exported` with the same arguments, once in each worker process."""
    return _report(exported(recipe, model, **options))


_report = functools.cache(report)


def random_samples(example: Example, count: int) -> list[tuple[Tensor, ...]]:
    """`count` random inputs of the network's shapes, always the same."""
    torch.manual_seed(1)
    return [tuple(torch.randn(value.shape) for value in example.inputs) for _ in range(count)]
