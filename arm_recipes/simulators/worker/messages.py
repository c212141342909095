"""Messages between `verify` and a simulator's process: a JSON header and NumPy arrays. Nothing in them can run code."""

from __future__ import annotations

import io
import json
import os
import struct
import sys
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np

from arm_recipes.tools.processes import end_with

Arrays = dict[str, "np.ndarray[Any, Any]"]
Handler = Callable[[dict[str, Any], Arrays], tuple[dict[str, Any], Arrays]]

_HEADER = "header"
_LENGTH = struct.Struct("<Q")


def write(stream: BinaryIO, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Send one message. Arrays keep dtype and shape."""
    payload = io.BytesIO()
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(payload, **{_HEADER: text}, **{f"array.{name}": array for name, array in arrays.items()})
    stream.write(_LENGTH.pack(payload.tell()))
    stream.write(payload.getbuffer())
    stream.flush()


def read(stream: BinaryIO) -> tuple[dict[str, Any], Arrays]:
    """Receive one message.

    Raises:
        EOFError: the other side is gone.
    """
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    with np.load(io.BytesIO(_exactly(stream, length)), allow_pickle=False) as payload:
        header: dict[str, Any] = json.loads(payload[_HEADER].tobytes())
        return header, {name.removeprefix("array."): payload[name] for name in payload.files if name != _HEADER}


def serve(handle: Handler) -> None:
    """The life of a simulator's process: answer messages on standard input until it is closed, or the process that
    started it has ended. Arguments: that one's ID, and the pipe that it holds; on Windows 0."""
    parent, held = map(int, sys.argv[-2:])
    end_with(parent, held or None)
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a simulator prints would come between the replies
    while True:
        try:
            header, arrays = read(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer, results = handle(header, arrays)
        except Exception as error:
            answer, results = {"error": f"{type(error).__name__}: {error}"}, {}
        write(replies, answer, results)


def _exactly(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return data
