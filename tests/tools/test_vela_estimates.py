"""Vela's table of layers, and where in the model each comes from."""

from __future__ import annotations

from types import SimpleNamespace

from arm_recipes.tools.vela.estimates import Layer, layers_of

_COLUMNS = ("Op Cycles", "NPU", "SRAM AC", "DRAM AC", "OnFlash AC", "OffFlash AC", "MAC Count", "Staging Usage")


def _row(name: str, kind: str, *figures: float, used: float = 0.0, original: str | None = None) -> dict[str, str]:
    row = dict(zip(_COLUMNS, map(str, [*figures, *[0] * len(_COLUMNS)])))
    return {**row, "Name": name, "NNG Operator": kind, "Original Operator": original or kind, "Util% (MAC)": str(used)}


_ORIGINS = {
    "conv_1": SimpleNamespace(module="stem.0", operator="aten.conv2d"),
    "sum": SimpleNamespace(module="", operator="aten.mean.dim"),
}


def _layers(*rows: dict[str, str]) -> tuple[Layer, ...]:
    return layers_of([rows], [_ORIGINS])


def test_figures_and_what_bounds() -> None:
    fast, slow, nothing = _layers(
        _row("conv_1", "Conv2D", 90, 90, 10, 0, 0, 20, 4000, 640, used=12.5),
        _row("sum", "ReduceSum", 50, 5, 10, 50, 0, 20, 0, 320),
        _row("sum", "Clamp", used=100),
    )
    assert (fast.cycles, fast.macs, fast.utilisation, fast.bound) == (90, 4000, 0.125, "MAC")
    assert fast.staging_bytes == 640
    assert (slow.bound, slow.dram_access_cycles) == ("DRAM", 50)
    assert (nothing.bound, nothing.utilisation) == ("", 0.0)  # Vela says 100 % of what takes no time


def test_where_it_comes_from() -> None:
    told = _layers(
        _row("#12", "Transpose", 1, original="Conv2D"),
        _row("conv_1", "Conv2D", 1),
        _row("conv_1_transpose", "Transpose", 1),
        _row("conv_12", "Conv2D", 1),
        _row("#13", "Transpose", 1, original="Add"),
        _row("sum", "ReduceSum", 1),
    )
    assert [layer.where for layer in told] == ["stem.0", "stem.0", "stem.0", "Conv2D", "Transpose", "aten.mean.dim"]
    assert [layer.name for layer in told] == ["", "conv_1", "conv_1_transpose", "conv_12", "", "sum"]


def test_subgraphs_are_numbered() -> None:
    rows = [_row("sum", "ReduceSum", 1)]
    assert [(each.subgraph, each.where) for each in layers_of([rows, rows], [{}, _ORIGINS])] == [
        (0, "ReduceSum"),
        (1, "aten.mean.dim"),
    ]
