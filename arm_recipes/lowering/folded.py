"""Cures between upstream's Cortex-M passes: operators whose scales were folded into them, and are then lost.

Upstream folds quantize and dequantize operators into whatever they surround. A comparison with a number then compares
the integers with that number; a hardswish that is not behind a convolution stays one on integers, for which there is
no kernel, and behind one it becomes a product with a zero point that is rounded. So is that of a hardsigmoid, which
upstream takes into the layer before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from executorch.backends.arm._passes import FoldAndAnnotateQParamsPass
from executorch.backends.cortex_m.passes import ActivationFusionPass, AtenToCortexMPass, QuantizedClampActivationPass
from executorch.backends.cortex_m.passes.passes_utils import get_activation_bounds, quantize_val
from executorch.backends.cortex_m.target_config import CortexMTargetConfig
from executorch.backends.transforms.utils import create_constant_placeholder, get_param_tensor
from executorch.exir.pass_base import ExportPass, NodeMetadata, ProxyValue
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import GraphModule, Node
from torch.fx.passes.infra.pass_base import PassResult
from torch.nn import functional

from arm_recipes.upstream.graphs import where
from arm_recipes.upstream.private import CLONE_DIM_ORDER, TO_DIM_ORDER_COPY, edge_operators

from .changes import note
from .device_kernels import NHWC
from .records import Change

_aten = edge_operators.aten

# In node.meta["custom"] of a copy that goes if it changes nothing.
IF_NEEDED = "arm_recipes_copy_if_needed"

# Comparison -> whether integer q takes part in what is True, given its value and the number.
_COMPARISONS: dict[Any, Callable[[Tensor, float], Tensor]] = {
    _aten.gt.Scalar: lambda value, number: value > number,
    _aten.ge.Scalar: lambda value, number: value >= number,
    _aten.lt.Scalar: lambda value, number: value < number,
    _aten.le.Scalar: lambda value, number: value <= number,
    _aten.eq.Scalar: lambda value, number: value == number,
    _aten.ne.Scalar: lambda value, number: value != number,
}
_RISING = (_aten.gt.Scalar, _aten.ge.Scalar)
_FALLING = (_aten.lt.Scalar, _aten.le.Scalar)

_FILLED = (_aten.full.default, _aten.full_like.default)
_WITH_BIAS = (_aten.linear.default, _aten.convolution.default)
_PER_CHANNEL = (_aten.add.Tensor, _aten.sub.Tensor, _aten.mul.Tensor)
_PADDING = (_aten.constant_pad_nd.default, _aten.avg_pool2d.default)
_GIVE_NHWC = (_aten.convolution.default, _aten.max_pool2d.default, _aten.avg_pool2d.default)


class FoldScales(FoldAndAnnotateQParamsPass):
    """In the place of upstream's pass: a matrix product may read what a linear layer with a bias gives.

    Until the layer is CMSIS-NN's, torch takes its values for int32, as its bias is, and multiplies them with no int8.
    """

    def call_operator(
        self, op: Any, args: tuple[Any, ...], kwargs: dict[str, Any], meta: NodeMetadata, updated: bool | None = False
    ) -> ProxyValue:
        if op == _aten.bmm.default and {each.data.dtype for each in args} == {torch.int8, torch.int32}:
            args = tuple(each if each.data.dtype == torch.int8 else self._as_int8(each, meta) for each in args)
        return super().call_operator(op, args, kwargs, meta, updated)

    def _as_int8(self, value: ProxyValue, meta: NodeMetadata) -> ProxyValue:
        """A copy that `memory_order` drops, as the value is int8 by then."""
        kept = {key: of for key, of in meta.data.items() if key not in ("val", "input_qparams", "output_qparams")}
        asked = {"dtype": torch.int8, "dim_order": list(range(value.data.dim()))}
        return super().call_operator(
            TO_DIM_ORDER_COPY, (value,), asked, NodeMetadata({**kept, "custom": {IF_NEEDED: True}}), True
        )


class CompareIntegers(ExportPass):
    """Lets comparisons of integers with a number compare with the integer that this number is."""

    def call(self, graph_module: GraphModule) -> PassResult:
        for node in graph_module.graph.nodes:
            if node.target in _COMPARISONS and (scale := _scale(node, "input_qparams")) is not None:
                number = float(node.args[1])
                node.args = (node.args[0], _threshold(node.target, number, *scale))
                note(
                    node,
                    Change(
                        "integer-comparison",
                        where(node),
                        f"compares with {node.args[1]:g}, which is {number:g} in its input's integers",
                        "executorch compares the integers with the number itself",
                    ),
                )
        graph_module.recompile()
        return PassResult(graph_module, True)


class FillIntegers(ExportPass):
    """Lets tensors of one number, whose quantize operator was folded into them, be filled with its integer."""

    def call(self, graph_module: GraphModule) -> PassResult:
        for node in graph_module.graph.nodes:
            if node.target in _FILLED and (scale := _scale(node, "output_qparams")) is not None:
                number = node.args[1]
                integer = int(quantize_val(float(number), *scale, -128, 127))
                node.args = (node.args[0], integer, *node.args[2:])
                node.kwargs = {**node.kwargs, "dtype": torch.int8}
                what = f"is filled with {integer}, which is {number:g} in its integers"
                why = "executorch fills the integers with the number itself"
                note(node, Change("integer-fill", where(node), what, why))
        result: PassResult = super().call(graph_module)
        return result


class ClampIntegers(ExportPass):
    """Lets limits of integers be integers where upstream's QuantizedClampActivationPass, which goes before, left them.

    It looks at the dtype of what is limited, and that is float until all operators are CMSIS-NN's.
    """

    def call(self, graph_module: GraphModule) -> PassResult:
        for node in graph_module.graph.nodes:
            if node.target not in QuantizedClampActivationPass.TARGETS or node.args[0].meta["val"].dtype == torch.int8:
                continue
            scale, bounds = _scale(node, "output_qparams"), get_activation_bounds(node)
            if scale is None or bounds is None or _scale(node, "input_qparams") != scale:
                continue
            limits = [None if bound is None else int(quantize_val(bound, *scale, -128, 127)) for bound in bounds]
            before = node.target
            node.target, node.args = _aten.clamp.default, (node.args[0], *limits)
            note(
                node,
                Change(
                    "integer-limits",
                    where(node),
                    f"limits integers to {limits}, which are the limits of {before.__name__}",
                    "executorch limits the integers to the numbers themselves",
                ),
            )
        graph_module.recompile()
        return PassResult(graph_module, True)


class FuseActivations(ExportPass):
    """In the place of upstream's ActivationFusionPass: a hardsigmoid is exact where it is taken into another layer.

    hardsigmoid(x) is x / 6 + 1/2 between its limits, so upstream gives the layer before it another scale and a zero
    point that is 1 / (2 scale) higher, rounded to a step and limited to int8. What that leaves goes into the layer's
    bias, whose steps are finer.
    """

    def __init__(self, exported_program: ExportedProgram) -> None:
        super().__init__()
        self._program = exported_program

    def call(self, graph_module: GraphModule) -> PassResult:
        graph = graph_module.graph
        hardsigmoids: dict[Node, tuple[Any, Any]] = {
            node: (node.args[0], _scale(node, "output_qparams"))
            for node in graph.find_nodes(op="call_function", target=_aten.hardsigmoid.default)
        }
        result: PassResult = ActivationFusionPass().call(graph_module)
        left = set(graph.find_nodes(op="call_function", target=_aten.hardsigmoid.default))
        for node, (layer, scale) in hardsigmoids.items():
            if node not in left and layer.target in _WITH_BIAS:
                self._shift(layer, *scale)
        return result

    def _shift(self, layer: Node, scale: float, zero_point: int) -> None:
        """Adds to the bias of a layer what its zero point lacks of a hardsigmoid's with this output."""
        inputs, after = layer.meta["input_qparams"], layer.meta["output_qparams"][0]
        lacks = zero_point + 1 / (2 * scale) - after.zp
        steps = inputs[0].scale * torch.as_tensor(inputs[1].scale, dtype=torch.float64)
        bias = layer.args[2] if len(layer.args) > 2 else None
        before = 0 if bias is None else get_param_tensor(self._program, bias)
        channels = layer.meta["val"].shape[1 if layer.target == _aten.convolution.default else -1]
        more = (lacks * after.scale / steps).round().expand(channels)
        if not more.any():
            return
        with layer.graph.inserting_before(next(iter(layer.graph.find_nodes(op="placeholder")))):
            shifted = create_constant_placeholder(
                self._program,
                layer.graph,
                f"{layer.name}_hardsigmoid_bias",
                InputKind.PARAMETER,
                (before + more).to(torch.int32),
            )
        layer.args = (*layer.args[:2], shifted, *layer.args[3:])
        note(
            layer,
            Change(
                "hardsigmoid-bias",
                where(layer),
                f"adds {lacks:.3g} of an output step to the bias, so that the hardsigmoid taken into it is exact",
                "executorch takes it in by a zero point that is rounded to a step, and limited to int8",
            ),
        )


