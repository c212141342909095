"""Progress bars over an export, its stages and the samples of its calibration, and over a verification."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from executorch.export import ExportSession, StageType
from executorch.export.stages import PipelineArtifact, Stage
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

_Sample = TypeVar("_Sample")


class ProgressBars:
    """Shows on standard error how far an export is; does nothing where it is not to be shown."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress

    def samples(self, samples: Iterable[_Sample], total: int | None, what: str = "  calibrate") -> Iterable[_Sample]:
        """`samples` with a bar of their own, called `what`."""
        if self._progress is None:
            return samples
        return self._progress.track(samples, total=total, description=what)

    def count(self, description: str, total: int) -> Callable[[], None]:
        """A bar of its own that every call of what is returned moves by one."""
        progress = self._progress
        if progress is None:
            return lambda: None
        task = progress.add_task(description, total=total)
        return lambda: progress.advance(task)

    def stages(self, session: ExportSession) -> None:
        """Follow the stages of `session`, each of which is wrapped."""
        if self._progress is None:
            return
        stages = dict(session.get_all_registered_stages())
        task = self._progress.add_task("export", total=len(stages))
        for stage_type, stage in stages.items():
            session.register_stage(stage_type, _Followed(stage, self._progress, task))


class _Followed(Stage):
    """A stage that moves a bar."""

    def __init__(self, stage: Stage, progress: Progress, task: Any) -> None:
        super().__init__()
        self._stage = stage
        self._progress = progress
        self._task = task

    @property
    def stage_type(self) -> StageType:
        return self._stage.stage_type

    @property
    def valid_predecessor_stages(self) -> list[StageType]:
        return self._stage.valid_predecessor_stages  # type: ignore[no-any-return]

    @property
    def can_start_pipeline(self) -> bool:
        return self._stage.can_start_pipeline  # type: ignore[no-any-return]

    def run(self, artifact: PipelineArtifact) -> None:
        self._progress.update(self._task, description=self.stage_type.value.replace("_", " "))
        self._stage.run(artifact)
        self._progress.advance(self._task)

    def get_artifacts(self) -> PipelineArtifact:
        return self._stage.get_artifacts()


@contextlib.contextmanager
def shown(enabled: bool, console: Console | None = None) -> Iterator[ProgressBars]:
    """Bars for the time of the context, gone afterwards; on standard error if no other console is given."""
    if not enabled:
        yield ProgressBars(None)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = console or Console(stderr=True)
    # Standard output is the export's to redirect.
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as progress:
        yield ProgressBars(progress)
