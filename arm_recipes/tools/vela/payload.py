"""What Vela's output is packed into for a .pte, by upstream's arm_vela. No torch here."""

from __future__ import annotations

import struct


def blocks(payload: bytes) -> dict[str, bytes]:
    """The blocks of a delegate's payload by name: ``cmd_data``, ``weight_data``, ``scratch_size``...

    Upstream packs each as 16 bytes of name, 4 of length, 12 of other things, and the content, padded to 16 bytes.
    """
    # Upstream: executorch.backends.arm.arm_vela.vela_compile, which has no reader of what it packs. Holds for
    # executorch 1.5.1; tests/tools/test_upstream_vela.py::test_a_payload_is_made_of_blocks fails when its form changes.
    contents, place = {}, 0
    while place < len(payload):
        name, length = struct.unpack_from("<16sI", payload, place)
        contents[name.rstrip(b"\0").decode()] = payload[place + 32 : place + 32 + length]
        place += 32 + -(-length // 16) * 16
    return contents
