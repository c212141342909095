"""What `verify` says: a frozen report, as an object, as JSON, as text and as a page. No torch here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from arm_recipes.checking.result import MethodCheck
from arm_recipes.documents.blocks import Document
from arm_recipes.documents.results import Result
from arm_recipes.gates import Gate
from arm_recipes.simulators.base import SimulatedDelegate

from .document import document

_WORST_LAYERS = 5


@dataclass(frozen=True)
class Comparison:
    """How far one stage's output is from another's, over all samples.

    Attributes:
        reference: name of a stage, e.g. ``float``.
        candidate: name of a later stage, e.g. ``simulated``.
        output: index of the output.
        metrics: figures by name: ``sqnr_db`` in dB, ``cosine``, and ``max_abs``, ``mean_abs`` and ``rmse`` in the
            output's own unit.
        worst_sample: index of the sample whose SQNR is the lowest.
        worst_sqnr_db: SQNR of that sample, in dB.
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
        elements: number of integers that were compared, over all samples.
        different: number of those that are not equal.
        largest: largest difference, in steps of the quantization.
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
        figures: by stage and name, the mean over those samples; ``top1`` and ``top5`` are shares between 0 and 1.
    """

    labelled: int
    figures: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class LayerError:
    """The error of one layer, over all samples.

    Attributes:
        layer: operator and the module of the model that it came from, e.g. ``aten.conv2d of stem.0``.
        quantized_sqnr_db: SQNR in dB of the quantized module's value against the float model's; None where there is no
            such twin.
        simulated_sqnr_db: SQNR in dB of the simulated value against the float model's; None where the layer has no
            value of its own in the lowered program, or the float model.
        lost_db: dB by which that SQNR is lower than the layer's worst input's; None where either is not known.
        elements: number of values compared with the quantized module's (or the exported program's); 0 where none were.
        different: number of them that differ, in integers where the layer is quantized.
        largest: largest difference, in steps of the integers where the layer is quantized.
        diverges: whether it is wrong: its value is not what the model makes of the layer's own inputs.
        fused: layers before it that have no value of their own, as the lowering fused them into this one.
    """

    layer: str
    quantized_sqnr_db: float | None
    simulated_sqnr_db: float | None
    lost_db: float | None
    elements: int
    different: int
    largest: float
    diverges: bool
    fused: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class VerifyReport(Result):
    """How far a lowered program, simulated, is from its model. ``print(report)`` shows it as tables.

    Attributes:
        recipe: name of the recipe; of a file, its own.
        target: name of the recipe's target; empty for a file.
        method: name of the method of the program.
        simulator: simulator that the program ran on.
        proves: words that end "Agreement proves", and say what it does not.
        notes: sentences on what there is to know besides.
        source: origin of the samples.
        samples: number of samples.
        stages: names of the stages that were compared.
        comparisons: figures of each pair of stages and each output.
        accuracy: accuracy of each stage; None without labels.
        integers: agreement of each quantized output; empty for float programs.
        delegates: delegated subgraphs.
        check: whether each layer computes what the model's does, on the first samples.
        layers: layers in the model's order; empty unless per_layer was asked for.
        gates: conditions that were asked for; that what was simulated is what was compiled; and that no layer is wrong
            (where layers can't be looked at, that the outputs are no further from the quantized module's than rounding,
            or the quantization's own error, explains).
    """

    kind: ClassVar[str] = "arm_recipes verify"
    schema_version: ClassVar[int] = 2
    derived_types: ClassVar[Mapping[str, Any]] = {
        "failed_gates": tuple[str, ...],
        "worst_layers": tuple[str, ...],
        "first_divergence": str | None,
    }

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
    delegates: tuple[SimulatedDelegate, ...]
    check: MethodCheck
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
        """The first layer that is wrong: where a broken program breaks."""
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

    def derived(self) -> Mapping[str, Any]:
        first = self.first_divergence
        return {
            "failed_gates": [gate.name for gate in self.failed_gates],
            "worst_layers": [layer.layer for layer in self.worst_layers],
            "first_divergence": None if first is None else first.layer,
        }

    def document(self) -> Document:
        return document(self)

    def rows(self) -> tuple[Sequence[str], Sequence[Mapping[str, Any]]]:
        """The layers where they were traced, else the comparisons."""
        if self.layers:
            columns = [field.name for field in dataclasses.fields(LayerError)]
            return columns, [{**dataclasses.asdict(layer), "fused": ", ".join(layer.fused)} for layer in self.layers]
        metrics = list(dict.fromkeys(name for comparison in self.comparisons for name in comparison.metrics))
        columns = ["reference", "candidate", "output", *metrics, "worst_sample", "worst_sqnr_db"]
        return columns, [
            {name: value for name, value in dataclasses.asdict(comparison).items() if name != "metrics"}
            | dict(comparison.metrics)
            for comparison in self.comparisons
        ]
