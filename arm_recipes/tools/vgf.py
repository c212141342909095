"""What a .vgf file takes and gives. No torch here.

The format is public: a header of 128 bytes, and three flatbuffers of the schema vgf.fbs of Arm's ML SDK VGF library
(docs/source/file_format.rst there). Fields of a flatbuffer keep their numbers, so newer files can be read as well.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from flatbuffers import encode, number_types
from flatbuffers.table import Table

from arm_recipes.errors import ToolError

from .border_tables import Entry, Tables

_HEADER_BYTES = 128
_MAGIC = b"VGF1"
_SEQUENCE, _RESOURCES = 32, 48  # where the header has offset and size of each
# Names and sizes of the elements of Vulkan's formats, by VkFormat's numbers in the Vulkan headers.
_FORMATS = {
    13: ("uint8", 1),
    14: ("int8", 1),
    74: ("uint16", 2),
    75: ("int16", 2),
    76: ("float16", 2),
    98: ("uint32", 4),
    99: ("int32", 4),
    100: ("float32", 4),
    110: ("uint64", 8),
    111: ("int64", 8),
    112: ("float64", 8),
    1000460000: ("bool", 1),
    1000460001: ("bfloat16", 2),
}


class _Slot(NamedTuple):
    binding: int
    resource: int


def tables(vgf: bytes) -> Tables:
    """What a .vgf file takes and gives, as executorch's VgfBackend reads it.

    Its names tell how many, and a slot for each that is read tells which resource it is. The slot of an input has the
    input's number, as the converter leaves out dead ones.

    Raises:
        ToolError: it is no .vgf file, or its tables don't fit together.
    """
    if len(vgf) < _HEADER_BYTES or vgf[:4] != _MAGIC:
        raise ToolError(f"{len(vgf)} bytes that start with {vgf[:4]!r} are no .vgf file, which starts with {_MAGIC!r}.")
    try:
        sequence, resources = _root(vgf, _SEQUENCE), _root(vgf, _RESOURCES)
        entries = [_entry(resource) for resource in _tables(resources, 0)]
        inputs, outputs = _slots(sequence, 1), _slots(sequence, 2)
        counts = [_length(sequence, field) for field in (3, 4)]
    except (struct.error, IndexError, ValueError, TypeError) as error:
        raise ToolError(f"The tables of a .vgf file of {len(vgf)} bytes can't be read: {error}") from error
    taken: list[Entry | None] = [None] * counts[0]
    if len(outputs) != counts[1] or any(
        slot.resource >= len(entries) or (at < len(inputs) and slot.binding >= counts[0])
        for at, slot in enumerate([*inputs, *outputs])
    ):
        raise ToolError(
            f"A .vgf file names {counts[0]} inputs and {counts[1]} outputs of {len(entries)} resources, and binds "
            f"{inputs} and {outputs}. Was it made by another version of model-converter?"
        )
    for slot in inputs:
        taken[slot.binding] = entries[slot.resource]
    return Tables(tuple(taken), tuple(entries[slot.resource] for slot in outputs))


def _root(vgf: bytes, place: int) -> Table:
    offset, size = struct.unpack_from("<QQ", vgf, place)
    section = bytearray(vgf[offset : offset + size])
    return Table(section, encode.Get(number_types.UOffsetTFlags.packer_type, section, 0))


def _length(table: Table, field: int) -> int:
    place = table.Offset(4 + 2 * field)
    return int(table.VectorLen(place)) if place else 0


def _tables(table: Table, field: int) -> list[Table]:
    place = table.Offset(4 + 2 * field)
    start = table.Vector(place) if place else 0
    return [Table(table.Bytes, table.Indirect(start + 4 * index)) for index in range(_length(table, field))]


def _number(table: Table, field: int) -> int:
    place = table.Offset(4 + 2 * field)
    return int(table.Get(number_types.Uint32Flags, table.Pos + place)) if place else 0


def _slots(sequence: Table, field: int) -> list[_Slot]:
    return [_Slot(_number(slot, 0), _number(slot, 1)) for slot in _tables(sequence, field)]


def _entry(resource: Table) -> Entry:
    name, size = _FORMATS.get(_number(resource, 1), (f"VkFormat {_number(resource, 1)}", 0))
    place = resource.Offset(4 + 2 * 3)
    shape: list[int] = []
    if place:
        description = Table(resource.Bytes, resource.Indirect(resource.Pos + place))
        vector = description.Offset(4)
        start = description.Vector(vector) if vector else 0
        shape = [
            int(description.Get(number_types.Int64Flags, start + 8 * index)) for index in range(_length(description, 0))
        ]
    return Entry(tuple(shape), size, name)
