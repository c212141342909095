"""What is needed of executorch and torch and stands in their private modules only: nothing public has it.

`docs/upstream.md` lists each of these names, with what it is for.
"""

# Upstream: no public name. Holds for executorch 1.5.1 and torch 2.13;
# tests/upstream/test_private_names.py::test_nothing_public_has_them fails when one can go.

from executorch.exir.dialects._ops import ops as _dialects
from executorch.exir.dialects.edge._ops import EdgeOpOverload
from torch._ops import HigherOrderOperator, OpOverload
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._pytree import tree_flatten, tree_flatten_with_path, tree_leaves, tree_map_only, tree_unflatten

edge_operators = _dialects.edge
CLONE_DIM_ORDER = edge_operators.dim_order_ops._clone_dim_order.default
TO_DIM_ORDER_COPY = edge_operators.dim_order_ops._to_dim_order_copy.default

__all__ = [
    "CLONE_DIM_ORDER",
    "TO_DIM_ORDER_COPY",
    "EdgeOpOverload",
    "FakeTensor",
    "FakeTensorMode",
    "HigherOrderOperator",
    "OpOverload",
    "edge_operators",
    "tree_flatten",
    "tree_flatten_with_path",
    "tree_leaves",
    "tree_map_only",
    "tree_unflatten",
]
