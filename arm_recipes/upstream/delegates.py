"""The TOSA graph of a delegate: made again, with where its operators come from."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from executorch.backends.arm.common.arm_compile_spec import ArmCompileSpec
from executorch.backends.arm.ethosu import EthosUCompileSpec
from executorch.backends.arm.tosa.backend import TOSABackend
from executorch.backends.arm.tosa.compile_spec import TosaCompileSpec
from executorch.exir.lowered_backend_module import LoweredBackendModule
from tosa.Op import Op
from tosa.TosaGraph import TosaGraph as Flatbuffer

from .graphs import stack_path

# Operators whose results are their inputs, moved or scaled.
MOVES = frozenset({Op.TRANSPOSE, Op.RESHAPE, Op.RESCALE, Op.CAST, Op.IDENTITY})


@dataclass(frozen=True)
class Origin:
    """Where an operator of a TOSA graph comes from.

    Attributes:
        module: the submodule of the user's model, e.g. ``features.3.conv``; empty where it is not known.
        operator: of the captured model, e.g. ``aten.conv2d``; empty likewise.
        nodes: names of the nodes that it was made from, graph by graph, back to the captured model's.
    """

    module: str
    operator: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class TosaGraph:
    """A delegate's TOSA graph.

    Attributes:
        flatbuffer: as its compiler takes it; beside what the compiler was given in the export it has the origins.
        origins: by the name of the tensor that an operator makes.
        border: names of the tensors that are made by transposing an input of the delegate, or what becomes an output,
            with nothing computed in between.
    """

    flatbuffer: bytes
    origins: dict[str, Origin]
    border: frozenset[str]


# By delegate, as making one takes nearly half of the time of an export.
_graphs: WeakKeyDictionary[LoweredBackendModule, TosaGraph] = WeakKeyDictionary()


def tosa_graph(module: LoweredBackendModule, spec: ArmCompileSpec) -> TosaGraph:
    """The TOSA graph of a delegate, made as upstream's backend makes it on the way to a compiler.

    Upstream can write into it where each operator comes from, which changes nothing of what Vela makes of it.

    Args:
        module: the delegate.
        spec: its compile spec.
    """
    if module not in _graphs:
        tosa_spec: TosaCompileSpec = TOSABackend.filter_tosa_compile_specs(spec)
        tosa_spec.dump_debug_info(ArmCompileSpec.DebugMode.TOSA)
        made: bytes = TOSABackend._preprocess(copy.deepcopy(module.original_module), tosa_spec).processed_bytes
        operators = list(_operators(made))
        origins = {output: _origin(json.loads(text)) for _, _, outputs, text in operators for output in outputs if text}
        _graphs[module] = TosaGraph(made, origins, _border(made, operators))
    return _graphs[module]


_Operator = tuple[int, list[str], list[str], str]


def _operators(graph: bytes) -> Iterator[_Operator]:
    """Kind, inputs, outputs and origin of each operator, in the graph's order."""
    blocks = basic_blocks(graph)
    for operator in (block.Operators(index) for block in blocks for index in range(block.OperatorsLength())):
        location = operator.Location()
        yield (
            operator.Op(),
            [operator.Inputs(index).decode() for index in range(operator.InputsLength())],
            [operator.Outputs(index).decode() for index in range(operator.OutputsLength())],
            (location.Text() or b"").decode() if location is not None else "",
        )


def basic_blocks(graph: bytes) -> Iterator[Any]:
    """The graph's own first, then those of branches and loops."""
    root = Flatbuffer.GetRootAs(graph, 0)
    for region in map(root.Regions, range(root.RegionsLength())):
        yield from map(region.Blocks, range(region.BlocksLength()))


def _origin(told: dict[str, Any]) -> Origin:
    of_torch = told["torch_info"]
    # Upstream has a sentence in the place of what it does not know.
    trace = of_torch["node_trace"] if isinstance(of_torch["node_trace"], list) else []
    stack = of_torch["nn_module_stack"] if isinstance(of_torch["nn_module_stack"], dict) else {}
    operators = [str(source["target"]) for source in trace]
    captured = [operator.removesuffix(".default") for operator in operators if operator.startswith("aten.")]
    return Origin(stack_path(stack), captured[-1] if captured else "", tuple(source["name"] for source in trace))


def _border(graph: bytes, operators: list[_Operator]) -> frozenset[str]:
    block = next(basic_blocks(graph))
    moved = {block.Inputs(index).decode() for index in range(block.InputsLength())}
    found: set[str] = set()
    for kind, inputs, outputs, _ in operators:
        if kind in MOVES and inputs[0] in moved:
            moved.update(outputs)
            found.update(outputs if kind == Op.TRANSPOSE else ())
    moved = {block.Outputs(index).decode() for index in range(block.OutputsLength())}
    for kind, inputs, outputs, _ in reversed(operators):
        if kind in MOVES and moved.intersection(outputs):
            moved.add(inputs[0])
            found.update(outputs if kind == Op.TRANSPOSE else ())
    return frozenset(found)


def vela_flags(spec: EthosUCompileSpec) -> list[str]:
    """The flags that Vela is run with, split as upstream splits them."""
    return " ".join(spec.compiler_flags).split(" ")
