"""Measure what comes of each model of tests/zoo on each family's recipes, for docs/models.md:

python docs/models.py [--models NAME;...] [--rows ROW,...] [--jobs 2] [--results FILE] [--again KIND,...]
python docs/models.py --results FILE --write       put what is measured into docs/models.json
python docs/generate.py                            make the page of it

What is in the file of results is not done again. Status 1 if anything failed or is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.quiet import add_result, others_silent, results_in, run_in_parts  # noqa: E402
from tests.zoo import DOMAINS, MODELS  # noqa: E402
from tests.zoo.measure import BLAMED, CALIBRATED, FAILED, VERIFIED, measured  # noqa: E402

DATA = ROOT / "docs" / "models.json"
ROWS = (
    "ETHOSU_U55_INT8",
    "ETHOSU_U85_INT8",
    "ETHOSU_U85_A16W8",
    "CORTEX_M55_INT8",
    "TOSA_INT8",
    "TOSA_FP",
    "VGF_INT8",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=";".join(MODELS), help="names of tests/zoo, with ; between them")
    parser.add_argument("--rows", default=",".join(ROWS), help="of the catalog")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--results", type=Path, default=Path("models.jsonl"))
    parser.add_argument("--again", default="", help="kinds of results that are made again, e.g. failed,blamed")
    parser.add_argument("--write", action="store_true", help="only put the results into docs/models.json")
    parser.add_argument("--part", default="0/1", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        _write(arguments.results)
        return 0
    if arguments.jobs > 1:
        run_in_parts(arguments.jobs, sys.argv[0])
    else:
        with others_silent() as terminal:
            _run(arguments, terminal)
    return _summary(arguments) if arguments.part == "0/1" else 0


def _run(arguments: argparse.Namespace, terminal: TextIO) -> None:
    part, _, parts = arguments.part.partition("/")
    pairs = [(name, row) for row in arguments.rows.split(",") for name in arguments.models.split(";")]
    again = set(arguments.again.split(","))
    for name, row in pairs[int(part) :: int(parts)]:
        done = results_in(arguments.results, "model", "row").get((name, row))  # another process may have done it
        if done is not None and done["kind"] not in again:
            continue
        result = {"model": name, "row": row, **measured(MODELS[name], row)}
        add_result(arguments.results, result)
        figures = {key: result.get(key) for key in ("share", "subgraphs", "quantized_db", "lowering_db", "seconds")}
        print(f"{row:17} {name:24} {result['kind']:8}", result["words"][:200] or figures, file=terminal, flush=True)


def _summary(arguments: argparse.Namespace) -> int:
    wrong = [
        each for each in results_in(arguments.results, "model", "row").values() if each["kind"] in (BLAMED, FAILED)
    ]
    for each in wrong:
        print(f"\n{each['row']} {each['model']} {each['kind']}: {each['words']}\n{each.get('trace', '')}")
    return 1 if wrong else 0


def _write(path: Path) -> None:
    """What is measured goes into the data, beside what is there of models and rows that are still known."""
    old = json.loads(DATA.read_text(encoding="utf-8"))["models"] if DATA.exists() else {}
    results = results_in(path, "model", "row")
    models: dict[str, Any] = {}
    for domain, its in DOMAINS.items():
        for name, model in its.items():
            rows = dict(old.get(name, {"rows": {}})["rows"])
            rows |= {row: _kept(results[name, row]) for row in ROWS if (name, row) in results}
            weights = sum(weight.numel() for weight in model.module().parameters())
            about = {"domain": domain, "paper": model.paper, "weights": weights}
            models[name] = about | {"rows": {row: rows[row] for row in ROWS if row in rows}}
    data = {
        "versions": {name: version(name) for name in ("arm_recipes", "executorch", "torch", "ethos-u-vela")},
        "calibrated": CALIBRATED,
        "verified": VERIFIED,
        "rows": ROWS,
        "models": models,
    }
    DATA.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _kept(result: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in result.items() if key not in ("model", "row", "trace")}
    return kept | ({"fallback": _kept(result["fallback"])} if "fallback" in result else {})


if __name__ == "__main__":
    sys.exit(main())
