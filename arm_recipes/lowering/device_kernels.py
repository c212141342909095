"""What the kernels of a Cortex-M runtime demand of the order in which their tensors lie in memory.

executorch's portable kernels know two ways to look at it. Some compare the dimension orders that the program declares,
and fail; others walk through memory by sizes alone, and give wrong values where it isn't contiguous. CMSIS-NN's walk
through it as NHWC, or element by element. Read in the sources of executorch 1.5 (kernels/portable/cpu and
backends/cortex_m/ops) and tried on kernels built from them, as docs/cortex_m.md says.
"""

from __future__ import annotations

import functools
import math
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
    def declared_channels_last(self) -> bool:
        """As dim_order_util.h has it (is_channels_last_dim_order)."""
        rank = len(self.order)
        return rank in (4, 5) and self.order == (0, *range(2, rank), 1)

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


def _alike_or_first_unlike(tensors: Sequence[Placed], results: Sequence[Placed]) -> Placed | None:
    """tensors_have_same_dim_order: the tensor that keeps them from being all contiguous or all channels_last."""
    everything = [*tensors, *results]
    if all(each.contiguous for each in everything) or all(each.declared_channels_last for each in everything):
        return None
    if results[0].contiguous:
        return next(each for each in everything if not each.contiguous)
    if results[0].declared_channels_last:
        return next(each for each in everything if not each.declared_channels_last)
    return results[0]


def _first_alike(tensors: Sequence[Placed], results: Sequence[Placed]) -> Placed | None:
    return _alike_or_first_unlike(tensors[:1], results)


def _not_contiguous(tensors: Sequence[Placed], results: Sequence[Placed]) -> Placed | None:
    return next((each for each in (*tensors, *results) if not each.contiguous), None)


def _not_channels_last(tensors: Sequence[Placed], results: Sequence[Placed]) -> Placed | None:
    return next((each for each in (tensors[0], *results) if not each.channels_last), None)


def _in_neither(tensors: Sequence[Placed], results: Sequence[Placed]) -> Placed | None:
    known = (each for each in (tensors[0], results[0]) if not (each.contiguous or each.declared_channels_last))
    return next(known, None)


def _not_as_asked(tensors: Sequence[Placed], results: Sequence[Placed]) -> Placed | None:
    """check__to_dim_order_copy_args. The last of `tensors` lies as the call asks for."""
    asked, (result,) = tensors[-1], results
    if asked.contiguous or asked.declared_channels_last:
        return None if asked.order == result.order else result
    return asked


class Look(Enum):
    """What a kernel asks of its tensors' memory orders before it computes: for messages, and the one that it refuses.

    Where there is one, the kernel fails with 0x12 (InvalidArgument).
    """

    NONE = ("nothing", lambda tensors, results: None)
    ALIKE = ("tensors that are all contiguous or all channels_last, its result too", _alike_or_first_unlike)
    FIRST_ALIKE = ("a result and a first tensor that are both contiguous or both channels_last", _first_alike)
    CONTIGUOUS = ("contiguous tensors", _not_contiguous)
    CHANNELS_LAST = ("its first tensor and its result in channels_last", _not_channels_last)
    EITHER = ("tensors that are contiguous or channels_last", _in_neither)
    AS_ASKED = ("a result in the order that it is asked for, contiguous or channels_last", _not_as_asked)

    def __init__(self, text: str, rule: Callable[[Sequence[Placed], Sequence[Placed]], Placed | None]) -> None:
        self.text = text
        self.refused = rule


class Walk(Enum):
    """How a kernel goes through memory that is not as it demands (`Demand`), and that its look lets pass."""

    BY_STRIDES = "right values"
    AS_CONTIGUOUS = "it reads and writes them as if they were contiguous"
    WRITES_CONTIGUOUS = "it reads them as they lie, and writes its result as if it were contiguous"
    AS_CHANNELS_LAST = "it reads and writes them as if they were channels_last"
    UNKNOWN = "what it then reads and writes is not known here"


