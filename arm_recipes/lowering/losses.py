"""What quantization destroys: the quantized module held against its float model, value by value, while it is made.

Both graphs come from one: the prepared one, kept as it was before conversion, and the converted one, whose nodes have
the same names. They are run side by side on a sample or a few that the model was calibrated on, so that nothing but the
values under way is in memory.
"""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from executorch.export import ExportSession
from torch import Tensor
from torch.fx import GraphModule, Node

from arm_recipes.errors import LoweringError, QuantizationWarning
from arm_recipes.upstream.graphs import is_operator, kernel_name, operator_name, quantizes, where
from arm_recipes.upstream.private import tree_leaves
from arm_recipes.upstream.session import quantized_modules

from .integer_io import QuantizedTensor
from .masks import FLOORS
from .observed import Inputs, Stepper, attribute, hand_on_samples, take_samples, without_observers
from .records import QuantizationCheck, QuantizationLoss
from .tables import arguments_of, is_tabled, looked_up

# A layer that keeps less has errors a third as large as its values.
LEAST_DB = 10.0
# A single constant off by 1 %.
CONSTANT_DB = 40.0
# A table that is worse than 8 bits: told. One whose errors are 3 % of its values: refused.
TABLE_DB = 48.0
REFUSED_TABLE_DB = 30.0
# A layer that a sample hardly stirs, in a range of which it takes less than this, tells nothing.
_STIRRED = 0.05
# By so many dB a layer is worse than the worst that it reads.
_FALL = 6.0
_TOLD = 5

_FLOAT = "arm_recipes.float"
_CHECK = "arm_recipes.quantization_check"


class LossCheck:
    """Holds the quantized module against the float model: `keep` before conversion, `measure` after it."""

    def __init__(self, recipe: str, *, refuse: bool) -> None:
        """
        Args:
            recipe: name for messages.
            refuse: whether a table that is nothing like its function is an error, and not only told.
        """
        self._recipe = recipe
        self._refuse = refuse

    def keep(self, prepared: GraphModule) -> GraphModule:
        """A pre-convert pass."""
        prepared.meta[_FLOAT] = (without_observers(prepared), take_samples(prepared))
        return prepared

    def measure(self, converted: GraphModule) -> GraphModule:
        """A post-convert pass.

        Raises:
            LoweringError: a table of 16 bits is nothing like its function.
        """
        float_model, samples = converted.meta.pop(_FLOAT)
        hand_on_samples(converted, samples)
        try:
            check = _compared(float_model, converted, samples)
        except Exception as error:  # the check must not cost an export that works
            check = QuantizationCheck(0, (), (), f"{type(error).__name__}: {error}")
        converted.meta[_CHECK] = check
        tables = [loss for loss in check.losses if loss.kind == "table" and loss.sqnr_db < REFUSED_TABLE_DB]
        if tables and self._refuse:
            raise LoweringError(
                f"{self._recipe}: {'; '.join(map(str, tables))} With cures=False the program is made as it is."
            )
        if check.losses:
            told = [str(loss) for loss in check.losses[:_TOLD]]
            if len(check.losses) > _TOLD:
                told.append(f"And {len(check.losses) - _TOLD} more, which the report lists.")
            warnings.warn(
                f"{self._recipe}: quantization destroys a part of the model. {' '.join(told)}",
                QuantizationWarning,
                stacklevel=2,
            )
        return converted


def quantization_checks(session: ExportSession) -> dict[str, QuantizationCheck]:
    """How each method's quantized module compares with its float model; empty where nothing was quantized.

    Works for any session of a recipe of arm_recipes, also one from executorch's own `export`.
    """
    modules = quantized_modules(session)
    return {method: module.meta[_CHECK] for method, module in modules.items() if _CHECK in module.meta}


