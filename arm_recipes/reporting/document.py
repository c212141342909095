"""An `ExportReport` as blocks. No torch here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from arm_recipes.documents.blocks import (
    Block,
    Column,
    Document,
    Facts,
    Heading,
    Items,
    KeyFigures,
    OnlyPage,
    OnlyText,
    Paragraph,
    Stack,
    Steps,
    Table,
    table,
)
from arm_recipes.recipes.catalog import BY_NAME
from arm_recipes.tools.vela.estimates import Estimate, Layer
from arm_recipes.tools.vela.tables import layer_table

from .method_blocks import method_blocks

if TYPE_CHECKING:
    from .result import Advice, ExportReport, PteParts

_LONGEST_LAYERS = 12  # in the text forms
_PLACES = 5  # that a piece of advice names in the text forms


def document(report: ExportReport) -> Document:
    """What a report says. A page begins with what matters most, a text ends with it."""
    gates = [gate.paragraph for gate in report.gates]
    blocks: list[Block] = [
        OnlyPage((*_introduction(report), *gates, *_advice(report, None), *_parts(report))),
        *_time(report),
        *(block for method in report.methods for block in method_blocks(method, len(report.methods) > 1)),
        OnlyText((*_advice(report, _PLACES), *gates, Paragraph(_summary(report)))),
        OnlyPage((Heading("What made it"), Facts(tuple(_origin(report))))),
    ]
    return Document(f"{report.recipe} on {report.target}", tuple(blocks))


# the head


def _introduction(report: ExportReport) -> Iterator[Block]:
    if report.vela_estimates:
        yield Paragraph(
            f"Cycles, times and peaks of memory are estimates of Vela {report.vela}: computed by the "
            "compiler, not measured on hardware.",
            "note",
        )
    yield KeyFigures(tuple(_figures(report)))


def _figures(report: ExportReport) -> Iterator[tuple[str, str]]:
    yield f"{report.pte_bytes:,}", "bytes of .pte"
    estimates = report.vela_estimates
    if estimates:
        milliseconds = sum(estimate.milliseconds for estimate in estimates)
        yield f"{milliseconds:.4g} ms", f"estimated at {estimates[0].clock_mhz:.4g} MHz"
        for memory in _memories(estimates):
            most = max(estimate.memory_kib.get(memory, 0.0) for estimate in estimates)
            yield f"{most:,.1f} KiB", f"estimated use of {memory}"
    delegated = any(method.delegates for method in report.methods)
    planned = max((sum(method.planned_bytes) for method in report.methods), default=0)
    yield f"{planned / 1024:,.1f} KiB", "planned outside of delegates" if delegated else "planned for activations"
    pools = [method.pools for method in report.methods if method.pools is not None]
    if pools:
        yield f"{max(each.method_bytes for each in pools) / 1024:,.1f} KiB", "method allocator, at least"
        yield f"{max(each.temp_bytes for each in pools) / 1024:,.1f} KiB", "temporary allocator, at least"
    counted = BY_NAME[report.recipe].family.facts.counted if report.recipe in BY_NAME else "of its operators"
    yield f"{report.delegation:.4g} %", counted


def _summary(report: ExportReport) -> str:
    sizes = [f"{size:,} {name}" for name, size in _named_parts(report.parts)]
    return f"{report.recipe} on {report.target}: {report.pte_bytes:,} bytes: {', '.join(sizes)}"


def _parts(report: ExportReport) -> Iterator[Block]:
    yield Heading("The .pte")
    yield Stack("What its bytes are", tuple(_named_parts(report.parts)), "bytes")


def _named_parts(parts: PteParts) -> list[tuple[str, int]]:
    named = (
        ("weights and constants", parts.weight_bytes),
        ("command streams", parts.command_bytes),
        ("other payload", parts.payload_bytes),
        ("program", parts.rest_bytes),
    )
    return [(name, size) for name, size in named if size]


def _advice(report: ExportReport, places: int | None) -> Iterator[Block]:
    """What costs most, each with the parts of the model: at most `places` of them by name."""
    if report.advice:
        yield Heading("What costs most")
        yield Items(tuple(_said(advice, places) for advice in report.advice))


def _said(advice: Advice, places: int | None) -> str:
    where = [place for place in advice.where if place]  # of the model's own forward there is no name
    return f"{advice.text}\nIn {_some(where, places)}" if where else advice.text


def _some(names: Sequence[str], most: int | None) -> str:
    more = 0 if most is None else max(len(names) - most, 0)
    return ", ".join(names[:most]) + (f" and {more} more" if more else "")


def _origin(report: ExportReport) -> Iterator[tuple[str, str]]:
    yield "recipe", report.recipe
    for name, value in report.options.items():
        yield f"option {name}", _spelled(value)
    yield from report.versions.items()
    yield ".pte, SHA-256", report.pte_sha256
    for method in report.methods:
        yield f"graph of {method.name}, SHA-256", method.graph
        if method.calibration is not None:
            yield f"calibration of {method.name}, SHA-256", method.calibration.digest


def _spelled(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value)) or "none"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


# what Vela estimates


def _time(report: ExportReport) -> Iterator[Block]:
    if not report.vela_estimates:
        return
    yield Heading(f"Vela {report.vela}'s estimates of the delegated subgraphs (computed, not measured)")
    yield OnlyText((_estimate_table(report.vela_estimates, {}),))
    yield OnlyPage((_estimate_table(report.vela_estimates, _ACCESS),))
    if report.layers:
        yield from _layers(report.layers)


# Title of a column and its field of an `Estimate`.
_ACCESS = {
    "NPU cycles": "npu_cycles",
    "SRAM cycles": "sram_access_cycles",
    "DRAM cycles": "dram_access_cycles",
    "on-chip flash cycles": "on_chip_flash_access_cycles",
    "off-chip flash cycles": "off_chip_flash_access_cycles",
}


def _estimate_table(estimates: Sequence[Estimate], access: Mapping[str, str]) -> Table:
    memories = _memories(estimates)
    return table(
        (
            Column("subgraph", "whole"),
            Column("cycles", "whole"),
            Column("ms", "number"),
            Column("MHz", "number"),
            *(Column(title, "whole") for title in access),
            Column("MACs", "whole"),
            *(Column(f"{memory} KiB", "number") for memory in memories),
        ),
        (
            (
                index,
                estimate.cycles,
                estimate.milliseconds,
                estimate.clock_mhz,
                *(getattr(estimate, name) for name in access.values()),
                estimate.macs,
                *(estimate.memory_kib.get(memory, 0.0) for memory in memories),
            )
            for index, estimate in enumerate(estimates)
        ),
    )


def _memories(estimates: Iterable[Estimate]) -> list[str]:
    return list(dict.fromkeys(memory for estimate in estimates for memory in estimate.memory_kib))


def _layers(layers: Sequence[Layer]) -> Iterator[Block]:
    cycles: Counter[str] = Counter()
    for layer in layers:
        cycles[layer.where] += layer.cycles
    yield Stack("Cycles by part of the model", tuple(cycles.most_common()))
    in_use = tuple((layer.where, layer.staging_bytes) for layer in layers)
    yield Steps("Memory in use while each layer runs, bytes", "layers, in Vela's order", in_use, "bytes")
    note = (
        "Layers overlap, so that their cycles need not add up to the total. What bounds a layer is what takes the most "
        "of its cycles."
    )
    yield OnlyPage((Paragraph(note, "note"), layer_table(layers)))
    total = sum(layer.cycles for layer in layers)
    longest = sorted(layers, key=lambda layer: -layer.cycles)[:_LONGEST_LAYERS]
    yield OnlyText(
        (
            table(
                (
                    "layer",
                    "kind",
                    Column("cycles", "whole"),
                    Column("share", "percent"),
                    "bound by",
                    Column("MACs used", "percent"),
                ),
                (
                    (
                        layer.where,
                        layer.operator,
                        layer.cycles,
                        layer.cycles / total if total else None,
                        layer.bound,
                        layer.utilisation if layer.macs else None,
                    )
                    for layer in longest
                ),
                f"The longest of {len(layers)} layers, also estimated:",
            ),
        )
    )
