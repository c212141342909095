"""The captured module gets tensors of its own: torch.export leaves it those of the caller's module.

Passes of executorch's quantizers write to them in place (FoldScalarMulIntoConvPass scales the weights of a convolution
before a multiplication), and so does a model that counts in a buffer, on each calibration sample.
"""

from __future__ import annotations

from operator import attrgetter

import torch
from torch import Tensor, nn
from torch.fx import GraphModule


def own_tensors(model: GraphModule) -> GraphModule:
    """A pre-prepare pass, the first: gives the module copies of all parameters, buffers and constants.

    What was one tensor under two names stays one. Strides stay as they are, but for a view that overlaps itself.
    """
    # Upstream: FoldScalarMulIntoConvPass. Holds for executorch 1.5.1;
    # tests/lowering/test_own_tensors.py::test_upstream_writes_to_the_caller_s_weights fails when it can go.
    copies: dict[int, tuple[Tensor, Tensor]] = {}  # with the tensor, whose id is another's once it is gone
    made: set[int] = set()

    def copied(value: Tensor) -> Tensor:
        if id(value) not in copies:
            copy = value.detach().clone(memory_format=torch.preserve_format)
            if isinstance(value, nn.Parameter):
                copy = nn.Parameter(copy, value.requires_grad)
            copies[id(value)] = value, copy
            made.add(id(copy))
        return copies[id(value)][1]

    for module in model.modules():
        named = [
            *module.named_parameters(recurse=False, remove_duplicate=False),
            *module.named_buffers(recurse=False, remove_duplicate=False),
        ]
        for name, value in named:
            setattr(module, name, copied(value))
        for node in module.graph.find_nodes(op="get_attr") if isinstance(module, GraphModule) else ():
            value = attrgetter(node.target)(module)
            if isinstance(value, Tensor) and id(value) not in made:
                path, _, name = node.target.rpartition(".")
                setattr(module.get_submodule(path), name, copied(value))
    return model
