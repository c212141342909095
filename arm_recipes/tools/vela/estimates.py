"""Vela's estimates: of each network, and of each of its layers with the part of the model it comes from. No torch here.

Vela writes a summary and a table of layers as CSV files, and all estimates are read from these. Only of the export
itself there are none: upstream compiles in a folder that it deletes, and a folder of ours would become a part of the
.pte. Vela writes the summary after the last line that it prints, so it can't be picked up while it is there either.
What it prints has the same figures, and `printed_summaries` makes of it the columns that a CSV file would have.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from arm_recipes.errors import ToolError

from .installed import OTHER_VELA


def estimated_by(version: str) -> str:
    """What results say of their figures. Versions of Vela estimate the same program differently."""
    return f"Vela {version}; nothing was measured on hardware"


@dataclass(frozen=True)
class Estimate:
    """Vela's estimate for one delegated subgraph. No figure in it was measured on hardware.

    Attributes:
        cycles: NPU clock cycles of one inference.
        milliseconds: time of one inference in ms: `cycles` at `clock_mhz`.
        clock_mhz: the system configuration's clock in whole MHz, as Vela prints it.
        npu_cycles: cycles in which the NPU computes. These and the accesses overlap.
        sram_access_cycles: cycles in which SRAM is read or written.
        dram_access_cycles: cycles in which DRAM is read or written.
        on_chip_flash_access_cycles: cycles in which on-chip flash is read.
        off_chip_flash_access_cycles: cycles in which off-chip flash is read.
        macs: multiply-accumulates of one inference.
        memory_kib: KiB in use by memory, e.g. ``{"SRAM": 353.5, "Off-chip Flash": 3614.2}``, of the memories in use.
    """

    cycles: int
    milliseconds: float
    clock_mhz: float
    npu_cycles: int
    sram_access_cycles: int
    dram_access_cycles: int
    on_chip_flash_access_cycles: int
    off_chip_flash_access_cycles: int
    macs: int
    memory_kib: dict[str, float]


# Columns of the summary, with the words that a line of what Vela prints starts with for them.
_PRINTED = {
    "core_clock": "Accelerator clock",
    "nn_macs": "Neural network macs",
    "cycles_npu": "NPU cycles",
    "cycles_sram_access": "SRAM Access cycles",
    "cycles_dram_access": "DRAM Access cycles",
    "cycles_on_chip_flash_access": "On-chip Flash Access cycles",
    "cycles_off_chip_flash_access": "Off-chip Flash Access cycles",
    "cycles_total": "Total cycles",
}
# Of memories only those in use are printed: "Total SRAM used".
_MEMORIES = {
    "sram_memory_used": "SRAM",
    "dram_memory_used": "DRAM",
    "on_chip_flash_memory_used": "On-chip Flash",
    "off_chip_flash_memory_used": "Off-chip Flash",
}
_SUMMARY = "Network summary for "

Row = Mapping[str, str]


def estimate_of(summary: Row) -> Estimate:
    """The estimate for one subgraph.

    Args:
        summary: its columns in Vela's summary, from `read_summary` or `printed_summaries`.
    """
    figures = {column: float(summary[column]) for column in (*_PRINTED, *_MEMORIES)}
    cycles, clock = int(figures["cycles_total"]), float(int(figures["core_clock"] / 1e6))
    return Estimate(
        cycles=cycles,
        milliseconds=cycles / clock / 1e3,
        clock_mhz=clock,
        npu_cycles=int(figures["cycles_npu"]),
        sram_access_cycles=int(figures["cycles_sram_access"]),
        dram_access_cycles=int(figures["cycles_dram_access"]),
        on_chip_flash_access_cycles=int(figures["cycles_on_chip_flash_access"]),
        off_chip_flash_access_cycles=int(figures["cycles_off_chip_flash_access"]),
        macs=int(figures["nn_macs"]),
        # With as many digits as Vela prints.
        memory_kib={name: round(figures[column], 2) for column, name in _MEMORIES.items() if figures[column]},
    )


def read_summary(file: Path) -> dict[str, str]:
    """Read the summary of one subgraph that Vela wrote, by column.

    Raises:
        ToolError: it is not of the form that is known here.
    """
    rows = _read_table(file, (*_PRINTED, *_MEMORIES, "total_npu_encoded_weights"))
    if len(rows) != 1:
        raise ToolError(f"Vela's {file.name} has {len(rows)} rows of figures, and should have one. {OTHER_VELA}")
    return rows[0]


def read_layers(file: Path) -> tuple[dict[str, str], ...]:
    """Read the table of layers that Vela wrote for one subgraph, by column.

    Raises:
        ToolError: it is not of the form that is known here.
    """
    return _read_table(file, (*_FIGURES.values(), _UTILISATION, _STAGING), (_OPERATOR, _NAME, _ORIGINAL))


def _read_table(file: Path, numbers: Sequence[str], names: Sequence[str] = ()) -> tuple[dict[str, str], ...]:
    rows = []
    with file.open(encoding="utf-8", newline="") as lines:
        table = csv.DictReader(lines)
        for row in table:
            for column in (*numbers, *names):
                value = row.get(column)
                if value is None or (column in numbers and not _is_figure(value)):
                    problem = "is not there" if value is None else f"is {value!r}, and should be a number"
                    where = f"Vela's {file.name}, line {table.line_num}: column {column!r}"
                    raise ToolError(f"{where} {problem}. {OTHER_VELA}")
            rows.append(row)
    return tuple(rows)


def printed_summaries(printed: str, subgraphs: int) -> tuple[dict[str, str], ...]:
    """The summary of each subgraph by the columns of `read_summary`, as far as they are printed.

    Args:
        printed: all that Vela printed with ``--verbose-cycle-estimate``, as every recipe has it do, and whatever else
            was printed meanwhile.
        subgraphs: how many of them it compiled at the least.

    Raises:
        ToolError: it is not of the form that is known here.
    """
    lines = printed.splitlines()
    starts = [index for index, line in enumerate(lines) if line.startswith(_SUMMARY)]
    if len(starts) < subgraphs:
        raise ToolError(
            f"What Vela printed, {len(lines)} lines, has {len(starts)} lines {_SUMMARY.strip()!r}, and should have "
            f"{subgraphs}. {OTHER_VELA}"
        )
    ends = [*starts, len(lines)][1:]
    return tuple(_printed_summary(lines, start, end) for start, end in zip(starts, ends, strict=True))


def _printed_summary(lines: Sequence[str], start: int, end: int) -> dict[str, str]:
    labels = _PRINTED | {column: f"Total {name} used" for column, name in _MEMORIES.items()}
    summary = dict.fromkeys(_MEMORIES, "0")
    for column, label in labels.items():
        index = next((at for at in range(start, end) if re.match(rf"{re.escape(label)}\s", lines[at])), None)
        if index is None:
            if column in summary:
                continue
            raise ToolError(
                f"What Vela printed, lines {start + 1} to {end}: no line starts with {label!r}. {OTHER_VELA}"
            )
        value = (lines[index].removeprefix(label).split() or [""])[0]
        if not _is_figure(value):
            raise ToolError(
                f"What Vela printed, line {index + 1}: {lines[index].strip()!r} should have a number after {label!r}. "
                f"{OTHER_VELA}"
            )
        summary[column] = f"{value}e6" if column == "core_clock" else value
    return summary


def _is_figure(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


@dataclass(frozen=True)
class Origin:
    """Where an operator of a TOSA graph comes from.

    Attributes:
        module: the submodule of the user's model, e.g. ``features.3.conv``; empty where it is not known.
        operator: the operator of the captured model, e.g. ``aten.conv2d``; empty where it is not known.
        nodes: names of the nodes that it was made from, graph by graph, back to the captured model's.
    """

    module: str
    operator: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Layer:
    """A layer of the compiled network, by Vela's estimate.

    Attributes:
        subgraph: number of the delegate that has it, from 0.
        operator: Vela's name of its kind, e.g. ``Conv2D``.
        name: name of the tensor it makes, in the TOSA graph; empty where Vela made the tensor.
        cycles: NPU clock cycles of one inference.
        npu_cycles: cycles in which the NPU computes. These and the accesses overlap.
        sram_access_cycles: cycles in which SRAM is read or written.
        dram_access_cycles: cycles in which DRAM is read or written.
        on_chip_flash_access_cycles: cycles in which on-chip flash is read.
        off_chip_flash_access_cycles: cycles in which off-chip flash is read.
        macs: multiply-accumulates of one inference.
        utilisation: share of the multiply-accumulates that the NPU could do in `cycles`, 0 to 1.
        bound: part that takes the most of its cycles: ``MAC``, ``SRAM``, ``DRAM``, ``on-chip flash`` or
            ``off-chip flash``; empty for a layer that takes none, as it is part of the one before it.
        staging_bytes: bytes in use, while it runs, of the memory that the memory mode puts the arena or its cache in.
        module: submodule of the user's model that it comes from, e.g. ``features.3.conv``; empty where that is not
            known, as for what the model's own ``forward`` calls.
        origin: operator of the captured model, e.g. ``aten.conv2d``; empty where it is not known.
    """

    subgraph: int
    operator: str
    name: str
    cycles: int
    npu_cycles: int
    sram_access_cycles: int
    dram_access_cycles: int
    on_chip_flash_access_cycles: int
    off_chip_flash_access_cycles: int
    macs: int
    utilisation: float
    bound: str
    staging_bytes: int
    module: str
    origin: str

    @property
    def where(self) -> str:
        """The part of the model, for people: the module, or the operator where there is none."""
        return self.module or self.origin or self.operator


def layers_of(tables: Sequence[Sequence[Row]], origins: Sequence[Mapping[str, Origin]]) -> tuple[Layer, ...]:
    """The layers of a program, in Vela's order.

    Args:
        tables: Vela's table of layers for each subgraph, by the column names of its CSV file.
        origins: for each subgraph, where the operators of its TOSA graph come from, by the tensor that they make.
    """
    return tuple(
        layer
        for index, (rows, known) in enumerate(zip(tables, origins, strict=True))
        for layer in _layers_of_subgraph(index, rows, known)
    )


_FIGURES = {
    "cycles": "Op Cycles",
    "npu_cycles": "NPU",
    "sram_access_cycles": "SRAM AC",
    "dram_access_cycles": "DRAM AC",
    "on_chip_flash_access_cycles": "OnFlash AC",
    "off_chip_flash_access_cycles": "OffFlash AC",
    "macs": "MAC Count",
}
_UTILISATION, _STAGING = "Util% (MAC)", "Staging Usage"
_OPERATOR, _NAME, _ORIGINAL = "NNG Operator", "Name", "Original Operator"
_BOUNDS = {
    "npu_cycles": "MAC",
    "sram_access_cycles": "SRAM",
    "dram_access_cycles": "DRAM",
    "on_chip_flash_access_cycles": "on-chip flash",
    "off_chip_flash_access_cycles": "off-chip flash",
}


def _layers_of_subgraph(subgraph: int, rows: Sequence[Row], origins: Mapping[str, Origin]) -> Iterator[Layer]:
    for index, row in enumerate(rows):
        origin = _origin(rows, index, origins)
        figures = {name: int(float(row[column])) for name, column in _FIGURES.items()}
        yield Layer(
            subgraph=subgraph,
            operator=row[_OPERATOR],
            name="" if _made_by_vela(row) else row[_NAME],
            **figures,
            # Vela says 100 % of what takes no cycles.
            utilisation=float(row[_UTILISATION]) / 100 if figures["cycles"] else 0.0,
            bound=_bound(figures),
            staging_bytes=int(float(row[_STAGING])),
            module=origin.module if origin else "",
            origin=origin.operator if origin else "",
        )


def _bound(figures: Mapping[str, int]) -> str:
    most = max(_BOUNDS, key=lambda name: figures[name])
    return _BOUNDS[most] if figures[most] else ""


def _made_by_vela(row: Row) -> bool:
    """Vela numbers its own tensors, and goes on from run to run."""
    return row[_NAME].startswith("#")


def _origin(rows: Sequence[Row], index: int, origins: Mapping[str, Origin]) -> Origin | None:
    """By the name of the layer's tensor, which Vela gives a suffix where it is a step on the way to it. Before such a
    tensor, a tensor of Vela's own is a step, too, if both come from an operator of one kind."""
    row = rows[index]
    if _made_by_vela(row):
        following = next((each for each in rows[index:] if not _made_by_vela(each)), None)
        if following is None or following[_ORIGINAL] != row[_ORIGINAL]:
            return None
        row = following
    name = row[_NAME]
    while name not in origins:
        name, separator, suffix = name.rpartition("_")
        if not separator or suffix.isdigit():  # numbers tell tensors apart
            return None
    return origins[name]
