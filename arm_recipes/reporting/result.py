"""What `report` says of an exported program: a frozen report, as an object, as JSON, as text and as a page.

No torch here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from arm_recipes.checking.result import MethodCheck
from arm_recipes.documents.blocks import Document
from arm_recipes.documents.results import Result
from arm_recipes.gates import Gate
from arm_recipes.lowering.records import BorderCheck, CalibrationSummary, Change, QuantizationCheck
from arm_recipes.tools.vela.estimates import Estimate, Layer, estimated_by

from .document import document


@dataclass(frozen=True)
class Count:
    """An operator, and how often it occurs.

    Attributes:
        operator: name of the operator or kernel, e.g. ``aten.convolution``.
        count: occurrences.
    """

    operator: str
    count: int


@dataclass(frozen=True)
class Refusal:
    """An operator that is not delegated.

    Attributes:
        operator: name of the operator, e.g. ``aten.topk``.
        count: occurrences that have this reason.
        reason: the partitioner's reason; None where it gave none.
        where: submodules of the user's model that it comes from.
        captured: operators of the captured model that it comes from, e.g. ``aten.softplus.default`` of an ``aten.exp``.
    """

    operator: str
    count: int
    reason: str | None
    where: tuple[str, ...]
    captured: tuple[str, ...] = ()  # reports saved before have none


@dataclass(frozen=True)
class Crossing:
    """A tensor that goes into or comes out of a delegate.

    Attributes:
        name: name of the node that makes the tensor.
        shape: sizes of the tensor.
        dtype: type of its elements, e.g. ``int8``.
        bytes: bytes that are moved.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int


@dataclass(frozen=True)
class Delegate:
    """A subgraph that a delegate runs.

    Attributes:
        backend: name of the backend in the .pte, e.g. ``EthosUBackend``.
        operators: number of its operators.
        payload_bytes: bytes that its compiler made, which are part of the .pte.
        weight_bytes: bytes of the weights in the payload, as Vela compressed them; None but for Ethos-U.
        command_bytes: bytes of the NPU's command stream in the payload; None but for Ethos-U.
        scratch_bytes: bytes of working memory that it is given at run time, for activations, inputs and outputs;
            None but for Ethos-U.
        inputs: tensors that go in, in order.
        outputs: tensors that come out, in order.
    """

    backend: str
    operators: int
    payload_bytes: int
    weight_bytes: int | None
    command_bytes: int | None
    scratch_bytes: int | None
    inputs: tuple[Crossing, ...]
    outputs: tuple[Crossing, ...]


@dataclass(frozen=True)
class Call:
    """A kernel's call, which the CPU executes, and its memory in bytes.

    Attributes:
        operator: name of the kernel, e.g. ``cortex_m::quantized_conv2d.out``.
        module: submodule of the user's model that it comes from; empty where it is not known.
        constant_bytes: bytes of its weights and tables, which are part of the .pte.
        input_bytes: bytes of its other inputs, in planned memory.
        output_bytes: bytes of its outputs, in planned memory.
        scratch_bytes: bytes of its working memory, in planned memory.
        captured: operator of the captured model that it comes from, e.g. ``aten.conv2d.default``; empty where it is not
            known.
    """

    operator: str
    module: str
    constant_bytes: int
    input_bytes: int
    output_bytes: int
    scratch_bytes: int
    captured: str = ""  # reports saved before have none


@dataclass(frozen=True)
class BorderStep:
    """A step between the program's inputs or outputs and the network proper, that only converts.

    Attributes:
        kind: kind of the step: ``quantize``, ``dequantize``, ``layout`` or ``transpose``.
        runs_on: processor, ``CPU`` or ``NPU``.
        operator: name of the kernel, or of Vela's operator.
        name: name of the tensor that it makes, or of the module that a kernel comes from.
        bytes: bytes that it reads and writes; None where it is a part of a delegate.
        cycles: NPU cycles (Vela's estimate); None for the CPU.
    """

    kind: str
    runs_on: str
    operator: str
    name: str
    bytes: int | None
    cycles: int | None


@dataclass(frozen=True)
class Pools:
    """Least sizes in bytes of a firmware's pools for one method, with no margin.

    They are for pools that start at a multiple of 16 bytes, and count the padding between allocations.

    Attributes:
        method_bytes: bytes that loading the method takes of the method allocator.
        runner_method_bytes: bytes of the same, with what else arm_executor_runner takes of that pool: the plan's arenas
            before, and a list of the inputs after. This is the least `ET_ARM_BAREMETAL_METHOD_ALLOCATOR_POOL_SIZE` of
            a build that dumps nothing.
        temp_bytes: least size of the temporary allocator's pool: an Ethos-U delegate's scratch, or what the runtime
            asks for to choose a kernel in when the method is loaded. A portable kernel may take more while it runs,
            which no .pte tells. Those of Cortex-M take nothing: they are given their scratch, in the memory plan's
            arenas.
        method_bytes_without_temp: `method_bytes` where that pool is smaller or there is none, and no delegate needs it.
    """

    method_bytes: int
    runner_method_bytes: int
    temp_bytes: int
    method_bytes_without_temp: int


