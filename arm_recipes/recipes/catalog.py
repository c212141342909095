"""THE tables: one row per family, one per target, one per recipe. Pure data, no torch.

docs/adding.md says what adding to them takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, kw_only=True)
class FamilyFacts:
    """What is known of a family beyond its name. Code asks for these rather than for the family.

    Attributes:
        title: what people call it.
        options: the class of its options, with its module: imported on demand, as it needs this one.
        tools: what it needs to export beyond what all do, by the names in doctor's table.
        delegates: whether its programs have delegates; otherwise their operators become kernels of the CPU, which take
            scratch memory from the runtime's temporary allocator.
        counted: what a report counts as done by the target.
        has_firmware: whether programs run in a bare-metal firmware, whose memory can be told.
        has_estimates: whether its compiler estimates time and memory, layer by layer.
        for_profile: whether it compiles for a TOSA profile rather than for a piece of hardware.
        reference_proves: what an agreement with its reference simulator proves, and what not.
    """

    title: str
    options: str
    tools: tuple[str, ...] = ()
    delegates: bool
    counted: str
    has_firmware: bool = False
    has_estimates: bool = False
    for_profile: bool = False
    reference_proves: str


class Family(str, Enum):
    """A group of targets that share options and a lowering. The value is the lowering's module name."""

    _value_: str
    facts: FamilyFacts

    def __new__(cls, value: str, facts: FamilyFacts) -> Family:
        member = str.__new__(cls, value)
        member._value_ = value
        member.facts = facts
        return member

    ETHOS_U = (
        "ethos_u",
        FamilyFacts(
            title="Ethos-U",
            options="arm_recipes.recipes.ethos_u.EthosUOptions",
            tools=("Vela",),
            delegates=True,
            counted="operators delegated",
            has_firmware=True,
            has_estimates=True,
            reference_proves=(
                "that the TOSA graphs that were handed to Vela compute what the model does. It proves the graph, and "
                "not the code that Vela made of it"
            ),
        ),
    )
    TOSA = (
        "tosa",
        FamilyFacts(
            title="TOSA",
            options="arm_recipes.recipes.delegated.TosaOptions",
            delegates=True,
            counted="operators delegated",
            for_profile=True,
            reference_proves=(
                "that the TOSA graphs in the program compute what the model does, by Arm's reference for TOSA"
            ),
        ),
    )
    VGF = (
        "vgf",
        FamilyFacts(
            title="VGF",
            options="arm_recipes.recipes.delegated.VgfOptions",
            tools=("model-converter",),
            delegates=True,
            counted="operators delegated",
            for_profile=True,
            reference_proves=(
                "that the TOSA graphs that were handed to model-converter compute what the model does. It proves the "
                "graph, and not what model-converter and a Vulkan driver make of it"
            ),
        ),
    )
    CORTEX_M = (
        "cortex_m",
        FamilyFacts(
            title="Cortex-M",
            options="arm_recipes.recipes.cortex_m.CortexMOptions",
            delegates=False,
            counted="kernels of CMSIS-NN",
            has_firmware=True,
            reference_proves=(
                "that the program's cortex_m operators, as their Python references define them, compute what the model "
                "does. It proves neither CMSIS-NN's code nor the memory plan"
            ),
        ),
    )


class Precision(str, Enum):
    """Number formats of activations and weights."""

    FP = "fp"
    INT8 = "int8"
    A16W8 = "a16w8"

    @property
    def quantized(self) -> bool:
        return self is not Precision.FP

    @property
    def description(self) -> str:
        return {
            Precision.FP: "float",
            Precision.INT8: "int8",
            Precision.A16W8: "int16 activations, int8 weights",
        }[self]


@dataclass(frozen=True, kw_only=True)
class Target:
    """Hardware, or an intermediate format, that recipes compile for.

    Attributes:
        name: as Arm's tools spell it; for Ethos-U without the MAC count.
        family: decides the options and the lowering.
        macs: Ethos-U's default multiply-accumulates per cycle.
        system_config: Ethos-U's default section System_Config.NAME of the vela.ini, as `EthosUCompileSpec` chooses it.
        memory_mode: Ethos-U's default section Memory_Mode.NAME of the vela.ini, as `EthosUCompileSpec` chooses it.
    """

    name: str
    family: Family
    macs: int | None = None
    system_config: str | None = None
    memory_mode: str | None = None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A target at a precision. `name` is the enum member, `value` its value and the recipe's name."""

    name: str
    target: Target
    precision: Precision

    @property
    def value(self) -> str:
        return f"arm_{self.name.lower()}"

    @property
    def family(self) -> Family:
        return self.target.family

    def compiles_for(self, macs: int | None) -> str:
        """The very target of a program: ``ethos-u55-128`` for 128 MACs, ``cortex-m55``, ``TOSA-1.0+INT``."""
        if self.family.facts.for_profile:
            return TOSA_PROFILES[self.precision]
        return self.target.name if macs is None else f"{self.target.name}-{macs}"


