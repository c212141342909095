"""Programs of one call of a kernel, whose tensors lie in every combination of contiguous and channels_last memory."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import executorch.backends.cortex_m.passes  # noqa: F401 - registers the kernels
import torch
from executorch.exir import EdgeCompileConfig, to_edge
from executorch.exir.schema import Program
from executorch.exir.schema import Tensor as Declared
from torch import Tensor, nn
from torch.nn import functional as F

_SIZES = (2, 3, 2, 4)
_aten, _cortex_m = torch.ops.aten, torch.ops.cortex_m


class KernelCall(NamedTuple):
    """What calls it, and how many tensors of `_SIZES` it takes; or their sizes."""

    function: Callable[..., Any]
    inputs: int | tuple[tuple[int, ...], ...] = 1
    dtype: torch.dtype = torch.float32
    least: float = 0.1

    def made(self) -> list[Tensor]:
        """Random inputs, always the same: floats from `least` to 0.8 more."""
        torch.manual_seed(0)
        sizes = (_SIZES,) * self.inputs if isinstance(self.inputs, int) else self.inputs
        if self.dtype is torch.int8:
            return [torch.randint(-128, 128, size, dtype=torch.int8) for size in sizes]
        values = [torch.rand(size) * 0.8 + self.least for size in sizes]
        return [value > 0.5 for value in values] if self.dtype is torch.bool else values


def _call(function: Callable[..., Any], *arguments: Any, inputs: Any = 1, dtype: Any = torch.float32) -> KernelCall:
    """`arguments` follow the tensors."""
    return KernelCall(lambda *tensors: function(*tensors, *arguments), inputs, dtype)


_PER_CHANNEL = (_SIZES, (1, 3, 1, 1))
_ONE = "abs acos asin atanh asinh atan ceil cos cosh erf exp expm1 floor isinf isnan log log10 log1p log2 neg"
_ONE += " reciprocal relu round rsqrt sigmoid sign sin sinh sqrt tan tanh trunc"
_TWO = "add atan2 div eq fmod ge gt le lt maximum minimum mul ne pow remainder sub"
_OF_TRUTHS = "bitwise_and bitwise_or bitwise_xor logical_and logical_or logical_xor"

CALLS: dict[str, KernelCall] = {
    **{f"aten.{name}": _call(getattr(torch, name)) for name in _ONE.split()},
    **{f"aten.{name}": _call(getattr(torch, name), inputs=2) for name in _TWO.split()},
    **{f"aten.{name}": _call(getattr(torch, name), inputs=2, dtype=torch.bool) for name in _OF_TRUTHS.split()},
    **{f"aten.{name}": _call(getattr(torch, name), dtype=torch.bool) for name in ("bitwise_not", "logical_not")},
    "aten.acosh": KernelCall(torch.acosh, least=1.1),
    "aten.elu": _call(F.elu),
    "aten.gelu": _call(F.gelu),
    "aten.hardtanh": _call(F.hardtanh),
    "aten.leaky_relu": _call(F.leaky_relu),
    "aten.clamp": _call(torch.clamp, 0.3, 0.7),
    "aten.where": _call(torch.where, inputs=3, dtype=torch.bool),
    "aten.where, per channel": _call(torch.where, inputs=(_SIZES, (1, 3, 1, 1), _SIZES), dtype=torch.bool),
    "aten.add, per channel": _call(torch.add, inputs=_PER_CHANNEL),
    "aten.maximum, per channel": _call(torch.maximum, inputs=_PER_CHANNEL),
    "aten.mul, per pixel": _call(torch.mul, inputs=(_SIZES, (2, 1, 2, 4))),
    "aten._softmax": _call(torch.softmax, 1),
    "aten._log_softmax": _call(torch.log_softmax, 1),
    "aten.amax": _call(torch.amax, 3, True),
    "aten.amax, fewer dimensions": _call(torch.amax, (2, 3)),
    "aten.amin": _call(torch.amin, 2, True),
    "aten.argmax": _call(torch.argmax, 3, True),
    "aten.argmax, fewer dimensions": _call(torch.argmax, 1),
    "aten.argmin": _call(torch.argmin, 2, True),
    "aten.any": _call(torch.any, 3, True, dtype=torch.bool),
    "aten.prod": _call(torch.prod, 3, True),
    "aten.var": KernelCall(lambda x: x.var(3, keepdim=True)),
    "aten.max": _call(_aten.max.dim, 3, True),
    "aten.min": _call(_aten.min.dim, 3, True),
    "aten.mean": _call(torch.mean, 1, True),
    "aten.sum": _call(torch.sum, 1, True),
    "aten.cat": KernelCall(lambda *tensors: torch.cat(tensors, 1), (_SIZES, (2, 2, 2, 4))),
    "aten.cat, height": KernelCall(lambda *tensors: torch.cat(tensors, 2), (_SIZES, (2, 3, 3, 4))),
    "aten.constant_pad_nd": _call(_aten.constant_pad_nd.default, [1, 1, 2, 0], 0.5),
    "aten.cumsum": _call(torch.cumsum, 1),
    "aten.flip": _call(torch.flip, [3]),
    "aten.permute_copy": _call(torch.permute, [0, 2, 3, 1]),
    "aten.select_copy": _call(_aten.select_copy.int, 1, 0, inputs=((2, 2, 3, 2, 4),)),
    "aten.select_copy, fewer dimensions": _call(_aten.select_copy.int, 1, 0),
    "aten.slice_copy": _call(_aten.slice_copy.Tensor, 1, 1, 3),
    "aten.split_copy": _call(_aten.split_copy.Tensor, 2, 3),
    "aten.expand_copy": _call(_aten.expand_copy.default, list(_SIZES), inputs=((2, 3, 1, 4),)),
    "aten.repeat": KernelCall(lambda x: x.repeat(1, 2, 1, 1)),
    "aten.squeeze_copy": _call(_aten.squeeze_copy.dims, [3], inputs=((2, 3, 2, 1),)),
    "aten.unsqueeze_copy": _call(_aten.unsqueeze_copy.default, 4),
    "aten.view_copy": _call(_aten.view_copy.default, [2, 3, 4, 2]),
    "aten.native_group_norm": _call(F.group_norm, 3),
    "aten.avg_pool2d": _call(F.avg_pool2d, 2),
    "aten._adaptive_avg_pool2d": _call(_aten._adaptive_avg_pool2d.default, [1, 2]),
    "aten.max_pool2d_with_indices": KernelCall(lambda x: F.max_pool2d(x, 2)),
    "aten.upsample_nearest2d": KernelCall(lambda x: F.interpolate(x, scale_factor=2.0)),
    "aten.upsample_bilinear2d": KernelCall(lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear")),
    "aten.convolution": _call(F.conv2d, inputs=(_SIZES, (5, 3, 2, 2))),
    "dim_order_ops._clone_dim_order": KernelCall(lambda x: x.clone(memory_format=torch.channels_last)),
    "dim_order_ops._clone_dim_order, of one channel": KernelCall(torch.clone, ((1, 1, 2, 4),)),
    "dim_order_ops._to_dim_order_copy": KernelCall(lambda x: x.to(torch.float64)),
    "cortex_m.quantize_per_tensor": _call(_cortex_m.quantize_per_tensor, 0.05, 3, -128, 127, torch.int8),
    "cortex_m.dequantize_per_tensor": _call(
        _cortex_m.dequantize_per_tensor, 0.05, 3, -128, 127, torch.int8, dtype=torch.int8
    ),
    "cortex_m.quantized_add": KernelCall(
        lambda x, y: _cortex_m.quantized_add(x, 3, 2**30, -1, y, 4, 2**30, -1, 5, 2**30, -18, -128, 127), 2, torch.int8
    ),
    "cortex_m.quantized_mul": KernelCall(lambda x, y: _cortex_m.quantized_mul(x, 3, y, 4, 5, 2**30, -6), 2, torch.int8),
    "cortex_m.maximum": _call(_cortex_m.maximum, inputs=2, dtype=torch.int8),
    "cortex_m.minimum": _call(_cortex_m.minimum, inputs=2, dtype=torch.int8),
    "cortex_m.softmax": _call(_cortex_m.softmax, 3, 0, -128, 2**30, 25, -124, dtype=torch.int8),
    "cortex_m.transpose": _call(_cortex_m.transpose, [0, 2, 3, 1], dtype=torch.int8),
}


class _Module(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


def programs(name: str) -> Iterator[tuple[str, Program]]:
    """The program by its memory orders: a letter for each tensor of 4 or 5 dimensions, ``c`` or ``l`` as they lie."""
    call = CALLS[name]
    exported = torch.export.export(_Module(call.function).eval(), tuple(call.made()))
    config = EdgeCompileConfig(_check_ir_validity=False)
    emitted = to_edge(exported, compile_config=config).to_executorch().executorch_program
    tensors = [
        index
        for index, value in enumerate(emitted.execution_plan[0].values)
        if isinstance(value.val, Declared) and len(value.val.sizes) in (4, 5)
    ]
    for letters in itertools.product("cl", repeat=len(tensors)):
        program = copy.deepcopy(emitted)
        for index, letter in zip(tensors, letters, strict=True):
            declared: Any = program.execution_plan[0].values[index].val
            rank = len(declared.sizes)
            declared.dim_order = list(range(rank)) if letter == "c" else [0, *range(2, rank), 1]
        yield "".join(letters), program
