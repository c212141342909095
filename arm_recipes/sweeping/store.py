"""The points of a sweep so far, and the file that they are kept in."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from arm_recipes.errors import ArmRecipeError
from arm_recipes.files import given_path, write_whole
from arm_recipes.recipes import options
from arm_recipes.recipes.catalog import Recipe
from arm_recipes.tools import vela

from .grid import Task
from .result import AXES, Point, Skipped, SweepResult, with_pareto

_SECONDS_BETWEEN_SAVES = 5.0


def header(rows: Sequence[Recipe], settings: Mapping[str, Any]) -> dict[str, Any]:
    """What has to be the same for points to stand in one file, beside the graphs: other settings than of the lowering,
    and what the configuration file says."""
    declared = options.declared(rows[0])
    config = vela.read_config(settings.get("config_ini") or declared["config_ini"].default(rows[0], {}))
    others = [name for name in options.retargetable(rows[0]) if name not in (*AXES, "config_ini")]
    return {
        "config_ini": config.argument,
        "config_digest": hashlib.sha256(config.path.read_bytes()).hexdigest(),
        **{name: _plain(settings.get(name), declared[name].kind) for name in others},
    }


def _plain(value: Any, kind: options.Kind) -> Any:
    """The value as JSON gives it back."""
    return list(value or ()) if kind is options.STRINGS else value


class Store:
    """The points so far, kept in a file where there is one.

    Attributes:
        points: the points by key, those of the file included.
        interrupted: whether the sweep ended early, as it may at any time until it is done.
    """

    def __init__(self, file: str | os.PathLike[str] | None, settings: dict[str, Any]) -> None:
        self.points: dict[tuple[Any, ...], Point] = {}
        self.interrupted = True
        self._file = None if file is None else given_path(file)
        self._settings = settings
        self._vela = version("ethos-u-vela")
        self._graphs: dict[str, str] = {}
        self._order: list[tuple[Any, ...]] = []
        self._skipped: tuple[Skipped, ...] = ()
        self._saved = time.monotonic()
        self._earlier = self._read()

    def _read(self) -> SweepResult | None:
        if self._file is None or not self._file.exists():
            return None
        try:
            earlier = SweepResult.from_json(self._file.read_text(encoding="utf-8"))
        except (ArmRecipeError, OSError, UnicodeDecodeError) as error:
            raise self._refusal(str(error)) from error
        if earlier.vela != self._vela:
            raise self._refusal(f"it was made with Vela {earlier.vela}, and here is {self._vela}.")
        if earlier.settings != self._settings:
            raise self._refusal(f"it was made with other settings: {dict(earlier.settings)}, now {self._settings}.")
        return earlier

    def _refusal(self, why: str) -> ArmRecipeError:
        return ArmRecipeError(f"resume={str(self._file)!r}: {why} Give another file, or remove this one.")

    def start(self, graphs: dict[str, str], tasks: Sequence[Task], skipped: tuple[Skipped, ...]) -> None:
        """Take the points of the file, if they are of these graphs.

        Args:
            graphs: a digest of each lowering's.
            tasks: of this sweep, in the order of its points.
            skipped: by this sweep.

        Raises:
            ArmRecipeError: they are of others.
        """
        self._order = [task.point.key for task in tasks]
        self._skipped = skipped
        if self._earlier is not None:
            for lowering, digest in self._earlier.graphs.items():
                if graphs.get(lowering, digest) != digest:
                    refusal = self._refusal(
                        "it is of another model, or of this one with other weights, calibration or options of lowering."
                    )
                    self._file = None  # which stays as it is
                    raise refusal
            graphs = {**self._earlier.graphs, **graphs}
            self.points = {point.key: point for point in self._earlier.done}
        self._graphs = graphs

    def add(self, point: Point) -> None:
        self.points[point.key] = point
        if time.monotonic() - self._saved > _SECONDS_BETWEEN_SAVES:
            self.save()

    def save(self) -> None:
        if self._file is None or not self._graphs:
            return
        # Those of this sweep first, then what else the file had.
        keys = dict.fromkeys([*(key for key in self._order if key in self.points), *self.points])
        content = self._result([self.points[key] for key in keys])
        write_whole(self._file, (content.to_json() + "\n").encode())
        self._saved = time.monotonic()

    def result(self) -> SweepResult:
        """The result of the sweep's points, as far as they are done."""
        return self._result([self.points[key] for key in self._order if key in self.points])

    def _result(self, points: Iterable[Point]) -> SweepResult:
        return SweepResult(
            points=with_pareto(points),
            skipped=self._skipped,
            interrupted=self.interrupted,
            vela=self._vela,
            graphs=self._graphs,
            settings=self._settings,
        )