@dataclass
class _Sums:
    """Of squares of a value and of its error.

    Attributes:
        node: of the converted graph: a quantize node, an operator with a table, the reader of a constant.
        scale: of the value.
        signal: sum of the float values' squares.
        noise: sum of the differences' squares.
        peak: largest magnitude of the float values.
    """

    node: Node
    scale: QuantizedTensor | None
    signal: float = 0.0
    noise: float = 0.0
    peak: float = 0.0

    def add(self, wanted: Tensor, value: Tensor, floor: float | None = None) -> None:
        wanted = wanted.to(torch.float64)
        if floor is not None:
            wanted = wanted.clamp(min=floor)
            value = value.clamp(min=floor)
        error = value.to(torch.float64) - wanted
        finite = torch.isfinite(wanted)
        if not bool(finite.all()):
            wanted, error = wanted[finite], error[finite]
        self.signal += float(wanted.square().sum())
        self.noise += float(error.square().sum())
        self.peak = max(self.peak, float(wanted.abs().max())) if wanted.numel() else self.peak

    @property
    def sqnr_db(self) -> float:
        """Infinite too where the values are all zero, which says nothing of what is lost."""
        if self.noise == 0 or self.signal == 0:
            return math.inf
        return 10 * math.log10(self.signal / self.noise)

    @property
    def stirred(self) -> bool:
        if self.scale is None:
            return True
        return self.peak >= _STIRRED * self.scale.scale * (self.scale.quant_max - self.scale.quant_min) / 2


class _Comparison:
    """The sums of all that is compared, in the converted graph's order."""

    def __init__(self, float_model: GraphModule, converted: GraphModule) -> None:
        self._float_model = float_model
        self._converted = converted
        self._floors: dict[str, float] = converted.meta.get(FLOORS, {})
        self._twins = {node.name: node for node in float_model.graph.nodes}
        self.layers: dict[Node, _Sums] = {}
        self.constants: dict[tuple[Node, Node], _Sums] = {}
        self.tables: dict[Node, _Sums] = {}
        self.outputs: dict[int, _Sums] = {}
        for node in converted.graph.nodes:
            if _is(node, "quantize_per_tensor"):
                (source,) = node.all_input_nodes[:1]
                if is_operator(source) and source.name in self._twins:
                    self.layers[node] = _Sums(node, QuantizedTensor.of(node))

    def add(self, inputs: Inputs) -> None:
        readers: dict[str, int] = {}
        for node in self.layers:
            readers[node.all_input_nodes[0].name] = readers.get(node.all_input_nodes[0].name, 0) + 1
        floats = Stepper(self._float_model).steps(inputs)
        values: dict[str, Tensor] = {}
        stepper = Stepper(self._converted)
        for node, value in stepper.steps(inputs):
            if node in self.layers:
                name = node.all_input_nodes[0].name
                while name not in values:
                    step, result = next(floats)
                    if step.name in readers:
                        values[step.name] = result
                scale = self.layers[node].scale
                if scale is not None:
                    self.layers[node].add(values[name], scale.dequantize(value), self._floors.get(name))
                readers[name] -= 1
                if not readers[name]:
                    values[name] = torch.empty(0)
            elif node.op == "call_function" and not quantizes(node):
                self._constants(node, stepper.env)
                self._table(node, stepper.env)
            elif node.op == "output":
                ((_, wanted),) = deque(floats, maxlen=1)
                self._outputs(tree_leaves(value), tree_leaves(wanted))

    def _outputs(self, values: Sequence[Any], wanted: Sequence[Any]) -> None:
        for index, (value, want) in enumerate(zip(values, wanted, strict=True)):
            if isinstance(want, Tensor) and want.is_floating_point():
                self.outputs.setdefault(index, _Sums(self._converted.graph.output_node(), None)).add(want, value)

    def _constants(self, node: Node, env: dict[Node, Any]) -> None:
        twin = self._twins.get(node.name)
        if twin is None:
            return
        # Biases are integers of 32 bits.
        for argument, float_argument in list(zip(node.args, twin.args, strict=False))[:2]:
            if not (isinstance(argument, Node) and isinstance(float_argument, Node)):
                continue
            if "dequantize" not in operator_name(argument) or float_argument.op != "get_attr":
                continue
            if (node, argument) in self.constants or argument not in env:
                continue
            wanted = attribute(self._float_model, str(float_argument.target))
            sums = self.constants[node, argument] = _Sums(node, None)
            if wanted.shape == env[argument].shape and not _is_negligible(node, wanted):
                sums.add(wanted, env[argument], self._floors.get(float_argument.name))

    def _table(self, node: Node, env: dict[Node, Any]) -> None:
        if not is_tabled(node):
            return
        quantization = arguments_of(node)
        if quantization is None:
            return
        source, result = quantization
        codes = source.quantize_value(env[node.args[0]])  # type: ignore[index]
        exact = result.quantize_value(env[node])
        scale = QuantizedTensor.of(next(iter(node.users)))
        self.tables.setdefault(node, _Sums(node, scale)).add(exact, looked_up(node, codes, source, result))


