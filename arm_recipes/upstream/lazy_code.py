"""Graph modules that write their Python code when it is asked for, and not after each change of their graph.

Of the some hundred graph modules that a lowering makes, nearly all are only looked at, node by node. torch has such a
module too (`_LazyGraphModule`), for its own compiler: code must ask for it, and its `forward` has no signature.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from torch.fx.graph_module import GraphModule

# Upstream: GraphModule.recompile writes the code at each call. Holds for torch 2.13;
# tests/upstream/test_savings.py::test_upstream_writes_code_at_once fails when it can go.
recompile_now: Callable[[GraphModule], Any] = GraphModule.recompile

# What it sets, and what takes it from the module's dict. Each graph module has a class of its own.
_PENDING = ("forward", "_code", "_lineno_map", "_prologue_start", "__reduce__", "__reduce_package__")


class _Pending:
    """An attribute of a graph module that `recompile` would have set: whoever asks for it has the code written."""

    def __init__(self, module: GraphModule, name: str) -> None:
        self._module = weakref.ref(module)
        self._name = name

    def __get__(self, instance: GraphModule | None, owner: type) -> Any:
        module = instance if instance is not None else self._module()
        if module is None:
            raise AttributeError(f"the graph module whose {self._name} this would be is gone")
        _write(module)
        return getattr(module if instance is not None else owner, self._name)


class _PendingCode:
    """What `recompile` returns, for the few that use it: a PythonCode."""

    def __init__(self, module: GraphModule) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(_write(self._module), name)


def recompile_when_asked(module: GraphModule) -> Any:
    """In place of `GraphModule.recompile`; the code is of the graph as it is when it is first asked for."""
    codegen = module.graph._codegen
    if hasattr(codegen, "pytree_info"):  # a _PyTreeCodeGen: these two are read without any code
        module._in_spec = codegen.pytree_info.in_spec
        module._out_spec = codegen.pytree_info.out_spec
    for name in _PENDING:
        vars(module).pop(name, None)
        setattr(type(module), name, _Pending(module, name))
    return _PendingCode(module)


def _write(module: GraphModule) -> Any:
    for name in _PENDING:
        if isinstance(vars(type(module)).get(name), _Pending):
            delattr(type(module), name)
    return recompile_now(module)
