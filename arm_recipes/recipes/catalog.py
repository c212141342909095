"""THE table: one row per target, one row per recipe. Pure data, no torch.

To add a target or a recipe, add a row here and run ``python docs/generate.py``. A new family also
needs its options (`options.py`) and its builder (`lowering/<family>.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Family(str, Enum):
    """A group of targets that share options and a lowering. The value is the lowering's module name."""

    ETHOS_U = "ethos_u"
    TOSA = "tosa"
    VGF = "vgf"
    CORTEX_M = "cortex_m"

    @property
    def has_firmware(self) -> bool:
        """Whether programs run in a bare-metal firmware, whose memory can be told."""
        return self in (Family.ETHOS_U, Family.CORTEX_M)


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
        system_config: Ethos-U's default section of the vela.ini, as `EthosUCompileSpec` chooses it.
        memory_mode: likewise.
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
        if self.family in (Family.TOSA, Family.VGF):
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

TARGETS: tuple[Target, ...] = (
    ETHOS_U55,
    ETHOS_U65,
    ETHOS_U85,
    TOSA,
    VGF,
    CORTEX_M0,
    CORTEX_M0PLUS,
    CORTEX_M3,
    CORTEX_M4,
    CORTEX_M7,
    CORTEX_M23,
    CORTEX_M33,
    CORTEX_M35P,
    CORTEX_M55,
    CORTEX_M85,
)

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

BY_NAME: dict[str, Recipe] = {recipe.name: recipe for recipe in RECIPES}

# What TOSA and VGF are lowered to. (Ethos-U's profile follows from its target and is upstream's to choose.)
TOSA_PROFILES: dict[Precision, str] = {
    Precision.FP: "TOSA-1.0+FP",
    Precision.INT8: "TOSA-1.0+INT",
    Precision.A16W8: "TOSA-1.0+INT+int16",
}
