"""What torch keeps of an export for the life of the process, taken away: graphs, and each delegate's program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from executorch.exir.lowered_backend_module import LoweredBackendModule
from torch._dynamo import functional_export
from torch._subclasses.fake_tensor import FakeTensorMode


@contextmanager
def none_kept() -> Iterator[None]:
    """Take away afterwards what was added within the context."""
    # Upstream: Dynamo puts each function that it compiled into the globals of the module that asked for it, and fake
    # tensors remember calls by their arguments, of which a delegate is one. Holds for torch 2.13;
    # tests/upstream/test_leftovers.py::test_torch_keeps_graphs fails when it can go.
    names: dict[str, Any] = vars(functional_export)
    before = set(names)
    try:
        yield
    finally:
        for name in [name for name in names if name.startswith("__compiled_fn_") and name not in before]:
            del names[name]
        calls = FakeTensorMode.cache
        for call in [call for call in calls if any(isinstance(part, LoweredBackendModule) for part in call.key)]:
            del calls[call]
