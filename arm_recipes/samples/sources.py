"""Where calibration samples come from: one class per kind of source, each giving pieces that are read one by one."""

from __future__ import annotations

import inspect
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import IterableDataset

from arm_recipes.errors import CalibrationError

from .files import Files, find_files, is_mapped, read
from .images import ImageOptions, image_form
from .inputs import InputSpec, described


@dataclass(frozen=True, kw_only=True)
class Settings:
    max_samples: int
    seed: int
    allow_batch: bool
    image: ImageOptions
    names: tuple[str, ...] | None

    def not_default(self) -> list[str]:
        """Options that differ from load_calibration's defaults, but for the names."""
        defaults: dict[str, object] = {"max_samples": 1000, "seed": 0, "allow_batch": False}
        return [name for name, value in defaults.items() if getattr(self, name) != value] + self.image.given


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a source that is read at once.

    Attributes:
        where: what errors call it.
        load: reads it, and gives the samples it lists, or itself as the only one. Each may hold several along its first
            dimension.
        share: most samples that it may give.
        key: seed of the choice of those; None for the first ones.
        mapped: whether its tensors are mapped to a file.
        row: whether it may be a row of a data set (see `fit`).
    """

    where: str
    load: Callable[[], Sequence[object]]
    share: int
    key: str | None = None
    mapped: bool = False
    row: bool = False

    def choose(self, count: int, most: int, seed: int) -> Sequence[int]:
        """Which `most` of `count` to use, ascending."""
        return range(count)[:most] if self.key is None else _choose(count, most, f"{seed}:{self.key}")

    def used(self, count: int, most: int, seed: int) -> Iterator[tuple[int, str, int]]:
        """Which of `count` items to use: the index, what errors call it, and the most samples that it may give."""
        chosen = self.choose(count, most, seed)
        for index, share in zip(chosen, _shares(most, len(chosen)), strict=True):
            yield index, self.where if count == 1 else f"{self.where}: sample {index}", share


def _choose(count: int, most: int, key: str) -> Sequence[int]:
    return range(count) if count <= most else sorted(random.Random(key).sample(range(count), most))


def _shares(most: int, count: int) -> list[int]:
    """`most` in `count` equal shares, the first ones greater by 1 where it does not divide."""
    return [most // count + (index < most % count) for index in range(count)]


class Source(Protocol):
    """Where samples come from.

    Attributes:
        description: the source in words.
        peekable: whether a look at its first sample has no effect.
        sized: whether all shapes can be had without reading all values.
        in_memory: whether that costs nothing.
    """

    description: str
    peekable: bool
    sized: bool
    in_memory: bool

    def pieces(self, specs: Sequence[InputSpec], settings: Settings, *, peek: bool) -> Iterator[Piece]:
        """The pieces, in order; to `peek` means that only shapes and dtypes will be looked at."""


class FileSource:
    peekable = True
    sized = True
    in_memory = False

    def __init__(self, files: Files) -> None:
        self.files = files
        self.description = files.description

    def pieces(self, specs: Sequence[InputSpec], settings: Settings, *, peek: bool) -> Iterator[Piece]:
        image = self.files.image
        form = None if image is None else image_form(settings.image, specs, str(image))
        shares = _shares(settings.max_samples, len(self.files.paths))
        for path, key, share in zip(self.files.paths, self.files.keys, shares, strict=True):
            yield Piece(
                where=str(path),
                load=partial(read, path, form, peek=peek),
                share=share,
                key=key,
                mapped=is_mapped(path),
            )


class _Indexed:
    """Items that can be had by number: a list, or a map-style data set."""

    def __init__(self, items: Any, description: str) -> None:
        self.description = description
        self.peekable = True
        self.sized = self.in_memory = isinstance(items, (list, tuple))
        self._items = items

    def pieces(self, specs: Sequence[InputSpec], settings: Settings, *, peek: bool) -> Iterator[Piece]:
        chosen = _choose(len(self._items), settings.max_samples, f"{settings.seed}:")
        for index, share in zip(chosen, _shares(settings.max_samples, len(chosen)), strict=True):
            yield Piece(
                where=f"{self.description}, sample {index}",
                load=partial(self._load, index),
                share=share,
                key=str(index),
                row=True,
            )

    def _load(self, index: int) -> Sequence[object]:
        return [self._items[index]]


class _Iterable:
    """What can be gone through again, from its start, and need not have an end."""

    peekable = False
    sized = False
    in_memory = False

    def __init__(self, iterable: Callable[[], Iterable[object]], description: str) -> None:
        self.description = description
        self._iterable = iterable

    def pieces(self, specs: Sequence[InputSpec], settings: Settings, *, peek: bool) -> Iterator[Piece]:
        for index, item in enumerate(self._iterable()):
            yield Piece(
                where=f"{self.description}, item {index}",
                load=partial(_alone, item),
                share=settings.max_samples,
                row=True,
            )


class _OneShot(_Iterable):
    """What can be gone through only once. What it gave is kept and given again."""

    peekable = True  # what was looked at is not lost

    def __init__(self, iterator: Iterator[object], description: str) -> None:
        super().__init__(self._again, description)
        self._iterator = iterator
        self._kept: list[object] = []
        self._failure: Exception | None = None

    def _again(self) -> Iterator[object]:
        index = 0
        while True:
            if index == len(self._kept) and not self._advance():
                return
            yield self._kept[index]
            index += 1

    def _advance(self) -> bool:
        if self._failure is not None:
            # After an exception a generator only says that it is at its end.
            raise CalibrationError(
                f"{self.description}: it failed before, after {len(self._kept)} items ({self._failure!r}), and can't "
                "be gone on with. Give a fresh one."
            ) from self._failure
        try:
            self._kept.append(_copied(next(self._iterator)))
        except StopIteration:
            return False
        except Exception as error:
            self._failure = error
            raise
        return True


def _alone(item: object) -> Sequence[object]:
    return [item]


def _copied(item: Any) -> Any:
    """A copy of a sample: loaders may fill the same memory with the next one."""
    if isinstance(item, torch.Tensor):
        return item.detach().clone()
    if isinstance(item, np.ndarray):
        return item.copy()
    if isinstance(item, Mapping):
        return {key: _copied(value) for key, value in item.items()}
    if isinstance(item, (list, tuple)):
        return [_copied(value) for value in item]
    return item


def source_of(source: Any, settings: Settings) -> Source:
    if isinstance(source, (str, os.PathLike)):
        path = os.fsdecode(source)
        if not path:
            raise CalibrationError("'' is an empty path. Give the path of a file or a folder of data.")
        return FileSource(find_files(path, settings.max_samples, settings.seed))
    kind = type(source).__name__
    if isinstance(source, (torch.Tensor, np.ndarray, Mapping)):
        return _Indexed([source], described(source))
    if isinstance(source, Iterator):
        return _OneShot(source, f"{described(source)} (kept in memory)")
    if _is_indexed(source):
        if len(source) == 0:
            raise CalibrationError(f"The {kind} is empty, so there are no samples. Give at least one.")
        description = f"{described(source)} of {len(source)}"
        if len(source) > settings.max_samples:
            description += f" ({settings.max_samples} used, seed {settings.seed})"
        return _Indexed(source, description)
    if hasattr(type(source), "__iter__") and not isinstance(source, _NO_SAMPLES):
        return _Iterable(lambda: source, described(source))
    if callable(source) and not isinstance(source, _NO_SAMPLES):
        name = getattr(source, "__name__", kind)
        _refuse_arguments(source, name)
        return _Iterable(partial(_called, source, name), f"function {name}")
    raise CalibrationError(
        f"{source!r}: {described(source)} is no data to go through. Allowed: the path of a file or "
        "folder, a list of samples, an iterable such as a DataLoader or a generator, a function that gives one, "
        "CalibrationData."
    )


# What can be gone through or called, but not for samples.
_NO_SAMPLES = (bytes, bytearray, memoryview, torch.nn.Module)


def _is_indexed(source: object) -> bool:
    kind = type(source)
    # IterableDataset inherits a __getitem__ that only raises.
    return (
        hasattr(kind, "__getitem__")
        and hasattr(kind, "__len__")
        and not isinstance(source, (*_NO_SAMPLES, IterableDataset))
    )


def _refuse_arguments(function: Callable[..., Any], name: str) -> None:
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise CalibrationError(
            f"function {name}: it can't be called without arguments ({error}). Give lambda: {name}(...) with them."
        ) from error
    except ValueError:
        pass  # some built-in ones don't tell


def _called(function: Callable[[], Any], name: str) -> Iterable[object]:
    samples = function()
    if isinstance(samples, (str, bytes, torch.Tensor, np.ndarray, Mapping)) or not hasattr(type(samples), "__iter__"):
        raise CalibrationError(
            f"function {name}: it gives {described(samples)}. Let it give an iterable of samples, e.g. a list of "
            "tuples of tensors."
        )
    return samples  # type: ignore[no-any-return]
