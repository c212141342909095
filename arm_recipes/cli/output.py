"""What others print, log and warn of while the command runs, kept off the terminal; and what it says on the way itself.

No torch here.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import arm_recipes
from arm_recipes.errors import ArmRecipeError
from arm_recipes.files import given_path, is_ours


def complain(text: str) -> None:
    """Print to standard error, what a terminal would obey as text: a module may be called anything."""
    print(
        "".join(letter if letter.isprintable() or letter == "\n" else ascii(letter)[1:-1] for letter in text),
        file=sys.stderr,
    )


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Say of which file it is that it can't be written."""
    try:
        yield
    except OSError as error:
        raise ArmRecipeError(f"{path}: it can't be written ({error.strerror or error}).") from error


@contextlib.contextmanager
def others_kept_off(verbose: bool, log: str | None) -> Iterator[io.StringIO]:
    """Keep what libraries log, warn and print off the terminal: for `verbose` to standard error, else to the file
    `log`, else away. Warnings of arm_recipes are shown at the end.

    Yields:
        A stream to print to, of which the end is kept.
    """
    streams: list[Any] = []
    with contextlib.ExitStack() as stack:
        if log is not None:
            with writing(log):
                streams.append(_open_log(given_path(log)))
            stack.callback(_close, streams[-1])
        if verbose:
            streams.append(sys.stderr)
        tee = _Tee(streams)
        handler = logging.StreamHandler(tee)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        ours = logging.getLogger("arm_recipes")
        root = logging.getLogger()
        root.addHandler(handler)
        stack.callback(root.removeHandler, handler)
        # Not the root's level: upstream has Vela print all it can where its own is INFO.
        stack.callback(ours.setLevel, ours.level)
        ours.setLevel(logging.DEBUG)
        shown = stack.enter_context(_warnings_to(tee))
        try:
            yield tee
        finally:
            for text in dict.fromkeys(shown):
                complain(f"warning: {text}")


class _Tee(io.StringIO):
    """Writes to all `streams`, and remembers."""

    def __init__(self, streams: Sequence[Any]) -> None:
        super().__init__()
        self._streams = streams

    def write(self, text: str) -> int:
        for stream in self._streams:
            with contextlib.suppress(OSError):  # a disk that is full is no reason to lose the program
                stream.write(text)
        return super().write(text)


def _open_log(path: Path) -> IO[str]:
    """
    Raises:
        OSError: it can't be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = path.open("w", encoding="utf-8", errors="backslashreplace")
    try:
        stream.write(f"arm-recipes {arm_recipes.__version__}\n")
        stream.flush()
    except OSError:
        _close(stream)
        raise
    return stream


def _close(stream: IO[str]) -> None:
    with contextlib.suppress(OSError):
        stream.close()


@contextlib.contextmanager
def _warnings_to(stream: Any) -> Iterator[list[str]]:
    """Send others' warnings to a stream, and collect those of arm_recipes."""
    ours: list[str] = []

    def show(
        message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: str | None = None
    ) -> None:
        here = is_ours(filename) and category is UserWarning
        if here or category.__module__.startswith("arm_recipes."):
            ours.append(str(message))
        else:
            stream.write(warnings.formatwarning(message, category, filename, lineno, line))

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = show
        yield ours


@contextlib.contextmanager
def status(text: str) -> Iterator[None]:
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(file=sys.stderr).status(text):
        yield
