"""What ExecuTorch's runtime takes of a bare-metal firmware's two memory pools, told from the program.

The order and sizes of the allocations are those of ``Method::init`` in ExecuTorch 1.5.1. Tests hold the sizes against
compilers, and the sums against that runtime on the host, byte for byte. Only the Ethos-U backend's own part can't be
measured there.
"""

from __future__ import annotations

from dataclasses import dataclass

from executorch.exir.schema import (
    BackendDelegate,
    BoolList,
    DataLocation,
    DelegateCall,
    DoubleList,
    ExecutionPlan,
    IntList,
    KernelCall,
    OptionalTensorList,
    Program,
    String,
    Tensor,
    TensorDataLocation,
    TensorList,
    TensorShapeDynamism,
)

from arm_recipes.tools.vela.payload import blocks

from .result import Pools

POOL_ALIGNMENT = 16  # bytes: of arm_executor_runner's pools, and of an Ethos-U's scratch

_ETHOS_U = "EthosUBackend"
_MOST_DIMENSIONS = 16  # kTensorDimensionLimit, of tensor_dimension_limit.h; a byte for each


@dataclass(frozen=True)
class Sizes:
    """Sizes in bytes of the runtime's types.

    Each is aligned to a pointer, but those that hold 64-bit data (`evalue`, `backend_delegate`) to 8 bytes.

    Attributes:
        pointer: of any pointer, as of ``size_t``.
        evalue: ``EValue``.
        tensor_impl: ``TensorImpl``.
        tensor: ``Tensor``.
        optional_tensor: ``std::optional<Tensor>``.
        boxed_list: ``BoxedEvalueList``.
        span: ``Span`` and ``ArrayRef``.
        backend_delegate: ``BackendDelegate``.
        compile_spec: ``CompileSpec``.
        chain: ``Chain``.
        tensor_meta: ``TensorMeta``.
        ethos_u_handle: the Ethos-U backend's ``ExecutionHandle`` for Cortex-M. Its headers are not in executorch's
            wheel; their published versions up to 1.5 hold nine pointers at the most, and some take it from the heap.
    """

    pointer: int
    evalue: int
    tensor_impl: int
    tensor: int
    optional_tensor: int
    boxed_list: int
    span: int
    backend_delegate: int
    compile_spec: int
    chain: int
    tensor_meta: int
    ethos_u_handle: int


# sizeof with arm-none-eabi GCC 12.2 for Cortex-M55, on executorch 1.5.1's headers.
ILP32 = Sizes(
    pointer=4,
    evalue=16,
    tensor_impl=32,
    tensor=4,
    optional_tensor=8,
    boxed_list=12,
    span=8,
    backend_delegate=40,
    compile_spec=12,
    chain=16,
    tensor_meta=12,
    ethos_u_handle=36,
)

# sizeof with GCC 12.2 for x86-64, on the same headers.
LP64 = Sizes(
    pointer=8,
    evalue=16,
    tensor_impl=64,
    tensor=8,
    optional_tensor=16,
    boxed_list=24,
    span=16,
    backend_delegate=56,
    compile_spec=24,
    chain=32,
    tensor_meta=24,
    ethos_u_handle=72,
)


def pools(program: Program, plan: ExecutionPlan) -> Pools | None:
    """The least pools for the method `plan` of `program` on a 32-bit Arm core.

    None where it can't be told: for a delegate other than Ethos-U's, whose backend takes what it likes, and for
    data that is not in the .pte.
    """
    return pools_for(program, plan, ILP32)


def pools_for(program: Program, plan: ExecutionPlan, sizes: Sizes) -> Pools | None:
    """As `pools`, for a core of these `sizes`."""
    if any(delegate.id != _ETHOS_U for delegate in plan.delegates) or _external_constants(plan):
        return None
    scratches = [_scratch_size(program, delegate) for delegate in plan.delegates]
    runner = _Arena()
    for arena in plan.non_const_buffer_sizes[1:]:  # the first is reserved
        if arena:
            runner.take(arena, POOL_ALIGNMENT)
    _load(runner, plan, sizes)
    runner.take(len(plan.inputs) * sizes.evalue, 8)
    method, alone = _Arena(), _Arena()
    _load(method, plan, sizes)
    _load(alone, plan, sizes, temp=False)
    return Pools(
        method_bytes=method.used,
        runner_method_bytes=runner.used,
        temp_bytes=max([*_kernel_choices(plan, sizes), *scratches], default=0),
        method_bytes_without_temp=alone.used,
    )


