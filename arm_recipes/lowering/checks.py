"""What a recipe can see of a mistake while the standard session runs: parts of the recipe that check, and change nothing.

The session calls a recipe's quantizers on the captured model, before anything is quantized, and its edge transform
callables on each exported program, before anything is lowered. What these raise reaches the caller as it is. (What
the QuantizationRecipe's passes raise comes out as a RuntimeError around it.)
"""

from __future__ import annotations

from collections.abc import Iterator

from executorch.exir.dialects.edge._ops import EdgeOpOverload
from executorch.exir.pass_manager import PassType
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e.quantizer import Quantizer

from ..catalog import Recipe
from ..errors import ModelError


class CapturedModelCheck(Quantizer):
    """Annotates nothing. Refuses a model that was captured in training mode.

    It goes first among the recipe's quantizers, and its `note` among the pre-prepare passes: it has to look before
    prepare_pt2e fuses batch norms away, and to raise where the session doesn't wrap what is raised.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self._recipe = recipe

    def note(self, model: GraphModule) -> GraphModule:
        model.meta[_TRAINS] = _first_in_training_mode(model)
        return model

    def transform_for_annotation(self, model: GraphModule) -> GraphModule:
        _refuse_training(self._recipe, model.meta.pop(_TRAINS, None))
        return model

    def annotate(self, model: GraphModule) -> GraphModule:
        return model

    def validate(self, model: GraphModule) -> None:
        """Nothing to validate: nothing was annotated."""


_TRAINS = "arm_recipes.trains"


class ProgramCheck:
    """An edge transform callable that asks for no passes. Refuses a program that the recipe was not made for."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    def __call__(self, method: str, program: ExportedProgram) -> list[PassType]:
        _refuse_training(self._recipe, _first_in_training_mode(program.graph_module))
        if self._recipe.precision.quantized:
            _refuse_unquantized(self._recipe, method, program)
        return []


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
    arguments = _arguments(node)
    if not any(arguments.get(flag) is True for flag in ("train", "training")):
        return False
    if "running_mean" in arguments:
        # Without running statistics batch norm uses the batch's own, in eval mode as well.
        return arguments["running_mean"] is not None
    # Dropout, on its own or between the layers of an RNN, is off at probability zero.
    return arguments.get("p", arguments.get("dropout")) != 0


def _arguments(node: Node) -> dict[str, object]:
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return {}
    return {**dict(zip((argument.name for argument in schema.arguments), node.args)), **node.kwargs}


def calls(graph_module: GraphModule) -> Iterator[Node]:
    for module in graph_module.modules():
        if isinstance(module, GraphModule):
            yield from (node for node in module.graph.nodes if node.op == "call_function")


def where(node: Node) -> str:
    """The operator, and the module of the user's model that it came from."""
    target = node.target._op if isinstance(node.target, EdgeOpOverload) else node.target
    operator = str(target).removesuffix(".default")
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values() if path]
    return f"{operator} of {paths[-1].removeprefix('L__self___')}" if paths else operator


def _refuse_unquantized(recipe: Recipe, method: str, program: ExportedProgram) -> None:
    if any(_quantizes(node) for node in calls(program.graph_module)):
        return
    raise ModelError(
        f"{recipe.name}: nothing in method {method!r} is quantized. executorch quantizes only an nn.Module: an "
        "ExportedProgram or a GraphModule is lowered as it is, in float, without this target's delegate. Give the "
        "nn.Module, or a program that was prepared and converted with a quantizer for this target. If it was an "
        "nn.Module, the target's quantizer supports none of its operators; a float recipe may lower it."
    )


def _quantizes(node: Node) -> bool:
    namespace = getattr(node.target, "namespace", None)
    return namespace in ("quantized_decomposed", "torchao") and "quantize" in str(node.target)