class ToCortexM(ExportPass):
    """In the place of upstream's AtenToCortexMPass, and just before it in one step, as values have no dtype in between:

    - quantized hardswish operators look their result up in a table, as executorch has it for other activations;
    - what is multiplied with one value per channel, or added to, is put into channels_last;
    - so is what is padded behind a layer that becomes a kernel of CMSIS-NN, in the same step, and gives channels_last
      from then on: upstream writes the padding in the order in which its input lay before.
    """

    def __init__(self, exported_program: ExportedProgram, target_config: CortexMTargetConfig) -> None:
        super().__init__()
        self._program = exported_program
        self._upstream = AtenToCortexMPass(exported_program, target_config)

    def call(self, graph_module: GraphModule) -> PassResult:
        for node in list(graph_module.graph.nodes):
            if node.target == _aten.hardswish.default:
                self._look_up(node)
            elif node.target in _PER_CHANNEL:
                _lay_out(node)
            elif node.target in _PADDING and _scale(node, "input_qparams") is not None and _behind_nhwc(node):
                _put_in_nhwc(node, node.args[0])
        result: PassResult = self._upstream.call(graph_module)
        return result

    def _look_up(self, node: Node) -> None:
        before, after = _scale(node, "input_qparams"), _scale(node, "output_qparams")
        if before is None or after is None:
            return
        graph = node.graph
        with graph.inserting_before(next(iter(graph.find_nodes(op="placeholder")))):
            table = create_constant_placeholder(
                self._program, graph, f"{node.name}_lut", InputKind.PARAMETER, _table(before, after)
            )
        node.target = edge_operators.cortex_m.quantized_activation.default
        node.args = (node.args[0], table)
        note(
            node,
            Change(
                "hardswish-table",
                where(node),
                "looks hardswish up in a table of 256 integers: exact to a step, and one kernel",
                "executorch leaves it to aten::hardswish.out, which the device's library has not, or behind a "
                "convolution multiplies with a zero point that is rounded",
            ),
        )


