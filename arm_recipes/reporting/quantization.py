"""`quantization_report`: every quantized node and pattern of a model, with its quantization specs.

No torch here until a model is asked about.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from arm_recipes.documents.blocks import Block, Cell, Column, Document, Heading, Items, OnlyPage, Paragraph, table
from arm_recipes.documents.results import Result
from arm_recipes.errors import ArmRecipeError
from arm_recipes.lowering.records import MethodQuantization, QuantizedNode

if TYPE_CHECKING:
    from executorch.export import ExportSession
    from torch.fx import GraphModule


@dataclasses.dataclass(frozen=True)
class QuantizationReport(Result):
    """How a model is quantized. ``print`` it for a table.

    Attributes:
        methods: quantization of each method, by the method's name.
    """

    kind: ClassVar[str] = "arm_recipes quantization"
    schema_version: ClassVar[int] = 1

    methods: Mapping[str, MethodQuantization]

    def document(self) -> Document:
        blocks = [block for name, method in self.methods.items() for block in _method(name, method)]
        return Document("Quantization", tuple(blocks))

    def rows(self) -> tuple[Sequence[str], Sequence[Mapping[str, Any]]]:
        """The quantized nodes. Of inputs and outputs it has the name of the spec, and the spec in words."""
        columns = ("method", "pattern", "node", "operator", "module", "inputs", "output", "output_spec")
        return columns, [
            {
                "method": name,
                "pattern": pattern,
                "node": node.name,
                "operator": node.operator,
                "module": node.module,
                "inputs": ", ".join(_inputs(node)),
                "output": node.output,
                "output_spec": next((spec.text for spec in method.specs if spec.name == node.output), None),
            }
            for name, method in self.methods.items()
            for node, pattern in _with_patterns(method)
        ]


def quantization_report(quantized: ExportSession | GraphModule) -> QuantizationReport:
    """Report how a model is quantized.

    Args:
        quantized: a session of a quantized recipe, or a module that was annotated, prepared or converted. Of what was
            quantized elsewhere and converted already only ranges and scales are left, no observers or patterns.

    Raises:
        ArmRecipeError: nothing in it is quantized.
    """
    from arm_recipes.lowering.quantization_record import method_quantizations

    report = QuantizationReport(method_quantizations(quantized))
    if not any(method.specs for method in report.methods.values()):
        raise ArmRecipeError("quantization_report: nothing is quantized. Take a quantized recipe, e.g. tosa-int8.")
    return report


def _method(name: str, method: MethodQuantization) -> Iterator[Block]:
    yield OnlyPage((Heading(f"Method {name}"),))
    known = f" in {len(method.patterns)} patterns" if method.patterns else ""
    yield Paragraph(
        f"{name}: {len(method.nodes)} nodes quantized{known}, {len(method.not_quantized)} operators not quantized"
    )
    yield table((Column("spec", "code"), "how"), ((spec.name, spec.text) for spec in method.specs), "Specs")
    yield table(("pattern", "node", "module", "inputs", "output"), _rows(method), "Nodes and the specs of their values")
    if method.refused:
        refused = tuple(f"{', '.join(pattern.nodes)}: {pattern.reason}" for pattern in method.refused)
        yield Heading("Refused patterns", 3)
        yield Items(refused)
    if method.not_quantized:
        yield Heading("Not quantized", 3)
        yield Items(tuple(f"{node} ({operator})" for node, operator in method.not_quantized.items()))


def _with_patterns(method: MethodQuantization) -> Iterator[tuple[QuantizedNode, int | None]]:
    numbers = {name: index for index, nodes in enumerate(method.patterns, 1) for name in nodes}
    for node in method.nodes:
        yield node, numbers.get(node.name)


def _rows(method: MethodQuantization) -> Iterator[tuple[Cell, ...]]:
    """One row per node: the pattern that it belongs to, and the specs of its inputs and its output."""
    for node, pattern in _with_patterns(method):
        yield pattern, node.name, node.module, ", ".join(_inputs(node)), node.output


def _inputs(node: QuantizedNode) -> list[str]:
    return [f"{each.argument if each.parameter else each.node} {each.spec or 'float'}" for each in node.inputs]
