"""An `ExportReport` as text. No torch here."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from arm_recipes.documents.tables import table
from arm_recipes.tools.vela.estimates import Layer

from .result import ExportReport, MethodReport

_LAYERS = 12


def text(report: ExportReport, width: int) -> str:
    """For people, with lines of at most `width` characters as far as names allow."""
    return "\n".join(_lines(report, max(width, 60)))


def _lines(report: ExportReport, width: int) -> Iterator[str]:
    for method in report.methods:
        if len(report.methods) > 1:
            yield f"Method {method.name}\n"
        yield from _method(method, width)
    if report.vela_estimates:
        yield "Vela's estimates of the delegated subgraphs (computed, not measured):"
        yield from _estimates(report, width)
    if report.layers:
        yield from _layers(report.layers, width)
    if report.advice:
        yield "What costs most:"
        for advice in report.advice:
            yield _filled(f"- {advice.text}", width)
            yield _filled(f"  In {_some(advice.where)}", width)
        yield ""
    for gate in report.gates:
        yield _filled(f"Gate {gate}", width)
    parts = report.parts
    sizes = [
        f"{size:,} {name}"
        for name, size in (
            ("weights and constants", parts.weight_bytes),
            ("command streams", parts.command_bytes),
            ("other payload", parts.payload_bytes),
            ("program", parts.rest_bytes),
        )
        if size
    ]
    yield _filled(f"{report.recipe} on {report.target}: {report.pte_bytes:,} bytes: {', '.join(sizes)}", width)


def _method(method: MethodReport, width: int) -> Iterator[str]:
    if method.calibration is not None:
        samples = "sample" if method.calibration.samples == 1 else "samples"
        yield f"Calibrated on {method.calibration.samples} {samples}: {method.calibration.source}\n"
    if method.delegates:
        total = sum(each.operators for each in method.delegates)
        graphs = "1 subgraph" if len(method.delegates) == 1 else f"{len(method.delegates)} subgraphs"
        sizes = " + ".join(f"{each.payload_bytes:,}" for each in method.delegates)
        backends = ", ".join(dict.fromkeys(each.backend for each in method.delegates))
        yield f"Delegated: {total} operators in {graphs} of {backends}, {sizes} bytes"
        yield _listed((f"{each.count} {_short(each.operator)}" for each in method.delegated), width)
        crossing = [sum(each.bytes for side in (one.inputs, one.outputs) for each in side) for one in method.delegates]
        yield f"Moved over the border: {' + '.join(f'{size:,}' for size in crossing)} bytes an inference\n"
    if method.not_delegated:
        yield f"Not delegated: {sum(each.count for each in method.not_delegated)} operators"
        rows = [
            (str(each.count), _short(each.operator), each.reason or "not known", ", ".join(each.where) or "-")
            for each in method.not_delegated
        ]
        columns = 4 if any(each.where for each in method.not_delegated) else 3
        header = ("COUNT", "OPERATOR", "REASON", "IN MODULE")
        yield from _table(header[:columns], [row[:columns] for row in rows], width)
    if method.kernels:
        yield "Kernels that the runtime must have, and the calls of each:"
        yield _listed((f"{each.count} {each.operator}" for each in method.kernels), width)
    else:
        yield "Kernels that the runtime must have: none"
    yield ""
    outside = " outside of delegates" if method.delegates else ""
    yield f"Memory planned for activations{outside}: {_sum(method.planned_bytes)} bytes"
    scratch = [each.scratch_bytes for each in method.delegates if each.scratch_bytes is not None]
    if scratch:
        yield f"Scratch memory of the delegates: {_sum(scratch)} bytes"
    heavy = max(method.calls, key=lambda call: call.scratch_bytes, default=None)
    if heavy is not None and heavy.scratch_bytes:
        place = f" of {heavy.module}" if heavy.module else ""
        yield f"Most scratch of a kernel, a part of that: {heavy.scratch_bytes:,} bytes, {heavy.operator}{place}"
    if method.pools is not None:
        yield _filled(
            f"Least allocator pools of a 32-bit firmware: method {method.pools.method_bytes:,} bytes "
            f"({method.pools.runner_method_bytes:,} of arm_executor_runner, whose pool holds the planned memory too), "
            f"temporary {method.pools.temp_bytes:,} bytes",
            width,
        )
    yield ""


def _estimates(report: ExportReport, width: int) -> Iterator[str]:
    memories = list(dict.fromkeys(name for each in report.vela_estimates for name in each.memory_kib))
    yield from _table(
        ("CYCLES", "TIME", "MACS", *(f"{name} (KiB)" for name in memories)),
        [
            (
                f"{each.cycles:,}",
                f"{each.milliseconds:.4g} ms at {each.clock_mhz:.0f} MHz",
                f"{each.macs:,}",
                *(f"{each.memory_kib.get(name, 0):,}" for name in memories),
            )
            for each in report.vela_estimates
        ],
        width,
    )


def _layers(layers: Sequence[Layer], width: int) -> Iterator[str]:
    total = sum(layer.cycles for layer in layers)
    longest = sorted(layers, key=lambda layer: -layer.cycles)[:_LAYERS]
    yield f"The longest of {len(layers)} layers, likewise estimated:"
    yield from _table(
        ("LAYER", "KIND", "CYCLES", "SHARE", "BOUND BY", "MACS USED"),
        [
            (
                layer.where,
                layer.operator,
                f"{layer.cycles:,}",
                f"{layer.cycles / total:.1%}" if total else "",
                layer.bound,
                f"{layer.utilisation:.1%}" if layer.macs else "",
            )
            for layer in longest
        ],
        width,
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], width: int) -> Iterator[str]:
    from rich.console import Console
    from rich.padding import Padding

    written = io.StringIO()
    console = Console(file=written, width=width, color_system=None, highlight=False, markup=False, emoji=False)
    console.print(Padding(table(header, rows), (0, 0, 0, 2)))
    yield from (line.rstrip() for line in written.getvalue().splitlines())
    yield ""


def _sum(sizes: Iterable[int]) -> str:
    return " + ".join(f"{size:,}" for size in sizes) or "0"


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _short(operator: str) -> str:
    return operator.removeprefix("quantized_decomposed.")


def _filled(line: str, width: int) -> str:
    return textwrap.fill(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _listed(words: Iterable[str], width: int) -> str:
    # The spaces within a word are kept together.
    joined = ", ".join(word.replace(" ", "\0") for word in words)
    return _filled(f"  {joined}", min(width, 120)).replace("\0", " ")
