"""Measure what becomes of each operator on each row of the catalog, and write docs/operators.json:

    python -m tests.operators [--rows ROW,...] [--only TEXT] [--jobs 2] [--results FILE] [--write]

What is in the file of results is not done again; --write makes docs/operators.json of it. Status 1 where an error that
is not ours was raised, or a gate of `verify` failed.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import sys
from pathlib import Path
from typing import TextIO

from tests.quiet import add_result, others_silent, results_in, run_in_parts

from .measure import FAILED, Measured, measured
from .record import RECORD, ROWS, document
from .table import FORMS

Results = dict[tuple[str, str], Measured]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(ROWS), help="of the catalog")
    parser.add_argument("--only", default="", metavar="TEXT", help="forms in whose operator or code this stands")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--results", type=Path, default=Path("operators.jsonl"))
    parser.add_argument("--write", action="store_true", help="docs/operators.json, of what is in the file of results")
    parser.add_argument("--part", default="0/1", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.jobs > 1:
        run_in_parts(arguments.jobs, "-m", "tests.operators")
    else:
        with others_silent() as terminal:
            _run(arguments, terminal)
    if arguments.part != "0/1":
        return 0
    results = _read(arguments.results)
    if arguments.write:
        RECORD.write_text(document(results), encoding="utf-8")
    return _summary(results)


def _read(path: Path) -> Results:
    """The last of each form and row, of those forms that are still in the table."""
    results: Results = {}
    for (form, row), each in results_in(path, "form", "row").items():
        figures = {name: value for name, value in each.items() if name not in ("form", "row")}
        figures["taken"], figures["left"] = tuple(each["taken"]), tuple(map(tuple, each["left"]))
        if form in FORMS:
            results[form, row] = Measured(**figures)
    return results


def _run(arguments: argparse.Namespace, terminal: TextIO) -> None:
    done = _read(arguments.results)
    part, _, parts = arguments.part.partition("/")
    wanted = [form for key, form in FORMS.items() if arguments.only in f"{form.operator} {key}"]
    for row in arguments.rows.split(","):
        for index, form in enumerate(wanted):
            if index % int(parts) != int(part) or (form.key, row) in done:
                continue
            result = measured(form, row)
            if result.verdict == FAILED:
                print(f"{row} {form.key}: {result.words[:160]}", file=terminal, flush=True)
            add_result(arguments.results, {"form": form.key, "row": row, **dataclasses.asdict(result)})


def _summary(results: Results) -> int:
    by_row: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for (_, row), each in results.items():
        by_row[row][each.verdict] += 1
    for row, counts in by_row.items():
        print(f"{row:20}", ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common()))
    failed = {key: each for key, each in results.items() if each.verdict == FAILED}
    for (form, row), each in failed.items():
        print(f"\n{row} {form}: {each.words}\n{each.trace}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