def _external_constants(plan: ExecutionPlan) -> bool:
    infos = [value.val.extra_tensor_info for value in plan.values if isinstance(value.val, Tensor)]
    return any(info is not None and info.location == TensorDataLocation.EXTERNAL for info in infos)


class _Arena:
    """Counts as the runtime's MemoryAllocator does: each allocation follows the last, padded to its alignment."""

    def __init__(self) -> None:
        self.used = 0

    def take(self, size: int, alignment: int) -> None:
        # Nothing is also allocated, and so padded.
        self.used = _aligned(self.used, alignment) + size


def _aligned(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def _load(arena: _Arena, plan: ExecutionPlan, sizes: Sizes, *, temp: bool = True) -> None:
    """Take what Method::init takes, in its order; without a temporary pool also what the choice of kernels takes."""
    arena.take(len(plan.values) * sizes.evalue, 8)
    if plan.inputs:
        arena.take(len(plan.inputs), 1)  # which inputs are set
    for value in plan.values:
        _load_value(arena, value.val, sizes)
    arena.take(len(plan.delegates) * sizes.backend_delegate, 8)
    for delegate in plan.delegates:
        arena.take(len(delegate.compile_specs) * sizes.compile_spec, sizes.pointer)
        arena.take(sizes.ethos_u_handle, sizes.pointer)
    arena.take(len(plan.chains) * sizes.chain, sizes.pointer)
    for chain in plan.chains:
        arena.take(len(chain.instructions) * sizes.pointer, sizes.pointer)  # kernels
        arena.take(len(chain.instructions) * sizes.span, sizes.pointer)  # argument lists
        for instruction in chain.instructions:
            if isinstance(instruction.instr_args, (KernelCall, DelegateCall)):
                arena.take(len(instruction.instr_args.args) * sizes.pointer, sizes.pointer)
            if isinstance(instruction.instr_args, KernelCall) and not temp:
                arena.take(len(instruction.instr_args.args) * sizes.tensor_meta, sizes.pointer)
                for index in instruction.instr_args.args:
                    value = plan.values[index].val
                    if isinstance(value, Tensor):
                        arena.take(len(value.dim_order), 1)


def _load_value(arena: _Arena, value: object, sizes: Sizes) -> None:
    """Take what one value needs beside its EValue; numbers and None need nothing."""
    if isinstance(value, Tensor):
        if value.shape_dynamism != TensorShapeDynamism.STATIC:
            arena.take(4 * len(value.sizes), 4)
            arena.take(len(value.dim_order), 1)
        arena.take(4 * len(value.sizes), 4)  # strides
        arena.take(sizes.tensor_impl, sizes.pointer)
    elif isinstance(value, (IntList, TensorList, OptionalTensorList)):
        # The values it refers to, room for its items, and what holds the two. Of tensors, room comes first, which
        # makes no difference to the sum.
        arena.take(len(value.items) * sizes.pointer, sizes.pointer)
        if isinstance(value, IntList):
            arena.take(len(value.items) * 8, 8)
        elif isinstance(value, TensorList):
            arena.take(len(value.items) * sizes.tensor, sizes.pointer)
        else:
            arena.take(len(value.items) * sizes.optional_tensor, sizes.pointer)
        arena.take(sizes.boxed_list, sizes.pointer)
    elif isinstance(value, (BoolList, DoubleList, String)):
        arena.take(sizes.span, sizes.pointer)  # the items stay in the .pte


def _kernel_choices(plan: ExecutionPlan, sizes: Sizes) -> list[int]:
    """How large the temporary pool has to be for the choice of each call's kernel to be made in it.

    By Method::resolve_operator: for each argument a TensorMeta and the most dimensions that a tensor may have. What it
    then takes is less; with a smaller pool it takes that of the method's, and keeps it.
    """
    calls = (instruction.instr_args for chain in plan.chains for instruction in chain.instructions)
    return [len(call.args) * (sizes.tensor_meta + _MOST_DIMENSIONS) for call in calls if isinstance(call, KernelCall)]


def _scratch_size(program: Program, delegate: BackendDelegate) -> int:
    """Bytes of scratch that a delegate of the Ethos-U backend asks for."""
    # As `get_executorch_program` and `deserialize_pte_binary` give a program, all payloads are inline.
    assert delegate.processed.location == DataLocation.INLINE
    payload: bytes = program.backend_delegate_data[delegate.processed.index].data
    return int.from_bytes(blocks(payload)["scratch_size"], "little")