ETHOS_U55 = Target(
    name="ethos-u55",
    family=Family.ETHOS_U,
    macs=128,
    system_config="Ethos_U55_High_End_Embedded",
    memory_mode="Shared_Sram",
)
ETHOS_U65 = Target(
    name="ethos-u65",
    family=Family.ETHOS_U,
    macs=256,
    system_config="Ethos_U65_High_End",
    memory_mode="Dedicated_Sram_384KB",
)
ETHOS_U85 = Target(
    name="ethos-u85",
    family=Family.ETHOS_U,
    macs=256,
    system_config="Ethos_U85_SYS_DRAM_Mid",
    memory_mode="Sram_Only",
)
TOSA = Target(name="tosa", family=Family.TOSA)
VGF = Target(name="vgf", family=Family.VGF)
CORTEX_M0 = Target(name="cortex-m0", family=Family.CORTEX_M)
CORTEX_M0PLUS = Target(name="cortex-m0plus", family=Family.CORTEX_M)
CORTEX_M3 = Target(name="cortex-m3", family=Family.CORTEX_M)
CORTEX_M4 = Target(name="cortex-m4", family=Family.CORTEX_M)
CORTEX_M7 = Target(name="cortex-m7", family=Family.CORTEX_M)
CORTEX_M23 = Target(name="cortex-m23", family=Family.CORTEX_M)
CORTEX_M33 = Target(name="cortex-m33", family=Family.CORTEX_M)
CORTEX_M35P = Target(name="cortex-m35p", family=Family.CORTEX_M)
CORTEX_M55 = Target(name="cortex-m55", family=Family.CORTEX_M)
CORTEX_M85 = Target(name="cortex-m85", family=Family.CORTEX_M)

RECIPES: tuple[Recipe, ...] = (
    Recipe(name="ETHOSU_U55_INT8", target=ETHOS_U55, precision=Precision.INT8),
    Recipe(name="ETHOSU_U55_A16W8", target=ETHOS_U55, precision=Precision.A16W8),
    Recipe(name="ETHOSU_U65_INT8", target=ETHOS_U65, precision=Precision.INT8),
    Recipe(name="ETHOSU_U65_A16W8", target=ETHOS_U65, precision=Precision.A16W8),
    Recipe(name="ETHOSU_U85_INT8", target=ETHOS_U85, precision=Precision.INT8),
    Recipe(name="ETHOSU_U85_A16W8", target=ETHOS_U85, precision=Precision.A16W8),
    Recipe(name="TOSA_FP", target=TOSA, precision=Precision.FP),
    Recipe(name="TOSA_INT8", target=TOSA, precision=Precision.INT8),
    Recipe(name="TOSA_A16W8", target=TOSA, precision=Precision.A16W8),
    Recipe(name="VGF_FP", target=VGF, precision=Precision.FP),
    Recipe(name="VGF_INT8", target=VGF, precision=Precision.INT8),
    Recipe(name="VGF_A16W8", target=VGF, precision=Precision.A16W8),
    Recipe(name="CORTEX_M0_INT8", target=CORTEX_M0, precision=Precision.INT8),
    Recipe(name="CORTEX_M0PLUS_INT8", target=CORTEX_M0PLUS, precision=Precision.INT8),
    Recipe(name="CORTEX_M3_INT8", target=CORTEX_M3, precision=Precision.INT8),
    Recipe(name="CORTEX_M4_INT8", target=CORTEX_M4, precision=Precision.INT8),
    Recipe(name="CORTEX_M7_INT8", target=CORTEX_M7, precision=Precision.INT8),
    Recipe(name="CORTEX_M23_INT8", target=CORTEX_M23, precision=Precision.INT8),
    Recipe(name="CORTEX_M33_INT8", target=CORTEX_M33, precision=Precision.INT8),
    Recipe(name="CORTEX_M35P_INT8", target=CORTEX_M35P, precision=Precision.INT8),
    Recipe(name="CORTEX_M55_INT8", target=CORTEX_M55, precision=Precision.INT8),
    Recipe(name="CORTEX_M85_INT8", target=CORTEX_M85, precision=Precision.INT8),
)

TARGETS: tuple[Target, ...] = tuple(dict.fromkeys(recipe.target for recipe in RECIPES))

BY_NAME: dict[str, Recipe] = {recipe.name: recipe for recipe in RECIPES}

# What TOSA and VGF are lowered to. (Ethos-U's profile follows from its target and is upstream's to choose.)
TOSA_PROFILES: dict[Precision, str] = {
    Precision.FP: "TOSA-1.0+FP",
    Precision.INT8: "TOSA-1.0+INT",
    Precision.A16W8: "TOSA-1.0+INT+int16",
}
