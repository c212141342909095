"""The sums over the samples that `verify` reports, and the gates on them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from arm_recipes.checking.result import MethodCheck
from arm_recipes.errors import CalibrationError, SimulationError
from arm_recipes.gates import Gate
from arm_recipes.lowering.integer_io import QuantizedTensor
from arm_recipes.simulators.base import SimulatedDelegate

from .metrics import CLASSIFICATION, METRICS, Metric, Moments, Outputs, sqnr_db
from .result import Accuracy, Comparison, IntegerMatch
from .stages import FLOAT, QUANTIZED, SIMULATED

# Integers at the end that are no further from the quantized module's are so for rounding, which adds up from layer to
# layer; 16-bit steps are finer.
_STEPS = {"int8": 2, "int16": 16}


@dataclass
class _Sum:
    """One output of one stage against another's.

    Attributes:
        moments: over all samples so far.
        worst_sqnr_db: lowest SQNR of a sample, in dB.
        worst_sample: index of that sample.
    """

    moments: Moments
    worst_sqnr_db: float
    worst_sample: int


class Totals:
    """Adds up what the report says, sample by sample.

    Attributes:
        stages: names of the stages, the simulated one last.
        samples: number of samples so far.
    """

    def __init__(
        self,
        stages: Sequence[str],
        scales: list[QuantizedTensor | None],
        metric: Metric | None,
        output: int | str | None,
    ) -> None:
        """
        Args:
            stages: names of the stages before the simulated one.
            scales: scale and zero point of each output of the quantized stage; None where it is not quantized.
            metric: the figure of a labelled sample in the place of top-1 and top-5.
            output: the one that labels are classes of, by its index or its name; None where there is but one.
        """
        self.stages = (*stages, SIMULATED)
        self._pairs = list(itertools.combinations(self.stages, 2))
        self._scales = scales
        self._metric = metric
        self._output = output
        self._sums: dict[tuple[str, str, int], _Sum] = {}
        self._right: dict[str, dict[str, float]] = {stage: {} for stage in self.stages}
        self._labelled = 0
        self._match: dict[int, list[int]] = {}
        self.samples = 0

    def add(self, outputs: Mapping[str, Outputs], label: Any, names: Sequence[str] = ()) -> None:
        """Add one sample.

        Args:
            outputs: of each stage.
            label: the index of its class, or what the metric takes; None where it is not known.
            names: of the outputs.

        Raises:
            SimulationError: the stages' outputs are not alike in number and shape.
            CalibrationError: the label names no class, or nothing says of which output.
        """
        counts = {stage: len(tensors) for stage, tensors in outputs.items()}
        if len(set(counts.values())) > 1:
            raise SimulationError(
                f"The stages give unequal numbers of outputs: {counts}. The program is not the model's."
            )
        for stage, later in self._pairs:
            for index, (reference, candidate) in enumerate(zip(outputs[stage], outputs[later], strict=True)):
                if reference.shape != candidate.shape:
                    raise SimulationError(
                        f"Output {index} has shape {list(reference.shape)} in the {stage} stage and "
                        f"{list(candidate.shape)} in the {later} stage. The program is not the model's."
                    )
                self._compare((stage, later, index), Moments.of(reference, candidate))
        if QUANTIZED in outputs:
            for index, scale in enumerate(self._scales):
                if scale is not None:
                    self._match_integers(index, scale, outputs[QUANTIZED][index], outputs[SIMULATED][index])
        if label is not None:
            self._labelled += 1
            for stage, tensors in outputs.items():
                for name, figure in self._judge(tensors, label, names).items():
                    self._right[stage][name] = self._right[stage].get(name, 0.0) + figure
        self.samples += 1

    def comparisons(self) -> tuple[Comparison, ...]:
        return tuple(
            Comparison(
                reference=reference,
                candidate=candidate,
                output=index,
                metrics={name: metric(total.moments) for name, metric in METRICS.items()},
                worst_sample=total.worst_sample,
                worst_sqnr_db=total.worst_sqnr_db,
            )
            for (reference, candidate, index), total in sorted(
                self._sums.items(), key=lambda item: (self._pairs.index(item[0][:2]), item[0][2])
            )
        )

    def accuracy(self) -> Accuracy | None:
        if not self._labelled:
            return None
        figures = {
            stage: {name: figure / self._labelled for name, figure in sums.items()}
            for stage, sums in self._right.items()
        }
        return Accuracy(labelled=self._labelled, figures=figures)

    def integers(self) -> tuple[IntegerMatch, ...]:
        return tuple(IntegerMatch(index, *counts) for index, counts in sorted(self._match.items()))

    def nearness(self) -> dict[int, tuple[float, int]]:
        """By how many dB each quantized output is nearer, simulated, to the quantized module's than that to the float
        model's, inf where rounding explains the difference; and of how many elements. Nothing without a float stage."""
        nearness = {}
        for index, match in self._match.items():
            scale = self._scales[index]
            assert scale is not None
            if match[2] <= _STEPS.get(scale.dtype, 2):
                nearness[index] = math.inf, match[0]
            elif FLOAT in self.stages:
                lowered = sqnr_db(self._sums[QUANTIZED, SIMULATED, index].moments)
                nearness[index] = lowered - sqnr_db(self._sums[FLOAT, QUANTIZED, index].moments), match[0]
        return nearness

    def _compare(self, key: tuple[str, str, int], moments: Moments) -> None:
        sqnr = sqnr_db(moments)
        total = self._sums.get(key)
        if total is None:
            self._sums[key] = _Sum(moments, sqnr, self.samples)
            return
        total.moments += moments
        # A NaN is the worst there is, and the first one stays.
        if not sqnr >= total.worst_sqnr_db and not math.isnan(total.worst_sqnr_db):
            total.worst_sqnr_db, total.worst_sample = sqnr, self.samples

    def _match_integers(self, index: int, scale: QuantizedTensor, quantized: Tensor, simulated: Tensor) -> None:
        difference = (scale.steps(quantized.to(torch.float64)) - scale.steps(simulated.to(torch.float64))).abs()
        counts = self._match.setdefault(index, [0, 0, 0])
        counts[0] += difference.numel()
        counts[1] += int((difference != 0).sum())
        counts[2] = max(counts[2], int(difference.nan_to_num(2**31).max()) if difference.numel() else 0)

    def _judge(self, outputs: Outputs, label: Any, names: Sequence[str]) -> dict[str, float]:
        if self._metric is not None:
            return {getattr(self._metric, "__name__", "metric"): float(self._metric(outputs, label))}
        index = _index_of(self._output, outputs, names)
        scores = outputs[index]
        classes = scores.shape[-1] if scores.dim() else 0
        if scores.numel() != classes or not 0 <= label < classes:
            raise CalibrationError(
                f"Label {label} of sample {self.samples} names no class of output {index}, whose shape is "
                f"{list(scores.shape)}. Labels are class indices for the last dimension of an output of one row; for "
                "others give metric=."
            )
        return {name: judge(scores, label) for name, judge in CLASSIFICATION.items() if name == "top1" or classes > 5}


