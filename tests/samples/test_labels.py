"""Labels stay with their samples, whatever the form of the data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from arm_recipes import CalibrationError
from arm_recipes.samples import specs_of
from arm_recipes.samples.labels import LabelledData, read_labels

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
        [(image[None], int(label)) for image, label in zip(_IMAGES, _LABELS, strict=True)],
        [{"x": image[None], "labels": label} for image, label in zip(_IMAGES, _LABELS, strict=True)],
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


def test_labels_from_a_file(tmp_path: Path) -> None:
    torch.save(_LABELS, tmp_path / "labels.pt")
    np.savez(tmp_path / "labels.npz", _LABELS.numpy())
    (tmp_path / "labels.csv").write_text("".join(f"{label}\n" for label in range(10)))
    for name in ("labels.pt", "labels.npz", "labels.csv"):
        samples = LabelledData(_IMAGES, _ONE, labels=tmp_path / name)
        assert [label for _, label in samples] == list(range(10))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("labels.csv", b"file,label\n", r"line 1: 'file,label' is no class index\. Give one whole number on each line"),
        ("labels.txt", b"\xff\xfe", "it can't be read"),
        ("labels.npy", b"0 1 2", "something other than numbers, or is damaged"),
        ("labels.json", b"[0]", r"files of kind '\.json' hold no labels\. Allowed: \.txt, \.csv, \.pt"),
    ],
)
def test_what_is_no_file_of_labels(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CalibrationError, match=message):
        LabelledData(_IMAGES, _ONE, labels=str(tmp_path / name))


def test_classes_are_numbered_by_the_names_of_their_folders(tmp_path: Path) -> None:
    """Also where not all files are used, or one folder holds none."""
    for name, value in {"cat/in/0": 0, "cat/1": 0, "dog/0": 2, "dog/1": 2, "dog/2": 2}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        torch.save(torch.full((1, 2, 4, 4), float(value)), tmp_path / f"{name}.pt")
    (tmp_path / "cow").mkdir()
    for most in (5, 2):
        pairs = list(LabelledData(tmp_path, _ONE, labels="folders", max_samples=most))
        assert len(pairs) == most
        assert all(float(image[0, 0, 0, 0]) == label for (image,), label in pairs)
    with pytest.raises(CalibrationError, match=r"labels='folders': .* is no folder"):
        LabelledData(_IMAGES, _ONE, labels="folders")
    torch.save(torch.zeros(1, 2, 4, 4), tmp_path / "0.pt")
    with pytest.raises(CalibrationError, match=r"0\.pt lies in no folder of its class"):
        LabelledData(tmp_path, _ONE, labels="folders")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 2**70, 0], f"label 1 is {2**70}."),
        (["a", "b", "c"], "label 0 is 'a'."),
        ([0, None, 1], "label 1 is None."),
        ([[1], [2, 3], [4]], "label 0 is [1]."),
        ({0, 1, 2}, "labels={0, 1, 2}."),
        ([1.5, 0, 0], "The labels are torch.float32 of shape [3]."),
        ([True, False, True], "The labels are torch.bool of shape [3]."),
    ],
)
def test_what_is_no_class_index_is_told(labels: Any, message: str) -> None:
    with pytest.raises(CalibrationError, match=re.escape(message)):
        LabelledData([torch.zeros(1, 2)] * 3, specs_of(torch.zeros(1, 2)), labels=labels)


def test_labels_may_come_one_by_one() -> None:
    data = LabelledData([torch.zeros(1, 2)] * 3, specs_of(torch.zeros(1, 2)), labels=(index for index in range(3)))
    assert [label for _, label in data] == [0, 1, 2]


@pytest.mark.parametrize("line", ["1_0", "\u0661", "1.0", "0x1", "9" * 30])
def test_a_line_is_a_whole_number_in_ordinary_digits(line: str, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text(f"0\n{line}\n1\n", encoding="utf-8")
    with pytest.raises(CalibrationError, match=r"labels\.txt', line 2: .* is no class index"):
        read_labels(tmp_path / "labels.txt")
    (tmp_path / "labels.txt").write_text("1_0\n")
    with pytest.raises(CalibrationError, match="is no number"):
        read_labels(tmp_path / "labels.txt", fractions=True)