# What happens on a device where a demand isn't met. Each was called with every combination of contiguous and
# channels_last tensors on the kernels themselves, as docs/cortex_m.md says.
ON_DEVICE: dict[tuple[Look, Walk], str] = {
    # pattern/*.h, op_add.cpp and its like: the look; broadcast_indexes_range.h: the walk, where it has to broadcast.
    (Look.ALIKE, Walk.WRITES_CONTIGUOUS): _BY_DEMAND[Demand.ALIKE]
    # reduce_util.cpp, get_init_index: by strides to the first that it reduces, results one after the other.
    + " aten.amax aten.amin aten.argmax aten.argmin aten.any",
    # op_prod.cpp, op_var.cpp: the same without a look.
    (Look.NONE, Walk.WRITES_CONTIGUOUS): "aten.prod aten.var",
    # copy_ops_util.cpp, select_copy_util.cpp, op_permute_copy.cpp, op_flip.cpp, op_constant_pad_nd.cpp, op_cumsum.cpp,
    # op_split_with_sizes_copy.cpp, slice_util.cpp: blocks of getTrailingDims, which are of sizes alone.
    (Look.ALIKE, Walk.AS_CONTIGUOUS): """
        aten.cat aten.constant_pad_nd aten.cumsum aten.flip aten.permute_copy aten.select_copy aten.slice_copy
        aten.split_copy aten.split_with_sizes_copy""",
    # reduce_util.h, apply_over_dim: the stride of one dimension with the sizes of others, and beyond the tensor's end.
    (Look.ALIKE, Walk.UNKNOWN): "aten._softmax aten._log_softmax",
    # upsample_util.cpp (check_upsample_2d_common_args), op_convolution.cpp: by strides after that.
    (Look.FIRST_ALIKE, Walk.BY_STRIDES): "aten.convolution aten.upsample_nearest2d aten.upsample_bilinear2d",
    # kernel_ops_util.cpp, check_max_pool2d_with_indices_args.
    (Look.EITHER, Walk.BY_STRIDES): "aten.max_pool2d_with_indices",
    # tensor_is_default_dim_order in the kernel's own file. op_quantized_conv2d_nhwc.cpp and its like:
    # is_contiguous_dim_order.
    (Look.CONTIGUOUS, Walk.UNKNOWN): """
        aten._adaptive_avg_pool2d aten.addmm aten.arange aten.avg_pool2d aten.bmm aten.expand_copy aten.full_like
        aten.index aten.index_select aten.max aten.mean aten.min aten.mm aten.native_group_norm
        aten.native_layer_norm aten.repeat aten.squeeze_copy aten.sum aten.view_copy""",
    # op_unsqueeze_copy.cpp: memcpy. op_gather.cpp: by sizes. op_full.cpp: one number everywhere.
    (Look.NONE, Walk.AS_CONTIGUOUS): """
        aten.full aten.gather aten.unsqueeze_copy cortex_m.maximum cortex_m.minimum cortex_m.softmax
        cortex_m.transpose """
    # cortex_m_ops_common.h, validate_cmsis_nn_tensor_requirements: "TBD: Validate dim_order".
    + _BY_DEMAND[Demand.IN_PARALLEL],
    (Look.CHANNELS_LAST, Walk.UNKNOWN): _BY_DEMAND[Demand.CHANNELS_LAST],
    # copy_ops_util.cpp, check__to_dim_order_copy_args.
    (Look.AS_ASKED, Walk.BY_STRIDES): _BY_DEMAND[Demand.ANY],
}
_FACTS = {name: fact for fact, names in ON_DEVICE.items() for name in names.split()}

# Kernels whose further tensors are no images: weights, tables, scratch memory.
_READS_FIRST = ("cortex_m.quantized_activation",)

# op_transpose.cpp, kMaxSupportedDims; kernel_ops_util.cpp, check_convolution_args.
_MOST_DIMENSIONS = {"cortex_m.transpose": 4, "cortex_m.pad": 4, "aten.convolution": 4}


def demand_of(kernel: str) -> Demand:
    """What a kernel demands, by its name without overload, e.g. ``aten.add``. One that isn't known: contiguous."""
    return _DEMANDS.get(kernel, Demand.CONTIGUOUS)


def on_device(kernel: str, sizes: Sequence[tuple[int, ...]]) -> tuple[Look, Walk] | None:
    """What a kernel asks of memory orders, and how it walks through such as it doesn't demand.

    Args:
        kernel: its name without overload.
        sizes: of the tensors that it reads.

    Returns:
        None where it isn't known.
    """
    known = _FACTS.get(kernel)
    if known is not None and demand_of(kernel) is Demand.IN_PARALLEL and len(set(sizes)) > 1:
        return known[0], Walk.AS_CHANNELS_LAST  # a value per channel
    return known


def reads_first_alone(kernel: str) -> bool:
    """Whether only the first of its tensors lies in a memory order that matters."""
    return kernel in _READS_FIRST or demand_of(kernel) is Demand.CHANNELS_LAST


def most_dimensions(kernel: str) -> int | None:
    """How many dimensions its first tensor may have; None where any number."""
    return _MOST_DIMENSIONS.get(kernel)


def broadcasts_wrong(kernel: str, sizes: Sequence[tuple[int, ...]]) -> bool:
    """Whether CMSIS-NN goes astray between tensors of such sizes.

    arm_maximum_s8.c and arm_minimum_s8.c step back once a column and forth once a row, and read beyond the smaller
    one's end. With a single number they don't.
    """
    if kernel not in ("cortex_m.maximum", "cortex_m.minimum") or len(set(sizes)) == 1:
        return False
    return all(math.prod(each) != 1 for each in sizes)


@functools.cache
def portable_kernels() -> frozenset[str]:
    """The kernels of executorch's portable library, e.g. ``aten::add.out``, by the file that it is built from."""
    text = files("executorch").joinpath("kernels/portable/functions.yaml").read_text(encoding="utf-8")
    names = re.findall(r"^- (?:op|func): ([\w:.]+)", text, re.MULTILINE)
    return frozenset(name if "::" in name else f"aten::{name}" for name in names)
