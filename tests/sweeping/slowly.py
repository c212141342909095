"""Tasks that take a second. Workers import this, and so it imports nothing that takes long."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Executor
from typing import Any


class Slow(Executor):
    """Gives tasks the time to be interrupted."""

    def __init__(self, executor: Any, started: threading.Event) -> None:
        self._executor = executor
        self._started = started

    def submit(self, call: Any, /, *arguments: Any, **named: Any) -> Any:
        self._started.set()
        return self._executor.submit(slowly, call, *arguments)


def slowly(call: Any, *arguments: Any) -> Any:
    time.sleep(1)
    return call(*arguments)
