"""Verification data: calibration's samples, with labels where there are any."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .calibration import CalibrationData, InputSpec, load_calibration
from .errors import CalibrationError

_KEYS = ("label", "labels")

Inputs = tuple[Tensor, ...]


class LabelledData:
    """Samples and their labels. Iterating gives pairs, of which the label is None where there are none.

    Attributes:
        source: where the samples come from, in words.
    """

    def __init__(
        self, data: object, specs: Sequence[InputSpec], *, labels: object = None, max_samples: int = 1000
    ) -> None:
        """
        Args:
            data: what `load_calibration` takes, or the same with labels: pairs of a sample and its label, or of a batch
                and its labels, as a DataLoader gives them; one such pair; dicts with a key ``label`` or ``labels``.
            specs: the model's inputs.
            labels: class indices in the order of the samples, where the data holds none.
            max_samples: the most samples that are used; of labelled data the first.

        Raises:
            CalibrationError: the data is not what the model takes.
        """
        self._found: list[int] = []
        self._given = None if labels is None else _labels(labels)
        if isinstance(data, Iterator):  # to be gone through more than once
            data = list(itertools.islice(data, max_samples))
        pairs = None if isinstance(data, CalibrationData) else _pairs(data, specs)
        if pairs is not None and self._given is not None:
            raise CalibrationError("labels= is given, and the data holds labels too. Give one of them.")
        self.labelled = pairs is not None or self._given is not None
        self._from_data = pairs is not None
        if isinstance(data, CalibrationData):
            self._samples = data.bind(specs)
        else:
            source = data if pairs is None else self._without_labels(pairs)
            self._samples = load_calibration(source, max_samples=max_samples).bind(specs)
        self.source = "labelled samples" if self._from_data else self._samples.source

    def __len__(self) -> int:
        """How many there are.

        Raises:
            TypeError: it can't be told before a pass through them.
        """
        return len(self._samples)

    def __iter__(self) -> Iterator[tuple[Inputs, int | None]]:
        count = 0
        for count, inputs in enumerate(self._samples, 1):
            labels = self._found if self._from_data else self._given
            if labels is not None and len(labels) < count:
                raise CalibrationError(
                    f"There are more samples than labels, which end after {len(labels)}. Give one label per sample."
                )
            yield inputs, None if labels is None else labels[count - 1]
        if self._given is not None and len(self._given) != count:
            raise CalibrationError(
                f"{len(self._given)} labels were given for {count} samples. Give one label per sample; of more than "
                "max_samples samples only some are used."
            )

    def _without_labels(self, pairs: Callable[[], Iterable[tuple[object, object]]]) -> Callable[[], Iterator[object]]:
        def samples() -> Iterator[object]:
            self._found = []
            for inputs, label in pairs():
                labels = _labels(label)
                for index, one in enumerate(labels):
                    self._found.append(one)
                    yield _cut(inputs, index, len(labels))

        return samples


def _pairs(data: object, specs: Sequence[InputSpec]) -> Callable[[], Iterable[tuple[object, object]]] | None:
    """A function that gives the pairs of a sample and its label anew each time; None where there are no labels."""
    if _pair(data, specs) is not None:
        data = [data]
    if isinstance(data, (str, bytes, Tensor, np.ndarray, Mapping)) or hasattr(data, "__fspath__"):
        return None
    again: Any = data if callable(data) and not hasattr(data, "__getitem__") else lambda: data
    made = again()
    first = next(iter(made), None) if isinstance(made, Iterable) else None
    if first is None or _pair(first, specs) is None:
        return None
    return lambda: (_checked(_pair(item, specs), index) for index, item in enumerate(again()))


def _pair(item: object, specs: Sequence[InputSpec]) -> tuple[object, object] | None:
    """The sample and the label in `item`, if that is what it holds. Two inputs of a model are no such pair."""
    if isinstance(item, Mapping):
        key = next((key for key in _KEYS if key in item and key not in [spec.name for spec in specs]), None)
        return None if key is None else ({name: item[name] for name in item if name != key}, item[key])
    if not isinstance(item, (tuple, list)) or len(item) != 2 or not is_label(item[1]):
        return None
    inputs, label = item
    return (inputs, label) if len(specs) == 1 or isinstance(inputs, (tuple, list, Mapping)) else None


def _cut(inputs: Any, index: int, count: int) -> Any:
    """Sample `index` of a batch of `count`. (load_calibration would cut it too, but choose, and so lose the labels.)"""
    if count == 1:
        return inputs
    if isinstance(inputs, Mapping):
        return {name: _cut(value, index, count) for name, value in inputs.items()}
    if isinstance(inputs, (tuple, list)):
        return tuple(_cut(value, index, count) for value in inputs)
    length = len(inputs)
    if length % count:
        raise CalibrationError(f"A batch of {length} has {count} labels. Give one label per sample.")
    return inputs[index * (length // count) : (index + 1) * (length // count)]


def is_label(value: object) -> bool:
    if isinstance(value, (Tensor, np.ndarray)):
        integer = not torch.as_tensor(value).is_floating_point() and torch.as_tensor(value).dtype != torch.bool
        return integer and value.ndim <= 1
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _checked(pair: tuple[object, object] | None, index: int) -> tuple[object, object]:
    if pair is None:
        raise CalibrationError(f"Item {index} of the data has no label, and others have. Give each one, or none.")
    return pair


def _labels(given: object) -> list[int]:
    values = torch.as_tensor(given) if not isinstance(given, Tensor) else given
    if values.is_floating_point() or values.dtype == torch.bool or values.dim() > 1:
        raise CalibrationError(
            f"The labels are {values.dtype} of shape {list(values.shape)}. Allowed: class indices, one per sample, e.g."
            " a tensor of int64 with one dimension."
        )
    return [int(label) for label in values.reshape(-1)]
