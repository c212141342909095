"""What the check, a report with layers and a new Vela configuration cost beside the export that they are of.

    python docs/benchmarks/check.py [--model tests.models:mobilenet_v2] [--recipe ETHOSU_U55_INT8] [--runs 3]

Everything in one process, after an export that imports what is needed. Prints seconds, and ratios to the export.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from arm_recipes import ArmRecipeType, check, export, report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tests.models:mobilenet_v2", help="MODULE:FUNCTION giving (model, inputs)")
    parser.add_argument("--recipe", default="ETHOSU_U55_INT8", choices=[recipe.name for recipe in ArmRecipeType])
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    module, _, factory = arguments.model.partition(":")
    model, inputs = getattr(importlib.import_module(module), factory)()
    recipe = ArmRecipeType[arguments.recipe]

    layers = recipe.name.startswith("ETHOSU")
    seconds: dict[str, list[float]] = {"export, unchecked": [], "check": [], "report with layers": []}
    check(export(model, recipe, inputs, check=False))  # imports, and starts the simulator
    for _ in range(arguments.runs):
        session = _timed(seconds["export, unchecked"], export, model, recipe, inputs, check=False)
        outcome = _timed(seconds["check"], check, session)
        _timed(seconds["report with layers"], report, session, layers=layers)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    table = Table("what", "seconds, median", "least", "most", "beside the export")
    for name, values in seconds.items():
        figures = (medians[name], min(values), max(values))
        table.add_row(
            name, *(f"{value:.2f}" for value in figures), f"{medians[name] / medians['export, unchecked']:.3f}"
        )
    Console().print(table)
    print(outcome.methods[0])


def _timed(seconds: list[float], call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    start = time.perf_counter()
    result = call(*arguments, **options)
    seconds.append(time.perf_counter() - start)
    return result


if __name__ == "__main__":
    main()
