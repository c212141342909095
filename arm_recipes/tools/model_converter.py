"""Arm's model-converter, which makes .vgf files of TOSA graphs, and where it is on this machine. No torch here."""

from __future__ import annotations

import os
import shutil
import sysconfig

NAME = "model-converter"
VARIABLE = "MODEL_CONVERTER_PATH"


def find_model_converter() -> str | None:
    """Where it is: as the variable MODEL_CONVERTER_PATH says, on PATH, or beside Python, which is where pip puts it and
    what is on PATH only in an activated environment. None where it is not there."""
    named = os.environ.get(VARIABLE)
    if named and os.path.isfile(named) and os.access(named, os.X_OK):  # noqa: PTH113 - as upstream looks at it
        return named
    return _on_path() or shutil.which(NAME, path=sysconfig.get_path("scripts"))


def find_another() -> str | None:
    """The same, where it isn't that of the installed package, whose version is known; else None."""
    path = find_model_converter()
    return None if path is None or os.path.dirname(path) == sysconfig.get_path("scripts") else path  # noqa: PTH120


def _on_path() -> str | None:
    return shutil.which(NAME) or shutil.which("model_converter")  # upstream takes either


def point_executorch_to(path: str) -> None:
    """Let executorch, which looks for the converter when it lowers, find the one at `path`."""
    # Upstream: executorch.backends.arm.vgf.model_converter finds its tool by MODEL_CONVERTER_PATH or PATH alone. Holds
    # for executorch 1.5.1; tests/tools/test_model_converter.py::test_upstream_does_not_look_beside_python fails when it
    # can go.
    if path not in (os.environ.get(VARIABLE), _on_path()):
        os.environ[VARIABLE] = path