def _index_of(output: int | str | None, outputs: Outputs, names: Sequence[str]) -> int:
    """
    Raises:
        CalibrationError: there is no such output, or several to choose from.
    """
    if output is None and len(outputs) == 1:
        return 0
    if isinstance(output, int) and 0 <= output < len(outputs):
        return output
    if isinstance(output, str) and output in names:
        return list(names).index(output)
    names = [name if name != str(index) else "" for index, name in enumerate(names)] or [""] * len(outputs)
    told = ", ".join(
        f"{index}{f' or {name!r}' if name else ''} of shape {list(value.shape)}"
        for index, (value, name) in enumerate(zip(outputs, names, strict=True))
    )
    problem = "Labels are classes of one output, and the model has several" if output is None else f"output={output!r}"
    raise CalibrationError(f"{problem}. Allowed: output={told}. Or give metric=, which takes them all.")


def gates_of_layers(
    delegates: Sequence[SimulatedDelegate], check: MethodCheck, nearness: Mapping[int, tuple[float, int]]
) -> Iterator[Gate]:
    """The gates that are always on.

    Args:
        delegates: the delegated subgraphs, compiled once more.
        check: of the layers.
        nearness: as `Totals.nearness` gives it, where the layers don't tell: the ends have to.
    """
    for delegate in delegates:
        what = f"{delegate.name}: compiling it again gives its own bytes (1: yes, 0: no)"
        yield Gate.at_least("same_graph", what, 1.0, float(delegate.reproduced))
    if check.checked:
        what = f"wrong layers ({check.compared + check.grouped} of {check.layers} compared)"
        yield Gate.at_most("same_function", what, 0.0, float(len(check.wrong)))
    for index, (nearer, elements) in sorted(nearness.items()):
        # The lowering may add ten times the noise of the quantization, which on few elements may be small by luck.
        limit = -10 * (1 + 10 / max(elements, 1))
        what = f"SQNR in dB of output {index}, simulated against quantized, less that of quantized against float"
        yield Gate.at_least("same_function", what, limit, nearer)


def gates_of(
    comparisons: Sequence[Comparison],
    accuracy: Accuracy | None,
    min_sqnr: float | None,
    max_accuracy_drop: float | None,
) -> Iterator[Gate]:
    """The gates that were asked for.

    Args:
        comparisons: what the limit of the SQNR is held against.
        accuracy: what the limit of the loss is held against.
        min_sqnr: least SQNR in dB that was asked for; None for no such gate.
        max_accuracy_drop: greatest loss of accuracy that was asked for; None for no such gate.
    """
    if min_sqnr is not None:
        first = comparisons[0].reference
        for comparison in comparisons:
            if (comparison.reference, comparison.candidate) == (first, SIMULATED):
                figure = comparison.metrics["sqnr_db"]
                what = f"SQNR in dB of output {comparison.output}, simulated against {first}"
                yield Gate.at_least("min_sqnr", what, min_sqnr, figure)
    if max_accuracy_drop is not None and accuracy is not None:
        stage = next(iter(accuracy.figures))
        name = next(iter(accuracy.figures[stage]))
        unit = 100.0 if name in CLASSIFICATION else 1.0
        drop = (accuracy.figures[stage][name] - accuracy.figures[SIMULATED][name]) * unit
        what = f"loss of {name} from {stage} to simulated{' in percentage points' if unit == 100 else ''}, at most"
        # Differences of shares are not exact in binary.
        yield Gate("max_accuracy_drop", what, max_accuracy_drop, drop, drop <= max_accuracy_drop + 1e-9)
