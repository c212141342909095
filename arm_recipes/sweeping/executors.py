"""Executors on other machines."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any

from arm_recipes.errors import ArmRecipeError, ToolError

_SECONDS_TO_CONNECT = 10


@contextlib.contextmanager
def dask_executor(address: str) -> Iterator[Executor]:
    """An executor on the workers of a dask.distributed scheduler, for the time of the context.

    Args:
        address: of the scheduler, e.g. ``tcp://host:8786``.

    Raises:
        ToolError: dask.distributed is not installed.
        ArmRecipeError: there is no scheduler.
    """
    try:
        import distributed
    except ImportError as error:
        raise ToolError(
            f"A sweep on a cluster needs dask.distributed, which can't be imported here ({error}). "
            "Install it with: pip install 'arm_recipes[dask]'"
        ) from error
    try:
        client: Any = distributed.Client(address, timeout=_SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ArmRecipeError(
            f"dask={address!r}: no scheduler can be reached there ({error}). Give the address that `dask scheduler` "
            "prints, e.g. tcp://host:8786."
        ) from error
    with client:
        # Vela runs at length and in the interpreter; its results are not to be kept for another run.
        yield client.get_executor(pure=False)
