"""The borders of delegates: what the program hands to each and takes from it, held against its payload's own tables.

Nothing is run for that. executorch's runtime believes the tables: EthosUBackend copies its first arguments to as many
inputs as Vela lists, and each output that Vela lists to the argument behind those, whatever the program has there
(backends/arm/runtime/EthosUBackend.cpp and EthosUBackend_CoreDriver.cpp). VgfBackend goes by the names of a .vgf file
(VGFBackend.cpp and VGFSetup.cpp), TOSA's reference model by the lists of the flatbuffer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from executorch.exir.delegate import executorch_call_delegate
from executorch.exir.lowered_backend_module import LoweredBackendModule
from executorch.exir.pass_manager import PassType
from executorch.exir.program import EdgeProgramManager
from torch import Tensor
from torch.fx import GraphModule, Node

from arm_recipes.errors import LoweringError, ToolError
from arm_recipes.recipes.catalog import Recipe
from arm_recipes.tools.border_tables import Entry, Tables
from arm_recipes.upstream.delegates import border_tables
from arm_recipes.upstream.graphs import calls, is_operator, kernel_name, module_path, operator_name, quantizes, where

from .records import BorderCheck

# What EthosUBackend::execute takes; a float or a 64-bit integer it refuses with InvalidProgram.
_VELA_DTYPES = (torch.int8, torch.uint8, torch.bool, torch.int16, torch.int32)
_TABLES_OF = {"EthosUBackend": "Vela's table", "VgfBackend": "the .vgf file", "TOSABackend": "the TOSA graph"}


@dataclass(frozen=True)
class Mismatch:
    """A border that is wrong.

    Attributes:
        side: ``input`` or ``output``.
        index: its number at the delegate; None where there are more or fewer than in the payload's table.
        program: what the program has.
        table: what the payload's table has.
    """

    side: str
    index: int | None
    program: str
    table: str


@dataclass(frozen=True)
class DelegateCall:
    """A call of a delegate in a lowered program.

    Attributes:
        node: the call.
        module: the delegate.
        inputs: fake tensors that it is handed, in order.
        outputs: fake tensors that are taken from it, in order.
    """

    node: Node
    module: LoweredBackendModule
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


def delegate_calls(graph_module: GraphModule) -> Iterator[DelegateCall]:
    """The calls of delegates in a lowered program, and in its branches and loops, in order."""
    for node in calls(graph_module):
        if node.target is executorch_call_delegate:
            name = node.args[0]
            assert isinstance(name, Node)
            module = getattr(name.graph.owning_module, str(name.target))
            inputs = tuple(each.meta["val"] if isinstance(each, Node) else each for each in node.args[1:])
            outputs = node.meta["val"]
            taken = tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)
            yield DelegateCall(node, module, inputs, taken)


def mismatches(call: DelegateCall, tables: Tables) -> list[Mismatch]:
    """Where the program and the payload's tables differ; both sides' counts first, as all else hangs on them."""
    found: list[Mismatch] = []
    sides: tuple[tuple[str, Sequence[Any], Sequence[Entry | None]], ...] = (
        ("input", call.inputs, tables.inputs),
        ("output", call.outputs, tables.outputs),
    )
    for side, values, entries in sides:
        if len(values) != len(entries):
            found.append(Mismatch(side, None, _listed(values), _listed(entries)))
    for side, values, entries in sides:
        if len(values) == len(entries):
            for index, (value, entry) in enumerate(zip(values, entries, strict=True)):
                if entry is not None and not _agrees(value, entry, call.module):
                    found.append(Mismatch(side, index, _told(value), str(entry)))
    return found


class BorderCheckPass:
    """An edge manager callable that asks for no passes. Refuses a program with a border that is wrong.

    `outcome` has what it found of the manager's methods, for the snapshot that is taken after it.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self.outcome: dict[str, BorderCheck] = {}

    def __call__(self, manager: EdgeProgramManager) -> list[PassType]:
        self.outcome = {
            method: check_borders(self._recipe, method, manager.exported_program(method).graph_module)
            for method in sorted(manager.methods)
        }
        return []


def check_borders(recipe: Recipe, method: str, graph_module: GraphModule) -> BorderCheck:
    """Check all borders of one method's program.

    Args:
        recipe: the catalog row, for messages.
        method: name of the method.
        graph_module: the lowered program.

    Raises:
        LoweringError: a border is wrong, or can't be checked.
    """
    checked = [0, 0, 0]
    for call in delegate_calls(graph_module):
        try:
            tables = border_tables(call.module)
        except ToolError as error:
            raise LoweringError(
                f"{recipe.name}: the borders of {call.node.args[0]} of method {method!r} can't be checked: {error}"
            ) from error
        if tables is None:
            continue
        wrong = mismatches(call, tables)
        if wrong:
            raise _refusal(recipe, method, call, wrong[0])
        checked = [checked[0] + 1, checked[1] + len(call.inputs), checked[2] + len(call.outputs)]
    return BorderCheck(*checked)


