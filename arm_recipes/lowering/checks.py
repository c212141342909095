"""What a recipe can see of a mistake while the standard session runs: parts that check, and change nothing.

The session calls a recipe's quantizers on the captured model, before anything is quantized, and its edge transform
callables on each exported program, before anything is lowered. What these raise reaches the caller as it is. (What
the QuantizationRecipe's passes raise comes out as a RuntimeError around it.)
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence

import torch
from executorch.exir.lowered_backend_module import LoweredBackendModule, get_lowered_submodules
from executorch.exir.pass_manager import PassType
from executorch.exir.program import EdgeProgramManager
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e.quantizer import Quantizer

from arm_recipes.errors import LoweringError, ModelError
from arm_recipes.recipes.catalog import Recipe
from arm_recipes.recipes.operators import instead_of
from arm_recipes.upstream.graphs import arguments_by_name, calls, is_operator, operator_name, quantizes, where
from arm_recipes.upstream.lowered_graphs import KeepingPartitioner, without_folder
from arm_recipes.upstream.partitioner import Verdict
from arm_recipes.upstream.session import note_constants


class CapturedModelCheck(Quantizer):
    """Annotates nothing. Refuses a model that was captured in training mode, and another Arm recipe beside it.

    It is one of the recipe's quantizers, after upstream's, and its `note` one of the pre-prepare passes: it has to look
    before prepare_pt2e fuses batch norms away, and to raise where the session doesn't wrap what is raised.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self._recipe = recipe

    def note(self, model: GraphModule) -> GraphModule:
        model.meta[_TRAINS] = _first_in_training_mode(model)
        model.meta[_NARROW] = _narrow(model)
        model.meta.setdefault(_RECIPES, []).append(self._recipe.name)
        return model

    def transform_for_annotation(self, model: GraphModule) -> GraphModule:
        _refuse_training(self._recipe, model.meta.get(_TRAINS))
        if model.meta.get(_NARROW) is not None:
            raise ModelError(
                f"{self._recipe.name}: the model computes in {model.meta[_NARROW]}, and executorch quantizes float32 "
                "alone. Give model.float(), with inputs of float32."
            )
        recipes = model.meta.get(_RECIPES, ())  # none in the bodies of control flow
        if len(recipes) > 1:
            raise ModelError(
                f"{' and '.join(recipes)} are combined, and a model can be quantized for one of them only. Export once "
                "for each; ExportRecipe.combine is for an Arm recipe and one of another backend."
            )
        return model

    def annotate(self, model: GraphModule) -> GraphModule:
        return model

    def validate(self, model: GraphModule) -> None:
        """Nothing to validate: nothing was annotated."""


def _narrow(model: GraphModule) -> str | None:
    """The dtype of 16 bits that a model's parameters or inputs have; None for none."""
    values = [node.meta.get("val") for node in model.graph.find_nodes(op="placeholder")]
    for value in (*model.parameters(), *values):
        if isinstance(value, torch.Tensor) and value.dtype in (torch.float16, torch.bfloat16):
            return str(value.dtype).removeprefix("torch.")
    return None


_TRAINS = "arm_recipes.trains"
_NARROW = "arm_recipes.narrow"
_RECIPES = "arm_recipes.recipes"


