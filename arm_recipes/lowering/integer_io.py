"""`io_dtype`: programs that take and give integers, with their scales and zero points in the program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from executorch.exir.pass_manager import PassType
from executorch.exir.passes.quantize_io_pass import get_config_method_name, quantize_input, quantize_output
from executorch.exir.program import EdgeProgramManager
from executorch.exir.tensor import scalar_type_enum
from executorch.export import ExportSession
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.fx.passes.infra.pass_base import PassResult

from arm_recipes.errors import LoweringError
from arm_recipes.recipes.catalog import Recipe
from arm_recipes.upstream.constant_methods import add_constant_methods, constant_methods
from arm_recipes.upstream.graphs import kernel_name, operator_name
from arm_recipes.upstream.private import edge_operators

_DTYPES = {"int8": torch.int8, "int16": torch.int16}
_QUANTIZE = edge_operators.quantized_decomposed.quantize_per_tensor.default
_DEQUANTIZE = edge_operators.quantized_decomposed.dequantize_per_tensor.default


@dataclass(frozen=True)
class QuantizedTensor:
    """How an integer input or output stands for real numbers: real = scale * (integer - zero_point).

    Attributes:
        scale: real number that one step of the integer stands for.
        zero_point: integer that stands for 0.
        quant_min: least integer that is used.
        quant_max: greatest integer that is used.
        dtype: name of the integers' dtype, e.g. ``int8``.
    """

    scale: float
    zero_point: int
    quant_min: int
    quant_max: int
    dtype: str

    @staticmethod
    def of(node: Any) -> QuantizedTensor | None:
        """The figures of a quantize or dequantize node of a whole tensor; None where they are not in the graph."""
        scale, zero_point, quant_min, quant_max, dtype = node.args[1:6]
        if not isinstance(scale, (int, float)):
            return None
        return QuantizedTensor(float(scale), int(zero_point), quant_min, quant_max, str(dtype).removeprefix("torch."))

    def steps(self, tensor: torch.Tensor) -> torch.Tensor:
        """Real numbers in steps from 0, rounded to even; of any dtype of floats, neither shifted nor clamped."""
        return torch.round(tensor / self.scale)

    def quantize(self, tensor: torch.Tensor) -> torch.Tensor:
        """The integers, of `dtype`, that stand for real numbers of any dtype of floats, in the same shape."""
        integers = (self.steps(tensor) + self.zero_point).clamp(self.quant_min, self.quant_max)
        return integers.to(getattr(torch, self.dtype))

    def dequantize(self, tensor: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """The real numbers, of `dtype` and computed in it, that integers stand for, in the same shape."""
        return (tensor.to(dtype) - self.zero_point) * self.scale


@dataclass(frozen=True)
class QuantizedIO:
    """The integer inputs and outputs of a method; float or otherwise unquantized ones are left out.

    Attributes:
        inputs: scale and zero point of each, by its position among the inputs.
        outputs: scale and zero point of each, by its position among the outputs.
    """

    inputs: dict[int, QuantizedTensor]
    outputs: dict[int, QuantizedTensor]


def quantized_io(session: ExportSession) -> dict[str, QuantizedIO]:
    """Scales and zero points of the integer inputs and outputs of a session, by method; empty without `io_dtype`.

    A runtime reads the same from the .pte, where each figure is a method without inputs:
    ``<method>_input<index>_scale``, ``_zp``, ``_quant_min``, ``_quant_max`` and ``_dtype`` (executorch's ScalarType),
    and ``<method>_output<index>_`` with the same endings.
    """
    constants: dict[str, Any] = {}
    methods: set[str] = set()
    for artifact in session.get_stage_artifacts().values():
        if isinstance(artifact.data, EdgeProgramManager):
            constants.update(constant_methods(artifact.data))
            methods |= set(artifact.data.methods)
    by_method = {}
    for method in sorted(methods):
        io = declared_io(constants, method)
        if io.inputs or io.outputs:
            by_method[method] = io
    return by_method


def declared_io(constants: Mapping[str, Any], method: str) -> QuantizedIO:
    """What a program's constant methods, of which are given the values by name, say of one of its methods."""
    return QuantizedIO(_declared(constants, method, "input"), _declared(constants, method, "output"))


def _declared(constants: Mapping[str, Any], method: str, side: str) -> dict[int, QuantizedTensor]:
    dtypes = {scalar_type_enum(dtype): name for name, dtype in _DTYPES.items()}
    tensors = {}
    for index in range(sum(key.startswith(f"{method}_{side}") for key in constants)):
        if get_config_method_name(method, side, index, "scale") in constants:
            scale, zero_point, quant_min, quant_max, dtype = (
                constants[get_config_method_name(method, side, index, key)] for key in _KEYS
            )
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
        self._constants: dict[str, Any] = {}

    def convert(self, manager: EdgeProgramManager) -> dict[str, list[PassType]]:
        self._constants = {}
        return {method: [self._pass(method, manager.exported_program(method))] for method in sorted(manager.methods)}

    def declare(self, manager: EdgeProgramManager) -> list[PassType]:
        add_constant_methods(manager, self._constants)
        return []

    def _pass(self, method: str, program: ExportedProgram) -> PassType:
        """Make the pass for one method, once it is clear that it can be done: what a pass raises would be wrapped."""
        inputs, outputs = [], []
        placeholders = {node.name: node for node in program.graph.find_nodes(op="placeholder")}
        for index, name in enumerate(program.graph_signature.user_inputs):
            node = placeholders.get(name)
            if node is not None and _is_float(node):
                self._check(method, f"input {index} ({name})", list(node.users), _QUANTIZE)
                inputs.append(index)
        for index, node in enumerate(program.graph.output_node().args[0]):
            if isinstance(node, Node) and _is_float(node):
                self._check(method, f"output {index}", [node], _DEQUANTIZE)
                outputs.append(index)

        def change(graph_module: GraphModule) -> PassResult:
            for index in inputs:
                self._add(method, "input", index, quantize_input(program, index))
            for index in outputs:
                self._add(method, "output", index, quantize_output(program, index))
            graph_module.recompile()
            return PassResult(graph_module, modified=True)

        return change

    def _check(self, method: str, what: str, neighbours: list[Node], operator: Any) -> None:
        if [(node.target, node.args[5:6]) for node in neighbours] == [(operator, (_DTYPES[self._io_dtype],))]:
            return
        names = ", ".join(map(operator_name, neighbours)) or "nothing"
        wanted = f"{self._io_dtype} {kernel_name(operator)[1]}"
        raise LoweringError(
            f"{self._recipe.name}: {what} of method {method!r} can't be {self._io_dtype}: it meets {names} and not one "
            f"{wanted}, so the model does not quantize it there. Leave io_dtype out, or let the model's first and last "
            "operators be ones that the target quantizes."
        )

    def _add(self, method: str, side: str, index: int, figures: tuple[Any, ...]) -> None:
        *numbers, dtype = figures
        for key, figure in zip(_KEYS, (*numbers, scalar_type_enum(dtype)), strict=True):
            self._constants[get_config_method_name(method, side, index, key)] = figure


def _is_float(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.is_floating_point()
