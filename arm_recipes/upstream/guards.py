"""What torch.export proves of sizes, where no size can vary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch._dynamo import functional_export

# Upstream: Dynamo writes, compiles and runs guards of each exported function, and throws them away: only what they
# raise about sizes counts. Holds for torch 2.13;
# tests/upstream/test_savings.py::test_upstream_makes_guards_of_constant_sizes fails when it can go.
prove: Callable[..., None] = vars(functional_export)["_suggest_or_raise_constraint_violation"]


def prove_what_varies(
    module: Any, original: Any, fake_mode: Any, captured: Any, args: Any, kwargs: Any, dynamic_shapes: Any
) -> None:
    """Upstream's function, which has nothing to say where no size was asked to vary and none does."""
    sizes = getattr(fake_mode, "shape_env", None)
    if dynamic_shapes or sizes is None or sizes.var_to_range:
        prove(module, original, fake_mode, captured, args, kwargs, dynamic_shapes)
