"""TOSA's 16-bit TABLE: 513 points and straight lines between them, where the 8-bit one has a point for each value."""

from __future__ import annotations

import torch
from executorch.backends.arm._passes.insert_table_ops import InsertTableOpsPass, TableOps
from executorch.backends.arm._passes.quant_args import QuantArgs
from torch import Tensor
from torch.fx import Node

from arm_recipes.upstream.graphs import kernel_name

TABLED = frozenset(kernel_name(target) for target in TableOps.included_ops())


def is_tabled(node: Node) -> bool:
    """Whether the operator becomes a table where its input and output are quantized."""
    return kernel_name(node.target) in TABLED


def arguments_of(node: Node) -> tuple[QuantArgs, QuantArgs] | None:
    """How the input and the output of an operator are quantized, where both have 16 bits; None for any other."""
    source, results = node.args[0], list(node.users)
    if not isinstance(source, Node) or not results:
        return None
    names = kernel_name(source.target)[1], kernel_name(results[0].target)[1]
    if names != ("dequantize_per_tensor", "quantize_per_tensor"):
        return None
    before, after = (QuantArgs(*each.args[1:6]) for each in (source, results[0]))
    return (before, after) if before.dtype == after.dtype == torch.int16 else None


def looked_up(node: Node, codes: Tensor, source: QuantArgs, result: QuantArgs) -> Tensor:
    """What the program gives for integers of 16 bits: upstream's table of the operator, with TOSA's interpolation.

    Args:
        node: calls the operator; all but its first argument are constants.
        codes: of the input.
        source: how the input is quantized.
        result: how the output is quantized, in 16 bits.
    """

    def function(x: Tensor) -> Tensor:
        value: Tensor = node.target(x, *node.args[1:], **node.kwargs)  # type: ignore[operator]
        return value

    points, lshift = InsertTableOpsPass.generate_16_bit_table_values(function, source, result)
    points = points.to(torch.int64)
    # TOSA 1.0, TABLE: the upper 9 bits choose two points, the lower 7 a place between them.
    offset = codes.to(torch.int64) + 2**15
    index = offset >> 7
    values = (points[index] << 7) + (points[index + 1] - points[index]) * (offset & 0x7F)
    scaled = torch.round(values.to(torch.float64) * 2.0**lshift)
    return scaled.clamp(result.qmin, result.qmax)
