"""Borders of delegates that upstream gets wrong, mended: only these delegates are lowered once more, from their own
program with a small change in it. See `borders` for what is wrong with them.

What is known: Vela loses an output that another operator reads through a transpose; upstream folds a dequantize at a
delegate's exit away and still declares a float; and the TOSA graph leaves out an input that only lends its shape, so
that all outputs are taken from the wrong place.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from executorch.exir.lowered_backend_module import LoweredBackendModule
from executorch.exir.pass_manager import PassType
from executorch.exir.program import EdgeProgramManager
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import TensorArgument
from torch.fx import GraphModule, Node
from torch.fx.passes.infra.pass_base import PassResult

from arm_recipes.errors import ToolError
from arm_recipes.tools.border_tables import Tables
from arm_recipes.upstream.delegates import border_tables, lowered_again, program_of, tosa_graph
from arm_recipes.upstream.graphs import kernel_name
from arm_recipes.upstream.private import edge_operators
from arm_recipes.upstream.programs import without_inputs
from arm_recipes.upstream.tosa_graphs import input_names, transposed_outputs

from .borders import DelegateCall, behind_border, border_nodes, delegate_calls, mismatches
from .changes import note
from .records import Change

_logger = logging.getLogger(__name__)

_QUANTIZE = edge_operators.quantized_decomposed.quantize_per_tensor.default
_DEQUANTIZE = edge_operators.quantized_decomposed.dequantize_per_tensor.default
_PERMUTE = edge_operators.aten.permute_copy.default
_REPEAT = edge_operators.aten.repeat.default
_FULL = edge_operators.aten.full.default
_TO_NHWC, _TO_NCHW = [0, 2, 3, 1], [0, 3, 1, 2]

# Operators that move numbers and leave each as it is: what they give has the scale of what they take.
_MOVES = frozenset(
    {
        "alias_copy",
        "clone",
        "_clone_dim_order",
        "detach_copy",
        "expand_copy",
        "flip",
        "permute_copy",
        "pixel_shuffle",
        "pixel_unshuffle",
        "repeat",
        "reshape",
        "select_copy",
        "slice_copy",
        "split_copy",
        "split_with_sizes_copy",
        "squeeze_copy",
        "t_copy",
        "transpose_copy",
        "unbind_copy",
        "unsqueeze_copy",
        "view_copy",
    }
)


@dataclass
class _Mended:
    """What takes the place of a delegate.

    Attributes:
        module: the delegate, lowered anew.
        dequantize: by the number of an output that is an integer now, the arguments of its dequantize.
        dropped: numbers of the inputs that are handed over no more.
    """

    module: LoweredBackendModule
    dequantize: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    dropped: list[int] = field(default_factory=list)


class MendBorders:
    """An edge manager callable: asks for the pass that puts mended delegates in the place of those with wrong borders.

    What it can't mend it leaves as it is, for the check of borders to refuse.
    """

    def __call__(self, manager: EdgeProgramManager) -> dict[str, list[PassType]]:
        passes: dict[str, list[PassType]] = {}
        for method in sorted(manager.methods):
            mended = {
                call.node.name: delegate
                for call in delegate_calls(manager.exported_program(method).graph_module)
                if (delegate := _mended(call)) is not None
            }
            if mended:
                passes[method] = [_put_in_place(mended)]
        return passes


def _mended(call: DelegateCall) -> _Mended | None:
    """The delegate with its borders right; None where they are, or where nothing helps."""
    try:
        tables = border_tables(call.module)
        if tables is None or not mismatches(call, tables):
            return None
        for lost in _attempts(call, tables):
            delegate = _with(call, tables, lost)
            if delegate is not None:
                return delegate
    except ToolError as error:
        _logger.info("the borders of %s can't be read: %s", call.node.args[0], error)
    return None


_Copy = Callable[[Node], Node]


def _attempts(call: DelegateCall, tables: Tables) -> list[list[tuple[int, _Copy]]]:
    """Which outputs to copy, and how: the cheapest first."""
    # Upstream: Vela's graph optimiser joins two transposes although the tensor between them is an output. Holds for
    # Vela 5.1.0 and 5.2.0; tests/lowering/test_upstream_borders.py::test_vela_loses_an_output fails when it can go.
    if len(call.outputs) <= len(tables.outputs):
        return [[]]
    count = len(call.outputs)
    lost = [index for index in transposed_outputs(tosa_graph(call.module)) if index < count] or list(range(count))
    rank4 = [index for index in lost if call.outputs[index].dim() == 4]
    attempts: list[list[tuple[int, _Copy]]] = [[(index, _copy_nhwc if index in rank4 else _copy) for index in lost]]
    if rank4:
        attempts.append([(index, _copy) for index in lost])
    if len(lost) < count:
        attempts.append([(index, _copy) for index in range(count)])
    return attempts


def _with(call: DelegateCall, tables: Tables, copies: Sequence[tuple[int, _Copy]]) -> _Mended | None:
    program = program_of(call.module)
    changes: list[Change] = []
    exits = _quantize_exits(program, call, tables, changes)
    if exits is None:
        return None
    dropped: list[int] = []
    if len(call.inputs) > len(tables.inputs):
        names = input_names(tosa_graph(call.module))
        placeholders = list(border_nodes(call.module, "input"))
        dropped = [index for index, node in enumerate(placeholders) if node.name not in names]
        program = _without_inputs(program, [placeholders[index] for index in dropped], changes)
    for index, copy in copies:
        _give_copy(program, index, copy, changes)
    program.graph.lint()
    program.graph_module.recompile()
    for change in changes:
        note(program, change)
    try:
        module = lowered_again(call.module, program)
    except (Exception, SystemExit) as error:  # Vela ends the process, upstream's passes raise anything
        _logger.info("the borders of %s can't be mended: %s", call.node.args[0], error)
        return None
    delegate = _Mended(module, exits, dropped)
    inputs = tuple(value for index, value in enumerate(call.inputs) if index not in dropped)
    outputs = tuple(node.meta["val"] for node in program.graph.output_node().args[0])
    after = border_tables(module)
    right = after is not None and not mismatches(DelegateCall(call.node, module, inputs, outputs), after)
    return delegate if right else None


# exits


def _quantize_exits(
    program: ExportedProgram, call: DelegateCall, tables: Tables, changes: list[Change]
) -> dict[int, tuple[Any, ...]] | None:
    """Let each output that is declared float and comes out as an integer be the integer; None where one can't."""
    # Upstream: FoldAndAnnotateQParamsPass, executorch's issue 19364. Holds for executorch 1.5.1;
    # tests/lowering/test_upstream_borders.py::test_an_exit_is_declared_float fails when it can go.
    found: dict[int, tuple[Any, ...]] = {}
    for index, node in enumerate(program.graph.output_node().args[0]):
        if not _is_float(node) or not _comes_out_as_integer(call, tables, index):
            continue
        dequantize = _dequantize_before(node)
        if dequantize is None:
            return None
        arguments = tuple(dequantize.args[1:])
        with program.graph.inserting_before(program.graph.output_node()):
            quantize = program.graph.call_function(_QUANTIZE, (node, *arguments))
        quantize.meta = {**node.meta, "val": node.meta["val"].to(arguments[4])}
        _give(program, index, quantize)
        found[index] = arguments
        changes.append(
            Change(
                "delegate-exit",
                behind_border(node),
                "an output that the delegate gives as integers is dequantized outside of it",
                "upstream folds its dequantize away and still declares a float: a device refuses the program",
            )
        )
    return found


