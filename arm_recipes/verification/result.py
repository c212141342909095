"""What `verify` says: a frozen report, as an object, as JSON and as a table."""

from __future__ import annotations

import dataclasses
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from arm_recipes.gates import Gate
from arm_recipes.simulators.base import Delegate

from .layer_errors import LayerError

SCHEMA_VERSION = 1

_WORST_LAYERS = 5
_ALWAYS_ON = ("same_graph", "same_function")


@dataclass(frozen=True)
class Comparison:
    """How far one stage's output is from another's, over all samples.

    Attributes:
        reference: a stage.
        candidate: a later one.
        output: index of the output.
        metrics: figures by the names of `metrics.METRICS`.
        worst_sample: index of the sample whose SQNR is the lowest.
        worst_sqnr_db: that SQNR.
    """

    reference: str
    candidate: str
    output: int
    metrics: Mapping[str, float]
    worst_sample: int
    worst_sqnr_db: float


@dataclass(frozen=True)
class IntegerMatch:
    """Whether an output's integers are those of the quantized module.

    Attributes:
        output: index of the output.
        elements: how many integers were compared, over all samples.
        different: how many are not equal.
        largest: the largest difference, in steps.
    """

    output: int
    elements: int
    different: int
    largest: int

    @property
    def exact(self) -> bool:
        return self.different == 0


@dataclass(frozen=True)
class Accuracy:
    """How often each stage is right.

    Attributes:
        labelled: number of samples with a label.
        figures: stage -> name -> mean over those samples; top1 and top5 are shares between 0 and 1.
    """

    labelled: int
    figures: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """How far a lowered program, simulated, is from its model. ``print(report)`` shows it as tables.

    Attributes:
        recipe: name of the recipe.
        target: name of its target.
        method: of the program.
        simulator: that the program ran on.
        proves: what an agreement proves, and what not.
        notes: what there is to know besides.
        source: where the samples came from.
        samples: how many.
        stages: the names of the stages that were compared.
        comparisons: of each pair of stages and each output.
        accuracy: of each stage; None without labels.
        integers: of each quantized output; empty for float programs.
        delegates: the delegated subgraphs.
        layers: the layers in the model's order; empty unless per_layer was asked for.
        gates: the conditions that were asked for; that what was simulated is what was compiled; and that it is no
            further from the quantized module than rounding, or the quantization's own error, explains.
    """

    recipe: str
    target: str
    method: str
    simulator: str
    proves: str
    notes: tuple[str, ...]
    source: str
    samples: int
    stages: tuple[str, ...]
    comparisons: tuple[Comparison, ...]
    accuracy: Accuracy | None
    integers: tuple[IntegerMatch, ...]
    delegates: tuple[Delegate, ...]
    layers: tuple[LayerError, ...]
    gates: tuple[Gate, ...]

    @property
    def failed_gates(self) -> tuple[Gate, ...]:
        return tuple(gate for gate in self.gates if not gate.passed)

    @property
    def worst_layers(self) -> tuple[LayerError, ...]:
        """The layers that lose most against their inputs, worst first: where 16-bit activations would help."""
        known = [layer for layer in self.layers if layer.lost_db is not None and layer.lost_db > 0]
        return tuple(sorted(known, key=lambda layer: -(layer.lost_db or 0.0))[:_WORST_LAYERS])

    @property
    def first_divergence(self) -> LayerError | None:
        """The first layer that is off by more than rounding explains: where a broken program breaks."""
        return next((layer for layer in self.layers if layer.diverges), None)

    def comparison(self, reference: str, candidate: str, output: int = 0) -> Comparison:
        """Of two stages, e.g. ``float`` and ``simulated``.

        Raises:
            KeyError: there is no such comparison.
        """
        for one in self.comparisons:
            if (one.reference, one.candidate, one.output) == (reference, candidate, output):
                return one
        raise KeyError((reference, candidate, output))

    def to_json(self, indent: int | None = 2) -> str:
        """As JSON. Figures that are infinite or not a number are the texts ``inf``, ``-inf`` and ``nan``."""
        content = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}
        content["failed_gates"] = [gate.name for gate in self.failed_gates]
        content["worst_layers"] = [layer.layer for layer in self.worst_layers]
        first = self.first_divergence
        content["first_divergence"] = None if first is None else first.layer
        return json.dumps(_jsonable(content), indent=indent, allow_nan=False)

    def text(self, width: int = 110) -> str:
        """As tables, of `width` columns at most."""
        console = Console(file=io.StringIO(), width=width, color_system=None)

        def say(text: str) -> None:
            console.print(text, markup=False, highlight=False)

        def show(table: Table) -> None:
            say("")
            console.print(table)
            say("")

        samples = "1 sample" if self.samples == 1 else f"{self.samples:,} samples"
        say(f"{self.recipe}, method {self.method}, {samples} of {self.source}")
        say(f"Simulated on {self.simulator}.")
        say(f"Agreement proves {self.proves}.")
        for note in self.notes:
            say(note)
        show(_comparison_table(self))
        if self.accuracy is not None:
            console.print(_accuracy_table(self.accuracy))
            say("")
        for match in self.integers:
            verdict = "equal" if match.exact else f"{match.different:,} differ, by up to {match.largest}"
            say(f"Integers of output {match.output}, quantized and simulated: of {match.elements:,}, {verdict}.")
        for delegate in self.delegates:
            same = "gives its own bytes" if delegate.reproduced else "does NOT give its bytes: it was changed"
            say(f"{delegate.name} ({delegate.backend}, {delegate.bytes:,} bytes): compiled again, it {same}.")
        if self.layers:
            show(_layer_table(self.layers))
            if self.worst_layers:
                say("Most is lost in: " + "; ".join(f"{one.layer} ({one.lost_db:.1f} dB)" for one in self.worst_layers))
            first = self.first_divergence
            if first is not None:
                fused = f", or what was fused into it ({', '.join(first.fused)})" if first.fused else ""
                say(f"First layer that is off by more than rounding: {first.layer}{fused}.")
        for gate in self.gates:
            if gate.name not in _ALWAYS_ON or not gate.passed:
                say(f"Gate {gate}.")
        written = console.file
        assert isinstance(written, io.StringIO)
        return "\n".join(line.rstrip() for line in written.getvalue().splitlines())

    def __str__(self) -> str:
        return self.text()


