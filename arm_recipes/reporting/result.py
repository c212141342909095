"""What `report` says of an exported program: a frozen report, as an object, as JSON, as text and as a page.

No torch here.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arm_recipes.gates import Gate
from arm_recipes.tools.vela.estimates import Estimate, Layer

if TYPE_CHECKING:
    from arm_recipes.lowering.calibration import CalibrationSummary

    from .memory_pools import Pools

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Count:
    """An operator, and how often it occurs."""

    operator: str
    count: int


@dataclass(frozen=True)
class Refusal:
    """An operator that is not delegated.

    Attributes:
        operator: e.g. ``aten.topk``.
        count: how often, for this reason.
        reason: the partitioner's; None where it gave none.
        where: the submodules of the user's model that it comes from.
    """

    operator: str
    count: int
    reason: str | None
    where: tuple[str, ...]


@dataclass(frozen=True)
class Crossing:
    """A tensor that goes into or comes out of a delegate.

    Attributes:
        name: of the node that makes it.
        shape: its sizes.
        dtype: e.g. ``int8``.
        bytes: that are moved.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int


@dataclass(frozen=True)
class Delegate:
    """A subgraph that a delegate runs.

    Attributes:
        backend: its name in the .pte.
        operators: how many operators it has.
        payload_bytes: size of what its compiler made, which is part of the .pte.
        weight_bytes: the weights in it, as Vela compressed them; None but for Ethos-U, likewise the next two.
        command_bytes: the NPU's command stream in it.
        scratch_bytes: the working memory that it is given at run time, for activations, inputs and outputs.
        inputs: in order.
        outputs: in order.
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
        operator: e.g. ``cortex_m::quantized_conv2d.out``.
        module: the submodule of the user's model that it comes from; empty where it is not known.
        constant_bytes: its weights and tables, which are part of the .pte.
        input_bytes: its other inputs, in planned memory.
        output_bytes: its outputs, in planned memory.
        scratch_bytes: its working memory, in planned memory.
    """

    operator: str
    module: str
    constant_bytes: int
    input_bytes: int
    output_bytes: int
    scratch_bytes: int


@dataclass(frozen=True)
class BorderStep:
    """A step between the program's inputs or outputs and the network proper, that only converts.

    Attributes:
        kind: ``quantize``, ``dequantize``, ``layout`` or ``transpose``.
        runs_on: ``CPU`` or ``NPU``.
        operator: the kernel, or Vela's operator.
        name: of the tensor that it makes.
        bytes: that it reads and writes; None where it is a part of a delegate.
        cycles: of the NPU, by Vela's estimate; None for the CPU.
    """

    kind: str
    runs_on: str
    operator: str
    name: str
    bytes: int | None
    cycles: int | None


@dataclass(frozen=True)
class MethodReport:
    """One method of a program.

    Attributes:
        name: of the method.
        graph: SHA-256 over the exported program that was lowered: its graph, shapes and weights.
        calibration: what the method was calibrated on, where it was quantized by a recipe of arm_recipes.
        delegates: in the order of their calls.
        delegated: the operators in them.
        not_delegated: all others, for targets that have a delegate.
        between: operators of `not_delegated` between two delegates, as operator and module.
        kernels: operators that the runtime has to have, and how often each is called.
        calls: of kernels, in order.
        border: the conversions at inputs and outputs.
        planned_bytes: sizes of the arenas that the memory plan needs for activations outside of delegates.
        pools: least sizes of a 32-bit firmware's allocator pools; None where they can't be told, as for TOSA and VGF.
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


@dataclass(frozen=True)
class PteParts:
    """What the bytes of a .pte are.

    Attributes:
        weight_bytes: weights and constants; of Ethos-U those that Vela compressed, and those outside of delegates.
        command_bytes: command streams of the NPU.
        payload_bytes: the rest of what delegates hold. TOSA graphs and VGF files are here whole.
        rest_bytes: the program itself: its operators, values and tables.
    """

    weight_bytes: int
    command_bytes: int
    payload_bytes: int
    rest_bytes: int


@dataclass(frozen=True)
class Advice:
    """What costs much, and what can be done.

    Attributes:
        kind: ``transposes``, ``utilisation``, ``between_delegates``, ``peak_sram`` or ``peak_memory``.
        text: a sentence or two.
        where: the parts of the model, those that cost most first.
        cycles: of the NPU that are at stake, by Vela's estimate; None where that can't be told.
    """

    kind: str
    text: str
    where: tuple[str, ...]
    cycles: int | None


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """A program that a session made. ``print(report)`` shows it; `to_html` is a page.

    The same inputs give the same report, byte for byte, with the same versions of the tools.

    Attributes:
        recipe: name of the recipe, e.g. ``ETHOSU_U55_INT8``.
        target: e.g. ``ethos-u55-128``.
        options: of the recipe as resolved, defaults spelled out.
        versions: of the packages that made it.
        pte_bytes: size of the .pte.
        pte_sha256: its digest.
        parts: what the bytes of the .pte are.
        delegation: the share of operators that are delegated, or for Cortex-M of kernels that are CMSIS-NN's, in
            percent. Quantize, dequantize and layout steps don't count.
        methods: in the program's order, without those that only return a constant.
        vela_estimates: Vela's estimates, one for each subgraph that it compiled. None was measured on hardware.
        layers: of those subgraphs, likewise estimated; empty where they were not asked for.
        advice: what costs most first.
        gates: the conditions that were asked for.
    """

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
    def failed_gates(self) -> tuple[Gate, ...]:
        return tuple(gate for gate in self.gates if not gate.passed)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        content: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return {
            "schema_version": SCHEMA_VERSION,
            "estimated_by": "Vela; nothing was measured on hardware" if self.vela_estimates else None,
            **content,
            "failed_gates": [gate.name for gate in self.failed_gates],
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2)

    def text(self, width: int = 100) -> str:
        """For people, with lines of at most `width` characters as far as names allow."""
        from .text import text

        return text(self, width)

    def __str__(self) -> str:
        return self.text()

    def to_html(self, title: str | None = None) -> str:
        """A page in one file that needs no network."""
        from arm_recipes.documents import report_page

        return report_page(self.to_dict(), title or f"{self.recipe} on {self.target}")
