"""Faults put into TOSA flatbuffers in place, and two networks with one of each kind of layer to put them into."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flatbuffers.number_types
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tosa.Attribute import Attribute
from tosa.Op import Op
from tosa.TosaGraph import TosaGraph

from tests.models import Example


class Broken(nn.Module):
    """One of each kind of layer that a fault can be put into, behind `depth` layers with random weights."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.deep = nn.Sequential(*(nn.Sequential(nn.Conv2d(8, 8, 1), nn.Hardtanh()) for _ in range(depth)))
        self.left, self.right = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.head, self.tail = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a = self.deep(torch.relu(self.stem(x)))
        b = F.relu(self.left(a) - self.right(a))
        c = self.depthwise(F.pad(b[:, :, 1:7, 1:7], (1, 1, 2, 0)))
        c = torch.cat([F.silu(c), F.max_pool2d(b, 3, 1, 1)], 1)[:, 4:12]
        d = torch.where(x[:, :1] > 0, c, b).transpose(2, 3) * torch.sigmoid(c)
        e = F.interpolate(F.avg_pool2d(d, 2), scale_factor=2, mode="bilinear")
        f = (d + e).mean((2, 3))
        return self.head(f), self.tail(f)


def good() -> Example:
    """15 layers."""
    torch.manual_seed(0)
    return Example(Broken(0).eval(), (torch.randn(1, 3, 8, 8),))


def deep() -> Example:
    """31 layers, of which those behind the first stretch and fold, so that rounding grows from one to the next."""
    torch.manual_seed(0)
    model = Broken(8).eval()
    convolutions: list[Any] = [module for module in model.deep.modules() if isinstance(module, nn.Conv2d)]
    with torch.no_grad():
        for convolution in convolutions:
            convolution.weight *= 20
    return Example(model, (torch.randn(1, 3, 8, 8),))


class Graph:
    """A TOSA flatbuffer to be changed in place.

    Attributes:
        buffer: the flatbuffer.
    """

    def __init__(self, graph: bytes) -> None:
        self.buffer = bytearray(graph)
        self._block: Any = TosaGraph.GetRootAs(self.buffer, 0).Regions(0).Blocks(0)

    def operator(self, kind: int, index: int = 0, where: str = "") -> Any:
        """An operator of a kind (of `Op`): the one of that index among those whose output's name has `where`."""
        operators = map(self._block.Operators, range(self._block.OperatorsLength()))
        return [each for each in operators if each.Op() == kind and where in each.Outputs(0).decode()][index]

    def after(self, operator: Any, kind: int) -> Any:
        """The first operator of a kind that reads what another gives."""
        operators = list(map(self._block.Operators, range(self._block.OperatorsLength())))
        name = operator.Outputs(0)
        return next(each for each in operators if each.Op() == kind and name in names(each))

    def constant(self, operator: Any, index: int, dtype: Any) -> np.ndarray[Any, Any]:
        """The numbers of the constant that is an input of an operator, to be written to."""
        return self.named(names(operator)[index], dtype)

    def named(self, name: bytes, dtype: Any) -> np.ndarray[Any, Any]:
        """The numbers of a constant, or of a constant shape, to be written to."""
        tensors = map(self._block.Tensors, range(self._block.TensorsLength()))
        shapes = map(self._block.Shapes, range(self._block.ShapesLength()))
        found, field = (
            next((each, 10) for each in tensors if each.Name() == name and each.DataLength())
            if any(self._block.Tensors(at).Name() == name for at in range(self._block.TensorsLength()))
            else next((each, 8) for each in shapes if each.Name() == name)
        )
        return self._vector(found._tab, field, found.DataLength(), 1).view(dtype)

    def attribute(self, operator: Any, field: int, dtype: Any) -> np.ndarray[Any, Any]:
        """A vector of an operator's attributes, by its place in the schema, to be written to."""
        table = operator.Attribute()
        offset = table.Offset(4 + 2 * field)
        return self._vector(table, 4 + 2 * field, table.VectorLen(offset), np.dtype(dtype).itemsize).view(dtype)

    def become(self, operator: Any, kind: int, attribute: int) -> None:
        """Make an operator one of another kind, whose attributes are of the same form."""
        place = operator._tab.Pos + operator._tab.Offset(4)
        self.buffer[place : place + 4] = int(kind).to_bytes(4, "little")
        self.buffer[operator._tab.Pos + operator._tab.Offset(6)] = attribute

    def swap(self, operator: Any, first: int, second: int) -> None:
        """Swap two inputs of an operator."""
        self._swap(operator._tab, 10, first, second)

    def swap_outputs(self, first: int, second: int) -> None:
        """Swap two outputs of the graph."""
        self._swap(self._block._tab, 12, first, second)

    def read(self, operator: Any, index: int, other: Any, its: int) -> None:
        """Let an operator read, as its input of an index, what another reads as its own of the index `its`."""
        slot, source = self._slot(operator._tab, 10, index), self._slot(other._tab, 10, its)
        self._point(slot, source + self._at(source))

    def _swap(self, table: Any, field: int, first: int, second: int) -> None:
        slots = [self._slot(table, field, index) for index in (first, second)]
        texts = [slot + self._at(slot) for slot in slots]
        for slot, text in zip(slots, reversed(texts), strict=True):
            self._point(slot, text)

    def _slot(self, table: Any, field: int, index: int) -> int:
        return int(table.Vector(flatbuffers.number_types.UOffsetTFlags.py_type(table.Offset(field)))) + 4 * index

    def _at(self, slot: int) -> int:
        return int.from_bytes(self.buffer[slot : slot + 4], "little")

    def _point(self, slot: int, target: int) -> None:
        # Offsets go forward only: a name that lies before the slot is written once more, behind the end.
        if target <= slot:
            length = self._at(target)
            text = bytes(self.buffer[target : target + 4 + length + 1])
            self.buffer += bytes(-len(self.buffer) % 4)
            target = len(self.buffer)
            self.buffer += text
        self.buffer[slot : slot + 4] = (target - slot).to_bytes(4, "little")

    def _vector(self, table: Any, field: int, length: int, size: int) -> np.ndarray[Any, Any]:
        start = int(table.Vector(table.Offset(field)))
        return np.frombuffer(memoryview(self.buffer)[start : start + length * size], np.uint8)


