"""What a model takes, and whether a calibration sample is that: structure, dtype, shape, values.

A sample reaches this module as it was found (a tensor, an array, a tuple or list of them, a dict by name) and leaves
it as tensors that fit the model's inputs, or as a `CalibrationError`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from arm_recipes.errors import CalibrationError

from .nesting import without_nesting

# The columns in which Hugging Face's processors and tokenizers put a model's main input.
_HUGGING_FACE = ("pixel_values", "input_ids", "input_values", "input_features")
_LABELS = ("label", "labels")


@dataclass(frozen=True)
class InputSpec:
    """One input of a model.

    Attributes:
        name: the argument's, by which samples given as dicts are read; None where it is not known.
        shape: sizes of the dimensions; None for one that may be of any size.
        dtype: the elements' dtype.
    """

    name: str | None
    shape: tuple[int | None, ...]
    dtype: torch.dtype

    @property
    def shape_text(self) -> str:
        return shape_text(self.shape)

    def takes(self, other: InputSpec) -> bool:
        """Whether all that fits `other` fits this, whatever their names."""
        return self.dtype == other.dtype and _fits(other.shape, self.shape)


def specs_of(example_inputs: object, names: Sequence[str] | None = None) -> tuple[InputSpec, ...]:
    """Specs of a model's inputs from example inputs.

    Args:
        example_inputs: a tuple or list of tensors, or of `InputSpec`; a single one; or a list of tuples of tensors,
            of which the first counts.
        names: of the model's arguments, in their order; the specs' own, or unknown, where not given.

    Raises:
        CalibrationError: the inputs are not tensors, or not as many as the names.
    """
    if isinstance(example_inputs, (torch.Tensor, InputSpec)):
        example_inputs = (example_inputs,)
    if isinstance(example_inputs, (list, tuple)) and example_inputs and isinstance(example_inputs[0], (list, tuple)):
        example_inputs = example_inputs[0]
    if not isinstance(example_inputs, (list, tuple)) or not example_inputs:
        raise CalibrationError(
            f"example_inputs is {described(example_inputs)}. Allowed: the tensors that the model is called with, as a "
            "tuple, e.g. (torch.randn(1, 3, 32, 32),)."
        )
    specs = []
    for index, example in enumerate(example_inputs):
        if isinstance(example, torch.Tensor):
            specs.append(InputSpec(None, tuple(_size(size) for size in example.shape), example.dtype))
        elif isinstance(example, InputSpec):
            specs.append(example)
        else:
            raise CalibrationError(
                f"example_inputs[{index}] is {described(example)}. Calibration samples can be checked only for models "
                "whose inputs are all tensors: leave the others to the model's defaults."
            )
    return named(specs, names)


def named(specs: Sequence[InputSpec], names: Sequence[str] | None) -> tuple[InputSpec, ...]:
    """`specs` with `names` for their own, where given."""
    if names is None:
        return tuple(specs)
    if len(names) != len(specs):
        raise CalibrationError(
            f"input_names={list(names)} has {counted(len(names), 'name')}, and the model takes "
            f"{counted(len(specs), 'input')}. Give one name per input, in the order of the model's arguments."
        )
    return tuple(replace(spec, name=name) for spec, name in zip(specs, names, strict=True))


def fit(
    sample: object, specs: Sequence[InputSpec], where: str, *, strict_names: bool, row: bool
) -> tuple[tuple[torch.Tensor, ...], int]:
    """Bring a sample as it was found into the order of the model's inputs, and check all but its values.

    A leading dimension of several times the model's own makes several samples (see `_multiple`).

    Args:
        sample: a tensor, an array, a tuple or list of them, or a dict of them.
        specs: the model's inputs.
        where: what errors call the sample.
        strict_names: whether the names of the specs are all that counts in a dict.
        row: whether the sample is of an iterable and not of a file. A dict may then be a row of a data set, whose
            values lack the leading dimension of 1 and may be lists of numbers.

    Returns:
        The tensors, and how many samples they hold.

    Raises:
        CalibrationError: the sample does not fit.
    """
    data_set = row and isinstance(sample, Mapping)
    tensors = []
    counts = []
    for index, (value, spec) in enumerate(zip(_values(sample, specs, where, strict_names, row), specs, strict=True)):
        place = f"{where}: {_input(index, spec)}"
        tensor = _tensor(value, spec, place, numbers=data_set)
        _check_dtype(tensor, spec, place)
        if data_set and spec.shape[:1] in ((1,), (None,)) and _fits(tensor.shape, spec.shape[1:]):
            tensor = tensor.unsqueeze(0)
        tensors.append(tensor)
        counts.append(_multiple(tensor.shape, spec, place))
    if len(set(counts)) > 1:
        raise CalibrationError(
            f"{where}: its inputs hold unequal numbers of samples: "
            + ", ".join(
                f"{_input(index, spec)} has shape {shape_text(tensor.shape)} for {spec.shape_text}"
                for index, (tensor, spec) in enumerate(zip(tensors, specs, strict=True))
            )
            + ". Give every input the same number of samples along its first dimension."
        )
    if counts[0] == 0:
        raise CalibrationError(
            f"{where}: it holds no sample: {_input(0, specs[0])} has shape {shape_text(tensors[0].shape)}; the model "
            f"takes {specs[0].shape_text}. Take it out of the data."
        )
    return tuple(tensors), counts[0]


def check(sample: Sequence[object], specs: Sequence[InputSpec], where: str) -> None:
    """Refuse a sample that a model can't be called with as it is. What is no tensor is only counted.

    Args:
        sample: the arguments of the call, in order.
        specs: the model's inputs.
        where: what errors call the sample.

    Raises:
        CalibrationError: the number of inputs, a dtype or a shape is not the model's, or a value is NaN or infinite.
    """
    values = _values(sample, specs, where, strict_names=True, row=True)
    for index, (value, spec) in enumerate(zip(values, specs, strict=True)):
        if isinstance(value, torch.Tensor):
            place = f"{where}: {_input(index, spec)}"
            _check_dtype(value, spec, place)
            if not _fits(value.shape, spec.shape):
                raise _misfit(value.shape, spec, place, _shape_hint(value.shape, spec.shape))
    check_values(sample, specs, where)


def cut(
    tensors: Sequence[torch.Tensor], specs: Sequence[InputSpec], index: int, count: int
) -> tuple[torch.Tensor, ...]:
    """Copy sample `index` out of tensors that hold `count` samples. What the model does to it stays without effect."""
    if count == 1:
        return tuple(tensor.clone() for tensor in tensors)
    sizes = [spec.shape[0] or 1 for spec in specs]
    return tuple(tensor[index * size : (index + 1) * size].clone() for tensor, size in zip(tensors, sizes, strict=True))


def check_values(sample: Sequence[object], specs: Sequence[InputSpec], where: str) -> None:
    """Refuse NaN and infinity, which would spoil the scales of all that comes after them."""
    for index, (tensor, spec) in enumerate(zip(sample, specs, strict=True)):
        if not isinstance(tensor, torch.Tensor):
            continue
        if tensor.is_meta:
            raise CalibrationError(
                f"{where}: {_input(index, spec)} is a meta tensor, which has no values. Give real data."
            )
        if not (tensor.is_floating_point() or tensor.is_complex()):
            continue
        # The one-byte floats have no isfinite.
        values = tensor.float() if tensor.dtype.itemsize == 1 else tensor
        if not torch.isfinite(values).all():
            nans = int(torch.isnan(values).sum())
            infinities = int(torch.isinf(values).sum())
            raise CalibrationError(
                f"{where}: {_input(index, spec)} has {nans} NaN and {infinities} infinite values among "
                f"{tensor.numel()} (shape {shape_text(tensor.shape)}). One such value spoils the quantization of the "
                "whole model: repair this sample, or take it out of the data."
            )


def shape_text(shape: Sequence[int | None]) -> str:
    sizes = ["any" if size is None else str(int(size)) for size in shape]
    return f"({sizes[0]},)" if len(sizes) == 1 else f"({', '.join(sizes)})"


def _size(size: int | torch.SymInt) -> int | None:
    return size if isinstance(size, int) else None


def _values(sample: object, specs: Sequence[InputSpec], where: str, strict_names: bool, row: bool) -> Sequence[object]:
    sample = without_nesting(sample, [spec.name or "" for spec in specs])
    if isinstance(sample, Mapping):
        return _by_name(sample, specs, where, strict_names)
    values = sample if isinstance(sample, (list, tuple)) else (sample,)
    if len(values) != len(specs):
        raise CalibrationError(
            f"{where}: it has {counted(len(values), 'input')} ({', '.join(described(value) for value in values[:4])}"
            f"{', ...' if len(values) > 4 else ''}); the model takes {counted(len(specs), 'input')} "
            f"({', '.join(f'{spec.name or index}: {spec.shape_text}' for index, spec in enumerate(specs))}). "
            + _count_hint(len(values), len(specs), row)
        )
    return values


def _count_hint(got: int, wanted: int, row: bool) -> str:
    if got > wanted and row:
        select = "batch[0]" if wanted == 1 else f"tuple(batch[:{wanted}])"
        return (
            "A tuple or list means the inputs of one sample. Where labels come with them, as from a DataLoader, "
            f"leave those out: give lambda: ({select} for batch in loader)."
        )
    if got > wanted:
        return (
            "A tuple or list means the inputs of one sample. If these are several samples, save them as one tensor "
            "(torch.cat), or as a list of tuples, one per sample."
        )
    return "Give every sample as a tuple of all the model's inputs, or as a dict by their names."


def _by_name(sample: Mapping[Any, object], specs: Sequence[InputSpec], where: str, strict: bool) -> Sequence[object]:
    names = [spec.name for spec in specs]
    if all(name is not None and name in sample for name in names):
        return [sample[name] for name in names]
    if len(specs) == 1 and not (strict and names[0] is not None):
        keys = [key for key in _HUGGING_FACE if key in sample] or [key for key in sample if key not in _LABELS]
        if len(keys) == 1:
            return [sample[keys[0]]]
    given = ", ".join(map(repr, list(sample)[:8])) + (", ..." if len(sample) > 8 else "")
    wanted = f"The names of the model's {counted(len(specs), 'input')} are not known, so these can't be chosen from."
    if None not in names:
        missing = ", ".join(repr(name) for name in names if name not in sample)
        wanted = f"The model's inputs are {', '.join(map(repr, names))}; it lacks {missing}."
    raise CalibrationError(
        f"{where}: it is a dict {f'with the keys {given}' if given else 'without keys'}. {wanted} Say which keys are "
        "the inputs, in the order of the model's arguments: load_calibration(..., input_names=[...])."
    )


def _tensor(value: object, spec: InputSpec, place: str, *, numbers: bool) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        if value.is_nested or value.layout is not torch.strided or value.is_quantized:
            layout = "nested" if value.is_nested else str(value.layout).removeprefix("torch.")
            kind = "quantized" if value.is_quantized else layout
            dense = {"quantized": "dequantize", "nested": "to_padded_tensor"}.get(kind, "to_dense")
            raise CalibrationError(
                f"{place} is a {kind} tensor; only ordinary, dense ones can calibrate. Call its .{dense}() first."
            )
        tensor = value.detach()
        return tensor if tensor.is_meta else tensor.cpu()
    if isinstance(value, np.ma.MaskedArray):
        raise CalibrationError(f"{place} is a masked array, whose mask would be lost. Give its .filled(value).")
    if isinstance(value, (np.ndarray, np.generic)):
        return from_array(np.asarray(value), place)
    if numbers and isinstance(value, (list, int, float)):
        return _from_numbers(value, spec, place)
    raise CalibrationError(
        f"{place} is {described(value)}; the model takes a tensor of dtype {dtype_text(spec.dtype)} and shape "
        f"{spec.shape_text}. Give a torch tensor or a NumPy array."
    )


def from_array(array: np.ndarray[Any, Any], place: str) -> torch.Tensor:
    """The tensor of a NumPy array, without a copy where that can be.

    Raises:
        CalibrationError: torch has no such dtype.
    """
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()  # torch wants to be able to write, and to count upwards
    try:
        return torch.from_numpy(array)
    except TypeError:
        raise CalibrationError(
            f"{place} has NumPy's dtype {array.dtype}, which torch does not have. Convert it, e.g. with "
            ".astype(np.float32)."
        ) from None


def _from_numbers(value: object, spec: InputSpec, place: str) -> torch.Tensor:
    """Lists of Python's numbers, as rows of Hugging Face data sets hold them. They take the model's dtype where they
    are of its kind: whole numbers for an integer input, fractions for a float one."""

    def refuse(problem: str) -> CalibrationError:
        return CalibrationError(
            f"{place} is a list that {problem}; the model takes {dtype_text(spec.dtype)}, shape {spec.shape_text}. "
            "Give a tensor or a NumPy array, for a data set e.g. with_format('torch')."
        )

    try:
        inferred = torch.tensor(value)
        kind = _kind(inferred.dtype)
        if kind != _kind(spec.dtype):
            raise refuse(f"holds numbers of kind {kind}")
        return torch.tensor(value, dtype=spec.dtype)
    except CalibrationError:
        raise
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise refuse(f"makes no tensor ({error})") from error


def _kind(dtype: torch.dtype) -> str:
    if dtype == torch.bool:
        return "bool"
    return "complex" if dtype.is_complex else "float" if dtype.is_floating_point else "integer"


def _check_dtype(tensor: torch.Tensor, spec: InputSpec, place: str) -> None:
    if tensor.dtype != spec.dtype:
        raise CalibrationError(
            f"{place} has dtype {dtype_text(tensor.dtype)} (shape {shape_text(tensor.shape)}); the model takes "
            f"{dtype_text(spec.dtype)} (shape {spec.shape_text}). {_cast_hint(tensor.dtype, spec.dtype)}"
        )


def _misfit(shape: Sequence[int], spec: InputSpec, place: str, hint: str) -> CalibrationError:
    return CalibrationError(f"{place} has shape {shape_text(shape)}; the model takes {spec.shape_text}. {hint}")


def _fits(shape: Sequence[int | None], wanted: Sequence[int | None]) -> bool:
    return len(shape) == len(wanted) and all(want in (None, size) for size, want in zip(shape, wanted, strict=True))


def _multiple(shape: Sequence[int], spec: InputSpec, place: str) -> int:
    """How many samples a tensor of `shape` holds.

    Only a first dimension of 1 can be told for a batch dimension, or, as images come in batches, any first dimension
    of four or more. Below that, (56, 28) for (28, 28) may as well be an image of the wrong height.
    """
    if _fits(shape, spec.shape):
        return 1
    batch = spec.shape[0] if spec.shape else None
    if batch and _fits(shape[1:], spec.shape[1:]) and len(shape) == len(spec.shape):
        if (batch == 1 or len(shape) >= 4) and shape[0] % batch == 0:
            return shape[0] // batch
        hint = (
            f"{shape[0]} is no multiple of {batch}: leave the rest out, for a DataLoader with drop_last=True."
            if len(shape) >= 4
            else f"If these are batches, split them: x.split({batch})."
        )
    else:
        hint = _shape_hint(shape, spec.shape)
    raise _misfit(shape, spec, place, hint)


def _shape_hint(shape: Sequence[int], wanted: Sequence[int | None]) -> str:
    if len(shape) + 1 == len(wanted) and _fits(shape, wanted[1:]):
        return "The batch dimension is missing. Add it: x.unsqueeze(0), x[None] in NumPy, DataLoader(x) for a data set."
    if len(shape) == len(wanted) == 4:
        for order, own, other in (((0, 3, 1, 2), "NHWC", "NCHW"), ((0, 2, 3, 1), "NCHW", "NHWC")):
            if _fits([shape[axis] for axis in order][1:], wanted[1:]):
                return f"It looks like {own}, and the model takes {other}: bring it over with x.permute{order}."
    return "A recipe's program has fixed shapes, and samples have to have them too."


def _cast_hint(got: torch.dtype, wanted: torch.dtype) -> str:
    cast = f"x.to({wanted}), or x.astype(np.{dtype_text(wanted)}) in NumPy"
    if got == torch.uint8 and wanted.is_floating_point:
        return f"Raw pixels have to be scaled as the model was trained, e.g. {cast} / 255."
    return f"Nothing is cast in silence: if the values are right, convert them with {cast}."


def dtype_text(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _input(index: int, spec: InputSpec) -> str:
    return f"input {index}" if spec.name is None else f"input {index} ({spec.name})"


def described(value: object) -> str:
    if value is None:
        return "None"
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return f"a {type(value).__name__} of shape {shape_text(value.shape)}"
    if isinstance(value, (list, tuple, dict)) and not value:
        return f"an empty {type(value).__name__}"
    article = "an" if type(value).__name__[0].lower() in "aeiou" else "a"
    return f"{article} {type(value).__name__}"


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
