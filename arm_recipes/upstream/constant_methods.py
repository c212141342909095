"""The constant methods of an edge program manager: methods of the .pte without inputs that say something of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from executorch.exir.program import EdgeProgramManager


def constant_methods(manager: EdgeProgramManager) -> dict[str, Any]:
    """What each returns, by name."""
    # Upstream: EdgeProgramManager._config_methods, as its property config_methods gives the names alone, and only
    # to_edge takes new ones. Holds for executorch 1.5.1;
    # tests/upstream/test_private_names.py::test_constant_methods_are_given_once fails when it can go.
    return dict(manager._config_methods or {})


def add_constant_methods(manager: EdgeProgramManager, methods: Mapping[str, Any]) -> None:
    """Add methods that return these values, by name, to those there are."""
    manager._config_methods = {**constant_methods(manager), **methods}
