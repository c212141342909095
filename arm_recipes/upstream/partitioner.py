"""What upstream's partitioner decided about every operator, and why it refused those that it refused.

The partitioner keeps its reasons in a local variable and writes them to its log as a table, wrapped to fit one. A
filter on that logger is called from within the partitioner, and reads them where they are still whole.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from .graphs import captured_operator, is_operator, module_path, operator_name, quantizes

# The partitioner leaves these outside in silence.
_BORDER = "Stands between the delegate and what computes in float."

_LOGGER = logging.getLogger("executorch.backends.arm.tosa.partitioner")


@dataclass(frozen=True)
class Verdict:
    """What became of one operator of a program.

    Attributes:
        node: its name in the graph.
        operator: e.g. ``aten.convolution.default``.
        captured: the operator of the captured model that it was made from, e.g. ``aten.conv2d.default``.
        module: the submodule of the user's model that it came from; empty where it is not known.
        delegated: whether the delegate has it.
        reason: the partitioner's, where it refused it.
    """

    node: str
    operator: str
    captured: str
    module: str
    delegated: bool
    reason: str | None


Verdicts = tuple[Verdict, ...]


@contextlib.contextmanager
def watched() -> Iterator[list[Verdicts]]:
    """Collect the verdicts on each program that is partitioned within the context, in order. Contexts may be nested.

    None are collected for targets without a delegate, and for a partitioner that keeps no reasons.
    """
    collected: list[Verdicts] = []
    reader = next((each for each in _LOGGER.filters if isinstance(each, _Reader)), None)
    if reader is not None:
        reader.listening.append(collected)
        try:
            yield collected
        finally:
            reader.listening.remove(collected)
        return
    level = _LOGGER.level
    reader = _Reader(_LOGGER.getEffectiveLevel(), collected)
    _LOGGER.addFilter(reader)
    _LOGGER.setLevel(min(logging.INFO, _LOGGER.getEffectiveLevel()))
    try:
        yield collected
    finally:
        _LOGGER.setLevel(level)
        _LOGGER.removeFilter(reader)


class _Reader(logging.Filter):
    """Lets through what would have been logged without it."""

    def __init__(self, level: int, first: list[Verdicts]) -> None:
        super().__init__()
        self.listening = [first]
        self._level = level
        self._seen: list[Any] = []  # reporters, one per program

    def filter(self, record: logging.LogRecord) -> bool:
        known = _locals_of_partitioner()
        reporter = known.get("reporter")
        # The tags are given by then, and nothing is cut out of the program yet.
        if reporter is not None and "partition_tags" in known and not any(reporter is seen for seen in self._seen):
            self._seen.append(reporter)
            verdicts = _verdicts(known)
            for collected in self.listening:
                collected.append(verdicts)
        return record.levelno >= self._level


def _locals_of_partitioner() -> dict[str, Any]:
    # Upstream: TOSAPartitioner.partition has its reporter and its tags in local variables, and a log record is all that
    # comes out. Holds for executorch 1.5.1;
    # tests/upstream/test_private_names.py::test_the_partitioner_keeps_its_reasons fails when it can go.
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "partition" and {"self", "exported_program"}.issubset(frame.f_locals):
            return dict(frame.f_locals)
        frame = frame.f_back
    return {}


def _verdicts(known: dict[str, Any]) -> Verdicts:
    reasons = getattr(known["reporter"], "_rejected_nodes", {})
    return tuple(
        Verdict(
            node=node.name,
            operator=operator_name(node),
            captured=captured_operator(node),
            module=module_path(node),
            delegated=(delegated := node.meta.get("delegation_tag") in known["partition_tags"]),
            reason=None if delegated else _brief(reasons.get(node)) or (_BORDER if quantizes(node) else None),
        )
        for node in known["exported_program"].graph.nodes
        if is_operator(node)
    )


def _brief(reason: str | None) -> str | None:
    """The reason without the schemas of operators, which some have in the middle of their sentence."""
    if reason is None:
        return None
    return re.sub(r"<EdgeOpOverload: ([^>]+)>: schema = .*?\) -> (?:\([^)]*\)|\S+)", r"\1", reason)
