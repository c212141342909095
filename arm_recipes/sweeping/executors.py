"""Where a sweep's Vela runs: worker processes of this machine, an executor that is given, or a cluster."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import types
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from arm_recipes.errors import ArmRecipeError, ToolError
from arm_recipes.tools.processes import kill_workers
from arm_recipes.tools.vela.compiler import Outline, VelaFailure, outline, start_worker

# Jobs that are handed to an executor and not done. Each takes its graphs along, megabytes of weights.
_AT_A_TIME = 64
_SECONDS_TO_CONNECT = 10


@dataclass(frozen=True)
class Job:
    """What Vela is to compile for one point.

    Attributes:
        graphs: the TOSA graphs, each once.
        flags: Vela's command line.
    """

    graphs: tuple[bytes, ...]
    flags: Sequence[str]


# What Vela made of each graph, or why it did not.
Outcome = dict[bytes, Outline] | str


def run_jobs(jobs: Sequence[Job], executor: Executor | None, workers: int | None) -> Iterator[tuple[int, Outcome]]:
    """Have Vela compile each job's graphs, in any order of jobs.

    Args:
        jobs: one for each point.
        executor: where Vela runs, and which is not shut down; worker processes of this machine where it is None.
        workers: number of those; as many as there are cores if not given.

    Yields:
        The index of a job, and its outcome.
    """
    if executor is not None:
        for index, outcome in _submitted(jobs, range(len(jobs)), executor):
            yield index, outcome if outcome is not None else "the executor broke down before it was done"
        return
    broken = []
    with _processes(min(workers or _cores(), max(len(jobs), 1))) as pool:
        for index, outcome in _submitted(jobs, range(len(jobs)), pool):
            if outcome is None:
                broken.append(index)
            else:
                yield index, outcome
    # A worker that dies takes all jobs with it that were not done. Which one it was shows when each runs by itself.
    for index in broken:
        with _processes(1) as pool:
            for _, outcome in _submitted(jobs, [index], pool):
                yield index, outcome if outcome is not None else "Vela ended its process (a crash, or out of memory)"


def _submitted(jobs: Sequence[Job], indices: Sequence[int], executor: Executor) -> Iterator[tuple[int, Outcome | None]]:
    """None where the executor broke down."""
    futures: dict[Future[tuple[Outline, ...]], int] = {}
    waiting = deque(indices)
    try:
        while waiting or futures:
            while waiting and len(futures) < _AT_A_TIME:
                index = waiting.popleft()
                try:
                    with _hidden_main():
                        future = executor.submit(outline, jobs[index].graphs, jobs[index].flags)
                except BrokenExecutor:
                    yield index, None
                else:
                    futures[future] = index
            for future in wait(futures, return_when=FIRST_COMPLETED).done:
                index = futures.pop(future)
                yield index, _outcome(future, jobs[index].graphs)
    finally:
        for future in futures:
            future.cancel()


def _outcome(future: Future[tuple[Outline, ...]], graphs: tuple[bytes, ...]) -> Outcome | None:
    try:
        return dict(zip(graphs, future.result(), strict=True))
    except VelaFailure as failure:
        return str(failure)
    except BrokenExecutor:
        return None
    except Exception as error:  # whatever an executor of someone else's raises
        return f"{type(error).__name__}: {error}"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _processes(count: int) -> Iterator[Executor]:
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"  # or a file pickle.py in the current folder would run; from Python 3.11 on
    try:
        pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=start_worker)
        try:
            yield pool
        except BaseException:  # such as Ctrl-C: nobody waits for what is begun any more, and Vela may hang
            kill_workers(pool)
            raise
        finally:
            pool.shutdown(cancel_futures=True)
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


@contextlib.contextmanager
def _hidden_main() -> Iterator[None]:
    """Let worker processes that start now not import the main script, as they usually do: it would have to be guarded
    against running once more, and most likely imports torch."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def dask_executor(address: str) -> Iterator[Executor]:
    """An executor on the workers of a dask.distributed scheduler, for the time of the context.

    Args:
        address: the scheduler's address, e.g. ``tcp://host:8786``.

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
