"""What an export costs beside executorch's script, and what its report, check and configurations cost beside it.

    python docs/benchmarks/lowering.py [--runs 3] [--only once,processes,steps]

Prints three tables. *once*: MobileNetV2 for Ethos-U55, in one process, after an export that imports what is needed; the
sweep of all configurations is a process, and 252 runs of the script are multiplied out from one. *processes*: whole
processes, from a model file to a .pte, which take turns with the script's; programs are compared. *steps*: CPU time of
exports of recurrent networks by the number of their unrolled steps.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networks
from processes import ROOT, SCRIPT, run, write_model
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(ROOT))

from arm_recipes import ArmRecipeType, check, export, report, retarget, verify
from tests.models import mobilenet_v2

_MOBILENET, _GRU, _VIT = "tests.models:mobilenet_v2", "networks:gru(25)", "networks:vit(12)"
_U55, _U85 = "ethos-u55-128", "ethos-u85-256"
_ROWS = {_U55: ArmRecipeType.ETHOSU_U55_INT8, _U85: ArmRecipeType.ETHOSU_U85_INT8}

_OURS = """
import sys
from arm_recipes import ArmRecipeType, export
from model import ModelInputs, ModelUnderTest

session = export(ModelUnderTest, ArmRecipeType[sys.argv[1]], ModelInputs, cache_dir=sys.argv[2])
session.save_to_pte("ours.pte")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="of each, where it is no matter of minutes")
    parser.add_argument("--only", default="once,processes,steps", help="tables to print")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    tables = {"once": once, "processes": processes, "steps": steps}
    for name in arguments.only.split(","):
        Console(width=120).print(tables[name](arguments.runs))


def once(runs: int) -> Table:
    seconds: dict[str, list[float]] = {}
    model, inputs = mobilenet_v2()
    row = _ROWS[_U55]
    check(export(model, row, inputs))
    for _ in range(runs):
        session = _timed(seconds, "export", export, model, row, inputs, check=False)
        _timed(seconds, "check", check, session)
        _timed(seconds, "first retarget", retarget, session, macs=256)
        session = _timed(seconds, "export, again", export, model, row, inputs, check=False)
        _timed(seconds, "report with layers", report, session)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder, _MOBILENET)
        script, _ = run((*SCRIPT, "-t", _U55), folder)
        sweep = ("-m", "arm_recipes", "sweep", "model.py", "-r", "ethosu-u55-int8", "-r", "ethosu-u85-int8", "--json")
        swept, _ = run(sweep, folder)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    table = Table("MobileNetV2, U55-128", "seconds", "ratio", title="One lowering")
    table.add_row("export", f"{median['export']:.1f}", "1")
    for name, beside in (("report with layers", "export, again"), ("check", "export")):
        total = median[beside] + median[name]
        table.add_row(f"export + {name} / export", f"{total:.1f}", f"{total / median[beside]:.3f}")
    table.add_row("first retarget / export", *_beside(median["first retarget"], median["export"]))
    table.add_row("sweep of all 252 configurations / 252 runs of the script", *_beside(swept, 252 * script))
    return table


def processes(runs: int) -> Table:
    table = Table("", "script, s", "arm_recipes, s", "ratio", "same bytes", title="Whole processes")
    for call, target, times in ((_MOBILENET, _U55, runs), (_GRU, _U55, 1), (_VIT, _U85, 1)):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_model(folder, call)
            (folder / "ours.py").write_text(_OURS)
            taken = [_turn(folder, target, f"cache{number}") for number in range(times)]
            script, own, again = (statistics.median(side) for side in list(zip(*taken, strict=True))[:3])
            same = str(all(same for *_, same in taken))
            table.add_row(f"{call}, {target}, one export with its check", f"{script:.1f}", *_beside(own, script), same)
            table.add_row("  again, with a cache", f"{script:.1f}", *_beside(again, script), same)
    seconds: dict[str, list[float]] = {}
    model, inputs = networks.vit(12)
    session = _timed(seconds, "export", export, model, _ROWS[_U85], inputs)
    _timed(seconds, "verify", verify, session, [inputs])
    export_, verify_ = seconds["export"][0], seconds["verify"][0]
    table.add_row(f"{_VIT}, verify beside its export", f"{export_:.1f} (export)", *_beside(verify_, export_), "")
    return table


def _turn(folder: Path, target: str, cache: str) -> tuple[float, float, float, bool]:
    """Seconds of the script, of an export into an empty cache and of one out of it; and whether all gave the same."""
    ours = ("ours.py", _ROWS[target].name, cache)
    script, _ = run((*SCRIPT, "-t", target), folder)
    expected = (folder / "script.pte").read_bytes()
    seconds, same = [], True
    for _ in range(2):
        seconds.append(run(ours, folder)[0])
        same &= (folder / "ours.pte").read_bytes() == expected
    return script, seconds[0], seconds[1], same


def steps(_: int) -> Table:
    counts = (5, 10, 25, 50)
    table = Table("CPU seconds, U55-128", *map(str, counts), "a step", title="Recurrent networks of 64 units, by steps")
    export(*_arguments(networks.gru(1)), progress=False)
    for make in (networks.gru, networks.lstm):
        seconds = []
        for count in counts:
            start = time.process_time()
            export(*_arguments(make(count)), progress=False)
            seconds.append(time.process_time() - start)
        slope = (seconds[-1] - seconds[0]) / (counts[-1] - counts[0])
        table.add_row(make.__name__, *(f"{value:.1f}" for value in seconds), f"{slope:.2f}")
    return table


def _arguments(network: Any) -> tuple[Any, ArmRecipeType, Any]:
    return network[0], _ROWS[_U55], network[1]


def _beside(seconds: float, other: float) -> tuple[str, str]:
    return f"{seconds:.1f}", f"{seconds / other:.3f}"


def _timed(seconds: dict[str, list[float]], name: str, call: Callable[..., Any], *given: Any, **options: Any) -> Any:
    start = time.perf_counter()
    result = call(*given, **options)
    seconds.setdefault(name, []).append(time.perf_counter() - start)
    return result


if __name__ == "__main__":
    main()
