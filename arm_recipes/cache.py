"""A folder of what exports made, which processes may share: entries by key, each of named parts. No torch here.

A part is written whole or not at all, and begins with the SHA-256 of its content, so that one that is damaged, or of a
process that was killed, is none. Of two processes that write the same part either's stays, as both wrote the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import warnings
from pathlib import Path

from .errors import ArmRecipeError
from .files import given_path, write_whole

VARIABLE = "ARM_RECIPES_CACHE"

# Bytes of all entries together, beyond which those go that were not used for the longest time.
LIMIT = 2 * 2**30

_KEY = re.compile("[0-9a-f]{64}")
_DIGEST = hashlib.sha256().digest_size


class Cache:
    """The entries in a folder, other files of which stay as they are."""

    def __init__(self, folder: str | os.PathLike[str], limit: int = LIMIT) -> None:
        """
        Args:
            folder: made if it is not there.
            limit: bytes of all entries together.

        Raises:
            ArmRecipeError: it is no folder, or can't be written to.
        """
        self._folder = given_path(folder)
        self._limit = limit
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArmRecipeError(
                f"cache_dir={os.fspath(folder)!r} can't be made a folder ({error.strerror or error}). Give another one."
            ) from error
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise ArmRecipeError(f"cache_dir={os.fspath(folder)!r} can't be written to. Give another folder.")

    def entry(self, key: str) -> Entry:
        """The entry of a key (64 hexadecimal digits), which may have no part yet."""
        assert _KEY.fullmatch(key)
        return Entry(self._folder / key)

    def trim(self) -> None:
        """Remove what was not used for the longest time, until the entries are within the limit."""
        used = []
        with contextlib.suppress(OSError):
            for folder in filter(lambda each: _KEY.fullmatch(each.name), self._folder.iterdir()):
                with contextlib.suppress(OSError):  # another process removes it
                    size = sum(part.stat().st_size for part in folder.iterdir())
                    used.append((folder.stat().st_mtime_ns, size, folder))
        total = sum(size for _, size, _ in used)
        for _, size, folder in sorted(used)[:-1]:
            if total <= self._limit:
                break
            shutil.rmtree(folder, ignore_errors=True)
            total -= size


class Entry:
    """What is kept under one key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, part: str) -> bytes | None:
        """The content of a part; None where there is none, or it is damaged."""
        try:
            kept = (self._folder / part).read_bytes()
            os.utime(self._folder)
        except OSError:
            return None
        content = kept[_DIGEST:]
        return content if hashlib.sha256(content).digest() == kept[:_DIGEST] else None

    def write(self, part: str, content: bytes) -> None:
        """Keep a part, for others or for later. Where that fails there is a warning and no part."""
        try:
            write_whole(self._folder / part, hashlib.sha256(content).digest() + content)
        except OSError as error:
            warnings.warn(
                f"{self._folder.parent}: the cache can't be written to ({error.strerror or error}). The export itself "
                "is done.",
                stacklevel=2,
            )
