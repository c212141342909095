"""Operators by the names that a .pte calls them by, and their schemas."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Kernel:
    """What a kernel computes, and how its arguments are given.

    Attributes:
        name: of the operator that computes the same without tensors to write to, e.g. ``aten.add.Tensor``.
        call: that operator.
        arguments: names of its arguments in order, each with whether it is given by name, and its type.
        outputs: number of tensors that the kernel writes to, which follow the arguments.
    """

    name: str
    call: Callable[..., Any]
    arguments: tuple[tuple[str, bool, str], ...]
    outputs: int


_OF_NEW_TENSORS = ("dtype", "layout", "device", "pin_memory")


@functools.cache
def kernel(name: str) -> Kernel:
    """The kernel of a .pte's name for it, e.g. ``aten::add.out``.

    Raises:
        LookupError: torch knows no such operator, or none that computes the same.
    """
    # Upstream: OpOverload._schema. Holds for torch 2.13;
    # tests/upstream/test_private_names.py::test_schemas_are_private fails when it can go.
    namespace, _, rest = name.partition("::")
    packet_name, _, overload = rest.partition(".")
    packet = getattr(getattr(torch.ops, namespace), packet_name, None)
    out = getattr(packet, overload or "default", None)
    if packet is None or out is None:
        raise LookupError(f"torch has no operator {name}")
    read = [argument for argument in out._schema.arguments if not argument.is_out]
    outputs = len(out._schema.arguments) - len(read)
    wanted = [(one.name, str(one.type)) for one in read]
    # Those that make a tensor take its dtype and the like as well, which a kernel has from its output.
    for left_out in ((), _OF_NEW_TENSORS):
        for other in packet.overloads():
            candidate = getattr(packet, other)
            given = [one for one in candidate._schema.arguments if not (one.kwarg_only and one.name in left_out)]
            if [(one.name, str(one.type)) for one in given] == wanted:
                arguments = tuple((one.name, bool(one.kwarg_only), str(one.type)) for one in given)
                return Kernel(f"{namespace}.{packet_name}.{other}", candidate, arguments, outputs)
    raise LookupError(f"torch has no operator that computes what {name} does")
