"""What the kernels of a Cortex-M runtime demand of the order in which their tensors lie in memory.

executorch's portable kernels know two ways to look at it. Some compare the dimension orders that the program declares,
and fail; others walk through memory by sizes alone, and give wrong values where it isn't contiguous. CMSIS-NN's walk
through it as NHWC, or element by element. Read in the sources of executorch 1.5 (kernels/portable/cpu and
backends/cortex_m/ops) and tried on kernels built from them, as docs/cortex_m.md says.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from importlib.resources import files

Order = tuple[int, ...]
NHWC: Order = (0, 2, 3, 1)


@dataclass(frozen=True)
class Placed:
    """A tensor as a program declares it.

    Attributes:
        sizes: of its dimensions, as the model has them.
        order: its dimensions from the outermost in memory to the innermost.
    """

    sizes: tuple[int, ...]
    order: Order

    @property
    def contiguous(self) -> bool:
        return self.order == tuple(range(len(self.order)))

    @property
    def either(self) -> bool:
        """Whether NCHW and NHWC are the same bytes, whatever is declared."""
        return len(self.sizes) == 4 and (self.sizes[1] == 1 or self.sizes[2:] == (1, 1))

    @property
    def in_sequence(self) -> bool:
        """Whether its bytes are those of a contiguous tensor."""
        return self.contiguous or (self.either and self.order[0] == 0)

    @property
    def channels_last(self) -> bool:
        """As cortex_m_ops_common.h has it (is_channels_last_tensor)."""
        return self.order == NHWC or self.either


# Of the tensors that a kernel reads, in which order each has to be; None where it may stay as it is.
Wanted = Sequence["Order | None"]


def _all_contiguous(tensors: Sequence[Placed]) -> Wanted:
    return [None if tensor.contiguous else tuple(range(len(tensor.sizes))) for tensor in tensors]


def _in_sequence(tensors: Sequence[Placed]) -> Wanted:
    return [None if tensor.in_sequence else tuple(range(len(tensor.sizes))) for tensor in tensors]


def _first_channels_last(tensors: Sequence[Placed]) -> Wanted:
    return [None if tensors[0].channels_last else NHWC, *[None] * (len(tensors) - 1)]


def _alike(tensors: Sequence[Placed]) -> Wanted:
    """As tensors_have_same_dim_order has it: all contiguous, or all channels_last, and that without broadcasting."""
    one_size = len({tensor.sizes for tensor in tensors}) == 1
    if one_size and all(tensor.order == NHWC for tensor in tensors):
        return [None] * len(tensors)
    if one_size and any(tensor.order == NHWC for tensor in tensors) and not tensors[0].either:
        return [None if tensor.order == NHWC else NHWC for tensor in tensors]
    return _all_contiguous(tensors)


def _first_in_either(tensors: Sequence[Placed]) -> Wanted:
    return [None if tensors[0].order == NHWC else _all_contiguous(tensors)[0], *_all_contiguous(tensors[1:])]


def _in_parallel(tensors: Sequence[Placed]) -> Wanted:
    """Byte by byte through all of them. CMSIS-NN's add and mul take one value per channel, too, and that in NHWC."""
    one_size = len({tensor.sizes for tensor in tensors}) == 1
    if one_size and all(tensor.in_sequence for tensor in tensors):
        return [None] * len(tensors)
    if all(len(tensor.sizes) == 4 for tensor in tensors):
        return [None if tensor.channels_last else NHWC for tensor in tensors]
    return _in_sequence(tensors)


def _any(tensors: Sequence[Placed]) -> Wanted:
    return [None] * len(tensors)


class Demand(Enum):
    """What a kernel demands: the name that messages give it, and the rule."""

    CHANNELS_LAST = ("its first tensor and its result in channels_last", _first_channels_last)
    CONTIGUOUS = ("contiguous tensors", _all_contiguous)
    IN_SEQUENCE = ("a contiguous tensor", _in_sequence)
    ALIKE = ("tensors of one memory order, contiguous where their sizes differ", _alike)
    EITHER = ("a tensor that is contiguous or channels_last, and a result alike", _first_in_either)
    IN_PARALLEL = ("tensors of one memory order", _in_parallel)
    AS_LOWERED = ("the memory order that it was made for", _any)
    ANY = ("nothing", _any)

    def __init__(self, text: str, rule: Callable[[Sequence[Placed]], Wanted]) -> None:
        self.text = text
        self.wanted = rule

    def gives(self, tensors: Sequence[Placed], results: Sequence[Placed]) -> bool:
        """Whether a kernel that reads `tensors`, which are as it wants them, may be declared to give `results`."""
        if self is Demand.EITHER:
            results = results[:1]  # max_pool2d's second are indices, which it writes by their own strides
        return all(self._gives(tensors, result) for result in results)

    def _gives(self, tensors: Sequence[Placed], result: Placed) -> bool:
        if self is Demand.CHANNELS_LAST:
            return result.channels_last
        if self is Demand.CONTIGUOUS:
            return result.contiguous
        if self is Demand.IN_SEQUENCE:
            return result.in_sequence
        if self is Demand.EITHER and result.either:
            return True
        if self in (Demand.ALIKE, Demand.EITHER) and tensors:
            return result.order == NHWC if tensors[0].order == NHWC else result.contiguous
        if self is Demand.IN_PARALLEL and tensors:
            return result.channels_last if all(each.channels_last for each in tensors) else result.in_sequence
        return True


