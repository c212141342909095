"""arm_recipes.sweep: every configuration from one lowering."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from arm_recipes import (
    ArmRecipeError,
    ArmRecipeType,
    CalibrationWarning,
    LoweringError,
    SweepResult,
    export,
    report,
    sweep,
    vela_estimates,
)
from arm_recipes.sweeping.executors import Job, _hidden_main, run_jobs
from arm_recipes.tools.vela.compiler import VelaFailure
from tests.models import linear
from tests.sweeping.test_retarget import _two_subgraphs

U55 = ArmRecipeType.ETHOSU_U55_INT8
U65 = ArmRecipeType.ETHOSU_U65_INT8
U85 = ArmRecipeType.ETHOSU_U85_INT8


pytestmark = pytest.mark.usefixtures("one_sample_is_enough")


class Inline(Executor):
    """Runs what it is given at once, after `before` was called with how many it has run."""

    def __init__(self, before: Callable[[int], None] = lambda count: None) -> None:
        self.count = 0
        self._before = before

    def submit(self, call: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            self._before(self.count)
            self.count += 1
            future.set_result(call(*arguments, **named))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture(scope="module")
def everything() -> SweepResult:
    """Two subgraphs over all that there is but one goal, in worker processes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        model, inputs = _two_subgraphs()
        return sweep(model, [U55, U65, U85], inputs, calibration=iter([inputs, inputs]), optimise="Size")


@pytest.mark.no_cover
def test_every_legal_combination(everything: SweepResult) -> None:
    counts = {recipe.name: 0 for recipe in (U55, U65, U85)}
    for point in everything.points:
        counts[point.recipe] += 1
    # MACs, system configurations, memory modes. A DRAM is what the dedicated SRAM modes need.
    assert counts == {
        U55.name: 4 * 2 * 2,
        U65.name: 2 * 4 * 6 - 8,
        U85.name: 5 * 5 * 6 - 40,
    }
    assert len({point.key for point in everything.points}) == len(everything.points)
    assert (everything.failed, everything.interrupted) == ((), False)
    assert sum(each.count for each in everything.skipped) == 32 + 8 + 40
    assert all("must be Sram or Dram" in each.reason for each in everything.skipped)


@pytest.mark.no_cover
def test_one_lowering_serves_u55_and_u65(everything: SweepResult) -> None:
    assert len(everything.graphs) == 2


@pytest.mark.no_cover
@pytest.mark.parametrize(("recipe", "index"), [(U55, 0), (U55, -1), (U65, 15), (U85, 50)])
def test_rows_are_those_of_a_fresh_export(everything: SweepResult, recipe: ArmRecipeType, index: int) -> None:
    point = [point for point in everything.points if point.recipe == recipe.name][index]
    model, inputs = _two_subgraphs()
    session = export(model, recipe, inputs, calibration=[inputs, inputs], **point.options)
    estimates = vela_estimates(session)
    figures = point.figures
    assert figures is not None
    assert figures.subgraphs == len(estimates) == 2
    assert figures.cycles == sum(each.cycles for each in estimates)
    assert figures.network_macs == sum(each.macs for each in estimates)
    assert figures.milliseconds == pytest.approx(sum(each.milliseconds for each in estimates))
    assert figures.sram_kib == pytest.approx(max(each.memory_kib["SRAM"] for each in estimates), abs=0.01)
    assert point.layers == report(session).layers
    assert {layer.module for layer in point.layers if layer.operator == "Conv2D"} == {"first", "second"}
    assert figures.pte_bytes == len(session.get_pte_buffer())
    assert everything.program(point).get_pte_buffer() == session.get_pte_buffer()


def test_lists_and_single_values() -> None:
    model, inputs = linear()
    result = sweep(
        model,
        [U55, U85],
        inputs,
        macs=[32, 256],
        memory_mode="Shared_Sram",
        system_config=["Ethos_U55_Deep_Embedded", "Ethos_U85_SYS_DRAM_Low"],
        optimise="Performance",
        executor=Inline(),
    )
    assert [(point.recipe, point.macs) for point in result.points] == [(U55.name, 32), (U55.name, 256), (U85.name, 256)]
    assert sum(each.count for each in result.skipped) == 5


