"""`export` with a cache: the program, its report and its check, from an earlier export of the same."""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from executorch.export import ExportSession

from arm_recipes.cache import Cache
from arm_recipes.checking.run import keep_check, kept_check
from arm_recipes.errors import ModelError, QuantizationWarning
from arm_recipes.files import is_ours
from arm_recipes.lowering.calibration import CalibrationWarning, calibration_summary
from arm_recipes.upstream import savings
from arm_recipes.upstream.cached_session import CachedSession
from arm_recipes.upstream.session import keep_outcome

from .keys import NoKeyError, key_of, samples_digest
from .lowering import Lowering, snapshots_of, state_of_the_process

_logger = logging.getLogger(__name__)

_WARNINGS = "warnings.json"

# Those that an export gives, by name.
_CATEGORIES = {each.__name__: each for each in (UserWarning, CalibrationWarning, QuantizationWarning)}


def cached_session(
    cache: Cache,
    lowering: Lowering,
    data: Sequence[Any],
    arguments: Mapping[str, Any],
) -> ExportSession:
    """A session that has its program, taken from the cache, or made and kept there.

    Args:
        cache: where to look and to keep.
        lowering: what makes the program.
        data: calibration data of each method in order; empty where the example inputs are calibrated on.
        arguments: of the ExportSession.

    Raises:
        CalibrationError, ModelError, LoweringError, ToolError: as `export`.
    """
    try:
        key, samples = _key(lowering, data, arguments)
    except NoKeyError as error:
        _logger.info("not cached: %s", error)
        session = ExportSession(**arguments)
        lowering.run(session)
        return session
    session = CachedSession(cache.entry(key), **arguments)
    if session.take_program(lambda taken: _export_after_all(lowering, taken)):
        _logger.info("taken from the cache: %s", key)
        for category, text in json.loads(session.entry.read(_WARNINGS) or "[]"):
            warnings.warn(text, _CATEGORIES[category], stacklevel=1)
        return session
    with _noted() as noted:
        lowering.run(session)
    if any(summary.digest != samples[method] for method, summary in calibration_summary(session).items()):
        _logger.info("not cached: the calibration data gave other samples when it was gone through again")
        return session
    session.entry.write(_WARNINGS, json.dumps(noted).encode())
    keep_check(session)
    session.keep_program()  # the last, as it says that all is there
    cache.trim()
    _logger.info("kept in the cache: %s", key)
    return session


def _key(lowering: Lowering, data: Sequence[Any], arguments: Mapping[str, Any]) -> tuple[str, Mapping[str, str]]:
    """The key, and the digest of each method's calibration samples.

    Raises:
        NoKeyError: it can't be told what the export depends on.
    """
    beyond = [name for name in ("dynamic_shapes", "artifact_dir", "generate_etrecord") if arguments[name]]
    if beyond:
        raise NoKeyError(f"{', '.join(beyond)} given")
    (taken,) = snapshots_of(lowering.recipe)
    given = dict(zip(lowering.inputs, data, strict=True)) if data else lowering.inputs
    sources = [str(getattr(each, "source", "")) for each in given.values()]
    others = {"sources": sources, "constants": arguments["constant_methods"], "check": lowering.check}
    with state_of_the_process(), savings.once():
        samples = {method: samples_digest(each) for method, each in given.items()}
        others["samples"] = samples
        return key_of(taken.recipe, taken.options, lowering.models, lowering.inputs, others), samples


def _export_after_all(lowering: Lowering, session: CachedSession) -> None:
    """
    Raises:
        ModelError: another program comes out than was taken.
    """
    outcome = kept_check(session)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they were given when the program was taken
        lowering.run(session, checked=outcome is not None)
    if outcome is not None:
        keep_outcome(session, outcome)
    if bytes(session.get_pte_buffer()) != session.program:
        raise ModelError(
            "The session's program came from the cache, and exporting it now gives another one: the model or its "
            "samples were changed since. Export again."
        )


@contextlib.contextmanager
def _noted() -> Iterator[list[tuple[str, str]]]:
    """The category and the text of each warning of arm_recipes in the context. All warnings are given at its end."""
    noted: list[tuple[str, str]] = []
    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield noted
            noted += [
                (each.category.__name__, str(each.message))
                for each in caught
                if each.category is not UserWarning or is_ours(each.filename)
                if each.category.__name__ in _CATEGORIES
            ]
    finally:
        for each in caught:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
