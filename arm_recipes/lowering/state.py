"""State: buffers that a model writes to. What quantization would lose is refused, calibration changes none of it."""

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
        self._initial: dict[str, Tensor] = {}

    def note(self, model: GraphModule) -> GraphModule:
        self._writes = _writes(model)
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