_FEW: dict[str, Any] = {"macs": [64, 128], "memory_mode": "Shared_Sram"}


def test_a_failed_point_does_not_end_it_and_is_tried_again(tmp_path: Path) -> None:
    model, inputs = linear()
    file = tmp_path / "made" / "sweep.json"
    failing: dict[str, Any] = {"executor": Inline(_fail_odd), "resume": file}
    first = sweep(model, U55, inputs, **_FEW, **failing)
    assert len(first.points) == 8
    assert {point.error for point in first.failed} == {"Vela said no"}
    assert SweepResult.from_json(file.read_text()) == first
    again = Inline()
    second = sweep(model, U55, inputs, **_FEW, executor=again, resume=str(file))
    assert again.count == len(first.failed) > 0
    assert second.failed == ()
    assert SweepResult.from_json(file.read_text()) == second
    # Other points join those of the file, which keeps what this sweep does not ask for.
    third = sweep(model, U55, inputs, macs=32, memory_mode="Shared_Sram", executor=Inline(), resume=file)
    assert len(third.points) == 4
    assert len(SweepResult.from_json(file.read_text()).points) == 12

    other = linear(seed=1)
    before = file.read_bytes()
    with pytest.raises(ArmRecipeError, match="it is of another model, or of this one with other weights"):
        sweep(other.model, U55, other.inputs, **_FEW, executor=Inline(), resume=file)
    with pytest.raises(ArmRecipeError, match="it was made with other settings"):
        sweep(model, U55, inputs, **_FEW, executor=Inline(), resume=file, extra_flags=["--verbose-weights"])
    assert file.read_bytes() == before


_odd = iter(range(10**6))


def _fail_odd(count: int) -> None:
    if next(_odd) % 2:
        raise VelaFailure("Vela said no")


def test_ctrl_c_keeps_what_is_done(tmp_path: Path) -> None:
    # A process that was started in the background ignores it, and so would Python.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    model, inputs = linear()
    file = tmp_path / "sweep.json"

    def interrupt(count: int) -> None:
        if count == 3:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)

    with ThreadPoolExecutor(1) as pool:
        result = sweep(model, U55, inputs, **_FEW, executor=_Before(pool, interrupt), resume=file)
    assert result.interrupted
    assert 0 < len(result.points) < 8
    assert SweepResult.from_json(file.read_text()) == result
    rest = Inline()
    assert len(sweep(model, U55, inputs, **_FEW, executor=rest, resume=file).points) == 8
    assert rest.count == 8 - len(result.points)


