"""The last look at a Cortex-M program, when all that is left is to plan its memory and to write it.

`memory_order` puts tensors in the order that their kernels take while upstream has steps of its own to come. This holds
what they leave, the kernels' calls as the .pte will have them, to the same table.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from executorch.exir.passes import MemoryPlanningPass
from executorch.exir.tensor import TensorSpec
from torch.export.graph_signature import ExportGraphSignature
from torch.fx import GraphModule, Node
from torch.fx.passes.infra.pass_base import PassResult

from arm_recipes.errors import LoweringError
from arm_recipes.recipes.catalog import Recipe
from arm_recipes.upstream.graphs import arguments_by_name, calls, kernel_name, operator_of, where_in_code
from arm_recipes.upstream.private import tree_leaves

from .device_kernels import Demand, Placed, demand_of, reads_first_alone


class CheckedPlanning(MemoryPlanningPass):
    """executorch's memory planning, which changes nothing else, after a look at each kernel's call.

    Raises:
        LoweringError: a kernel is handed a tensor, or is to give one, in an order that it doesn't take.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self._recipe = recipe

    def run(self, graph_module: GraphModule, graph_signature: ExportGraphSignature | None = None) -> PassResult:
        for problem in violations(graph_module):
            raise LoweringError(
                f"{self._recipe.name}: {problem}. The program would give wrong values on the device, or fail. Please "
                "report the model; in its code, x = x.contiguous() before or after that operator may help."
            )
        planned: PassResult = super().run(graph_module, graph_signature)
        return planned


def violations(graph_module: GraphModule) -> Iterator[str]:
    """What kernels demand and don't get, in a graph of out variants whose nodes have specs."""
    for node in calls(graph_module):
        kernel = ".".join(kernel_name(node.target))
        demand = demand_of(kernel)
        if operator_of(node.target) is None or demand in (Demand.ANY, Demand.AS_LOWERED):
            continue
        results = [each for each in map(_placed, tree_leaves(node.meta.get("spec"))) if each is not None]
        tensors = list(_read(node))
        if reads_first_alone(kernel):
            tensors = tensors[:1]
        wanted = demand.wanted(tensors) if tensors else ()
        for tensor, order in zip(tensors, wanted, strict=True):
            if order is not None:
                at = where_in_code(node)
                yield f"{at} reads a tensor in memory order {tensor.order}, and its kernel takes {demand.text}"
        if not demand.gives(tensors, results):
            orders = ", ".join(str(result.order) for result in results)
            yield f"{where_in_code(node)} gives tensors in memory order {orders}, and its kernel takes {demand.text}"


def _read(node: Node) -> Iterator[Placed]:
    """The tensors that a call reads, but not those that it writes to."""
    for name, value in arguments_by_name(node).items():
        if name == "out" or name.startswith("out"):
            continue
        for source in tree_leaves(value):
            place = _placed(source.meta.get("spec")) if isinstance(source, Node) else None
            if place is not None:
                yield place


def _placed(spec: Any) -> Placed | None:
    if not isinstance(spec, TensorSpec):
        return None
    return Placed(tuple(int(size) for size in spec.shape), tuple(int(dimension) for dimension in spec.dim_order))