def _is(node: Node, name: str) -> bool:
    return node.op == "call_function" and kernel_name(node.target)[1] == name


def _is_negligible(node: Node, constant: Tensor) -> bool:
    """Whether it is added to values whose steps are larger, as a norm's eps is."""
    if kernel_name(node.target)[1] not in ("add", "sub"):
        return False
    scales = [QuantizedTensor.of(user) for user in node.users if _is(user, "quantize_per_tensor")]
    return any(scale is not None and float(constant.abs().max()) < scale.scale for scale in scales)


def _compared(float_model: GraphModule, converted: GraphModule, samples: list[Inputs]) -> QuantizationCheck:
    comparison = _Comparison(float_model, converted)
    used = 0
    for inputs in samples:
        comparison.add(inputs)
        used += 1
        if not any(True for _ in _losses(comparison)):
            break  # what is right on one sample is; what is wrong on one may be the sample's
    outputs = tuple(round(sums.sqnr_db, 2) for sums in comparison.outputs.values())
    return QuantizationCheck(used, outputs, tuple(_losses(comparison)))


def _losses(comparison: _Comparison) -> Iterator[QuantizationLoss]:
    for (node, _), sums in comparison.constants.items():
        single = sums.signal == sums.peak**2
        if sums.sqnr_db < (CONSTANT_DB if single else LEAST_DB):
            off = 100 * math.sqrt(sums.noise / sums.signal)
            gone = "becomes zero" if off > 99.9 else f"is off by {off:.2g} %"
            yield QuantizationLoss(
                "constant",
                where(node),
                sums.sqnr_db,
                f"its constant, {sums.peak:.3g} at the most, {gone} ({sums.sqnr_db:.1f} dB)",
                "Scale it into a weight or a constant before it, so that both are of a usual size.",
            )
    for node, sums in comparison.tables.items():
        if sums.sqnr_db < TABLE_DB:
            yield QuantizationLoss(
                "table",
                where(node),
                sums.sqnr_db,
                f"TOSA's 16-bit table of it, 513 points with lines between them, keeps {sums.sqnr_db:.1f} dB of the "
                "function over the range of its input",
                "Narrow that range with a clamp before it, or take an INT8 recipe, whose tables hold every value.",
            )
    yield from _layer_losses(comparison)
    for index, sums in comparison.outputs.items():
        if sums.sqnr_db < LEAST_DB:
            yield QuantizationLoss(
                "output",
                f"output {index}",
                sums.sqnr_db,
                f"{sums.sqnr_db:.1f} dB of its float value are left",
                "verify(per_layer=True) shows where it is lost; calibrate on more samples, or keep that part in float.",
            )


def _layer_losses(comparison: _Comparison) -> Iterator[QuantizationLoss]:
    """Only where it begins: what is computed from lost values is lost as well."""
    # What falls by a dB or two in each of many layers is destroyed in none of them; the outputs tell that.
    layers = comparison.layers
    lost = {node for node, sums in layers.items() if sums.sqnr_db < LEAST_DB and sums.stirred}
    for node in layers:
        before = min((layers[each].sqnr_db for each in _before(node) if each in layers), default=math.inf)
        if node not in lost or layers[node].sqnr_db > before - _FALL:
            continue
        source, sums = node.all_input_nodes[0], layers[node]
        scale = sums.scale
        assert scale is not None
        yield QuantizationLoss(
            "layer",
            where(source),
            sums.sqnr_db,
            f"{sums.sqnr_db:.1f} dB of its float values are left, in steps of {scale.scale:.3g} for magnitudes up to "
            f"{sums.peak:.3g}",
            "Scale its values to a usual size, keep the few that are far larger out of its range, or keep its module "
            "in float.",
        )


def _before(node: Node) -> Iterator[Node]:
    """The quantize nodes whose values a layer reads."""
    todo, seen = list(node.all_input_nodes), set()
    while todo:
        source = todo.pop()
        if source in seen:
            continue
        seen.add(source)
        if _is(source, "quantize_per_tensor"):
            yield source
        else:
            todo.extend(source.all_input_nodes)
