"""What lowering leaves behind for reports, as plain data. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Change:
    """What a recipe changed in the model to make its program right. ``cures=False`` leaves all such changes out.

    Attributes:
        id: name of the cure, e.g. ``relu-range``.
        where: submodule of the user's model, or the operator where it belongs to none.
        what: what was changed.
        why: what would be wrong without.
    """

    id: str
    where: str
    what: str
    why: str


@dataclass(frozen=True)
class QuantizationLoss:
    """A part of a model that its quantization destroys.

    Attributes:
        kind: ``constant``, ``layer``, ``table`` or ``output``.
        where: operator and submodule of the user's model; of an output its index.
        sqnr_db: what is left, as a signal to noise ratio in dB: of a constant or a layer against its float value, of
            a table against its function.
        text: what is lost, in words.
        remedy: what helps.
    """

    kind: str
    where: str
    sqnr_db: float
    text: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}. {self.remedy}"


@dataclass(frozen=True)
class QuantizationCheck:
    """One method's quantized module held against its float model, on samples that it was calibrated on.

    Attributes:
        samples: number of samples; 0 where none could be compared.
        output_sqnr_db: signal to noise ratio of each output that is a real number, in dB.
        losses: what the quantization destroys.
        note: why nothing was compared; empty where it was.
    """

    samples: int
    output_sqnr_db: tuple[float, ...]
    losses: tuple[QuantizationLoss, ...]
    note: str = ""


@dataclass(frozen=True)
class BorderCheck:
    """How many borders of one method's delegates agree with the tables in their payloads, which is all of them.

    Attributes:
        delegates: number of calls of a delegate of Ethos-U, VGF or TOSA.
        inputs: number of tensors that they are handed.
        outputs: number of tensors that are taken from them.
    """

    delegates: int
    inputs: int
    outputs: int


@dataclass(frozen=True)
class CalibrationSummary:
    """What one method of a quantized program was calibrated on.

    Attributes:
        source: origin of the samples.
        samples: number of samples.
        digest: SHA-256 over dtype, shape and bytes of every input, in order.
    """

    source: str
    samples: int
    digest: str


@dataclass(frozen=True)
class Spec:
    """How a value is quantized.

    Attributes:
        name: name by which nodes refer to it, e.g. ``Q1``.
        kind: class of upstream's spec, or ``converted`` where it was read off quantize and dequantize operators.
        attributes: values of all of the spec's own attributes, by name, as plain data.
        text: words for the same.
    """

    name: str
    kind: str
    attributes: Mapping[str, Any]
    text: str


@dataclass(frozen=True)
class QuantizedInput:
    """One input of a node.

    Attributes:
        node: name of the node that it comes from.
        argument: name of the operator's argument, e.g. ``weight``.
        parameter: whether it is the model's own, and no activation.
        spec: name of the spec; None where it stays float.
    """

    node: str
    argument: str
    parameter: bool
    spec: str | None


@dataclass(frozen=True)
class QuantizedNode:
    """A node whose inputs or output are quantized.

    Attributes:
        name: name in the graph.
        operator: name of the operator, e.g. ``aten.conv2d``, or ``placeholder``.
        module: submodule of the user's model that it comes from; empty where it is not known.
        inputs: inputs that are tensors.
        output: name of the output's spec; None where it is not quantized by itself.
    """

    name: str
    operator: str
    module: str
    inputs: tuple[QuantizedInput, ...]
    output: str | None


@dataclass(frozen=True)
class RefusedPattern:
    """Nodes that a quantizer could have quantized together and did not.

    Attributes:
        nodes: names of the nodes.
        reason: the quantizer's reason.
    """

    nodes: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class MethodQuantization:
    """The quantization of one method.

    Attributes:
        specs: all specs that differ.
        patterns: names of the nodes that are quantized together; empty where that is not known any more.
        nodes: quantized nodes in the graph's order.
        refused: patterns that a quantizer refused.
        not_quantized: names of operators of which nothing is quantized, by the name of the node.
    """

    specs: tuple[Spec, ...]
    patterns: tuple[tuple[str, ...], ...]
    nodes: tuple[QuantizedNode, ...]
    refused: tuple[RefusedPattern, ...]
    not_quantized: Mapping[str, str]