def _lay_out(node: Node) -> None:
    sources: Any = node.args[:2]
    if any(_scale(node, "input_qparams", index) is None for index in (0, 1)):
        return
    values = [source.meta["val"] for source in sources]
    channels = {(value.dim(), value.shape[1]) for value in values if value.dim() == 4}
    if values[0].shape == values[1].shape or len(channels) != 1 or {value.dim() for value in values} != {4}:
        return
    _put_in_nhwc(node, max(sources, key=lambda source: source.meta["val"].numel()))


def _behind_nhwc(node: Node) -> bool:
    """Whether something of 4 dimensions that it is made from will be a kernel's that gives channels_last."""
    todo, seen = list(node.all_input_nodes), set()
    while todo:
        source = todo.pop()
        value = source.meta.get("val")
        if source in seen or not isinstance(value, Tensor) or value.dim() != 4:
            continue
        if source.target in _GIVE_NHWC:
            return True
        seen.add(source)
        todo.extend(source.all_input_nodes)
    return False


def _put_in_nhwc(node: Node, source: Node) -> None:
    """Let a node read a copy of `source` in channels_last.

    Whether it will lie there is known only when all operators are CMSIS-NN's; `memory_order` drops the copy then.
    """
    with node.graph.inserting_before(node):
        copy = node.graph.call_function(CLONE_DIM_ORDER, (source,), {"dim_order": list(NHWC)})
    copy.meta = {"val": source.meta["val"].to(memory_format=torch.channels_last), "custom": {IF_NEEDED: True}}
    node.replace_input_with(source, copy)


def _scale(node: Node, which: str, index: int = 0) -> tuple[float, int] | None:
    """Scale and zero point of a node's input or output, where they were folded into it, one for all of int8."""
    folded = (node.meta.get(which) or {}).get(index) if node.op == "call_function" else None
    if folded is None or getattr(folded, "per_channel", False) or folded.dtype != torch.int8:
        return None
    return float(folded.scale), int(folded.zp)


def _values(scale: float, zero_point: int) -> Tensor:
    """What each int8 stands for, from -128 on, as a dequantize operator has it."""
    return (torch.arange(-128, 128, dtype=torch.float32) - zero_point) * scale


def _threshold(comparison: Any, number: float, scale: float, zero_point: int) -> float:
    """The number with which integers have to be compared, halfway between two where that makes no difference."""
    true = _COMPARISONS[comparison](_values(scale, zero_point), number).nonzero().flatten() - 128
    if comparison in _RISING:
        return float(true[0]) - 0.5 if len(true) else 127.5
    if comparison in _FALLING:
        return float(true[-1]) + 0.5 if len(true) else -128.5
    equal = true if comparison is _aten.eq.Scalar else _values(scale, zero_point).eq(number).nonzero().flatten() - 128
    return float(equal[0]) if len(equal) else 0.5


def _table(before: tuple[float, int], after: tuple[float, int]) -> Tensor:
    scale, zero_point = after
    exact = functional.hardswish(_values(*before).double()) / scale
    # Half away from zero, as executorch's own tables are made.
    steps = [math.copysign(math.floor(abs(value) + 0.5), value) + zero_point for value in exact.tolist()]
    return torch.tensor(steps).clamp(-128, 127).to(torch.int8)
