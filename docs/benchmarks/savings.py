"""What each of `arm_recipes.upstream.savings` is worth: the CPU time of an export with it, and without.

    python docs/benchmarks/savings.py [--runs N] [MODEL ...]

Models are functions of tests/models.py. Every export makes the same bytes, or this ends with an error.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
import warnings
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))

from arm_recipes import ArmRecipeType, export
from arm_recipes.upstream import savings
from tests import models

_NAMES = [
    "provenance",
    "operators",
    "kernels",
    "traces",
    "guards",
    "capture",
    "retracing",
    "code",
    "histograms",
    "collector",
]
_WAYS = {
    "none": (),
    **{name: (replacement,) for name, replacement in zip(_NAMES, savings.REPLACEMENTS, strict=True)},
    "all": savings.REPLACEMENTS,
}


def exported(name: str) -> tuple[float, bytes]:
    """CPU seconds of an export for Ethos-U55, without its check, and the .pte."""
    example = getattr(models, name)()
    gc.collect()
    start = time.process_time()
    session = export(example.model, ArmRecipeType.ETHOSU_U55_INT8, example.inputs, check=False)
    return time.process_time() - start, bytes(session.get_pte_buffer())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", default=["conv_net", "mobilenet_v2"])
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    exported("conv_net")  # what is loaded on the way

    table = Table("model", "done once", "CPU s, median", "of", "ratio to none")
    for name in arguments.models:
        seconds: dict[str, list[float]] = {way: [] for way in _WAYS}
        programs = set()
        for _ in range(arguments.runs):
            for way, replacements in _WAYS.items():
                savings.REPLACEMENTS = replacements
                took, program = exported(name)
                seconds[way].append(took)
                programs.add(program)
        assert len(programs) == 1, f"{name}: the programs differ"
        none = statistics.median(seconds["none"])
        for way, each in seconds.items():
            median = statistics.median(each)
            spread = " ".join(f"{value:.2f}" for value in sorted(each))
            table.add_row(name, way, f"{median:.2f}", spread, f"{median / none:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
