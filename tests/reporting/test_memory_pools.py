"""The least sizes of a firmware's pools: held against the runtime and the compilers, and those of real exports."""

from __future__ import annotations

import copy
import dataclasses
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import executorch
import pytest
import torch
from executorch.backends.arm.scripts.get_ethosu_scratch_from_pte import get_scratch_size_from_delegate
from executorch.exir import ExecutorchBackendConfig, ExecutorchProgramManager, to_edge
from executorch.exir._serialize._program import PTEFile, deserialize_pte_binary, serialize_pte_binary
from executorch.exir.schema import (
    BoolList,
    DoubleList,
    EValue,
    ExecutionPlan,
    IntList,
    JumpFalseCall,
    KernelCall,
    OptionalTensorList,
    Program,
    String,
    Tensor,
    TensorList,
    TensorShapeDynamism,
)
from torch import nn

from arm_recipes import ArmRecipeType, export
from arm_recipes.reporting.memory_pools import ILP32, LP64, Sizes, pools, pools_for
from arm_recipes.reporting.result import Pools
from tests import models
from tests.exports import exported

pytestmark = pytest.mark.no_cover  # others run the same code

HEADERS = Path(executorch.__path__[0]) / "include"
LIBRARIES = Path(executorch.__path__[0]) / "lib"
FLAGS = [
    "-std=c++17",
    f"-I{HEADERS}",
    f"-I{HEADERS / 'executorch/runtime/core/portable_type/c10'}",
    "-DC10_USING_CUSTOM_GENERATED_MACROS",
    "-Wno-deprecated-declarations",
]

Compile = Callable[..., None]