_BY_DEMAND: dict[Demand, str] = {
    # op_quantized_conv2d.cpp and its like: is_channels_last_tensor of input and output.
    Demand.CHANNELS_LAST: """
        cortex_m.quantized_conv2d cortex_m.quantized_depthwise_conv2d cortex_m.quantized_transpose_conv2d
        cortex_m.quantized_avg_pool2d cortex_m.quantized_max_pool2d""",
    # No look at the order: one loop over all elements. (op_quantized_add.cpp, op_quantized_mul.cpp: or per channel.)
    Demand.IN_PARALLEL: """
        cortex_m.quantize_per_tensor cortex_m.dequantize_per_tensor cortex_m.quantized_add cortex_m.quantized_mul
        cortex_m.quantized_div cortex_m.quantized_activation""",
    # op_pad.cpp: the padding is in the order of memory, as it was when the program was lowered.
    Demand.AS_LOWERED: "cortex_m.pad",
    # copy_ops_util.cpp, _to_dim_order_copy_impl: by the strides of both.
    Demand.ANY: "dim_order_ops._clone_dim_order dim_order_ops._to_dim_order_copy",
    # Memory planning makes an alias of it, which nothing looks at.
    Demand.IN_SEQUENCE: "aten.view_copy",
    # upsample_util.cpp, kernel_ops_util.cpp, op_convolution.cpp: by strides, after a look at in and out.
    Demand.EITHER: """
        aten.upsample_nearest2d aten.upsample_bilinear2d aten.max_pool2d_with_indices""",
    # By tensors_have_same_dim_order, or without a look; broadcast_indexes_range.h broadcasts contiguous results only.
    Demand.ALIKE: """
        aten.abs aten.acos aten.acosh aten.add aten.asin aten.asinh aten.atan aten.atan2 aten.atanh aten.bitwise_and
        aten.bitwise_not aten.bitwise_or aten.bitwise_xor aten.ceil aten.clamp aten.cos aten.cosh aten.div aten.elu
        aten.eq aten.erf aten.exp aten.expm1 aten.floor aten.floor_divide aten.fmod aten.ge aten.gelu aten.gt
        aten.hardtanh aten.isinf aten.isnan aten.le aten.leaky_relu aten.log aten.log10 aten.log1p aten.log2
        aten.logical_and aten.logical_not aten.logical_or aten.logical_xor aten.logit aten.lt aten.maximum
        aten.minimum aten.mul aten.ne aten.neg aten.pow aten.reciprocal aten.relu aten.remainder aten.round aten.rsqrt
        aten.rsub aten.sigmoid aten.sign aten.sin aten.sinh aten.sqrt aten.sub aten.tan aten.tanh aten.trunc
        aten.where""",
}
_DEMANDS = {name: demand for demand, names in _BY_DEMAND.items() for name in names.split()}

# Kernels whose further tensors are no images: weights, tables, scratch memory.
_READS_FIRST = ("cortex_m.quantized_activation",)

# op_transpose.cpp, kMaxSupportedDims; kernel_ops_util.cpp, check_convolution_args.
_MOST_DIMENSIONS = {"cortex_m.transpose": 4, "cortex_m.pad": 4, "aten.convolution": 4}


def demand_of(kernel: str) -> Demand:
    """What a kernel demands, by its name without overload, e.g. ``aten.add``. One that isn't known: contiguous."""
    return _DEMANDS.get(kernel, Demand.CONTIGUOUS)


def reads_first_alone(kernel: str) -> bool:
    """Whether only the first of its tensors lies in a memory order that matters."""
    return kernel in _READS_FIRST or demand_of(kernel) is Demand.CHANNELS_LAST


def most_dimensions(kernel: str) -> int | None:
    """How many dimensions its first tensor may have; None where any number."""
    return _MOST_DIMENSIONS.get(kernel)


@functools.cache
def portable_kernels() -> frozenset[str]:
    """The kernels of executorch's portable library, e.g. ``aten::add.out``, by the file that it is built from."""
    text = files("executorch").joinpath("kernels/portable/functions.yaml").read_text(encoding="utf-8")
    names = re.findall(r"^- (?:op|func): ([\w:.]+)", text, re.MULTILINE)
    return frozenset(name if "::" in name else f"aten::{name}" for name in names)
