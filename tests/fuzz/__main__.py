"""Export networks that are drawn by chance, and tell of each what came of it:

    python -m tests.fuzz [--family NAME,...] [--rows ROW,...] [--seeds 0:500] [--jobs 2] [--results FILE] [--thorough N]
    python -m tests.fuzz --show SEED [--rows ROW]

Each network goes to one row of each family, by turns. What is in the file of results is not done again. Networks that
fail, or that the check blames, are made smaller and printed as a module. Status 1 if there are any.
"""

from __future__ import annotations

import argparse
import collections
import re
import sys
from pathlib import Path
from typing import TextIO

from arm_recipes.recipes import catalog
from tests.quiet import add_result, others_silent, results_in, run_in_parts

from .generator import draw
from .network import Network
from .properties import BLAMED, FAILED, Outcome, held
from .reduce import reduced

_FAMILIES = {family.value: [row.name for row in catalog.RECIPES if row.family is family] for family in catalog.Family}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", default=",".join(_FAMILIES), help=f"of {', '.join(_FAMILIES)}")
    parser.add_argument("--rows", help="rows of the catalog, each of which gets every network")
    parser.add_argument("--seeds", default="0:20", help="FIRST:END")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--results", type=Path, default=Path("fuzz.jsonl"))
    parser.add_argument("--thorough", type=int, default=10, metavar="N", help="of one network in N: export it twice")
    parser.add_argument("--show", type=int, metavar="SEED", help="print the network, and what comes of it on --rows")
    parser.add_argument("--part", default="0/1", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.show is not None:
        return _show(arguments)
    if arguments.jobs > 1:
        run_in_parts(arguments.jobs, "-m", "tests.fuzz")
    else:
        with others_silent() as terminal:
            _run(arguments, terminal)
    return _summary(arguments) if arguments.part == "0/1" else 0


def _pairs(arguments: argparse.Namespace) -> list[tuple[int, str]]:
    first, _, end = arguments.seeds.partition(":")
    seeds = range(int(first), int(end))
    if arguments.rows:
        return [(seed, row) for seed in seeds for row in arguments.rows.split(",")]
    families = [_FAMILIES[name] for name in arguments.family.split(",")]
    return [(seed, rows[seed % len(rows)]) for seed in seeds for rows in families]


def _run(arguments: argparse.Namespace, terminal: TextIO) -> None:
    done = results_in(arguments.results, "seed", "row")
    part, _, parts = arguments.part.partition("/")
    for seed, row in _pairs(arguments):
        if seed % int(parts) != int(part) or (seed, row) in done:
            continue
        network = draw(seed)
        outcome = held(network, row, thorough=seed % arguments.thorough == 0)
        result: dict[str, object] = {"seed": seed, "row": row, "kind": outcome.kind, "words": outcome.words}
        if outcome.kind in (FAILED, BLAMED):

            def fails(smaller: Network, outcome: Outcome = outcome, row: str = row) -> bool:
                return _alike(held(smaller, row), outcome)

            result["source"] = reduced(network, fails).source()
            result["trace"] = outcome.trace
            print(f"{seed} {row} {outcome.kind}: {outcome.words[:160]}", file=terminal, flush=True)
        add_result(arguments.results, result)


def _alike(one: Outcome, other: Outcome) -> bool:
    """Whether two outcomes are of one kind, by the error's class."""
    return (one.kind, one.words.partition(":")[0]) == (other.kind, other.words.partition(":")[0])


def _kind_of_refusal(words: str) -> str:
    """Without names, numbers and places, so that refusals for one reason count as one."""
    return re.sub(r"'[^']*'|[\d.]+|\bm\d+\b|\([^)]*\)", "_", words)[:110]


def _summary(arguments: argparse.Namespace) -> int:
    wanted = set(_pairs(arguments))
    results = [each for key, each in results_in(arguments.results, "seed", "row").items() if key in wanted]
    by_row: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for each in results:
        by_row[str(each["row"])][str(each["kind"])] += 1
    for row, counts in sorted(by_row.items()):
        print(f"{row:20}", ", ".join(f"{count} {kind}" for kind, count in counts.most_common()))
    total = collections.Counter(str(each["kind"]) for each in results)
    print(f"{len(results)} exports:", ", ".join(f"{count} {kind}" for kind, count in total.most_common()))
    reasons = collections.Counter(_kind_of_refusal(str(each["words"])) for each in results if each["kind"] == "refused")
    for reason, count in reasons.most_common(25):
        print(f"  {count:4} refused: {reason}")
    wrong = [each for each in results if each["kind"] in ("failed", "blamed")]
    for each in wrong:
        print(f"\n{each['seed']} {each['row']} {each['kind']}: {each['words']}\n{each.get('source', '')}")
    return 1 if wrong else 0


def _show(arguments: argparse.Namespace) -> int:
    network = draw(arguments.show)
    print(network.source())
    print(f"# inputs {network.inputs}, scale {network.scale}")
    for row in (arguments.rows or "").split(",") if arguments.rows else ():
        outcome = held(network, row, thorough=True)
        print(f"# {row}: {outcome.kind} {outcome.words}\n{outcome.trace}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
