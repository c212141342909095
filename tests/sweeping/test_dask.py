"""A sweep on a cluster of dask.distributed: two worker processes on this machine."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from arm_recipes import ArmRecipeError, ArmRecipeType, SweepResult, sweep
from arm_recipes.cli import group
from arm_recipes.sweeping.executors import dask_executor
from tests.models import linear

from .slowly import Slow

distributed = pytest.importorskip("distributed")

# Four tasks for two workers.
_POINTS: dict[str, Any] = {
    "macs": "all",
    "system_config": "Ethos_U55_High_End_Embedded",
    "memory_mode": "Shared_Sram",
    "optimise": "Size",
}


pytestmark = pytest.mark.usefixtures("one_sample_is_enough")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with distributed.LocalCluster(2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        yield cluster


def test_the_command(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model.py").write_text("import torch\nmodel = torch.nn.Linear(16, 8).eval()\n")
    line = "sweep model.py -r ethosu-u55-int8 --shape 1x16 --macs 64,128 --memory-mode Sram_Only --resume here.json"
    assert group.main([*line.split(), "--dask", cluster.scheduler_address]) == 0
    assert "8 configurations estimated, 0 failed" in capsys.readouterr().out
    assert len(SweepResult.from_json(Path("here.json").read_text()).done) == 8
    assert group.main([*line.split(), "--dask", "tcp://127.0.0.1:9", "--workers", "2"]) == 2
    assert "--dask and --workers are both given." in capsys.readouterr().err


def test_the_rows_are_those_of_one_process_and_a_killed_worker_loses_none(cluster: Any) -> None:
    model, inputs = linear()
    recipe = ArmRecipeType.ETHOSU_U55_INT8
    here = sweep(model, recipe, inputs, **_POINTS)
    with dask_executor(cluster.scheduler_address) as executor:
        assert sweep(model, recipe, inputs, executor=executor, **_POINTS) == here

        killed: list[int] = []

        def kill_one() -> None:
            started.wait()
            time.sleep(1.5)  # every task takes a second at least, so that both workers are at one
            process = next(iter(cluster.workers.values())).process.process
            os.kill(process.pid, signal.SIGKILL)
            killed.append(process.pid)

        started = threading.Event()
        thread = threading.Thread(target=kill_one, daemon=True)
        thread.start()
        assert sweep(model, recipe, inputs, executor=Slow(executor, started), **_POINTS) == here
        thread.join()
        assert killed
        alive = {worker.process.process.pid for worker in cluster.workers.values() if worker.process.process}
        assert not alive & set(killed)


def test_no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arm_recipes.sweeping.executors._SECONDS_TO_CONNECT", 0.2)
    with pytest.raises(ArmRecipeError, match="no scheduler can be reached there"), dask_executor("tcp://127.0.0.1:9"):
        pass
    with pytest.raises(ArmRecipeError, match="no scheduler can be reached there"), dask_executor("nonsense://a"):
        pass
