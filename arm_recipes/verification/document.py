"""A `VerifyReport` as blocks. No torch here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from arm_recipes.checking.result import wrong_table
from arm_recipes.documents.blocks import (
    Bars,
    Block,
    Column,
    Document,
    Heading,
    KeyFigures,
    OnlyPage,
    OnlyText,
    Paragraph,
    Table,
    table,
)

if TYPE_CHECKING:
    from .result import Accuracy, Comparison, LayerError, VerifyReport

# Gates that nobody asked for: told only where they fail.
_ALWAYS_ON = ("same_graph", "same_function")

# Outputs that are nearer to the quantized module's need no word on how rounding grows.
_AMPLIFIED_DB = 25.0

# Title and form of each metric of `metrics.METRICS`.
_METRICS = {
    "sqnr_db": Column("SQNR dB", "decibel"),
    "cosine": Column("cosine", "precise"),
    "max_abs": Column("max abs", "brief"),
    "mean_abs": Column("mean abs", "brief"),
    "rmse": Column("RMS", "brief"),
}
_SHARES = ("top1", "top5")


def document(report: VerifyReport) -> Document:
    gates = [gate.paragraph for gate in report.gates if gate.name not in _ALWAYS_ON or not gate.passed]
    samples = "1 sample" if report.samples == 1 else f"{report.samples:,} samples"
    blocks: list[Block] = [
        Paragraph(f"{report.recipe}, method {report.method}, {samples} of {report.source}"),
        Paragraph(f"Simulated on {report.simulator}."),
        Paragraph(f"Agreement proves {report.proves}.", "note"),
        *(Paragraph(note, "note") for note in report.notes),
        OnlyPage((KeyFigures(tuple(_figures(report))), *gates)),
        *([_comparisons(report.comparisons)] if report.comparisons else ()),
        *(_accuracy(report.accuracy) if report.accuracy is not None else ()),
        *_agreement(report),
        *_check(report),
        *(_layers(report) if report.layers else ()),
        OnlyText(tuple(gates)),
    ]
    return Document(f"{report.recipe} on {report.simulator}", tuple(blocks))


def _figures(report: VerifyReport) -> Iterator[tuple[str, str]]:
    """Of the output that is the worst."""
    against_float = [each for each in report.comparisons if (each.reference, each.candidate) == ("float", "simulated")]
    worst = min(against_float, key=lambda each: each.metrics["sqnr_db"], default=None)
    if worst is not None:
        yield _decibels(worst.metrics["sqnr_db"]), "SQNR of what is simulated against float"
        yield f"{worst.metrics['cosine']:.6f}", "cosine similarity"
    if report.integers:
        different = sum(match.different for match in report.integers)
        elements = sum(match.elements for match in report.integers)
        yield f"{different:,} of {elements:,}", "integers of outputs differ from the quantized module's"
    if report.accuracy is not None and "top1" in report.accuracy.figures.get("simulated", {}):
        yield f"{report.accuracy.figures['simulated']['top1']:.2%}", "top-1 accuracy, simulated"


def _decibels(value: float) -> str:
    return f"{value:.1f} dB" if math.isfinite(value) else "exact" if value == math.inf else str(value)


def _comparisons(comparisons: Sequence[Comparison]) -> Table:
    several = any(each.output for each in comparisons)
    return table(
        (
            "stages",
            *((Column("output", "whole"),) if several else ()),
            *_METRICS.values(),
            Column("worst sample", "whole"),
            Column("its SQNR dB", "decibel"),
        ),
        (
            (
                f"{each.reference} / {each.candidate}",
                *((each.output,) if several else ()),
                *(each.metrics[name] for name in _METRICS),
                each.worst_sample,
                each.worst_sqnr_db,
            )
            for each in comparisons
        ),
        "How far each stage is from an earlier one",
    )


def _accuracy(accuracy: Accuracy) -> Iterator[Block]:
    names = list(next(iter(accuracy.figures.values())))
    for name in names:
        form = "percent2" if name in _SHARES else "precise"
        yield Bars(
            f"{name}, mean over {accuracy.labelled:,} labelled samples",
            tuple((stage, (figures[name],)) for stage, figures in accuracy.figures.items()),
            form=form,
        )
    figures_of_stages = table(
        ("stage", *(Column(name, "percent2" if name in _SHARES else "precise") for name in names)),
        ((stage, *(figures[name] for name in names)) for stage, figures in accuracy.figures.items()),
        f"Accuracy on {accuracy.labelled:,} labelled samples",
    )
    yield OnlyText((figures_of_stages,))


def _agreement(report: VerifyReport) -> Iterator[Block]:
    for match in report.integers:
        verdict = "equal" if match.exact else f"{match.different:,} differ, by up to {match.largest}"
        yield Paragraph(
            f"Integers of output {match.output}, quantized and simulated: of {match.elements:,}, {verdict}."
        )
    for delegate in report.delegates:
        same = "gives its own bytes" if delegate.reproduced else "does NOT give its bytes: it was changed"
        told = f"{delegate.name} ({delegate.backend}, {delegate.bytes:,} bytes): compiled again, it {same}."
        yield Paragraph(told, "plain" if delegate.reproduced else "bad")


def _check(report: VerifyReport) -> Iterator[Block]:
    check = report.check
    yield Paragraph(f"Layer by layer, {check}", "plain" if check.right else "bad")
    ends = [each.metrics["sqnr_db"] for each in report.comparisons if each.reference == "quantized"]
    if check.checked and check.right and ends and min(ends) < _AMPLIFIED_DB:
        yield Paragraph(
            f"Each layer is right to {'a step' if check.largest <= 1 else f'{check.largest:.3g} steps'}; the network "
            f"multiplies it: {min(ends):.1f} dB at the end, quantized against simulated."
        )
    if check.wrong:
        yield wrong_table(check.wrong)


def _layers(report: VerifyReport) -> Iterator[Block]:
    yield OnlyPage((Heading("Layer by layer"),))
    bars = [(layer.layer, (layer.quantized_sqnr_db, layer.simulated_sqnr_db)) for layer in report.layers]
    yield Bars(
        "SQNR of each layer against the model in float, dB",
        tuple(bar for bar in bars if bar[1] != (None, None)),
        ("quantized", "simulated"),
        "decibel",
    )
    yield _layer_table(report.layers)
    if report.worst_layers:
        worst = "; ".join(f"{each.layer} ({each.lost_db:.1f} dB)" for each in report.worst_layers)
        yield Paragraph(f"Most is lost in: {worst}")
    first = report.first_divergence
    if first is not None:
        fused = f", or what was fused into it ({', '.join(first.fused)})" if first.fused else ""
        yield Paragraph(f"First layer that is wrong: {first.layer}{fused}.", "bad")


def _layer_table(layers: Sequence[LayerError]) -> Table:
    return table(
        (
            "layer",
            Column("quantized SQNR dB", "decibel"),
            Column("simulated SQNR dB", "decibel"),
            Column("lost dB", "decibel"),
            Column("differ", "whole"),
            Column("of", "whole"),
            Column("by up to", "brief"),
            "",
        ),
        (
            (
                each.layer,
                each.quantized_sqnr_db,
                each.simulated_sqnr_db,
                each.lost_db,
                *((each.different, each.elements, each.largest) if each.elements else (None, "fused", None)),
                "off" if each.diverges else "",
            )
            for each in layers
        ),
        "Each layer against float, and its values against the quantized module's",
    )
