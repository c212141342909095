"""Signals that end the command as Ctrl-C does: what was begun is undone, and workers end."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Terminated(KeyboardInterrupt):
    """A signal asks the command to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.name = signal.Signals(number).name


@contextlib.contextmanager
def signals_end_it() -> Iterator[list[Terminated]]:
    """Within the context such a signal raises `Terminated`, unless something else handles it.

    Yields:
        What was raised so far, for those who catch it as Ctrl-C, and end later.
    """
    raised: list[Terminated] = []

    def end(number: int, frame: FrameType | None) -> NoReturn:
        raised.append(Terminated(number))
        raise raised[-1]

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            if signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, end)
    try:
        yield raised
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
