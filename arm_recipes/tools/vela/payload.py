"""What Vela's output is packed into for a .pte, by upstream's arm_vela. No torch here."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from arm_recipes.errors import ToolError
from arm_recipes.tools.border_tables import Entry, Tables

_HEADER = struct.Struct("<16sIB11s")
_ENTRY = struct.Struct("<9i")


def blocks(payload: bytes, external: Mapping[str, bytes] | None = None) -> dict[str, bytes]:
    """The blocks of a delegate's payload by name: ``cmd_data``, ``weight_data``, ``scratch_size``...

    Upstream packs each as 16 bytes of name, 4 of length, 1 that tells whether the content is a key to data outside of
    the payload, 11 of nothing, and the content, padded to 16 bytes.

    Args:
        payload: of the delegate.
        external: data outside of the payload, by its key.

    Raises:
        ToolError: it is no such payload, or `external` lacks a key.
    """
    # Upstream: executorch.backends.arm.arm_vela.vela_compile, which has no reader of what it packs. Holds for
    # executorch 1.5.1; tests/tools/test_upstream_vela.py::test_a_payload_is_made_of_blocks fails when its form changes.
    contents, place = {}, 0
    while place < len(payload):
        if len(payload) < place + _HEADER.size:
            raise ToolError(
                f"A payload of {len(payload)} bytes ends within the header of a block. Is it one of Vela's?"
            )
        packed, length, outside, _ = _HEADER.unpack_from(payload, place)
        content = payload[place + _HEADER.size : place + _HEADER.size + length]
        name = packed.rstrip(b"\0").decode(errors="replace")
        if len(content) != length:
            raise ToolError(f"Block {name!r} of a payload should have {length} bytes, and has {len(content)}.")
        if outside:
            key = content.decode(errors="replace")
            if key not in (external or {}):
                raise ToolError(f"Block {name!r} of a payload is outside of it, as {key}, and was not given with it.")
            content = (external or {})[key]
        contents[name] = content
        place += _HEADER.size + -(-length // 16) * 16
    return contents


def tables(payload: bytes, external: Mapping[str, bytes] | None = None) -> Tables:
    """What Vela's payload takes and gives, as executorch's EthosUBackend reads it. Sizes are padded in front to six.

    Args:
        payload: of the delegate.
        external: data outside of the payload, by its key.

    Raises:
        ToolError: it is no such payload.
    """
    # Upstream: executorch.backends.arm.arm_vela.vela_bin_pack_io, which has no reader. Holds for executorch 1.5.1;
    # tests/tools/test_upstream_vela.py::test_a_payload_s_tables_are_six_sizes_and_three_numbers fails when it changes.
    contents = blocks(payload, external)
    missing = [name for name in ("inputs", "outputs") if name not in contents]
    if missing:
        raise ToolError(f"The payload has no block {' and no block '.join(missing)}. Is it one of Vela's?")
    return Tables(tuple(_entries("inputs", contents["inputs"])), tuple(_entries("outputs", contents["outputs"])))


def _entries(name: str, block: bytes) -> Iterator[Entry]:
    count = struct.unpack_from("<i", block)[0] if len(block) >= 4 else -1
    if len(block) != 4 + count * _ENTRY.size:
        raise ToolError(f"Block {name!r} of a payload has {len(block)} bytes, which is not what {count} entries take.")
    for index in range(count):
        *shape, element_bytes, _offset, _region = _ENTRY.unpack_from(block, 4 + index * _ENTRY.size)
        yield Entry(tuple(shape), element_bytes)
