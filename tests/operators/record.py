"""docs/operators.json: what was measured, as it is kept."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arm_recipes.recipes import catalog
from arm_recipes.tools import versions

from .measure import Measured
from .table import FORMS

RECORD = Path(__file__).parents[2] / "docs/operators.json"

# Of the catalog, those that are measured. The others take what another of their family and precision takes, which a
# test holds them to on a few operators.
ROWS = (
    "ETHOSU_U55_INT8",
    "CORTEX_M55_INT8",
    "TOSA_FP",
    "ETHOSU_U85_INT8",
    "ETHOSU_U85_A16W8",
    "ETHOSU_U55_A16W8",
    "TOSA_INT8",
    "TOSA_A16W8",
)

_Kept = dict[str, Any]


def document(results: Mapping[tuple[str, str], Measured]) -> str:
    """Of the rows on which every form was measured, a form a line, so that a change is easy to see."""
    rows = [row for row in catalog.BY_NAME if all((key, row) in results for key in FORMS)]
    lines = []
    for key, form in FORMS.items():
        measured = {row: kept(results[key, row]) for row in rows}
        entry = {
            "code": key,
            "operator": form.operator,
            "inputs": list(form.use.inputs),
            "instead": list(form.use.instead),
            "measured": measured,
        }
        lines.append(json.dumps(entry))
    head = json.dumps({"versions": dict(versions.installed()), "rows": rows})
    return head.removesuffix("}") + ', "forms": [\n' + ",\n".join(lines) + "\n]}\n"


def kept(measured: Measured) -> _Kept:
    """What is kept of a measurement: nothing that is empty, and no traceback."""
    entry: _Kept = {"verdict": measured.verdict}
    for name in ("quantized_db", "program_db"):
        figure = getattr(measured, name)
        if figure is not None:
            entry[name] = "exact" if math.isinf(figure) and figure > 0 else figure
    for name in ("taken", "left", "words"):
        if getattr(measured, name):
            entry[name] = getattr(measured, name)
    return entry