def names(operator: Any) -> list[bytes]:
    return [operator.Inputs(index) for index in range(operator.InputsLength())]


@dataclass(frozen=True)
class Fault:
    """Something wrong in a program.

    Attributes:
        name: what it is.
        put: puts it into a graph of `Broken` lowered for TOSA_INT8.
        layers: what the name of the first wrong layer may hold.
    """

    name: str
    put: Callable[[Graph], None]
    layers: tuple[str, ...]


def _scaled(kind: int, factor: float, index: int = 0) -> Callable[[Graph], None]:
    """The multipliers of the rescale behind an operator by a factor."""

    def put(graph: Graph) -> None:
        rescale = graph.after(graph.operator(kind, index), Op.RESCALE)
        multipliers = graph.constant(rescale, 1, np.int32)
        multipliers[:] = (multipliers * factor).astype(np.int32)

    return put


def _zero_point(kind: int, index: int = 0) -> Callable[[Graph], None]:
    def put(graph: Graph) -> None:
        rescale = graph.after(graph.operator(kind, index), Op.RESCALE)
        graph.constant(rescale, 4, np.int8)[0] += 1

    return put


def _one_weight(graph: Graph) -> None:
    weight = graph.constant(graph.operator(Op.CONV2D, 0), 1, np.int8)
    weight[0] = np.int8(weight[0] - 40 if weight[0] > 0 else weight[0] + 40)


def _swapped_channels(graph: Graph) -> None:
    weight = graph.constant(graph.operator(Op.DEPTHWISE_CONV2D), 1, np.int8).reshape(9, 8)
    weight[:, [0, 1]] = weight[:, [1, 0]]


def _flipped_kernel(graph: Graph) -> None:
    weight = graph.constant(graph.operator(Op.CONV2D, 0), 1, np.int8).reshape(8, 3, 3, -1)
    weight[:] = weight[:, ::-1].copy()


def _bias(graph: Graph) -> None:
    convolution = graph.operator(Op.CONV2D, 0)
    multiplier = graph.constant(graph.after(convolution, Op.RESCALE), 1, np.int32)[0]
    shift = graph.constant(graph.after(convolution, Op.RESCALE), 2, np.int8)[0]
    graph.constant(convolution, 2, np.int32)[0] += int(3 * 2.0 ** int(shift) / int(multiplier))


def _conv_pad(graph: Graph) -> None:
    graph.attribute(graph.operator(Op.CONV2D, 0), 0, np.int32)[:] = (0, 2, 1, 1)


def _pool_pad(graph: Graph) -> None:
    graph.attribute(graph.operator(Op.MAX_POOL2D), 2, np.int32)[:] = (2, 0, 1, 1)


def _pad(graph: Graph) -> None:
    padding = graph.constant(graph.operator(Op.PAD), 1, np.int64)
    first, last = (index for index in range(len(padding)) if padding[index] in (0, 2) and index in (2, 3, 4, 5))
    padding[[first, last]] = padding[[last, first]]