class ProgramCheck:
    """An edge transform callable that asks for no passes. Refuses a program that the recipe was not made for."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def __call__(self, method: str, program: ExportedProgram) -> list[PassType]:
        _refuse_training(self.recipe, _first_in_training_mode(program.graph_module))
        refuse_dynamic(self.recipe, method, dynamic_dimensions(program))
        note_constants(program)
        unquantized = self.recipe.precision.quantized and not quantized(program.graph_module)
        if unquantized and any(map(_computes_in_float, program.graph.nodes)):
            raise _unquantized(self.recipe, method)
        return []


class DelegationCheck:
    """An edge manager callable that asks for no passes. Refuses a program of which nothing was delegated."""

    def __init__(self, recipe: Recipe, partitioner: KeepingPartitioner, *, allow_no_delegation: bool) -> None:
        """
        Args:
            recipe: the catalog row.
            partitioner: the recipe's. A delegate that has other compile specs is another recipe's.
            allow_no_delegation: only warn.
        """
        self._recipe = recipe
        self._partitioner = partitioner
        self._allowed = allow_no_delegation

    def __call__(self, manager: EdgeProgramManager) -> list[PassType]:
        own: list[str] = []
        others: list[str] = []
        verdicts = self._partitioner.take_verdicts()
        compile_specs = self._partitioner.delegation_spec.compile_specs
        for method in sorted(manager.methods):
            for module in _delegates(manager.exported_program(method).graph_module):
                (own if without_folder(module.compile_specs) == compile_specs else others).append(module.backend_id)
        if not own:
            self._refuse(manager, sorted(set(others)), verdicts)
        return []

    def _refuse(self, manager: EdgeProgramManager, others: list[str], verdicts: Sequence[Verdict]) -> None:
        name = self._recipe.name
        if others:
            raise LoweringError(
                f"{name}: nothing was delegated to it, as {', '.join(others)} took it all: of Arm recipes that are "
                "combined the first one wins. Export once for each target."
            )
        operators = sorted(
            {
                operator_name(node)
                for method in manager.methods
                for node in calls(manager.exported_program(method).graph_module)
                if is_operator(node) and not quantizes(node)
            }
        )
        problem = (
            f"{name}: no operator was delegated to {self._recipe.target.name}; all of the program would run on the "
            f"CPU ({', '.join(operators) or 'it has no operators'})."
        )
        if not self._allowed:
            raise LoweringError(
                f"{problem}{_reasons(verdicts)}{self._instead(verdicts)} Put in their place operators that the target "
                "has, beside others that it delegates; or, if this is wanted all the same, give "
                "allow_no_delegation=True."
            )
        warnings.warn(problem, stacklevel=2)

    def _instead(self, verdicts: Sequence[Verdict]) -> str:
        operators = dict.fromkeys(verdict.captured for verdict in verdicts if not verdict.delegated)
        told = dict.fromkeys(each for operator in operators for each in instead_of(self._recipe, operator))
        return "".join(f" {each}." for each in told)


def _reasons(verdicts: Sequence[Verdict]) -> str:
    told = {
        f"{verdict.operator}{f' of {verdict.module}' if verdict.module else ''}: {verdict.reason.strip().rstrip('.')}."
        for verdict in verdicts
        if verdict.reason and not verdict.delegated and "quantize_per_" not in verdict.operator
    }
    if told:
        left = any("not marked as quantized" in reason for reason in told)
        hint = (
            " (Upstream's quantizer left it in float: it takes pooling and the like only behind an operator that it "
            'quantizes, and convolutions whose padding is a number, not "same".)'
        )
        return f" Upstream's partitioner says of {' And of '.join(sorted(told)[:3])}{hint if left else ''}"
    # It leaves these outside in silence.
    return (
        " Upstream's partitioner refuses none of them: it cuts off what only moves or quantizes values, and a delegate "
        "of nothing else is none."
    )


def _refuse_training(recipe: Recipe, node: Node | None) -> None:
    if node is not None:
        raise ModelError(
            f"{recipe.name}: the model was captured in training mode ({where(node)} still trains), so its program "
            "would be random or wrong. Call model.eval() before export; a dropout that is asked for with "
            "training=True in the model's code has to go from there."
        )


def _first_in_training_mode(graph_module: GraphModule) -> Node | None:
    return next((node for node in calls(graph_module) if _in_training_mode(node)), None)


def _in_training_mode(node: Node) -> bool:
    """Whether an operator with a train flag has it set, to an effect."""
    arguments = arguments_by_name(node)
    if not any(arguments.get(flag) is True for flag in ("train", "training")):
        return False
    if "momentum" in arguments:
        # Without running statistics batch norm uses the batch's own, in eval mode as well.
        return arguments.get("running_mean") is not None
    # Dropout, on its own or between the layers of an RNN, is off at probability zero.
    return arguments.get("p", arguments.get("dropout")) != 0


def dynamic_dimensions(program: ExportedProgram) -> dict[str, list[int]]:
    """The user's inputs that have sizes known only at run time, with the dimensions."""
    names = {spec.arg.name for spec in program.graph_signature.input_specs if spec.kind is InputKind.USER_INPUT}
    found = {}
    for node in program.graph.find_nodes(op="placeholder"):
        value = node.meta.get("val")
        if node.name in names and isinstance(value, torch.Tensor):
            dimensions = [index for index, size in enumerate(value.shape) if not isinstance(size, int)]
            if dimensions:
                found[node.name] = dimensions
    return found


def refuse_dynamic(recipe: Recipe, method: str, dimensions: Mapping[str, Sequence[int]]) -> None:
    """None of Arm's ahead-of-time compilers takes a size that is known only at run time.

    Args:
        recipe: the catalog row.
        method: name of the method.
        dimensions: which are dynamic, by input.
    """
    for name, indices in dimensions.items():
        raise ModelError(
            f"{recipe.name}: input {name!r} of method {method!r} has a dynamic size in dimension "
            f"{', '.join(map(str, indices))}, and {recipe.target.name} is compiled for fixed sizes only. "
            "Leave dynamic_shapes out, and export once for each size, as methods of one program if need be."
        )


def _unquantized(recipe: Recipe, method: str) -> ModelError:
    return ModelError(
        f"{recipe.name}: nothing in method {method!r} is quantized. executorch quantizes only an nn.Module: an "
        "ExportedProgram or a GraphModule is lowered as it is, in float, and so not for this target. Give the "
        "nn.Module (arm_recipes.export takes an ExportedProgram too), or a program that was prepared and converted "
        "with a quantizer for this target. If it was an nn.Module, the target's quantizer supports none of its "
        "operators; a float recipe may lower it."
    )


def _computes_in_float(node: Node) -> bool:
    """Whether there is something to quantize: what compares or chooses integers is left as it is."""
    tensors = [node.meta.get("val"), *(source.meta.get("val") for source in node.all_input_nodes)]
    return is_operator(node) and any(isinstance(value, torch.Tensor) and value.is_floating_point() for value in tensors)


def quantized(graph_module: GraphModule) -> bool:
    """Whether there are quantize or dequantize operators in it."""
    return any(map(quantizes, calls(graph_module)))


def _delegates(graph_module: GraphModule) -> Iterator[LoweredBackendModule]:
    for _, module, _ in get_lowered_submodules(graph_module):
        yield module
