"""Where a layer's value may be in a simulated program: tensors of its size, in each layout in which they may lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from arm_recipes.simulators.base import Traced

from .graph import Layer


class Places:
    """The tensors from inside of one run of a program."""

    def __init__(self, tensors: Sequence[Traced]) -> None:
        self._alike: dict[tuple[torch.dtype, int], list[Traced]] = {}
        for tensor in tensors:
            self._alike.setdefault((tensor.value.dtype, tensor.value.numel()), []).append(tensor)

    def of(self, layer: Layer, shape: torch.Size, dtype: torch.dtype) -> list[Tensor]:
        """What was made from the layer, in `shape`, the last first."""
        own = [tensor for tensor in self._all(shape, dtype) if _is_from(tensor, layer)]
        first = next((index for index, tensor in enumerate(own) if tensor.computes), 0)
        return [form.reshape(shape) for tensor in reversed(own[first:]) for form in _forms(tensor.value)]

    def nameless(self, layer: Layer, shape: torch.Size, dtype: torch.dtype) -> list[Tensor]:
        """What is of that size and says of no operator of the model that it was made from it, as tables do."""
        tensors = (tensor for tensor in self._all(shape, dtype) if len(tensor.origin) < 2)
        return [form.reshape(shape) for tensor in tensors for form in _forms(tensor.value)]

    def others(self, layer: Layer, shape: torch.Size, dtype: torch.dtype) -> Iterator[Tensor]:
        """All else of that size, whatever it was made from, not yet in `shape`."""
        for tensor in self._all(shape, dtype):
            if not _is_from(tensor, layer):
                yield from _forms(tensor.value)

    def _all(self, shape: torch.Size, dtype: torch.dtype) -> list[Traced]:
        return self._alike.get((dtype, shape.numel()), [])


def _is_from(tensor: Traced, layer: Layer) -> bool:
    return any(tensor.origin[-len(key) :] == key for key in layer.keys)


def _forms(value: Tensor) -> Iterator[Tensor]:
    """`value` as it lies, and from channels last. The two are the same for one channel."""
    yield value
    if value.dim() >= 3:
        moved = value.movedim(-1, 1 if value.dim() < 5 else 2)
        if moved.shape != value.shape or value.shape[1] != 1:
            yield moved