def _agrees(value: Any, entry: Entry, module: LoweredBackendModule) -> bool:
    if not isinstance(value, Tensor):
        return False
    dtype = str(value.dtype).removeprefix("torch.")
    known = dtype == entry.dtype or not entry.dtype
    if value.dtype == torch.uint8 and entry.dtype == "int8":
        known = True  # TOSA has unsigned integers at its border only, as int8
    takes = module.backend_id != "EthosUBackend" or value.dtype in _VELA_DTYPES
    sizes = value.dtype.itemsize == entry.element_bytes and value.numel() == entry.elements
    return known and takes and sizes and _same_memory(value, entry, module)


def _same_memory(value: Tensor, entry: Entry, module: LoweredBackendModule) -> bool:
    """Whether elements may lie in memory in one order: all but the same sizes in another order, a transpose.

    Vela names a tensor by any shape that it is reshaped to. Sizes that are split or merged are never a transpose.
    """
    own = [int(value.shape[at]) for at in value.dim_order() if value.shape[at] != 1]
    table = [size for size in entry.shape if size != 1]
    merged, split = {*_prefixes(own)}, {*_prefixes(table)}
    return merged <= split or split <= merged or sorted(own) != sorted(table) or table in _reshaped(module)


def _reshaped(module: LoweredBackendModule) -> list[list[int]]:
    """The sizes, but those of one, of all that is reshaped in a delegate."""
    views = (node for node in calls(module.original_module.graph_module) if kernel_name(node.target)[1] == "view_copy")
    shapes = (node.meta["val"].shape for view in views for node in (view, view.all_input_nodes[0]))
    return [[int(size) for size in shape if size != 1] for shape in shapes]


def _prefixes(shape: Sequence[int]) -> Iterator[int]:
    count = 1
    for size in shape:
        count *= size
        yield count


def _told(value: Any) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    order = "" if tuple(value.dim_order()) == tuple(range(value.dim())) else f" in the order {list(value.dim_order())}"
    dtype = str(value.dtype).removeprefix("torch.")
    return f"{dtype} {list(value.shape)}{order}, {value.numel() * value.dtype.itemsize} bytes"


def _listed(entries: Sequence[Any]) -> str:
    told = [_told(entry) if isinstance(entry, Tensor) else str(entry) for entry in entries]
    return f"{len(told)} ({'; '.join(told)})" if told else "none"


def _refusal(recipe: Recipe, method: str, call: DelegateCall, wrong: Mismatch) -> LoweringError:
    delegate = call.node.args[0]
    own = f"{wrong.side} {wrong.index}" if wrong.index is not None else f"the {wrong.side}s"
    ends = list(border_nodes(call.module, wrong.side))
    behind = ", ".join(
        dict.fromkeys(
            behind_border(node) for node in (ends if wrong.index is None else ends[wrong.index : wrong.index + 1])
        )
    )
    table = _TABLES_OF.get(call.module.backend_id, "its payload")
    advice = (
        "Return a copy that computes something (relu(y), a sum), or none of it, or leave the operator behind it to the "
        "CPU"
        if wrong.side == "output"
        else "Leave out an input of which only the shape is used: give the shape as numbers"
    )
    return LoweringError(
        f"{recipe.name}: {own} of delegate {delegate} in method {method!r} ({behind}) would be wrong on a device: the "
        f"program has {wrong.program}, {table} {wrong.table}. executorch's runtime goes by the table, and would put "
        f"bytes where they don't belong, or refuse the program. {advice}; cures=True, the default, mends what it can."
    )


def border_nodes(module: LoweredBackendModule, side: str) -> Iterator[Node]:
    """The placeholders or the outputs of a delegate's own program, as its calls have them."""
    program = module.original_module
    if side == "output":
        yield from (node for node in program.graph.output_node().args[0] if isinstance(node, Node))
        return
    names = set(program.graph_signature.user_inputs)
    yield from (node for node in program.graph.find_nodes(op="placeholder") if node.name in names)


def behind_border(node: Node) -> str:
    """The operator and the module of the user's that a border is of: the nearest that computes."""
    nodes = [node]
    while nodes[-1].op == "placeholder" or quantizes(nodes[-1]) or not is_operator(nodes[-1]):
        further = list(nodes[-1].users) if nodes[0].op == "placeholder" else nodes[-1].all_input_nodes
        if not further or further[0].op == "output" or len(nodes) > 8:
            break
        nodes.append(further[0])
    last = nodes[-1]
    return where(last) if is_operator(last) else (module_path(last) or operator_name(last))
