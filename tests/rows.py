"""What every row of the catalog makes of small networks here, and where two such files differ:

    python -m tests.rows [--rows NAME,...] [--verify] [--right] [MODEL ...] > here.json
    python -m tests.rows --compare there.json here.json

Two processes must make the same. Two versions of Vela, tosa-tools or executorch may not, which the comparison shows:
bytes, the estimate, the check and, with --verify, what the reference simulator computes. Its status is 1 where they do,
and with --right where a row is refused or found wrong.
MODEL is a function of tests/models.py or tests/tiny_models.py.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from arm_recipes.recipes import catalog

Rows = dict[str, dict[str, Any]]


def made(names: list[str], models_: list[str], verified: bool) -> Rows:
    """By row and network: what the report tells, with the whole of it as JSON, and what `verify` finds."""
    from arm_recipes import ArmRecipeError, ArmRecipeType, export, report, verify

    from . import models, tiny_models
    from .exports import random_samples

    rows: Rows = {}
    for model in models_:
        for recipe in map(catalog.BY_NAME.__getitem__, names):
            example = getattr(models, model, None) or getattr(tiny_models, model)
            model_, inputs = example()
            row: dict[str, Any] = {}
            rows[f"{recipe.name} {model}"] = row
            try:
                session = export(model_, ArmRecipeType[recipe.name], inputs, progress=False)
                told = report(session)
                row["bytes"] = told.pte_sha256
                row["size"] = told.pte_bytes
                row["cycles"] = sum(estimate.cycles for estimate in told.vela_estimates) or None
                row["report"] = told.to_json()
                row["check"] = [method["check"] for method in json.loads(row["report"])["methods"]]
                if verified:
                    found = verify(session, random_samples(example(), 2), progress=False)
                    row["same function"] = [gate.passed for gate in found.gates]
            except ArmRecipeError as error:
                row["refused"] = f"{type(error).__name__}: {error}"
    return rows


def differences(before: Rows, after: Rows) -> list[tuple[str, str, str, str]]:
    """Row, key, and both values in short; but for the whole report, which names versions."""
    found = []
    for row in dict.fromkeys([*before, *after]):
        one, other = before.get(row, {}), after.get(row, {})
        for key in dict.fromkeys([*one, *other]):
            if key != "report" and one.get(key) != other.get(key):
                found.append((row, key, _short(one.get(key)), _short(other.get(key))))
    return found


def failures(rows: Rows) -> list[str]:
    """A line for each row that was not made, not checked, or in which the check or `verify` found a fault."""
    found = []
    for name, row in rows.items():
        if "refused" in row:
            found.append(f"{name}: {row['refused']}")
        elif not all(check["checked"] and not check["wrong"] for check in row["check"]):
            found.append(f"{name}: check {row['check']}")
        elif not all(row.get("same function", [])):
            found.append(f"{name}: verify's gates {row['same function']}")
    return found


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", default=["conv_net"])
    parser.add_argument("--rows", default=",".join(recipe.name for recipe in catalog.RECIPES), help="of the catalog")
    parser.add_argument("--verify", action="store_true", help="run each program, too")
    parser.add_argument("--right", action="store_true", help="status 1, and which, where a row isn't made and right")
    parser.add_argument("--compare", nargs=2, metavar="FILE", help="two files made before")
    arguments = parser.parse_args()
    if arguments.compare:
        from rich.console import Console
        from rich.table import Table

        one, other = (json.loads(Path(file).read_text(encoding="utf-8")) for file in arguments.compare)
        found = differences(one, other)
        table = Table("row", "", *arguments.compare)
        for each in found:
            table.add_row(*each)
        Console(width=200).print(table if found else "No row differs.")
        return 1 if found else 0
    warnings.simplefilter("ignore")
    # What tools print to standard output stays out of the file.
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    rows = made(arguments.rows.split(","), arguments.models, arguments.verify)
    with output:
        json.dump(rows, output, indent=1)
    wrong = failures(rows) if arguments.right else []
    print(*wrong, sep="\n", end="\n" if wrong else "", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
