"""Kernels whose integers are other than those of executorch's Python reference, or that this can't run.

Each gives what CMSIS-NN's and executorch's own kernels give, to the bit: held to them by tests/simulators/vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


def _average_pool(
    values: Tensor,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    ceil_mode: bool,
    *_scale: Any,
) -> Tensor:
    """arm_avgpool_s8: the sum plus or minus half the count, divided with what is left cut off."""
    wide = values.to(torch.float64)

    def summed(tensor: Tensor) -> Tensor:
        return functional.avg_pool2d(tensor, kernel, stride, padding, ceil_mode, divisor_override=1)

    total, count = summed(wide), summed(torch.ones_like(wide))
    half = torch.div(count, 2, rounding_mode="floor")
    rounded = torch.div(torch.where(total > 0, total + half, total - half), count, rounding_mode="trunc")
    return rounded.clamp(-128, 127).to(torch.int8).contiguous(memory_format=torch.channels_last)


def _max_pool(values: Tensor, *arguments: Any, **keywords: Any) -> tuple[Tensor, Tensor]:
    """torch can't on int8 in channels_last with more than 127 pixels. Floats hold such integers exactly."""
    pooled, indices = functional.max_pool2d_with_indices(values.to(torch.float32), *arguments, **keywords)
    return pooled.to(values.dtype), indices


def _bilinear(
    values: Tensor, output_size: list[int] | None, align_corners: bool, scale_factors: list[float] | None
) -> Tensor:
    """upsample_util.h and op_upsample_bilinear2d.cpp: torch's adds the four in another order."""
    sizes = output_size or [
        int(size * factor) for size, factor in zip(values.shape[2:], scale_factors or (), strict=True)
    ]
    rows, columns = (
        _neighbours(values.shape[2 + axis], size, align_corners, scale_factors[axis] if scale_factors else None)
        for axis, size in enumerate(sizes)
    )

    def across(row: Tensor) -> Tensor:
        left, right = values[:, :, row][..., columns.first], values[:, :, row][..., columns.second]
        return left * columns.of_first + right * columns.of_second

    result = across(rows.first) * rows.of_first[:, None] + across(rows.second) * rows.of_second[:, None]
    in_nhwc = values.dim_order() == (0, 2, 3, 1)
    return result.contiguous(memory_format=torch.channels_last if in_nhwc else torch.contiguous_format)


class _Neighbours(NamedTuple):
    first: Tensor
    second: Tensor
    of_first: Tensor
    of_second: Tensor


def _neighbours(size: int, wanted: int, align_corners: bool, factor: float | None) -> _Neighbours:
    """For each of `wanted` places the two of `size` that it lies between, and their weights, in float32."""
    index = torch.arange(wanted)
    if size == wanted:
        return _Neighbours(index, index, torch.ones(wanted), torch.zeros(wanted))
    if align_corners:
        ratio = torch.tensor((size - 1) / (wanted - 1) if wanted > 1 else 0.0)
        place = ratio * index
    else:
        ratio = torch.tensor(1.0 / factor if factor else size / wanted)
        place = (ratio * (index + 0.5) - 0.5).clamp(min=0)
    first = place.floor().long().clamp(max=size - 1)
    of_second = (place - first).clamp(0, 1)
    return _Neighbours(first, (first + 1).clamp(max=size - 1), 1.0 - of_second, of_second)


def _dilated(name: str) -> Callable[..., Tensor]:
    """torch can't dilate a convolution of integers: a kernel with zeros in between is the same."""

    def convolve(
        values: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, dilation: Any, *more: Any
    ) -> Any:
        rows, columns = dilation
        if (rows, columns) != (1, 1):
            outputs, height, width, inputs = weight.shape  # of a depthwise convolution 1, height, width, outputs
            spread = weight.new_zeros(outputs, (height - 1) * rows + 1, (width - 1) * columns + 1, inputs)
            spread[:, ::rows, ::columns] = weight
            weight = spread
        return getattr(torch.ops.cortex_m, name)(values, weight, bias, stride, padding, [1, 1], *more)

    return convolve


