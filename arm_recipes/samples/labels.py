"""Verification data: calibration's samples, with labels where there are any."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from arm_recipes.errors import CalibrationError, quoted, spell
from arm_recipes.files import given_path

from . import CalibrationData, InputSpec, load_calibration
from .files import TENSOR_SUFFIXES, read

FOLDERS = "folders"

_KEYS = ("label", "labels")
_LINES = (".txt", ".csv")
_SUFFIXES = (*_LINES, *TENSOR_SUFFIXES)

Inputs = tuple[Tensor, ...]


class LabelledData:
    """Samples and their labels. Iterating gives pairs, of which the label is None where there are none.

    Attributes:
        source: where the samples come from, in words.
        labelled: whether there are labels.
    """

    def __init__(
        self,
        data: object,
        specs: Sequence[InputSpec],
        *,
        labels: object = None,
        max_samples: int = 1000,
        any_label: bool = False,
    ) -> None:
        """
        Args:
            data: what `load_calibration` takes, or the same with labels: pairs of a sample and its label, or of a batch
                and its labels, as a DataLoader gives them; one such pair; dicts with a key ``label`` or ``labels``.
            specs: the model's inputs.
            labels: class indices in the order of the samples, where the data holds none; or the path of a file of them
                (see `read_labels`); or ``folders``, for data in one folder per class, which are numbered in the order
                of their names.
            max_samples: the most samples that are used; of labelled data the first.
            any_label: whether labels may be anything, and not class indices alone: what a metric takes. Then data
                without `labels` is pairs, and what holds several labels has one for each sample of the batch along
                its first dimension.

        Raises:
            CalibrationError: the data is not what the model takes.
        """
        self._found: list[Any] = []
        if isinstance(data, Iterator):  # to be gone through more than once
            data = list(itertools.islice(data, max_samples))
        self._kind: _Kind = _Anything(specs) if any_label and labels is None else _ClassIndices()
        pairs = None if isinstance(data, CalibrationData) else _pairs(data, specs, self._kind.is_label)
        if pairs is not None and labels is not None:
            raise CalibrationError("labels= is given, and the data holds labels too. Give one of them.")
        self.labelled = pairs is not None or labels is not None
        self._from_data = pairs is not None
        if isinstance(data, CalibrationData):
            self._samples = data.bind(specs)
        else:
            source = data if pairs is None else self._without_labels(pairs)
            self._samples = load_calibration(source, max_samples=max_samples).bind(specs)
        self.source = "labelled samples" if self._from_data else self._samples.source
        if isinstance(labels, str) and labels == FOLDERS:
            labels = self._samples.folder_indices()
        elif isinstance(labels, (str, os.PathLike)):
            labels = read_labels(labels, fractions=any_label)
        self._given: list[Any] | None = None
        if labels is not None:
            self._given = list(labels) if any_label and isinstance(labels, Iterable) else _labels(labels)
        with contextlib.suppress(TypeError):  # how many there are shows only later
            self._check_count(len(self))

    def __len__(self) -> int:
        """How many there are.

        Raises:
            TypeError: it can't be told before a pass through them.
        """
        return len(self._samples)

    def __iter__(self) -> Iterator[tuple[Inputs, Any]]:
        count = 0
        for count, inputs in enumerate(self._samples, 1):
            labels = self._found if self._from_data else self._given
            if labels is not None and len(labels) < count:
                raise CalibrationError(
                    f"There are more samples than labels, which end after {len(labels)}. Give one label per sample."
                )
            yield inputs, None if labels is None else labels[count - 1]
        self._check_count(count)

    def _check_count(self, samples: int) -> None:
        if self._given is not None and len(self._given) != samples:
            raise CalibrationError(
                f"{len(self._given)} labels were given for {samples} samples. Give one label per sample. Of more "
                "samples than max_samples only some are used: with labels of their own, let max_samples be as many as "
                "there are."
            )

    def _without_labels(self, pairs: Callable[[], Iterable[tuple[object, object]]]) -> Callable[[], Iterator[object]]:
        def samples() -> Iterator[object]:
            self._found = []
            for inputs, label in pairs():
                labels = self._kind.labels(inputs, label)
                for index, own in enumerate(labels):
                    self._found.append(own)
                    yield _cut(inputs, index, len(labels))

        return samples


class _ClassIndices:
    """Labels that are class indices."""

    def is_label(self, value: object) -> bool:
        return is_label(value)

    def labels(self, inputs: object, label: object) -> list[Any]:
        return list(_labels(label))


class _Anything:
    """Labels of any kind: how many a batch has says its inputs."""

    def __init__(self, specs: Sequence[InputSpec]) -> None:
        self._spec = specs[0]

    def is_label(self, value: object) -> bool:
        return value is not None

    def labels(self, inputs: object, label: object) -> list[Any]:
        """One for each sample of `inputs`."""
        values: Any = inputs
        while isinstance(values, (list, tuple, Mapping)) and values:
            values = next(iter(values.values())) if isinstance(values, Mapping) else values[0]
        count, own = 1, self._spec.shape
        if isinstance(values, (Tensor, np.ndarray)) and own and len(values.shape) == len(own):
            count = values.shape[0] // (own[0] or 1)
        several: Any = [label]
        if isinstance(label, (list, tuple)) or (isinstance(label, (Tensor, np.ndarray)) and label.ndim > 0):
            several = label
        if len(several) == count:
            return list(several)
        if count > 1:
            raise CalibrationError(
                f"A batch of {count} samples has {len(several)} labels. Give one per sample, along the first dimension."
            )
        return [label]


_Kind = _ClassIndices | _Anything


def read_labels(given: str | os.PathLike[str], *, fractions: bool = False) -> object:
    """Read the class indices in a file: one on each line of a .txt or .csv file, or the only tensor or array of a file
    that `load_calibration` takes. Runs no code.

    Args:
        given: path of the file.
        fractions: whether a line may hold any number.

    Raises:
        CalibrationError: it can't be read, or does not hold that.
    """
    path = given_path(given)
    kind = path.suffix.lower()
    if kind not in _SUFFIXES:
        raise CalibrationError(
            f"labels={str(given)!r}: files of kind {kind or 'no suffix'!r} hold no labels. Allowed: {spell(_SUFFIXES)};"
            f" or {FOLDERS!r}, for data in one folder per class."
        )
    if kind not in _LINES:
        content: Any = read(path, None)
        while isinstance(content, (list, tuple, Mapping)) and len(content) == 1:
            (content,) = content.values() if isinstance(content, Mapping) else content
        if isinstance(content, Tensor):
            return content
        raise CalibrationError(f"labels={str(given)!r} holds {len(content)} tensors. Give a file of one.")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(f"labels={str(given)!r}: it can't be read ({error}). Give a text file.") from error
    read_line = _fraction if fractions else _whole
    return [_label(line, number, given, read_line) for number, line in enumerate(lines, 1) if line.strip()]


def _label(line: str, number: int, given: object, read_line: Callable[[str], float]) -> float:
    try:
        return read_line(line)
    except ValueError:
        what, one = ("class index", "whole number") if read_line is _whole else ("number", "number")
        raise CalibrationError(
            f"labels={str(given)!r}, line {number}: {line!r} is no {what}. Give one {one} on each line, in "
            "the order of the samples, without a header."
        ) from None


def _whole(line: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", line.strip()):  # Python also takes 1_0, and digits of other scripts
        raise ValueError
    return int(line)


def _fraction(line: str) -> float:
    if "_" in line:
        raise ValueError
    return float(line)


def _pairs(
    data: object, specs: Sequence[InputSpec], labels: Callable[[object], bool]
) -> Callable[[], Iterable[tuple[object, object]]] | None:
    """A function that gives the pairs of a sample and its label anew each time; None where there are no labels."""
    # A list of two pairs is no pair.
    if not (isinstance(data, list) and data and isinstance(data[0], tuple)) and _pair(data, specs, labels) is not None:
        data = [data]
    if isinstance(data, (str, bytes, Tensor, np.ndarray, Mapping)) or hasattr(data, "__fspath__"):
        return None
    again: Any = data if callable(data) and not hasattr(data, "__getitem__") else lambda: data
    items = again()
    first = next(iter(items), None) if isinstance(items, Iterable) else None
    if first is None or _pair(first, specs, labels) is None:
        return None
    return lambda: (_checked(_pair(item, specs, labels), index) for index, item in enumerate(again()))


def _pair(item: object, specs: Sequence[InputSpec], labels: Callable[[object], bool]) -> tuple[object, object] | None:
    """The sample and the label in `item`, if that is what it holds. Two inputs of a model are no such pair."""
    if isinstance(item, Mapping):
        key = next((key for key in _KEYS if key in item and key not in [spec.name for spec in specs]), None)
        return None if key is None else ({name: item[name] for name in item if name != key}, item[key])
    if not isinstance(item, (tuple, list)) or len(item) != 2 or not labels(item[1]):
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
    if isinstance(given, Iterator):
        given = list(given)
    try:
        values = torch.as_tensor(given) if not isinstance(given, Tensor) else given
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        labels = given if isinstance(given, (list, tuple)) else []
        wrong = (index for index, each in enumerate(labels) if not (is_label(each) and abs(int(each)) < 2**63))
        index = next(wrong, None)
        what = f"label {index} is {quoted(labels[index])}" if index is not None else f"labels={quoted(given)}"
        raise CalibrationError(
            f"The labels can't be read: {what}. Allowed: class indices, one per sample, in their order."
        ) from error
    if values.is_floating_point() or values.dtype == torch.bool or values.dim() > 1:
        raise CalibrationError(
            f"The labels are {values.dtype} of shape {list(values.shape)}. Allowed: class indices, one per sample, e.g."
            " a tensor of int64 with one dimension."
        )
    return [int(label) for label in values.reshape(-1)]
