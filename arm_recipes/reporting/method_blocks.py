"""A `MethodReport` as blocks. No torch here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from arm_recipes.documents.blocks import Block, Column, Heading, Items, OnlyPage, Paragraph, Steps, Table, Words, table

if TYPE_CHECKING:
    from arm_recipes.lowering.records import BorderCheck, QuantizationCheck

    from .result import Call, Crossing, Delegate, MethodReport, Refusal


def method_blocks(method: MethodReport, several: bool) -> Iterator[Block]:
    """What a report says of one method.

    Args:
        method: of the program.
        several: whether the program has others.
    """
    heading = Heading(f"Method {method.name}")
    yield heading if several else OnlyPage((heading,))
    if method.calibration is not None:
        samples = "sample" if method.calibration.samples == 1 else "samples"
        yield Paragraph(f"Calibrated on {method.calibration.samples} {samples}: {method.calibration.source}")
    if method.quantization is not None:
        yield from _quantization(method.quantization)
    if method.check is None:
        yield Paragraph("Checked against the model: no; arm_recipes.check(session) does it", "note")
    else:
        told = str(method.check).removeprefix("checked: ")
        yield Paragraph(f"Checked against the model: {told}", "plain" if method.check.checked else "note")
    if method.changes:
        yield Paragraph("Changed to make the program right (cures=False leaves it as it was):")
        yield Items(tuple(f"{change.where}: {change.what}, as {change.why} [{change.id}]" for change in method.changes))
    if method.delegates:
        yield from _delegates(method)
    if method.borders is not None and method.borders.delegates:
        yield Paragraph(_borders(method.borders))
    if method.not_delegated:
        yield _refusal_table(method.not_delegated)
    if method.kernels:
        yield Paragraph("Kernels that the runtime must have, and the calls of each:")
        yield Words(tuple(f"{each.count} {each.operator}" for each in method.kernels))
    else:
        yield Paragraph("Kernels that the runtime must have: none")
    yield table(("what", Column("bytes", "bytes")), _memory(method), "Memory")
    yield OnlyPage(tuple(_details(method)))


def _quantization(check: QuantizationCheck) -> Iterator[Block]:
    if check.output_sqnr_db:
        samples = "1 sample" if check.samples == 1 else f"{check.samples} samples"
        yield Paragraph(
            f"Quantized against float: {min(check.output_sqnr_db):.1f} dB at the worst output, on {samples}"
        )
    elif check.note:
        yield Paragraph(f"Quantized against float: not compared, because of {check.note}", "note")
    if check.losses:
        yield Paragraph("Quantization destroys a part of the model:", "bad")
        yield Items(tuple(map(str, check.losses)))


def _borders(borders: BorderCheck) -> str:
    counts = ((borders.delegates, "delegate"), (borders.inputs, "input"), (borders.outputs, "output"))
    told = ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for count, name in counts)
    return f"Borders: {told} agree with the tables in the payloads."


def _delegates(method: MethodReport) -> Iterator[Block]:
    total = sum(delegate.operators for delegate in method.delegates)
    graphs = "1 subgraph" if len(method.delegates) == 1 else f"{len(method.delegates)} subgraphs"
    backends = ", ".join(dict.fromkeys(delegate.backend for delegate in method.delegates))
    sizes = _sum(delegate.payload_bytes for delegate in method.delegates)
    yield Paragraph(f"Delegated: {total} operators in {graphs} of {backends}, {sizes} bytes")
    yield Words(tuple(f"{each.count} {_short(each.operator)}" for each in method.delegated))
    crossing = _sum(_bytes(delegate.inputs) + _bytes(delegate.outputs) for delegate in method.delegates)
    yield Paragraph(f"Moved over the border: {crossing} bytes an inference")


def _refusal_table(refusals: Sequence[Refusal]) -> Table:
    known = any(refusal.where for refusal in refusals)
    return table(
        (Column("count", "whole"), Column("operator", "code"), "reason", *(("in module",) if known else ())),
        (
            (
                refusal.count,
                _short(refusal.operator),
                refusal.reason or "not known",
                *((", ".join(refusal.where),) if known else ()),
            )
            for refusal in refusals
        ),
        f"Not delegated: {sum(refusal.count for refusal in refusals)} operators",
    )


def _memory(method: MethodReport) -> Iterator[tuple[str, int]]:
    outside = " outside of delegates" if method.delegates else ""
    several = len(method.planned_bytes) > 1
    for number, planned in enumerate(method.planned_bytes, 1):
        yield f"planned for activations{outside}" + (f", arena {number}" if several else ""), planned
    heavy = max(method.calls, key=lambda call: call.scratch_bytes, default=None)
    if heavy is not None and heavy.scratch_bytes:
        place = f" of {heavy.module}" if heavy.module else ""
        yield f"of that, most scratch of a kernel: {heavy.operator}{place}", heavy.scratch_bytes
    for number, delegate in enumerate(method.delegates):
        if delegate.scratch_bytes is not None:
            yield f"scratch of delegate {number}", delegate.scratch_bytes
    if method.pools is not None:
        yield "method allocator's pool of a 32-bit firmware, at least", method.pools.method_bytes
        yield "the same in arm_executor_runner, with the planned memory", method.pools.runner_method_bytes
        yield "temporary allocator's pool, at least, without portable kernels' own", method.pools.temp_bytes
        if not method.delegates:
            yield "method allocator's pool where there is no temporary one", method.pools.method_bytes_without_temp


def _details(method: MethodReport) -> Iterator[Block]:
    """The tables for which a text has no room."""
    if method.delegates:
        yield _delegate_table(method.delegates)
    if method.border:
        yield table(
            (
                "kind",
                "runs on",
                Column("operator", "code"),
                "tensor or module",
                Column("bytes read and written", "bytes"),
                Column("NPU cycles, estimated", "whole"),
            ),
            ((step.kind, step.runs_on, step.operator, step.name, step.bytes, step.cycles) for step in method.border),
            "Conversions at the border",
        )
    if method.calls:
        if not method.delegates:
            in_use = tuple((f"{call.operator} {call.module}".strip(), _needed(call)) for call in method.calls)
            title = "Inputs, outputs and scratch of each kernel's call, bytes"
            yield Steps(title, "calls of kernels, in order", in_use, "bytes")
        yield _call_table(method.calls)


def _delegate_table(delegates: Sequence[Delegate]) -> Table:
    names = ("payload bytes", "weights", "commands", "scratch", "bytes in", "bytes out")
    return table(
        (
            Column("#", "whole"),
            "backend",
            Column("operators", "whole"),
            *(Column(name, "bytes") for name in names),
            "inputs",
            "outputs",
        ),
        (
            (
                number,
                delegate.backend,
                delegate.operators,
                delegate.payload_bytes,
                delegate.weight_bytes,
                delegate.command_bytes,
                delegate.scratch_bytes,
                _bytes(delegate.inputs),
                _bytes(delegate.outputs),
                _tensors(delegate.inputs),
                _tensors(delegate.outputs),
            )
            for number, delegate in enumerate(delegates)
        ),
        "Delegates",
    )


def _call_table(calls: Sequence[Call]) -> Table:
    names = ("constants", "inputs", "outputs", "scratch")
    return table(
        (
            Column("#", "whole"),
            Column("kernel", "code"),
            "part of the model",
            *(Column(name, "bytes") for name in names),
            Column("", "bar"),
        ),
        (
            (
                number,
                call.operator,
                call.module,
                call.constant_bytes,
                call.input_bytes,
                call.output_bytes,
                call.scratch_bytes,
                _needed(call),
            )
            for number, call in enumerate(calls, 1)
        ),
        "Calls of kernels, and their memory in bytes",
    )


def _needed(call: Call) -> int:
    return call.input_bytes + call.output_bytes + call.scratch_bytes


def _bytes(crossings: Iterable[Crossing]) -> int:
    return sum(crossing.bytes for crossing in crossings)


def _tensors(crossings: Iterable[Crossing]) -> str:
    return ", ".join(f"{each.name} {each.dtype} {'x'.join(map(str, each.shape))}" for each in crossings)


def _sum(sizes: Iterable[int]) -> str:
    return " + ".join(f"{size:,}" for size in sizes)


def _short(operator: str) -> str:
    return operator.removeprefix("quantized_decomposed.")