def _is_float(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.is_floating_point()


def _comes_out_as_integer(call: DelegateCall, tables: Tables, index: int) -> bool:
    if call.module.backend_id == "EthosUBackend":
        return True  # which computes in integers alone
    known = len(call.outputs) == len(tables.outputs)
    return known and "int" in tables.outputs[index].dtype


def _dequantize_before(node: Node) -> Node | None:
    """The dequantize whose numbers `node` gives, moved at most."""
    while node.target is not _DEQUANTIZE:
        moves = node.op == "call_function" and (kernel_name(node.target)[1] in _MOVES or _takes_part(node))
        if not moves or len(node.all_input_nodes) != 1:
            return None
        node = node.all_input_nodes[0]
    return node


def _takes_part(node: Node) -> bool:
    return getattr(node.target, "__name__", "") == "getitem"


# inputs


def _without_inputs(program: ExportedProgram, placeholders: Sequence[Node], changes: list[Change]) -> ExportedProgram:
    """The program without inputs of which nothing but the shape is used: constants take their place."""
    # Upstream: TOSABackend leaves out placeholders that its passes leave no user. Holds for executorch 1.5.1;
    # tests/lowering/test_upstream_borders.py::test_an_input_is_left_out fails when it can go.
    names = {node.name for node in placeholders}
    graph = program.graph
    for node in [node for node in graph.find_nodes(op="placeholder") if node.name in names]:
        value = node.meta["val"]
        changes.append(
            Change(
                "delegate-input",
                behind_border(node),
                f"input {node.name} is handed to the delegate no more, which uses its shape alone",
                "the compiled delegate lacks it, and the device would take each output for the one before",
            )
        )
        with graph.inserting_before(next(each for each in graph.nodes if each.op != "placeholder")):
            constant = graph.call_function(_FULL, (list(value.shape), 0), {"dtype": value.dtype})
        constant.meta = {**node.meta, "val": value}
        node.replace_all_uses_with(constant)
        graph.erase_node(node)
    return without_inputs(program, names)


# outputs


def _give_copy(program: ExportedProgram, index: int, copy: _Copy, changes: list[Change]) -> None:
    """Let output `index` be a copy of what it was."""
    node = program.graph.output_node().args[0][index]
    _give(program, index, copy(node))
    changes.append(
        Change(
            "delegate-output",
            behind_border(node),
            "the NPU copies an output that another operator reads too",
            "Vela loses an output that is read through a transpose: the device would never write it",
        )
    )


def _give(program: ExportedProgram, index: int, node: Node) -> None:
    output = program.graph.output_node()
    outputs = list(output.args[0])
    outputs[index] = node
    output.args = (type(output.args[0])(outputs), *output.args[1:])
    program.graph_signature.output_specs[index].arg = TensorArgument(name=node.name)


def _copy(node: Node) -> Node:
    """A tile of one, which no pass of upstream's takes for nothing. Vela makes it a copy of memory."""
    with node.graph.inserting_before(node.graph.output_node()):
        return _moved(_REPEAT, node, [1] * node.meta["val"].dim())


def _copy_nhwc(node: Node) -> Node:
    """The same of an NCHW tensor where the NPU has it in NHWC, which others go on to read: fewer transposes."""
    readers = [user for user in node.users if user.op != "output"]
    with node.graph.inserting_after(node):
        nhwc = _moved(_PERMUTE, node, _TO_NHWC)
    with node.graph.inserting_after(nhwc):
        nchw = _moved(_PERMUTE, nhwc, _TO_NCHW)
    for reader in readers:
        reader.replace_input_with(node, nchw)
    with node.graph.inserting_before(node.graph.output_node()):
        return _moved(_PERMUTE, _moved(_REPEAT, nhwc, [1, 1, 1, 1]), _TO_NCHW)


def _moved(operator: Any, node: Node, argument: list[int]) -> Node:
    moved = node.graph.call_function(operator, (node, argument))
    value = node.meta["val"]
    shape = [value.shape[at] for at in argument] if operator is _PERMUTE else value.shape
    moved.meta = {**node.meta, "val": value.new_empty(shape)}
    return moved


# in place


def _put_in_place(mended: dict[str, _Mended]) -> Callable[[GraphModule], PassResult]:
    def put(graph_module: GraphModule) -> PassResult:
        for call in list(delegate_calls(graph_module)):
            delegate = mended.get(call.node.name)
            if delegate is None:
                continue
            owner, name = call.node.graph.owning_module, call.node.args[0]
            assert owner is not None and isinstance(name, Node)
            setattr(owner, str(name.target), delegate.module)
            _hand_over_less(call.node, delegate.dropped)
            for index, arguments in delegate.dequantize.items():
                _dequantize_outside(call.node, index, arguments)
            owner.recompile()
        return PassResult(graph_module, modified=True)

    return put


def _hand_over_less(node: Node, dropped: Sequence[int]) -> None:
    name, *inputs = node.args
    without = [inputs[index] for index in dropped]
    node.args = (name, *(value for index, value in enumerate(inputs) if index not in dropped))
    for value in without:
        if isinstance(value, Node) and not value.users and value.target is _QUANTIZE:
            node.graph.erase_node(value)


def _dequantize_outside(node: Node, index: int, arguments: tuple[Any, ...]) -> None:
    """What was declared float is an integer: dequantized for its readers, except for those that quantize it again."""
    graph = node.graph
    declared = list(node.meta["val"])
    for part in [user for user in node.users if user.args[1] == index]:
        value = part.meta["val"]
        with graph.inserting_after(part):
            dequantize = graph.call_function(_DEQUANTIZE, (part, *arguments))
        dequantize.meta = {**part.meta, "val": value}
        for reader in [user for user in part.users if user is not dequantize]:
            reader.replace_input_with(part, dequantize)
        part.meta["val"] = declared[index] = value.to(arguments[4])
        for user in list(dequantize.users):
            if user.target is _QUANTIZE and tuple(user.args[1:]) == arguments:
                user.replace_all_uses_with(part)
                graph.erase_node(user)
        if not dequantize.users:
            graph.erase_node(dequantize)
    node.meta["val"] = tuple(declared)
