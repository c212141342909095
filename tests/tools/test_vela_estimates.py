"""Vela's estimates: of networks, as it writes and prints them; of layers, and where in the model each comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from arm_recipes.errors import ToolError
from arm_recipes.tools.vela.estimates import (
    Estimate,
    Layer,
    Origin,
    estimate_of,
    layers_of,
    printed_summaries,
    read_layers,
    read_summary,
)

_COLUMNS = ("Op Cycles", "NPU", "SRAM AC", "DRAM AC", "OnFlash AC", "OffFlash AC", "MAC Count", "Staging Usage")


def _row(name: str, kind: str, *figures: float, used: float = 0.0, original: str | None = None) -> dict[str, str]:
    row = dict(zip(_COLUMNS, map(str, [*figures, *[0] * len(_COLUMNS)]), strict=False))
    return {**row, "Name": name, "NNG Operator": kind, "Original Operator": original or kind, "Util% (MAC)": str(used)}


_ORIGINS = {
    "conv_1": Origin("stem.0", "aten.conv2d", ("conv",)),
    "sum": Origin("", "aten.mean.dim", ("mean",)),
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


_PRINTED = """
Network summary for out
Accelerator configuration               Ethos_U55_128
System configuration               Ethos_U55_Deep_Embedded
Memory mode                               Shared_Sram
Accelerator clock                                 200 MHz
Design peak SRAM bandwidth                       1.49 GB/s

Total SRAM used                                  0.37 KiB
Total Off-chip Flash used                        0.02 KiB

CPU operators = 0 (0.0%)
NPU operators = 2 (100.0%)

Neural network macs                               300 MACs/batch

Network Tops/s                                   0.00 Tops/s

NPU cycles                                        100 cycles/batch
SRAM Access cycles                                 20 cycles/batch
DRAM Access cycles                                  0 cycles/batch
On-chip Flash Access cycles                         0 cycles/batch
Off-chip Flash Access cycles                      160 cycles/batch
Total cycles                                      200 cycles/batch

Batch Inference time                 0.00 ms, 1000000.00 inferences/s (batch size 1)
"""
_ESTIMATE = Estimate(200, 0.001, 200.0, 100, 20, 0, 0, 160, 300, {"SRAM": 0.37, "Off-chip Flash": 0.02})
_COLUMNS_AND_FIGURES = {
    "core_clock": "200000000.0",
    "sram_memory_used": "0.37109375",
    "dram_memory_used": "0.0",
    "on_chip_flash_memory_used": "0.0",
    "off_chip_flash_memory_used": "0.015625",
    "total_npu_encoded_weights": "16",
    "nn_macs": "300",
    "cycles_npu": "100",
    "cycles_sram_access": "20",
    "cycles_dram_access": "0",
    "cycles_on_chip_flash_access": "0",
    "cycles_off_chip_flash_access": "160",
    "cycles_total": "200",
}


def _csv(folder: Path, columns: dict[str, str]) -> Path:
    file = folder / "out_summary_Ethos_U55.csv"
    file.write_text(f"{','.join(columns)}\n{','.join(columns.values())}\n", encoding="utf-8")
    return file


class TestSummaries:
    def test_what_is_written_and_what_is_printed(self, tmp_path: Path) -> None:
        assert estimate_of(read_summary(_csv(tmp_path, _COLUMNS_AND_FIGURES))) == _ESTIMATE
        printed = f"a model that prints\n{_PRINTED}and again\n{_PRINTED}"
        assert list(map(estimate_of, printed_summaries(printed, 2))) == [_ESTIMATE, _ESTIMATE]

    def test_without_vela_there_are_none(self) -> None:
        assert printed_summaries("a model that prints", 0) == ()

    @pytest.mark.parametrize(
        ("old", "new", "words"),
        [
            ("Network summary for", "Summary of network", "has 0 lines 'Network summary for', and should have 1"),
            ("Total cycles", "Cycles in total", "lines 2 to 26: no line starts with 'Total cycles'"),
            ("200 MHz", "- MHz", "line 6: 'Accelerator clock"),
            ("    100 cycles", "    nan cycles", "line 19: 'NPU cycles"),
            ("0.37 KiB", "little", "line 9: 'Total SRAM used"),
        ],
    )
    def test_another_print_out(self, old: str, new: str, words: str) -> None:
        assert old in _PRINTED
        with pytest.raises(ToolError, match="What Vela printed") as caught:
            printed_summaries(_PRINTED.replace(old, new), 1)
        assert words in str(caught.value)
        assert str(caught.value).endswith("pip install 'executorch[ethos-u]'")

    @pytest.mark.parametrize("value", ["", "nan", "many"])
    def test_another_file(self, value: str, tmp_path: Path) -> None:
        with pytest.raises(ToolError) as caught:
            read_summary(_csv(tmp_path, _COLUMNS_AND_FIGURES | {"cycles_total": value}))
        assert str(caught.value).startswith(
            f"Vela's out_summary_Ethos_U55.csv, line 2: column 'cycles_total' is {value!r}, and should be a number."
        )

    def test_a_column_less(self, tmp_path: Path) -> None:
        columns = {name: value for name, value in _COLUMNS_AND_FIGURES.items() if name != "nn_macs"}
        with pytest.raises(ToolError, match=r"summary_Ethos_U55\.csv, line 2: column 'nn_macs' is not there"):
            read_summary(_csv(tmp_path, columns))

    def test_no_row(self, tmp_path: Path) -> None:
        file = tmp_path / "out_summary_x.csv"
        file.write_text("cycles_total\n")
        with pytest.raises(ToolError, match=r"Vela's out_summary_x\.csv has 0 rows of figures"):
            read_summary(file)

    def test_another_table_of_layers(self, tmp_path: Path) -> None:
        row = _row("a", "Conv2D", 1)
        assert read_layers(_csv(tmp_path, row)) == (row,)
        with pytest.raises(ToolError, match=r"line 2: column 'Op Cycles' is '12 %', and should be a number"):
            read_layers(_csv(tmp_path, row | {"Op Cycles": "12 %"}))
        with pytest.raises(ToolError, match="line 2: column 'Original Operator' is not there"):
            read_layers(_csv(tmp_path, {name: value for name, value in row.items() if name != "Original Operator"}))