def _transposed_convolution(
    out: Tensor,
    values: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    *more: Any,
) -> Tensor:
    """arm_transpose_conv_s8 of the CMSIS-NN that executorch 1.5 pins, with its fault (`_rows_of`). `out` is what lies
    where the result is written: of the last rows nothing is, where the padding of the height is no multiple of its
    stride."""
    from executorch.backends.cortex_m.passes.passes_utils import requantize_cmsis

    if not transposed_goes_wrong(values.shape[1], stride, padding):
        right: Tensor = torch.ops.cortex_m.quantized_transpose_conv2d(values, weight, bias, stride, padding, *more)
        return right
    _, _, input_offset, output_offset, multipliers, shifts, least, greatest, *_ = more
    outputs, height, width, inputs = weight.shape
    # What each row of the input gives with each row of the kernel: N, C, kernel's row, input's row, W.
    kernel = weight.permute(3, 0, 1, 2).reshape(inputs, outputs * height, 1, width).to(torch.float64)
    lines = functional.conv_transpose2d(values.to(torch.float64) + input_offset, kernel, stride=(1, stride[1]))
    lines = functional.pad(lines, (0, max(0, stride[1] - width)))[..., padding[1] : padding[1] + out.shape[3]]
    lines = lines.to(torch.int32).view(values.shape[0], outputs, height, values.shape[2], out.shape[3])
    start = torch.zeros(outputs, dtype=torch.int32) if bias is None else bias
    rows = [
        start[:, None] + sum(lines[sample, :, of_kernel, of_input] for of_kernel, of_input in parts)
        for sample in range(values.shape[0])
        for parts in _rows_of(values.shape[2], out.shape[2], height, stride[0], padding[0])
    ]
    result = out.permute(0, 2, 3, 1).flatten(0, 1).clone()  # N and H, W, C
    for index, row in enumerate(rows[: len(result)]):
        for channel in range(outputs):
            scaled = requantize_cmsis(row[channel], int(multipliers[channel]), int(shifts[channel])) + output_offset
            result[index, :, channel] = scaled.clamp(least, greatest).to(torch.int8)
    return result.view(out.shape[0], out.shape[2], out.shape[3], outputs).permute(0, 3, 1, 2)


def transposed_goes_wrong(channels: int, stride: Sequence[int], padding: Sequence[int]) -> bool:
    """Whether CMSIS-NN computes a transposed convolution of so many input channels wrong. One of many channels and a
    small stride is another function (arm_transpose_conv_wrapper_s8)."""
    return padding[0] % stride[0] != 0 and (channels <= 16 or max(stride) > 2)


def _rows_of(inputs: int, outputs: int, kernel: int, stride: int, padding: int) -> Iterator[list[tuple[int, int]]]:
    """Row by row what it sums up in its rolling buffer: (row of the kernel, row of the input).

    An input row of which padding cuts off part is not followed by `stride` rows of output but by none, and its part
    comes to where the next one's begins: right only where that part is a multiple of the stride.
    """
    buffer: list[list[tuple[int, int]]] = [[] for _ in range(max(kernel, stride))]
    for row in range(inputs):
        top = max(0, padding - row * stride)
        bottom = max(0, row * stride + kernel - (padding + outputs) - 1)
        for index, of_kernel in enumerate(range(top, kernel - bottom)):
            buffer[index].append((of_kernel, row))
        for _ in range(stride if top == 0 else 0):
            yield buffer.pop(0)
            buffer.append([])
    for row in range(inputs * stride, inputs * stride + kernel - stride):
        if padding <= row < padding + outputs:
            yield buffer[0]
        buffer.append(buffer.pop(0))


# Kernels that don't write all of their result, as functions of what lies there before, and of their arguments.
ONTO: dict[str, Callable[..., Tensor]] = {"cortex_m.quantized_transpose_conv2d.default": _transposed_convolution}

KERNELS: dict[str, Callable[..., Any]] = {
    "aten.upsample_bilinear2d.vec": _bilinear,
    "cortex_m.quantized_avg_pool2d.default": _average_pool,
    "aten.max_pool2d_with_indices.default": _max_pool,
    "cortex_m.quantized_conv2d.default": _dilated("quantized_conv2d"),
    "cortex_m.quantized_depthwise_conv2d.default": _dilated("quantized_depthwise_conv2d"),
}