def _slice(graph: Graph) -> None:
    start = graph.constant(graph.operator(Op.SLICE, 1), 1, np.int64)
    start[start == 4] = 3


def _axis(graph: Graph) -> None:
    """No transposition of height and width."""
    transpose = graph.after(graph.operator(Op.SELECT), Op.TRANSPOSE)
    permutation = graph.attribute(transpose, 0, np.int32)
    height, width = (
        int(np.flatnonzero(permutation == axis)[0]) for axis in sorted({2, 3, 1} - {int(permutation[-1])})[:2]
    )
    permutation[[height, width]] = permutation[[width, height]]


def _dropped_relu(graph: Graph) -> None:
    graph.attribute(graph.operator(Op.CLAMP, -1), 0, np.int8)[0] = -128


def _table(graph: Graph) -> None:
    values = graph.constant(graph.operator(Op.TABLE, 0), 1, np.int8)
    values[1:] = values[:-1].copy()


def _one_entry(graph: Graph) -> None:
    """One value of a table, which must be one that is looked up."""
    values = graph.constant(graph.operator(Op.TABLE, 1), 1, np.int8)
    values[100:156] += 3


def _added(graph: Graph) -> None:
    graph.become(graph.operator(Op.SUB), Op.ADD, Attribute.AddAttribute)


def _resized(graph: Graph) -> None:
    for offset_or_border in (2, 3):
        graph.constant(graph.operator(Op.RESIZE), offset_or_border, np.int64)[:] += 1


def _input_zero_point(graph: Graph) -> None:
    graph.constant(graph.operator(Op.CONV2D, 0), 3, np.int8)[0] += 1


def _same_weights(graph: Graph) -> None:
    """The last layer computes with the weights of the one beside it."""
    graph.read(graph.operator(Op.CONV2D, -1), 1, graph.operator(Op.CONV2D, -2), 1)


FAULTS = (
    Fault("a scale off by 1 %, of a convolution", _scaled(Op.CONV2D, 1.01), ("conv2d of stem",)),
    Fault("a scale off by 1 %, of a depthwise convolution", _scaled(Op.DEPTHWISE_CONV2D, 0.99), ("depthwise", "silu")),
    Fault("a scale off by 1 %, of a product", _scaled(Op.MUL, 1.01), ("mul",)),
    Fault("a scale off by 1 %, of a difference", _scaled(Op.SUB, 0.99), ("sub", "relu")),
    Fault("a scale off by 1 %, of a mean", _scaled(Op.REDUCE_SUM, 1.01, 1), ("sum", "mul")),
    Fault("a scale off by half", _scaled(Op.ADD, 0.5), ("add",)),
    Fault("a zero point off by one, of a convolution", _zero_point(Op.CONV2D), ("conv2d of stem",)),
    Fault("a zero point off by one, of a sum", _zero_point(Op.ADD), ("add",)),
    Fault("a zero point off by one, of the last layer", _zero_point(Op.CONV2D, -1), ("tail",)),
    Fault("an input's zero point off by one", _input_zero_point, ("conv2d of stem",)),
    Fault("swapped inputs of a difference", lambda graph: graph.swap(graph.operator(Op.SUB), 0, 1), ("sub", "relu")),
    Fault(
        "swapped inputs of a concatenation", lambda graph: graph.swap(graph.operator(Op.CONCAT), 0, 1), ("cat", "slice")
    ),
    Fault("swapped branches of where", lambda graph: graph.swap(graph.operator(Op.SELECT), 1, 2), ("where", "gt")),
    Fault("swapped outputs", lambda graph: graph.swap_outputs(0, 1), ("output 0",)),
    Fault("a convolution's pad shifted", _conv_pad, ("conv2d of stem",)),
    Fault("a pool's pad shifted", _pool_pad, ("max_pool2d",)),
    Fault("a pad shifted", _pad, ("pad",)),
    Fault("a slice shifted", _slice, ("slice", "cat")),
    Fault("the wrong axes", _axis, ("transpose", "mul")),
    Fault("one weight changed", _one_weight, ("conv2d of stem",)),
    Fault("two channels' weights swapped", _swapped_channels, ("depthwise", "silu")),
    Fault("kernels upside down", _flipped_kernel, ("conv2d of stem",)),
    Fault("a bias changed", _bias, ("conv2d of stem",)),
    Fault("another layer's weights", _same_weights, ("tail",)),
    Fault("a dropped relu", _dropped_relu, ("sub", "relu")),
    Fault("a table shifted", _table, ("silu",)),
    Fault("a table with wrong values", _one_entry, ("sigmoid",)),
    Fault("a sum for a difference", _added, ("sub", "relu")),
    Fault("an up-sampling shifted", _resized, ("upsample",)),
)
