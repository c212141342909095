"""Cure: layers that CMSIS-NN computes wrong, or not at all, as others that are the same function and that it has.

Its transposed convolution is wrong where the height's padding is no multiple of its stride (a later one mends that),
and takes no output padding. A kernel with zeros around it, and as much more padding, computes the same.
Three-dimensional convolutions are two-dimensional ones over the depths that each output depth sees.
An average pooling that counts its padding is lowered as a padding and a pooling, to which a last window that begins in
the padding belongs (ceil_mode); to the model's it does not. Without ceil_mode it has as many as the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.nn import functional

from arm_recipes.upstream.graphs import arguments_by_name, call_before, where

from .changes import note
from .constant_weights import constant_value
from .records import Change

_aten = torch.ops.aten


def rewrite_for_cmsis_nn(model: GraphModule) -> GraphModule:
    """A pre-prepare pass, before the one that lays out the model for the quantizer."""
    for node in list(model.graph.nodes):
        if node.target is _aten.conv_transpose2d.input:
            _widen(model, node)
        elif node.target is _aten.conv3d.default:
            _in_slices(model, node)
        elif node.target is _aten.avg_pool2d.default:
            _with_stride(node)
            _without_ceil_mode(model, node)
    model.graph.eliminate_dead_code()
    model.recompile()
    return model


def _widen(model: GraphModule, node: Node) -> None:
    arguments = arguments_by_name(node)
    stride, padding = _two(arguments.get("stride", 1)), _two(arguments.get("padding", 0))
    outside, dilation = _two(arguments.get("output_padding", 0)), _two(arguments.get("dilation", 1))
    if arguments.get("groups", 1) != 1 or dilation != [1, 1]:
        return  # which the quantizer leaves in float
    # Of the height alone: arm_transpose_conv_s8.c goes wrong from row to row.
    before = [-padding[0] % stride[0], 0]
    after = [outside[axis] + before[axis] for axis in (0, 1)]
    weight = constant_value(model, node.args[1]) if isinstance(node.args[1], Node) else None
    if weight is None or not any((*before, *after)):
        return
    wide = functional.pad(weight, (before[1], after[1], before[0], after[0]))
    new_padding = [padding[axis] + before[axis] for axis in (0, 1)]
    constant = _constant(model, node, "wide_weight", wide)
    bias = node.args[2] if len(node.args) > 2 else None
    node.args = (node.args[0], constant, bias, stride, new_padding, [0, 0], 1, [1, 1])
    note(
        model,
        Change(
            "transposed-convolution",
            where(node),
            f"has zeros around its kernel, {wide.shape[2]}x{wide.shape[3]} instead of "
            f"{weight.shape[2]}x{weight.shape[3]}, and padding {new_padding} instead of {padding}"
            + (f" with output_padding {outside}" if any(outside) else ""),
            "CMSIS-NN's transposed convolution takes no output_padding, and is wrong where the height's padding is no "
            "multiple of its stride",
        ),
    )


def _in_slices(model: GraphModule, node: Node) -> None:
    arguments = arguments_by_name(node)
    weight = constant_value(model, arguments["weight"])
    source = node.args[0]
    value = source.meta["val"] if isinstance(source, Node) else None
    if weight is None or not isinstance(value, Tensor) or value.dim() != 5:
        return
    stride, padding, dilation = (_many(arguments.get(name, default), 3) for name, default in _WINDOW)
    bias, groups = arguments.get("bias"), arguments.get("groups", 1)
    batch, _, depth, height, width = value.shape
    slices: list[Node] = []
    weights: dict[tuple[int, int], Node] = {}
    for index in range(int(node.meta["val"].shape[2])):
        begin = index * stride[0] - padding[0]
        taps = [tap for tap in range(weight.shape[2]) if 0 <= begin + tap * dilation[0] < depth]
        if not taps:
            return  # a slice of the bias alone
        key = (taps[0], taps[-1])
        if key not in weights:
            flat = weight[:, :, taps[0] : taps[-1] + 1].flatten(1, 2)
            weights[key] = _constant(model, node, f"taps_{taps[0]}_{taps[-1]}", flat)
        first, last = begin + taps[0] * dilation[0], begin + taps[-1] * dilation[0]
        seen = call_before(node, _aten.slice.Tensor, source, 2, first, last + 1, dilation[0])
        seen = call_before(node, _aten.reshape.default, seen, [batch, -1, height, width])
        plane = call_before(
            node, _aten.conv2d.default, seen, weights[key], bias, stride[1:], padding[1:], dilation[1:], groups
        )
        slices.append(call_before(node, _aten.unsqueeze.default, plane, 2))
    result = call_before(node, _aten.cat.default, slices, 2)
    node.replace_all_uses_with(result)
    note(
        model,
        Change(
            "three-dimensional-convolution",
            where(node),
            f"computed as {len(slices)} two-dimensional ones, of the depths that each output depth sees",
            "no kernel of the device has a convolution of more than two dimensions",
        ),
    )
    model.graph.erase_node(node)


def _with_stride(node: Node) -> None:
    """Spell the stride of a pooling that has none, which is its kernel: upstream hands on the empty list."""
    if len(node.args) > 2 and not node.args[2]:
        node.args = (*node.args[:2], node.args[1], *node.args[3:])


def _without_ceil_mode(model: GraphModule, node: Node) -> None:
    arguments = arguments_by_name(node)
    kernel, padding = _two(arguments["kernel_size"]), _two(arguments.get("padding", 0))
    stride = _two(arguments.get("stride") or kernel)
    if not (arguments.get("ceil_mode", False) and arguments.get("count_include_pad", True) and any(padding)):
        return
    assert isinstance(node.args[0], Node)
    padded = [size + 2 * pad for size, pad in zip(node.args[0].meta["val"].shape[-2:], padding, strict=True)]
    windows = list(node.meta["val"].shape[-2:])
    lowered = [math.ceil((padded[axis] - kernel[axis]) / stride[axis]) + 1 for axis in (0, 1)]
    lowered = [count - ((count - 1) * stride[axis] >= padded[axis]) for axis, count in enumerate(lowered)]
    if lowered == windows or windows != [(padded[axis] - kernel[axis]) // stride[axis] + 1 for axis in (0, 1)]:
        return
    node.args = (node.args[0], kernel, stride, padding, False, True)
    node.kwargs = {}
    note(
        model,
        Change(
            "average-pooling",
            where(node),
            "computed without ceil_mode, which has the same windows here",
            "executorch's lowering to Cortex-M has one more, that begins in the padding",
        ),
    )


_WINDOW: tuple[tuple[str, int], ...] = (("stride", 1), ("padding", 0), ("dilation", 1))


def _constant(model: GraphModule, node: Node, name: str, value: Tensor) -> Node:
    """A get_attr node of a new parameter, before `node`. A batch norm is folded into parameters alone."""
    name = f"_arm_recipes_{node.name}_{name}"
    model.register_parameter(name, nn.Parameter(value, requires_grad=False))
    with model.graph.inserting_before(node):
        constant = model.graph.get_attr(name)
    mode = node.meta["val"].fake_mode
    constant.meta["val"] = mode.from_tensor(value, static_shapes=True)
    return constant


def _two(value: int | Sequence[int]) -> list[int]:
    return _many(value, 2)


def _many(value: Any, count: int) -> list[int]:
    values = [value] if isinstance(value, int) else [int(each) for each in value]
    return values * count if len(values) == 1 else values
