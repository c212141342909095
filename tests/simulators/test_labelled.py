"""Labels stay with their samples, whatever the form of the data."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from arm_recipes import CalibrationError
from arm_recipes.calibration import specs_of
from arm_recipes.labelled import LabelledData

_ONE = specs_of((torch.zeros(1, 2, 4, 4),), ["x"])
_TWO = specs_of((torch.zeros(1, 2), torch.zeros(1, 3, dtype=torch.int64)), ["x", "y"])

_IMAGES = torch.arange(10.0).reshape(10, 1, 1, 1).expand(10, 2, 4, 4).contiguous()
_LABELS = torch.arange(10)


@pytest.mark.parametrize("most", [1000, 4])
@pytest.mark.parametrize(
    "data",
    [
        (_IMAGES, _LABELS),
        [_IMAGES, _LABELS],
        (_IMAGES.numpy(), _LABELS.numpy()),
        [(_IMAGES[:6], _LABELS[:6]), (_IMAGES[6:], _LABELS[6:])],
        [({"x": _IMAGES[:6]}, _LABELS[:6]), ({"x": _IMAGES[6:]}, _LABELS[6:])],
        [(image[None], int(label)) for image, label in zip(_IMAGES, _LABELS)],
        [{"x": image[None], "labels": label} for image, label in zip(_IMAGES, _LABELS)],
    ],
)
def test_labels_stay_with_their_samples(data: Any, most: int) -> None:
    samples = LabelledData(data, _ONE, max_samples=most)
    for _ in range(2):
        pairs = list(samples)
        assert [label for _, label in pairs] == list(range(min(most, 10)))
        assert all(float(image[0, 0, 0, 0]) == label for (image,), label in pairs)
        assert all(image.shape == (1, 2, 4, 4) for (image,), _ in pairs)


def test_two_inputs_are_not_an_input_and_a_label() -> None:
    pair: tuple[Tensor, Tensor] = (torch.zeros(1, 2), torch.zeros(1, 3, dtype=torch.int64))
    assert [label for _, label in LabelledData([pair, pair], _TWO)] == [None, None]
    assert [label for _, label in LabelledData([(pair, 3), (pair, 4)], _TWO)] == [3, 4]


def test_labels_of_their_own() -> None:
    assert [label for _, label in LabelledData(_IMAGES, _ONE, labels=_LABELS)] == list(range(10))


def test_a_batch_needs_a_label_for_each() -> None:
    with pytest.raises(CalibrationError, match=r"A batch of 10 has 3 labels\. Give one label per sample\."):
        list(LabelledData((_IMAGES, _LABELS[:3]), _ONE))