def _table(words: str, *figures: str) -> Table:
    """A table whose first column is broken where there is no room, and whose figures are not."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(words, overflow="fold")
    for name in figures:
        # A heading of two words may take two lines.
        table.add_column(name.replace(" ", "\n", 1), justify="right", vertical="bottom", no_wrap=True)
    return table


def _comparison_table(report: VerifyReport) -> Table:
    table = _table("stages", "output", *_TITLES.values(), "worst sample")
    for one in report.comparisons:
        figures = [_figure(name, one.metrics[name]) for name in _TITLES]
        worst = _figure("sqnr_db", one.worst_sqnr_db)
        unit = " dB" if math.isfinite(one.worst_sqnr_db) else ""
        table.add_row(
            f"{one.reference} / {one.candidate}", str(one.output), *figures, f"{one.worst_sample} ({worst}{unit})"
        )
    return table


_TITLES = {"sqnr_db": "SQNR dB", "cosine": "cosine", "max_abs": "max abs", "mean_abs": "mean abs", "rmse": "RMS"}


def _accuracy_table(accuracy: Accuracy) -> Table:
    names = list(next(iter(accuracy.figures.values())))
    table = _table(f"{accuracy.labelled} labelled", *accuracy.figures)
    for name in names:
        shares = (figures[name] for figures in accuracy.figures.values())
        table.add_row(name, *(f"{share:.2%}" if name in ("top1", "top5") else f"{share:.6g}" for share in shares))
    return table


def _layer_table(layers: tuple[LayerError, ...]) -> Table:
    table = _table("layer", "quantized SQNR dB", "simulated SQNR dB", "lost dB", "differ", "by up to")
    for one in layers:
        different = f"{one.different:,} of {one.elements:,}" if one.elements else "fused"
        largest = f"{one.largest:.3g}{' !' if one.diverges else ''}" if one.elements else ""
        figures = [
            "" if figure is None else _figure("sqnr_db", figure)
            for figure in (one.quantized_sqnr_db, one.simulated_sqnr_db, one.lost_db)
        ]
        table.add_row(one.layer, *figures, different, largest)
    return table


def _figure(name: str, value: float) -> str:
    if not math.isfinite(value):
        return "exact" if value == math.inf and name == "sqnr_db" else str(value)
    return f"{value:.1f}" if name == "sqnr_db" else f"{value:.6f}" if name == "cosine" else f"{value:.3g}"


def _jsonable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {name: _jsonable(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(one) for one in value]
    return value
