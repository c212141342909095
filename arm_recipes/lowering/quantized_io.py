"""`io_dtype`: programs that take and give integers, with their scales and zero points in the program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from executorch.exir.dialects._ops import ops as exir_ops
from executorch.exir.pass_manager import PassType
from executorch.exir.passes.quantize_io_pass import get_config_method_name, quantize_input, quantize_output
from executorch.exir.program import EdgeProgramManager
from executorch.exir.tensor import scalar_type_enum
from executorch.export import ExportSession
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.fx.passes.infra.pass_base import PassBase, PassResult

from arm_recipes.catalog import Recipe
from arm_recipes.errors import LoweringError

_DTYPES = {"int8": torch.int8, "int16": torch.int16}
_QUANTIZE = exir_ops.edge.quantized_decomposed.quantize_per_tensor.default
_DEQUANTIZE = exir_ops.edge.quantized_decomposed.dequantize_per_tensor.default


@dataclass(frozen=True)
class QuantizedTensor:
    """How an integer input or output stands for real numbers: real = scale * (integer - zero_point).

    Attributes:
        scale: of one step.
        zero_point: the integer that stands for 0.
        quant_min: the least integer that is used.
        quant_max: the greatest.
        dtype: e.g. ``int8``.
    """

    scale: float
    zero_point: int
    quant_min: int
    quant_max: int
    dtype: str


@dataclass(frozen=True)
class QuantizedIO:
    """The integer inputs and outputs of a method, by position; float or otherwise unquantized ones are left out."""

    inputs: dict[int, QuantizedTensor]
    outputs: dict[int, QuantizedTensor]


def quantized_io(session: ExportSession) -> dict[str, QuantizedIO]:
    """Scales and zero points of the integer inputs and outputs of a session, by method; empty without `io_dtype`.

    A runtime reads the same from the .pte, where each figure is a method without inputs:
    ``<method>_input<index>_scale``, ``_zp``, ``_quant_min``, ``_quant_max`` and ``_dtype`` (executorch's ScalarType),
    and likewise ``_output<index>_``.
    """
    constants: dict[str, Any] = {}
    methods: set[str] = set()
    for artifact in session.get_stage_artifacts().values():
        if isinstance(artifact.data, EdgeProgramManager):
            constants.update(artifact.data._config_methods or {})
            methods |= set(artifact.data.methods)
    found = {}
    for method in sorted(methods):
        io = QuantizedIO(_found(constants, method, "input"), _found(constants, method, "output"))
        if io.inputs or io.outputs:
            found[method] = io
    return found


def _found(constants: dict[str, Any], method: str, side: str) -> dict[int, QuantizedTensor]:
    dtypes = {scalar_type_enum(dtype): name for name, dtype in _DTYPES.items()}
    tensors = {}
    index = 0
    for index in range(sum(key.startswith(f"{method}_{side}") for key in constants)):
        figures = [constants.get(get_config_method_name(method, side, index, key)) for key in _KEYS]
        if figures[0] is not None:
            scale, zero_point, quant_min, quant_max, dtype = figures
            tensors[index] = QuantizedTensor(scale, zero_point, quant_min, quant_max, dtypes[dtype])
    return tensors


_KEYS = ("scale", "zp", "quant_min", "quant_max", "dtype")


def integer_io(recipe: Recipe, io_dtype: str | None) -> list[Callable[[EdgeProgramManager], Any]]:
    """The edge manager callables that take the quantize and dequantize operators off the program's border, if any."""
    if io_dtype in (None, "float32"):
        return []
    convert = _IntegerIO(recipe, io_dtype)
    return [convert.convert, convert.declare]


class _IntegerIO:
    """`convert` asks for the passes; `declare`, called after them, adds the constant methods to what they made."""

    def __init__(self, recipe: Recipe, io_dtype: str) -> None:
        """
        Args:
            recipe: the catalog row.
            io_dtype: ``int8`` or ``int16``, which has to be that of the quantized activations.
        """
        self._recipe = recipe
        self._io_dtype = io_dtype
        self._passes: dict[str, _QuantizeIOPass] = {}

    def convert(self, manager: EdgeProgramManager) -> dict[str, list[PassType]]:
        self._passes = {
            method: _QuantizeIOPass(self._recipe, self._io_dtype, method, manager.exported_program(method))
            for method in manager.methods
        }
        return {method: [one] for method, one in self._passes.items()}

    def declare(self, manager: EdgeProgramManager) -> list[PassType]:
        constants = manager._config_methods or {}
        for one in self._passes.values():
            constants.update(one.constants)
        manager._config_methods = constants
        return []


class _QuantizeIOPass(PassBase):
    """Makes every float input and output of one method an integer one.

    A pass over the graph module, as after those the session brings the program's signature up to date.

    Attributes:
        constants: the figures, by the names of the constant methods, once the pass has run.
    """

    def __init__(self, recipe: Recipe, io_dtype: str, method: str, program: ExportedProgram) -> None:
        super().__init__()
        self._recipe = recipe
        self._io_dtype = io_dtype
        self._method = method
        self._program = program
        self.constants: dict[str, Any] = {}

    def call(self, graph_module: GraphModule) -> PassResult:
        placeholders = {node.name: node for node in graph_module.graph.find_nodes(op="placeholder")}
        for index, name in enumerate(self._program.graph_signature.user_inputs):
            node = placeholders.get(name)
            if node is not None and _is_float(node):
                users = list(node.users)
                self._check(f"input {index} ({name})", users[0] if len(users) == 1 else node, _QUANTIZE, users)
                self._add("input", index, quantize_input(self._program, index))
        (outputs,) = graph_module.graph.output_node().args
        for index, node in enumerate(outputs):
            if isinstance(node, Node) and _is_float(node):
                self._check(f"output {index}", node, _DEQUANTIZE, [node])
                self._add("output", index, quantize_output(self._program, index))
        graph_module.recompile()
        return PassResult(graph_module, modified=True)

    def _check(self, what: str, node: Node, operator: Any, neighbours: list[Node]) -> None:
        if node.target == operator and node.args[5] == _DTYPES[self._io_dtype]:
            return
        found = ", ".join(str(one.target) for one in neighbours) or "nothing"
        raise LoweringError(
            f"{self._recipe.name}: {what} of method {self._method!r} can't be {self._io_dtype}: it meets {found} and "
            f"not one {self._io_dtype} {str(operator).rpartition('::')[2]}, so the model does not quantize it there. "
            "Leave io_dtype out, or let the model's first and last operators be ones that the target quantizes."
        )

    def _add(self, side: str, index: int, figures: tuple[Any, ...]) -> None:
        *numbers, dtype = figures
        for key, figure in zip(_KEYS, (*numbers, scalar_type_enum(dtype))):
            self.constants[get_config_method_name(self._method, side, index, key)] = figure


def _is_float(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.is_floating_point()
