"""Writes in place: to buffers, and to parts of tensors. What quantization would lose is refused; calibration changes no
buffer."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e.quantizer import Quantizer

from arm_recipes.errors import ModelError
from arm_recipes.upstream.graphs import is_view, where, writes_to


class StateCheck(Quantizer):
    """Annotates nothing. Refuses a model whose writes to a buffer the quantizers before it have taken out of the graph.

    It goes last among the recipe's quantizers. `note` belongs to the pre-prepare passes, `keep` to the post-prepare
    passes, and `restore` to the post-convert passes.
    """

    def __init__(self, recipe: str) -> None:
        """
        Args:
            recipe: name for messages.
        """
        super().__init__()
        self._recipe = recipe
        self._writes: list[_Write] = []
        self._parts: str | None = None
        self._initial: dict[str, Tensor] = {}

    def note(self, model: GraphModule) -> GraphModule:
        self._writes = _writes(model)
        self._parts = _written_part(model)
        return model

    def transform_for_annotation(self, model: GraphModule) -> GraphModule:
        if self._parts is not None:
            raise ModelError(
                f"{self._recipe}: {self._parts} writes to memory that is read afterwards by way of another view, and "
                "quantization takes the two apart: the program would be without what is written. Put the tensor "
                "together instead, with torch.cat, torch.stack or torch.where."
            )
        return model

    def annotate(self, model: GraphModule) -> GraphModule:
        self._refuse_lost(model)
        return model

    def validate(self, model: GraphModule) -> None:
        """Nothing to validate: nothing was annotated."""

    def keep(self, model: GraphModule) -> GraphModule:
        self._refuse_lost(model)  # an observer between buffer and write: that would go to a quantized copy
        self._initial = {write.name: write.buffer.clone() for write in _writes(model)}
        return model

    def restore(self, model: GraphModule) -> GraphModule:
        """What the calibration wrote would be the state that the program begins with."""
        with torch.no_grad():
            for write in _writes(model):
                write.buffer.copy_(self._initial[write.name])
        self._writes, self._initial = [], {}
        return model

    def _refuse_lost(self, model: GraphModule) -> None:
        # Upstream: RewriteInplaceArithmeticPass, CortexMQuantizer. Holds for executorch 1.5.1;
        # tests/lowering/test_state.py::test_upstream_loses_state fails when it can go.
        kept = {write.name for write in _writes(model)}
        lost = [f"{write.name!r}, by {write.operator}" for write in self._writes if write.name not in kept]
        if lost:
            raise ModelError(
                f"{self._recipe}: the model keeps state in a buffer ({'; '.join(lost)}), and executorch's quantizer "
                "loses what is written there: each call would begin with the state of the first. Let the model take "
                "its state as an input and give it as an output."
            )


@dataclass(frozen=True)
class _Write:
    """A write to a buffer of the captured module.

    Attributes:
        name: name of the buffer.
        buffer: the tensor.
        operator: that writes, and its module.
    """

    name: str
    buffer: Tensor
    operator: str


def _writes(model: GraphModule) -> list[_Write]:
    """All writes to buffers, or to views of them."""
    writes = []
    for node in model.graph.nodes:
        for index in writes_to(node):
            written = node.args[index] if index < len(node.args) else None
            while isinstance(written, Node) and (is_view(written) or writes_to(written)) and written.args:
                written = written.args[0]
            if isinstance(written, Node) and written.op == "get_attr":
                name = str(written.target)
                writes.append(_Write(name, attrgetter(name)(model), where(node)))
    return writes


def _written_part(model: GraphModule) -> str | None:
    """The first operator that writes to an activation, or a view of one, read later by way of another; or None.

    Observers go between a tensor and its views, so that what is written to a view reaches it alone.
    """
    order = {node: index for index, node in enumerate(model.graph.nodes)}
    for node in model.graph.nodes:
        for index in writes_to(node):
            written = node.args[index] if index < len(node.args) else None
            through: set[Node] = set()
            while isinstance(written, Node) and is_view(written) and written.args:
                through.add(written)
                written = written.args[0]
            if not isinstance(written, Node) or written.op == "get_attr":
                continue
            others = _aliases(written) - (through or {written})
            if any(order[reader] > order[node] for alias in others for reader in alias.users):
                return where(node)
    return None


def _aliases(tensor: Node) -> set[Node]:
    """A tensor and all that views it."""
    aliases, todo = {tensor}, [tensor]
    while todo:
        views = {reader for reader in todo.pop().users if is_view(reader)} - aliases
        aliases |= views
        todo += views
    return aliases
