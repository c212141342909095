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
        return [form for tensor in reversed(own[first:]) for form in _forms(tensor.value, shape)]

    def others(self, layer: Layer, shape: torch.Size, dtype: torch.dtype) -> Iterator[Tensor]:
        """All else of that size, whatever it was made from."""
        for tensor in self._all(shape, dtype):
            if not _is_from(tensor, layer):
                yield from _forms(tensor.value, shape)

    def _all(self, shape: torch.Size, dtype: torch.dtype) -> list[Traced]:
        return self._alike.get((dtype, shape.numel()), [])


def _is_from(tensor: Traced, layer: Layer) -> bool:
    return any(tensor.origin[-len(key) :] == key for key in layer.keys)


def _forms(value: Tensor, shape: torch.Size) -> Iterator[Tensor]:
    """`value` in `shape`: as it lies, and from channels last. The two are the same for few."""
    same = value.shape == shape
    yield value if same else value.reshape(shape)
    if value.dim() >= 3:
        moved = value.movedim(-1, 1 if value.dim() < 5 else 2)
        if moved.shape != value.shape or value.shape[1] != 1:
            yield moved if moved.shape == shape else moved.reshape(shape)