def _compiler(name: str) -> Compile:
    if shutil.which(name) is None:
        pytest.skip(f"needs the compiler {name}")

    def run(*arguments: str | Path) -> None:
        done = subprocess.run([name, *FLAGS, *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    return run


# The runtime's own types, and how those that its headers don't have are made up.
TYPES = {
    "pointer": "void*",
    "evalue": "EValue",
    "tensor_impl": "executorch::aten::TensorImpl",
    "tensor": "executorch::aten::Tensor",
    "optional_tensor": "std::optional<executorch::aten::Tensor>",
    "boxed_list": "BoxedEvalueList<executorch::aten::Tensor>",
    "span": "ArrayRef<double>",
    "backend_delegate": "Delegate",
    "compile_spec": "CompileSpec",
    "chain": "Instructions",
    "tensor_meta": "TensorMeta",
    "ethos_u_handle": "void*[9]",
}
SOURCE = """
#include <executorch/runtime/backend/interface.h>
#include <executorch/runtime/executor/method.h>
using namespace executorch::runtime;
struct Delegate { FreeableBuffer payload; const BackendInterface* backend; DelegateHandle* handle; };
struct Instructions { const void* chain; Span<InstructionArgs> arguments; OpFunction* kernels; };
"""


@pytest.mark.parametrize(("compiler", "sizes"), [("g++", LP64), ("arm-none-eabi-g++", ILP32)])
def test_sizes_are_the_compilers(compiler: str, sizes: Sizes, tmp_path: Path) -> None:
    checks = []
    for name, size in dataclasses.asdict(sizes).items():
        alignment = 8 if name in ("evalue", "backend_delegate") else sizes.pointer
        checks.append(f'static_assert(sizeof({TYPES[name]}) == {size}, "{name}");')
        checks.append(f'static_assert(alignof({TYPES[name]}) == {alignment}, "alignment of {name}");')
    checks.append(f"static_assert(sizeof(BoxedEvalueList<int64_t>) == {sizes.boxed_list});")
    checks.append(f"static_assert(sizeof(InstructionArgs) == {sizes.span});")
    source = tmp_path / "sizes.cpp"
    source.write_text(SOURCE + "\n".join(checks))
    _compiler(compiler)("-fsyntax-only", source)


@pytest.fixture(scope="module")
def load_methods(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that loads a .pte's methods with the runtime of executorch's wheel."""
    if not (LIBRARIES / "libexecutorch.so").is_file():
        pytest.skip("this executorch has no runtime library to link against")
    binary = tmp_path_factory.mktemp("runtime") / "load_methods"
    libraries = ["executorch", "executorch_kernels_optimized", "executorch_kernels_quantized"]
    _compiler("g++")(
        Path(__file__).with_name("load_methods.cpp"),
        *["-o", binary, f"-L{LIBRARIES}", f"-Wl,-rpath,{LIBRARIES}", "-Wl,--no-as-needed"],
        *[f"-l{library}" for library in libraries],
    )
    return binary


def _measured(load_methods: Path, pte: bytes, program: Program, folder: Path) -> dict[str, Pools]:
    """What the runtime took of its pools by loading each method."""
    path = folder / "program.pte"
    path.write_bytes(pte)
    kernels = {
        f"{operator.name}.{operator.overload}"
        for plan in program.execution_plan
        for operator in plan.operators
        if operator.name.startswith("cortex_m::")  # which are for Arm alone
    }
    done = subprocess.run([load_methods, path, *sorted(kernels)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    return {name: Pools(*map(int, sizes)) for name, *sizes in lines}


class Lists(nn.Module):
    """Arguments of every kind that a program can have."""

    def forward(self, x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        y = torch.cat([x, x + 1, x * 2], dim=1)  # tensors
        y = y[:, :, index]  # tensors or None
        y = torch.div(y, 3.0, rounding_mode="floor")  # a string
        y = nn.functional.interpolate(y, scale_factor=2.0, mode="nearest")  # floats
        return y.permute(0, 2, 3, 1).sum((1, 2))  # integers


class Branches(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = torch.cond(x.sum() > 0, torch.sin, lambda x: x + 1, (x,))
        return y


def _executorch(module: nn.Module, *inputs: torch.Tensor, **options: Any) -> ExecutorchProgramManager:
    return to_edge(torch.export.export(module.eval(), inputs, strict=True, **options)).to_executorch()


def _lists() -> ExecutorchProgramManager:
    return _executorch(Lists(), torch.randn(1, 3, 5, 5), torch.tensor([0, 2, 4]))


def _dynamic() -> ExecutorchProgramManager:
    rows = torch.export.Dim("rows", min=2, max=9)
    return _executorch(Lists(), torch.randn(3, 3, 5, 5), torch.tensor([0, 2]), dynamic_shapes=({0: rows}, None))


def _branches() -> ExecutorchProgramManager:
    return _executorch(Branches(), torch.randn(3))


def _no_inputs() -> ExecutorchProgramManager:
    class Constant(nn.Module):
        def forward(self) -> torch.Tensor:
            return torch.ones(3) * 2

    return _executorch(Constant())


def _kinds(plan: ExecutionPlan) -> set[type]:
    return {type(value.val) for value in plan.values} | {
        type(instruction.instr_args) for chain in plan.chains for instruction in chain.instructions
    }


@pytest.mark.parametrize(
    ("make", "kinds"),
    [
        (_lists, {KernelCall, Tensor, IntList, DoubleList, TensorList, OptionalTensorList, String}),
        (_dynamic, {KernelCall, Tensor}),
        (_branches, {KernelCall, JumpFalseCall}),
        (_no_inputs, {KernelCall}),
    ],
)
def test_host_programs_are_loaded_in_the_bytes_told(
    make: Callable[[], ExecutorchProgramManager], kinds: set[type], load_methods: Path, tmp_path: Path
) -> None:
    manager = make()
    program = manager.executorch_program
    (plan,) = program.execution_plan
    assert kinds <= _kinds(plan)
    dynamic = {v.val.shape_dynamism for v in plan.values if isinstance(v.val, Tensor)} - {TensorShapeDynamism.STATIC}
    assert bool(dynamic) == (make is _dynamic)
    measured = _measured(load_methods, manager.buffer, program, tmp_path)
    assert measured == {"forward": pools_for(program, plan, LP64)}


def test_lists_of_booleans(load_methods: Path, tmp_path: Path) -> None:
    """No operator that is exported takes one, so it is put into a program."""
    program = copy.deepcopy(_lists().executorch_program)
    program.execution_plan[0].values.append(EValue(BoolList([True, False])))
    pte = bytes(serialize_pte_binary(PTEFile(program=program)))
    assert _measured(load_methods, pte, program, tmp_path) == {
        "forward": pools_for(program, program.execution_plan[0], LP64)
    }


class TwoSubgraphs(nn.Module):
    """Two convolutions, the larger first, with an operator between them that no Arm delegate takes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.second(torch.atan2(self.first(x), torch.ones(1)))
        return y


def _conv_net() -> tuple[Any, Any]:
    return models.conv_net()


def _methods() -> tuple[Any, Any]:
    small, large = models.conv_net(), models.seeded(TwoSubgraphs, (1, 3, 16, 16))
    return {"small": small.model, "large": large.model}, {"small": small.inputs, "large": large.inputs}


# Bytes that loading takes on a 32-bit core.
LOADED = {
    (ArmRecipeType.ETHOSU_U55_INT8, "forward"): 680,
    (ArmRecipeType.ETHOSU_U55_INT8, "small"): 680,
    (ArmRecipeType.ETHOSU_U55_INT8, "large"): 1628,
    (ArmRecipeType.CORTEX_M55_INT8, "forward"): 2760,
    (ArmRecipeType.CORTEX_M55_INT8, "small"): 2760,
    (ArmRecipeType.CORTEX_M55_INT8, "large"): 4120,
}


@pytest.mark.parametrize("recipe", [ArmRecipeType.ETHOSU_U55_INT8, ArmRecipeType.CORTEX_M55_INT8])
@pytest.mark.parametrize("make", [_conv_net, _methods])
def test_exports(
    recipe: ArmRecipeType, make: Callable[[], tuple[Any, Any]], load_methods: Path, tmp_path: Path
) -> None:
    model, inputs = make()
    session = export(model, recipe, inputs)
    program = session.get_executorch_program()
    measured = _measured(load_methods, session.get_pte_buffer(), program, tmp_path)
    plans = {plan.name: plan for plan in program.execution_plan}
    assert measured.keys() == plans.keys()
    for name, plan in plans.items():
        told, host = pools(program, plan), pools_for(program, plan, LP64)
        assert told is not None and host is not None
        assert told.method_bytes == LOADED[recipe, name]
        # What was written to the .pte tells the same.
        read = deserialize_pte_binary(session.get_pte_buffer()).program
        assert pools(read, next(other for other in read.execution_plan if other.name == name)) == told
        scratches = [
            get_scratch_size_from_delegate(program.backend_delegate_data[delegate.processed.index].data)
            for delegate in plan.delegates
        ]
        if scratches:  # which is taken when the NPU runs, and so not on the host
            assert told.temp_bytes == host.temp_bytes >= max(scratches)
            assert host.temp_bytes >= measured[name].temp_bytes
            host = dataclasses.replace(host, temp_bytes=measured[name].temp_bytes)
        assert measured[name] == host


def test_what_cant_be_told() -> None:
    model, inputs = models.conv_net()
    program = exported("TOSA_INT8").get_executorch_program()
    assert pools(program, program.execution_plan[0]) is None  # a delegate of no bare-metal runtime
    for external in (False, True):
        edge = to_edge(torch.export.export(model, inputs, strict=True))
        config = ExecutorchBackendConfig(external_constants=external)
        program = edge.to_executorch(config).executorch_program
        assert (pools(program, program.execution_plan[0]) is None) == external
