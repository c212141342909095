"""The installed Vela itself: its module, kept quiet, and its words where it refuses something."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from arm_recipes.errors import ToolError
from arm_recipes.tools.alone import ALONE

OTHER_VELA = "Is this another Vela? Install the one that executorch is tested with: pip install 'executorch[ethos-u]'"


class VelaRefusal(Exception):
    """Vela does not accept a configuration or a flag; the text is Vela's own."""


def vela_module() -> ModuleType:
    """Import Vela.

    Raises:
        ToolError: it can't be imported.
    """
    try:
        from ethosu.vela import vela
    except ImportError as error:
        raise ToolError(
            f"Ethos-U recipes need Arm's Vela compiler, which can't be imported here ({error}). "
            "Install it with: pip install 'executorch[ethos-u]'"
        ) from error
    module: ModuleType = vela
    return module


@contextlib.contextmanager
def muted() -> Iterator[io.StringIO]:
    """Collect what Vela prints, and undo the recursion limit that its `main` sets."""
    # Upstream: ethosu.vela.vela.main sets sys.setrecursionlimit. Holds for Vela 5.1.0;
    # tests/tools/test_upstream_vela.py::test_main_sets_the_recursion_limit fails when it can go.
    printed = io.StringIO()
    with ALONE:
        limit = sys.getrecursionlimit()
        try:
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                yield printed
        finally:
            sys.setrecursionlimit(limit)


@contextlib.contextmanager
def temporary_without_spaces() -> Iterator[None]:
    """Have temporary folders, for the time being, where their names can be handed to Vela.

    Raises:
        ToolError: there is no such place.
    """
    # Upstream: vela_compile joins Vela's flags with spaces, the name of a temporary folder among them, and splits them
    # again. Holds for executorch 1.5.1; tests/tools/test_upstream_vela.py::test_flags_are_split_at_spaces fails when it
    # can go.
    with ALONE:
        before = tempfile.tempdir
        folder = tempfile.gettempdir()
        if any(character.isspace() for character in folder):
            places = ("/tmp", "/var/tmp", "C:\\TEMP", str(Path.cwd()))
            usable = (place for place in places if os.access(place, os.W_OK | os.X_OK) and " " not in place)
            tempfile.tempdir = next(usable, None)
            if tempfile.tempdir is None:
                tempfile.tempdir = before
                raise ToolError(
                    f"Vela can't be run, as the folder of temporary files, {folder!r}, has a space in its name. Set "
                    "TMPDIR to another."
                )
        try:
            yield
        finally:
            tempfile.tempdir = before


def words_of(error: BaseException) -> str:
    """What Vela says of an error; its own class keeps that apart from the message."""
    return str(getattr(error, "data", error)).strip().removeprefix("Error: ")
