"""Whether memory grows while one process exports again and again: recipes of the whole catalog, one after the other.

    python docs/benchmarks/long_use.py [--exports N] [MODEL]

MODEL is a function of tests/models.py. Prints the resident memory after every tenth export, and how much it grew from
the tenth to the last.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import sys
import warnings
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))

from arm_recipes import ArmRecipeType, export
from arm_recipes.recipes import catalog
from tests import models


def resident_mb() -> float:
    """Of this process, in MB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", metavar="MODEL", default="conv_net")
    parser.add_argument("--exports", type=int, default=50)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")

    table = Table("exports", "resident MB", "objects")
    measured = {}
    for index, recipe in zip(range(1, arguments.exports + 1), itertools.cycle(catalog.RECIPES), strict=False):
        example = getattr(models, arguments.model)()
        export(example.model, ArmRecipeType[recipe.name], example.inputs, progress=False)
        if index % 10 == 0:
            gc.collect()
            measured[index] = resident_mb()
            table.add_row(f"{index}", f"{measured[index]:.0f}", f"{len(gc.get_objects()):,}")
    Console().print(table)
    first, last = min(measured), max(measured)
    Console().print(f"From the {first}th to the {last}th: {measured[last] / measured[first] - 1:+.1%}")


if __name__ == "__main__":
    main()
