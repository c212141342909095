"""Inputs that a model takes in lists, tuples or dicts: the tensors in them, by names such as ``boxes.0``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def is_nested(inputs: Sequence[Any]) -> bool:
    """Whether some of the inputs of a call are no tensors, but hold them."""
    return any(isinstance(value, (list, tuple, Mapping)) for value in inputs)


def leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """What is in a value, with names, in the order in which torch's pytree has it."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from leaves(part, f"{name}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, part in enumerate(value):
            yield from leaves(part, f"{name}.{index}")
    else:
        yield name, value


def of_call(inputs: Sequence[Any], names: Sequence[str] | None) -> dict[str, Any]:
    """What is in the inputs of a call, by name.

    Args:
        inputs: one for each argument.
        names: of the arguments; their indices where they are not known.
    """
    known = names if names is not None and len(names) >= len(inputs) else [str(index) for index in range(len(inputs))]
    return dict(leaf for value, name in zip(inputs, known, strict=False) for leaf in leaves(value, name))


def without_nesting(sample: object, names: Sequence[str]) -> object:
    """A sample for a model that takes lists or dicts of tensors: what is in them, by the names of the model's inputs.

    Args:
        sample: as it was found.
        names: of the inputs, e.g. ``boxes.0``; empty where they are not known.
    """
    arguments = list(dict.fromkeys(name.partition(".")[0] for name in names))
    if len(arguments) == len(names):  # none of the names is a part's: nothing is nested, or nothing is known of it
        if isinstance(sample, (list, tuple)) and is_nested(sample):
            values = list(of_call(sample, None).values())
            return values if len(values) == len(names) else sample
        return sample
    if isinstance(sample, Mapping):
        return of_call(list(sample.values()), [str(key) for key in sample])
    if not isinstance(sample, (list, tuple)) or (len(sample) == len(names) and not is_nested(sample)):
        return sample
    # A list may be what the only argument takes.
    return of_call(sample if len(sample) == len(arguments) else [sample], arguments)
