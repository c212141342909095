"""The layers of a compiled network, by Vela's estimate, and the parts of the model they come from. No torch here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


class Origin(Protocol):
    """Where a tensor comes from; see `delegates.Origin`."""

    @property
    def module(self) -> str: ...
    @property
    def operator(self) -> str: ...


@dataclass(frozen=True)
class Layer:
    """A layer of the compiled network, by Vela's estimate.

    Attributes:
        subgraph: number of the delegate it is in.
        operator: Vela's name of its kind, e.g. ``Conv2D``.
        name: of the tensor it makes, in the TOSA graph; empty where Vela made the tensor.
        cycles: that it takes.
        npu_cycles: in which the NPU computes.
        sram_access_cycles: in which SRAM is read or written; likewise the others. All of these overlap.
        macs: its multiply-accumulates.
        utilisation: share of the multiply-accumulates that the NPU could do in `cycles`, 0 to 1.
        bound: what takes the most of its cycles: ``MAC``, ``SRAM``, ``DRAM``, ``on-chip flash`` or ``off-chip flash``;
            empty for a layer that takes none, as it is part of the one before it.
        staging_bytes: what is in use, while it runs, of the memory that the memory mode puts the arena or its cache in.
        module: the submodule of the user's model that it comes from, e.g. ``features.3.conv``; empty where that is not
            known, as for what the model's own ``forward`` calls.
        origin: the operator of the captured model, e.g. ``aten.conv2d``; empty where it is not known.
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


def layers_of(
    tables: Sequence[Sequence[Mapping[str, str]]], origins: Sequence[Mapping[str, Origin]]
) -> tuple[Layer, ...]:
    """The layers of a program, in Vela's order.

    Args:
        tables: Vela's table of layers for each subgraph, by the column names of its CSV file.
        origins: for each subgraph, where the operators of its TOSA graph come from, by the tensor that they make.
    """
    return tuple(
        layer
        for index, (rows, known) in enumerate(zip(tables, origins))
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
_BOUNDS = {
    "npu_cycles": "MAC",
    "sram_access_cycles": "SRAM",
    "dram_access_cycles": "DRAM",
    "on_chip_flash_access_cycles": "on-chip flash",
    "off_chip_flash_access_cycles": "off-chip flash",
}


def _layers_of_subgraph(
    subgraph: int, rows: Sequence[Mapping[str, str]], origins: Mapping[str, Origin]
) -> Iterator[Layer]:
    for index, row in enumerate(rows):
        origin = _origin(rows, index, origins)
        figures = {name: int(float(row[column])) for name, column in _FIGURES.items()}
        yield Layer(
            subgraph=subgraph,
            operator=row["NNG Operator"],
            name="" if _made_by_vela(row) else row["Name"],
            **figures,
            # Vela says 100 % of what takes no cycles.
            utilisation=float(row["Util% (MAC)"]) / 100 if figures["cycles"] else 0.0,
            bound=_bound(figures),
            staging_bytes=int(float(row["Staging Usage"])),
            module=origin.module if origin else "",
            origin=origin.operator if origin else "",
        )


def _bound(figures: Mapping[str, int]) -> str:
    most = max(_BOUNDS, key=lambda name: figures[name])
    return _BOUNDS[most] if figures[most] else ""


def _made_by_vela(row: Mapping[str, str]) -> bool:
    """Vela numbers its own tensors, and goes on from run to run."""
    return row["Name"].startswith("#")


def _origin(rows: Sequence[Mapping[str, str]], index: int, origins: Mapping[str, Origin]) -> Origin | None:
    """By the name of the layer's tensor, which Vela gives a suffix where it is a step on the way to it. Before such a
    tensor, a tensor of Vela's own is a step, too, if both come from an operator of one kind."""
    row = rows[index]
    if _made_by_vela(row):
        following = next((each for each in rows[index:] if not _made_by_vela(each)), None)
        if following is None or following["Original Operator"] != row["Original Operator"]:
            return None
        row = following
    name = row["Name"]
    while name not in origins:
        name, separator, suffix = name.rpartition("_")
        if not separator or suffix.isdigit():  # numbers tell tensors apart
            return None
    return origins[name]
