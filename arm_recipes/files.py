"""Names of files as users type them; and files that are written whole or not at all, to a temporary name beside, which
then takes the real one's place."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .errors import ArmRecipeError, quoted

PACKAGE = Path(__file__).parent


def is_ours(file: str) -> bool:
    """Whether a source file is one of arm_recipes, in whichever of its folders."""
    return Path(file).is_relative_to(PACKAGE)


def given_path(given: str | os.PathLike[str]) -> Path:
    """A path as a user typed it, with ``~`` for a home folder.

    Raises:
        ArmRecipeError: there can be no file of that name.
    """
    try:
        path = Path(given).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long; no such user; a NUL
        reason = getattr(error, "strerror", None) or error
        raise ArmRecipeError(
            f"{quoted(os.fspath(given))} names no file: {str(reason).rstrip('.')}. Give another name."
        ) from error
    return path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all. Its folder is made if it is not there."""
    with replacing(path) as file:
        file.write(content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that becomes `path` at the end of the context, and is removed if an exception ends it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Opened as any file is, so that it gets the permissions of any; a name has 255 bytes at most.
    temporary = path.with_name(f".{path.name[:50]}.{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
