"""All Ethos-U55 and U85 configurations of a model: one sweep, against executorch's script once per configuration.

    python docs/benchmarks/sweep.py [--configurations 4] [--model tests.models:mobilenet_v2]

The sweep is one process, imports included. The script is run as a process of its own for some of the configurations,
evenly spread over them, and its time is multiplied out to all: that total is an extrapolation and was not measured. The
cycles that Vela estimates for those configurations are compared.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import tempfile
from pathlib import Path
from typing import Any

from processes import SCRIPT, run, write_model

_SWEEP = ["-m", "arm_recipes", "sweep", "model.py", "-r", "ethosu-u55-int8", "-r", "ethosu-u85-int8", "--json"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configurations", type=int, default=4, help="how many to run the script for")
    parser.add_argument("--model", default="tests.models:mobilenet_v2", help="MODULE:FUNCTION giving (model, inputs)")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder, arguments.model)
        swept, printed = run(_SWEEP, folder)
        points = json.loads(printed)["points"]
        failed = sum(point["figures"] is None for point in points)
        print(f"sweep   {len(points)} configurations, {failed} failed: {swept:.1f} s", flush=True)

        seconds = []
        # The script has no flag for what Vela optimises for, and takes its default.
        comparable = [point for point in points if point["optimise"] == "Performance"]
        step = len(comparable) / max(arguments.configurations, 1)
        for index in range(arguments.configurations):
            point = comparable[int((index + 0.5) * step)]
            taken, printed = run(_script(point), folder)
            seconds.append(taken)
            same = _cycles(printed) == point["figures"]["cycles"]
            print(f"script  {_spelled(point)}: {taken:.1f} s, same cycles: {same}", flush=True)

    if seconds:
        total = statistics.mean(seconds) * len(points)
        print(f"\n{arguments.model}, INT8, whole processes")
        print(f"sweep, measured                                   {swept:10.1f} s")
        print(f"script, extrapolated from {len(seconds)} to {len(points)} configurations {total:10.1f} s")
        print(f"script / sweep                                    {total / swept:10.1f}")


def _script(point: dict[str, Any]) -> list[str]:
    target = "-".join(point["recipe"].lower().split("_")[:2]).replace("ethosu", "ethos")
    return [
        *SCRIPT,
        *("-t", f"{target}-{point['macs']}"),
        f"--system_config={point['system_config']}",
        f"--memory_mode={point['memory_mode']}",
    ]


def _cycles(printed: str) -> int:
    found = re.search(r"^Total cycles\s+(\d+)", printed, re.MULTILINE)
    return int(found[1]) if found else -1


def _spelled(point: dict[str, Any]) -> str:
    return f"{point['recipe']} {point['macs']} {point['system_config']} {point['memory_mode']}"


if __name__ == "__main__":
    main()