class _Before(Executor):
    """An executor that calls `before` in the worker, with how many it has started."""

    def __init__(self, pool: Executor, before: Callable[[int], None]) -> None:
        self._pool = pool
        self._before = before
        self._count = 0

    def submit(self, call: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        return self._pool.submit(self._run, call, *arguments)

    def _run(self, call: Any, *arguments: Any) -> Any:
        self._before(self._count)
        self._count += 1
        return call(*arguments)


def test_a_killed_worker_loses_no_point() -> None:
    model, inputs = linear()
    killed: list[int | None] = []

    def kill_one() -> None:
        while not killed:
            for child in multiprocessing.active_children():
                time.sleep(0.5)
                killed.append(child.pid)
                child.kill()
                break
            time.sleep(0.01)

    thread = threading.Thread(target=kill_one, daemon=True)
    thread.start()
    result = sweep(model, U55, inputs, macs=[64, 128], workers=1)
    thread.join()
    assert killed
    assert (len(result.points), result.failed) == (16, ())


@pytest.fixture
def another_vela(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a Vela in the place of the real one, for worker processes."""
    file = tmp_path / "ethosu/vela/vela.py"
    file.parent.mkdir(parents=True)
    (file.parent / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return lambda does: (file.write_text(f"import os, time\ndef main(args):\n    {does}\n"), None)[1]


@pytest.mark.ethos_u
def test_a_vela_that_crashes_is_a_point_that_failed(another_vela: Callable[[str], None]) -> None:
    another_vela("os.kill(os.getpid(), 11)")
    outcomes = dict(run_jobs([Job((b"graph",), ["--flag"])] * 2, None, 1))
    assert outcomes == dict.fromkeys(range(2), "Vela ended its process (a crash, or out of memory)")


@pytest.mark.ethos_u
def test_ctrl_c_waits_for_no_vela(another_vela: Callable[[str], None]) -> None:
    another_vela("open('began', 'w').close(); time.sleep(30); open('done', 'w').close()")

    def interrupt() -> None:
        while not Path("began").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        list(run_jobs([Job((b"graph",), ["--flag"])], None, 1))
    thread.join()
    assert not multiprocessing.active_children()
    assert not Path("done").exists()


def test_workers_do_not_import_the_main_script() -> None:
    import sys

    import __main__ as main

    with _hidden_main():
        assert sys.modules["__main__"] is not main
    assert sys.modules["__main__"] is main


@pytest.mark.parametrize(
    ("recipes", "how", "message"),
    [
        ([], {}, "recipes is empty"),
        (ArmRecipeType.TOSA_INT8, {}, "has no Vela configurations to sweep. Allowed: ETHOSU_U55_INT8"),
        ("u55", {}, "recipes: 'u55' has no Vela configurations"),
        (U55, {"macs": [128, 96]}, "macs=96 is not legal for ethos-u55. Allowed: 32, 64, 128, 256."),
        (U55, {"memory_mode": "Shared_Sran"}, "Did you mean 'Shared_Sram'?"),
        (U55, {"optimise": ["Size", "Speed"]}, "optimise='Speed' is not legal"),
        (U55, {"per_chanel": True}, "per_chanel=True is no option of this recipe"),
        (U55, {"config_ini": "none.ini"}, "config_ini='none.ini' can't be used: no such file"),
        (U55, {"extra_flags": ["--nonsense"]}, "extra_flags=['--nonsense'] is refused by Vela"),
        (U55, {"workers": 2, "executor": Inline()}, "workers=2 is not taken beside an executor"),
    ],
)
def test_refused(recipes: Any, how: dict[str, Any], message: str) -> None:
    model, inputs = linear()
    with pytest.raises(ArmRecipeError, match=re.escape(message)):
        sweep(model, recipes, inputs, **{**_FEW, **how})


@pytest.mark.parametrize(("content", "words"), [("", "This is no JSON"), ("{}", "of kind None"), ("[1]", "is list")])
def test_a_file_to_resume_that_is_none(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text(content)
    model, inputs = linear()
    with pytest.raises(ArmRecipeError, match=words):
        sweep(model, U55, inputs, resume=tmp_path / "notes.json", **_FEW)
    assert (tmp_path / "notes.json").read_text() == content


class _Compares(nn.Module):
    """Of which Ethos-U55 takes nothing."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.eq(x, y)


def test_a_lowering_that_fails_does_not_end_the_others() -> None:
    inputs = (torch.randn(1, 8), torch.randn(1, 8))
    few: dict[str, Any] = {"macs": 256, "memory_mode": "Shared_Sram", "executor": Inline()}
    result = sweep(_Compares(), [U55, U85], inputs, **few)
    assert {point.recipe for point in result.failed} == {U55.name}
    assert all((point.error or "").startswith("lowering failed: ETHOSU_U55_INT8: ") for point in result.failed)
    assert {point.recipe for point in result.done} == {U85.name}
    assert result.program(result.done[0]).get_pte_buffer()
    with pytest.raises(ArmRecipeError, match="it was read from a file, or lowering failed"):
        result.program(result.failed[0])
    with pytest.raises(LoweringError):  # there is nothing to report
        sweep(_Compares(), U55, inputs, **few)
