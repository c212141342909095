"""What the samples say together."""

from __future__ import annotations

from collections.abc import Sequence

from arm_recipes.recipes.catalog import Recipe

from .causes import cause_of
from .graph import Layer, Reference
from .result import MethodCheck, WrongLayer
from .walk import Finding


class Tally:
    """Adds up the findings, sample by sample.

    Attributes:
        samples: number of samples so far.
    """

    def __init__(self, reference: Reference, recipe: Recipe) -> None:
        self._layers = [layer for layer in reference.layers if layer.group or layer.scale is not None]
        self._recipe = recipe
        self._compared: set[Layer] = set()
        self._grouped: set[Layer] = set()
        self._largest: dict[Layer, float] = {}
        self._wrong: dict[tuple[int, int], WrongLayer] = {}
        self.samples = 0

    def add(self, findings: Sequence[Finding]) -> None:
        """Add one sample, whose findings are in the model's order."""
        readers: dict[Layer, list[Finding]] = {finding.layer: [] for finding in findings}
        by_node = {finding.layer.node: finding.layer for finding in findings}
        for finding in findings:
            for source in finding.layer.sources:
                if source in by_node:
                    readers[by_node[source]].append(finding)
        grouped: set[Layer] = set()
        for finding in reversed(findings):
            layer = finding.layer
            if finding.wrong:
                self._add_wrong(finding, -1)
            for output in finding.wrong_outputs:
                if not finding.wrong:
                    self._add_wrong(finding, output)
            if finding.compared or finding.wrong:
                self._compared.add(layer)
                if finding.compared and finding.difference is not None:
                    self._largest[layer] = max(self._largest.get(layer, 0.0), finding.difference.steps)
            elif readers[layer] and all(
                (reader.compared and not reader.widened) or reader.layer in grouped for reader in readers[layer]
            ):
                grouped.add(layer)
        self._grouped |= grouped
        self.samples += 1

    def result(self, method: str, simulator: str, note: str) -> MethodCheck:
        """The outcome so far.

        Args:
            method: name of the method.
            simulator: name of the simulator.
            note: what to know besides.
        """
        wrong = {key[0] for key in self._wrong if key[1] < 0}
        right = [self._largest[layer] for layer in self._layers if layer in self._largest and layer.index not in wrong]
        compared = self._compared.intersection(self._layers)
        return MethodCheck(
            method,
            True,
            simulator=simulator,
            samples=self.samples,
            layers=len(self._layers),
            compared=len(compared),
            grouped=len(self._grouped.intersection(self._layers) - compared),
            exact=sum(steps == 0 for steps in right),
            one_step=sum(0 < steps <= 1 for steps in right),
            more=sum(steps > 1 for steps in right),
            largest=max(right, default=0.0),
            wrong=tuple(self._wrong[key] for key in sorted(self._wrong)),
            note=note,
        )

    def _add_wrong(self, finding: Finding, output: int) -> None:
        layer, difference = finding.layer, finding.difference
        key = (layer.index, output)
        if key in self._wrong:
            return
        if output >= 0:
            difference = finding.output_differences[output]
        self._wrong[key] = WrongLayer(
            layer=layer.name if output < 0 else f"output {output}, {layer.name}",
            operator=layer.operator,
            module=layer.module,
            steps=difference.steps if difference is not None else 0.0,
            elements=difference.elements if difference is not None else 0,
            of=difference.of if difference is not None else 0,
            sample=self.samples,
            among=tuple(each.name for each in finding.among),
            cause=cause_of(layer, self._recipe) if output < 0 else "",
        )