@dataclass(frozen=True)
class MethodReport:
    """One method of a program.

    Attributes:
        name: name of the method.
        graph: SHA-256 over the exported program that was lowered: its graph, shapes and weights.
        calibration: samples that the method was calibrated on; None where no recipe of arm_recipes quantized it.
        delegates: delegated subgraphs in the order of their calls.
        delegated: operators in them.
        not_delegated: all other operators, for targets that have a delegate.
        between: operators of `not_delegated` between two delegates, as operator and module.
        kernels: kernels that the runtime has to have, and the number of calls of each.
        calls: calls of kernels, in order.
        border: conversions at inputs and outputs.
        planned_bytes: bytes of each arena that the memory plan needs for activations outside of delegates.
        pools: least sizes of a 32-bit firmware's allocator pools; None where they can't be told, as for TOSA and VGF.
        changes: what the recipe changed in the model to make the program right.
        borders: inputs and outputs of its delegates, all of which agree with the tables in their payloads; None where
            the recipe has no delegates.
        quantization: quantized module against the float model; None where no recipe of arm_recipes quantized it.
        check: what the last check of the program came to; None where there was none.
    """

    name: str
    graph: str
    calibration: CalibrationSummary | None
    delegates: tuple[Delegate, ...]
    delegated: tuple[Count, ...]
    not_delegated: tuple[Refusal, ...]
    between: tuple[str, ...]
    kernels: tuple[Count, ...]
    calls: tuple[Call, ...]
    border: tuple[BorderStep, ...]
    planned_bytes: tuple[int, ...]
    pools: Pools | None
    changes: tuple[Change, ...] = ()  # reports saved before have none
    borders: BorderCheck | None = None
    quantization: QuantizationCheck | None = None  # nor this
    check: MethodCheck | None = None  # nor this


@dataclass(frozen=True)
class PteParts:
    """What the bytes of a .pte are.

    Attributes:
        weight_bytes: bytes of weights and constants; of Ethos-U those that Vela compressed, and those outside of
            delegates.
        command_bytes: bytes of the NPU's command streams.
        payload_bytes: bytes of all else that delegates hold. TOSA graphs and VGF files are here whole.
        rest_bytes: bytes of the program itself: its operators, values and tables.
    """

    weight_bytes: int
    command_bytes: int
    payload_bytes: int
    rest_bytes: int


@dataclass(frozen=True)
class Advice:
    """What costs much, and what can be done.

    Attributes:
        kind: kind of cost: ``transposes``, ``utilisation``, ``between_delegates``, ``peak_sram``, ``peak_memory``, or
            ``instead`` (an operator is on the CPU, for which the target takes another).
        text: sentence or two.
        where: parts of the model, those that cost most first.
        cycles: NPU cycles that are at stake (Vela's estimate); None where that can't be told.
    """

    kind: str
    text: str
    where: tuple[str, ...]
    cycles: int | None


@dataclass(frozen=True, kw_only=True)
class ExportReport(Result):
    """A program that a session made. ``print(report)`` shows it; `to_html` is a page.

    The same inputs give the same report, byte for byte, with the same versions of the tools.

    Attributes:
        recipe: name of the recipe, e.g. ``ETHOSU_U55_INT8``.
        target: the recipe's target, e.g. ``ethos-u55-128``.
        options: the recipe's options as resolved, defaults spelled out.
        versions: versions of the packages that made it, by package.
        pte_bytes: size of the .pte.
        pte_sha256: digest of the .pte.
        parts: what the bytes of the .pte are.
        delegation: share of operators that are delegated, or for Cortex-M of kernels that are CMSIS-NN's, in percent.
            Quantize, dequantize and layout steps don't count.
        methods: methods in the program's order, without those that only return a constant.
        vela_estimates: Vela's estimates, one for each subgraph that it compiled. None was measured on hardware.
        layers: layers of those subgraphs, estimated by Vela; empty where they were not asked for.
        advice: what costs most, the most expensive first.
        gates: conditions that were asked for.
    """

    kind: ClassVar[str] = "arm_recipes report"
    schema_version: ClassVar[int] = 1
    derived_types: ClassVar[Mapping[str, Any]] = {"estimated_by": str | None, "failed_gates": tuple[str, ...]}

    recipe: str
    target: str
    options: Mapping[str, Any]
    versions: Mapping[str, str]
    pte_bytes: int
    pte_sha256: str
    parts: PteParts
    delegation: float
    methods: tuple[MethodReport, ...]
    vela_estimates: tuple[Estimate, ...]
    layers: tuple[Layer, ...]
    advice: tuple[Advice, ...]
    gates: tuple[Gate, ...]

    @property
    def vela(self) -> str:
        """Version of the Vela that estimated."""
        return self.versions.get("ethos-u-vela", "of unknown version")

    @property
    def failed_gates(self) -> tuple[Gate, ...]:
        return tuple(gate for gate in self.gates if not gate.passed)

    def derived(self) -> Mapping[str, Any]:
        return {
            "estimated_by": estimated_by(self.vela) if self.vela_estimates else None,
            "failed_gates": [gate.name for gate in self.failed_gates],
        }

    def document(self) -> Document:
        return document(self)

    def rows(self) -> tuple[Sequence[str], Sequence[Mapping[str, Any]]]:
        """The layers, or the calls of kernels where there are none."""
        if self.layers:
            return [field.name for field in dataclasses.fields(Layer)], [*map(dataclasses.asdict, self.layers)]
        columns = ["method", *(field.name for field in dataclasses.fields(Call))]
        calls = [(method.name, call) for method in self.methods for call in method.calls]
        return columns, [{"method": name, **dataclasses.asdict(call)} for name, call in calls]
