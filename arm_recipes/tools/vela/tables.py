"""Tables of what Vela estimates. No torch here."""

from __future__ import annotations

from collections.abc import Sequence

from arm_recipes.documents.blocks import Column, Table, table

from .estimates import Layer


def layer_table(layers: Sequence[Layer]) -> Table:
    """Every layer, in Vela's order."""
    total = sum(layer.cycles for layer in layers)
    return table(
        (
            Column("#", "whole"),
            "part of the model",
            "operator",
            Column("cycles", "whole"),
            Column("share", "percent"),
            Column("", "bar"),
            "bound by",
            Column("MACs", "whole"),
            Column("MACs used", "percent"),
            Column("bytes in use", "bytes"),
            "tensor",
        ),
        (
            (
                number,
                layer.module or layer.origin,
                layer.operator,
                layer.cycles,
                layer.cycles / total if total else 0.0,
                layer.cycles,
                layer.bound,
                layer.macs,
                layer.utilisation if layer.macs else None,
                layer.staging_bytes,
                layer.name,
            )
            for number, layer in enumerate(layers, 1)
        ),
        f"{len(layers)} layers, in Vela's order",
    )
