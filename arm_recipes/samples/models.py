"""What a model takes, by the names of its arguments."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn
from torch.export import ExportedProgram

from .inputs import InputSpec, specs_of
from .nesting import is_nested, of_call

Model = nn.Module | ExportedProgram


def argument_names(model: Model) -> list[str]:
    """Names of the inputs that a model is called with, in order; of a module with ``*args``, of those before it."""
    if isinstance(model, ExportedProgram):
        return [str(name) for name in model.graph_signature.user_inputs]
    parameters = inspect.signature(model.forward).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind < parameter.VAR_POSITIONAL]


def specs_for(model: Model, sample: tuple[Any, ...]) -> tuple[InputSpec, ...]:
    """What `model` takes, by an example, with the names of its arguments where they can be told."""
    names = argument_names(model)[: len(sample)]
    known = names if len(names) == len(sample) else None
    if is_nested(sample):
        parts = of_call(sample, known)  # by the arguments' indices where their names are not known
        return specs_of(tuple(parts.values()), list(parts))
    return specs_of(sample, known)
