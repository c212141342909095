"""What executorch's passes compute of every node again and again, computed once: the shape that it gives.

A pass traces its graph anew: each operator is run on fake tensors, for its shape, type and strides, although the pass
changes a few nodes of a thousand. What an operator gives depends on what it reads alone, so a value notes what it was
computed of, and where the same operator reads the same again, the value is what it was.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from executorch.exir.dialects.edge._ops import EdgeOpOverload
from executorch.exir.pass_base import ExportPass, ProxyValue, _ExportPassBase
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx.immutable_collections import immutable_list

_PLAIN = (bool, int, float, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format)
_LISTS = (list, tuple, immutable_list)
_COMPUTED_OF, _DESCRIBED = "_arm_recipes_computed_of", "_arm_recipes_described"

# Upstream: _ExportPassBase._fx. Holds for executorch 1.5;
# tests/upstream/test_retrace.py::test_upstream_runs_every_operator_again fails when it can go.
trace = _ExportPassBase._fx


class _UnknownError(Exception):
    """An argument of which it can't be told whether it is the same."""


def trace_what_changed(self: Any, kind: str, target: Any, args: Any, kwargs: Any, meta: Any) -> ProxyValue:
    """In the place of `trace`: the same node with the same value."""
    if kind != "call_function" or not _known(target) or type(self.tracer) is not ExportPass.ExportTracer:
        return trace(self, kind, target, args, kwargs, meta)
    try:
        of = (target, *map(_described, args), *((name, _described(value)) for name, value in kwargs.items()))
    except _UnknownError:
        return trace(self, kind, target, args, kwargs, meta)
    result = meta.data.get("val")
    # A pass over a graph without inputs has a mode of its own, and its values are another's no more.
    kept = type(result) is FakeTensor and result.fake_mode is self.tracer.fake_tensor_mode
    if not kept or getattr(result, _COMPUTED_OF, None) != of:
        result = self.interpreter.call_function(target, *_with(_data, args, kwargs))
        if type(result) is FakeTensor and result.constant is None:
            setattr(result, _COMPUTED_OF, of)
    name = self.tracer.graph._target_to_str(target.overloadpacket.__name__) if isinstance(target, OpOverload) else None
    node = self.tracer.create_node(kind, target, *_with(_node, args, kwargs), name)
    node.meta.update(meta.data)
    if type(result) is FakeTensor:
        node.meta["val"], node.meta["tensor_meta"] = result, None
    else:
        self.tracer.set_metadata(node, result)
    return ProxyValue(result, self.tracer.proxy(node))


@functools.cache
def _known(target: Any) -> bool:
    """Whether it is an operator whose results share no memory with what it reads."""
    if not isinstance(target, (EdgeOpOverload, OpOverload)):
        return False
    schema = target._op._schema if isinstance(target, EdgeOpOverload) else target._schema
    return not any(value.alias_info for value in (*schema.arguments, *schema.returns))


def _described(value: Any) -> Any:
    """All that an operator's fake result can depend on."""
    if type(value) is ProxyValue:
        value = value.data
    if type(value) is FakeTensor:
        described = getattr(value, _DESCRIBED, None)
        if described is None:
            if value._has_symbolic_sizes_strides or value.layout is not torch.strided:
                raise _UnknownError
            layout = tuple(value.shape), value.stride(), value.storage_offset()
            kind = value.dtype, value.device, value.requires_grad, value.constant is None
            described = kind, layout, id(value.fake_mode)
            setattr(value, _DESCRIBED, described)
        return described
    if type(value) in _PLAIN:
        return type(value), value  # 1, 1.0 and True are equal, and give different types
    if type(value) in _LISTS:
        return tuple(map(_described, value))
    raise _UnknownError


def _with(part: Callable[[ProxyValue], Any], args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Arguments with that part of each `ProxyValue` in its place."""

    def of(value: Any) -> Any:
        if type(value) is ProxyValue:
            return part(value)
        return type(value)(map(of, value)) if type(value) in _LISTS else value

    return tuple(map(of, args)), {name: of(value) for name, value in kwargs.items()}


def _data(value: ProxyValue) -> Any:
    return value.data


def _node(value: ProxyValue) -> Any:
    return value.node
