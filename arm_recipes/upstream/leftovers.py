"""What torch keeps of an export for the life of the process, taken away: graphs, and each delegate's program."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from executorch.exir.lowered_backend_module import LoweredBackendModule
from torch._dynamo import functional_export
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.ao.quantization.fx import utils as quantization_utils
from torchao import utils as torchao_utils


@contextmanager
def none_kept() -> Iterator[None]:
    """Take away afterwards what was added within the context."""
    # Upstream: Dynamo puts each function that it compiled into the globals of the module that asked for it; fake
    # tensors remember calls by their arguments, of which a delegate is one; torch and torchao remember for each
    # quantized module, with its weights, on which device it is. Holds for torch 2.13 and torchao 0.18;
    # tests/upstream/test_leftovers.py::test_torch_keeps_graphs fails when it can go.
    names: dict[str, Any] = vars(functional_export)
    before = set(names)
    calls = FakeTensorMode.cache
    known = len(calls)
    try:
        yield
    finally:
        for name in [name for name in names if name.startswith("__compiled_fn_") and name not in before]:
            del names[name]
        new = itertools.islice(reversed(calls), max(0, len(calls) - known))
        for call in [call for call in new if any(isinstance(part, LoweredBackendModule) for part in call.key)]:
            del calls[call]
        for remembers in (torchao_utils._assert_and_get_unique_device, quantization_utils.assert_and_get_unique_device):
            remembers.cache_clear()
