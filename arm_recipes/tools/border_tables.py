"""What a delegate's payload says that it takes and gives: the tables of Vela's payloads and of .vgf files. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One input or output in a payload's table.

    Attributes:
        shape: sizes as the payload has them, the outermost in memory first.
        element_bytes: bytes of one element.
        dtype: torch's name of the elements' dtype, e.g. ``int8``; empty where the table has only their size.
    """

    shape: tuple[int, ...]
    element_bytes: int
    dtype: str = ""

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        size = "1 byte" if self.element_bytes == 1 else f"{self.element_bytes} bytes"
        return f"{self.dtype or f'elements of {size}'} {list(self.shape)}, {self.elements * self.element_bytes} bytes"


@dataclass(frozen=True)
class Tables:
    """The tables of one payload, in order.

    Attributes:
        inputs: None stands for one that is there and not read, which the runtime does not copy.
        outputs: in the order in which the runtime copies them to the delegate's arguments.
    """

    inputs: tuple[Entry | None, ...]
    outputs: tuple[Entry, ...]
