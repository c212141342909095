"""Compile specs of Arm's delegates: read, written, and made ready for a partitioner."""

from __future__ import annotations

from collections.abc import Iterable

from executorch.backends.arm.common.arm_compile_spec import ArmCompileSpec
from executorch.backends.arm.ethosu import EthosUCompileSpec
from executorch.backends.arm.util._factory import create_partitioner, create_quantizer, parse_compile_spec
from executorch.exir.backend.compile_spec_schema import CompileSpec

__all__ = [
    "create_partitioner",
    "create_quantizer",
    "ethos_u_target",
    "parse_compile_spec",
    "settle_pass_pipeline",
    "spec_list",
    "vela_flags",
    "without_vela",
]

# Upstream: executorch.backends.arm.util._factory has what aot_arm_compiler chooses its parts with, and nothing public
# does. Holds for executorch 1.5.1; tests/upstream/test_private_names.py::test_the_factory_is_private fails when it can
# go.


def settle_pass_pipeline(compile_spec: ArmCompileSpec) -> None:
    """Have the pass pipeline's configuration in the compile spec, of which the partitioner keeps a snapshot.

    It comes in only when it is first read. Left to itself it would come too late, and U55 and U65 would lose theirs.
    """
    # Upstream: ArmCompileSpec._get_pass_pipeline_config. Holds for executorch 1.5.1;
    # tests/upstream/test_private_names.py::test_the_pass_pipeline_comes_late fails when it can go.
    compile_spec.set_pass_pipeline_config(compile_spec._get_pass_pipeline_config())


def spec_list(compile_spec: ArmCompileSpec) -> list[CompileSpec]:
    """The compile spec as a delegate holds it."""
    # Upstream: ArmCompileSpec._to_list, and the keys of what it gives. Holds for executorch 1.5.1;
    # tests/upstream/test_private_names.py::test_a_compile_spec_s_keys fails when they change.
    specs: list[CompileSpec] = compile_spec._to_list()
    return specs


def ethos_u_target(specs: Iterable[CompileSpec]) -> str:
    """The NPU that an Ethos-U delegate is compiled for, e.g. ``ethos-u55-128``."""
    return next(str(spec.value, "utf-8") for spec in specs if spec.key == EthosUCompileSpec._TARGET_KEY)


def without_vela(specs: Iterable[CompileSpec]) -> list[tuple[str, bytes]]:
    """Keys and values of what decides what Vela is given: all but what says for which NPU and how it compiles."""
    of_vela = (EthosUCompileSpec._COMPILE_FLAGS_KEY, EthosUCompileSpec._TARGET_KEY)
    return [(spec.key, bytes(spec.value)) for spec in specs if spec.key not in of_vela]


def vela_flags(compile_spec: EthosUCompileSpec) -> list[str]:
    """The flags that Vela is run with, split as upstream splits them."""
    return " ".join(compile_spec.compiler_flags).split(" ")
