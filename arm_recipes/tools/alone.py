"""The lock of what can't be done by two threads at once: torch, executorch and Vela keep state of the whole process
while they lower a model, and what they print is caught by putting another standard output in its place."""

from __future__ import annotations

import threading

ALONE = threading.RLock()
