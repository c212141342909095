"""docs/operators.md, its table for the site, and what messages say of it: all from docs/operators.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from arm_recipes.documents.blocks import Block, Column, Document, Items, Paragraph, Table, table
from arm_recipes.documents.html import page as html_page
from arm_recipes.documents.markdown import markdown
from arm_recipes.lowering.device_kernels import demand_of
from arm_recipes.recipes.catalog import BY_NAME, RECIPES, Precision, Recipe

RECORD = Path(__file__).with_name("operators.json")

# What the site puts in the place of the table that follows.
SORTABLE = "<!-- sortable -->"

_WORDS = {"taken": "yes", "part": "part", "left": "CPU", "gone": "-", "refused": "refused", "failed": "failed"}
# In dB, quantized against float: what is less exact is advised to nobody.
_LEAST = 20.0
_NOT_ALL = ("part", "left", "refused", "failed")

_Form = Mapping[str, Any]

_INTRODUCTION = """# Operators

Made by `python docs/generate.py` from [operators.json](operators.json), which `python -m tests.operators --write`
measured: each operator in a small network between two sums, exported by `arm_recipes.export` for each target, and
verified. Versions: {versions}.

- **yes**: all of it is on the NPU, in the delegate, or a kernel of CMSIS-NN; **part**: some of it; **CPU**: none of it;
  **refused**: an error says why; **-**: nothing of it is left in the program.
- **dB**: SQNR of the quantized network against the float one, on random data that it was calibrated on, the lowest of
  the targets of that precision.
- An operator in another use, with other sizes or other neighbours, may fare differently: the report of an export says
  what became of it, with the reason.

Columns that are alike in every row are one. {alike}
"""

_SITE = """On the site the table can be sorted and filtered. A row that is chosen shows what it became on each target,
how exact the program is, and why it is not on the target."""

_KERNELS = """## Kernels of Cortex-M

What the operators above became, and the order in memory that each kernel takes. `cortex_m` is CMSIS-NN, in int8;
`aten` are executorch's portable kernels, in float.
"""

_LEFT = """## What is left, and what is taken in its place

Where the target takes another form that computes the same, or nearly, the messages of exports and reports name it too.
"""


def record() -> dict[str, Any]:
    """What `tests/operators` measured."""
    read: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
    return read


def package_data() -> str:
    """arm_recipes/recipes/operators.json: of each form that a target does not take whole, the one it takes instead."""
    kept = record()
    forms = kept["forms"]
    by_code = {form["code"]: form for form in forms}
    entries = []
    for form in forms:
        instead: dict[str, list[str]] = {}
        for row in kept["rows"]:
            code = _instead(form, by_code, row)
            if code:
                instead.setdefault(code, []).append(row)
        if instead:
            entries.append(json.dumps({"operator": form["operator"], "form": form["code"], "instead": instead}))
    return f'{{"like": {json.dumps(_like(kept["rows"]))}, "forms": [\n' + ",\n".join(entries) + "\n]}\n"


# Targets that take what another one takes, which a test holds on a few operators.
_SAME = {"ethos-u65": "ethos-u55", "vgf": "tosa"}


def _like(rows: Sequence[str]) -> dict[str, str]:
    """By recipe the measured one that takes the same: mostly itself. Of Cortex-M all take what any of them takes."""
    measured = {(_kind(BY_NAME[row]), BY_NAME[row].precision): row for row in rows}
    likes = ((each.name, measured.get((_kind(each), each.precision))) for each in RECIPES)
    return {name: like for name, like in likes if like is not None}


def _kind(recipe: Recipe) -> str:
    name = recipe.target.name
    return _SAME.get(name, name) if recipe.family.facts.delegates else recipe.family.value


def _instead(form: _Form, by_code: Mapping[str, _Form], row: str) -> str:
    """What `row` takes in the place of a form that it does not take whole; empty for nothing."""
    if _verdict(form, row) not in _NOT_ALL:
        return ""
    return next((code for code in form["instead"] if _does(by_code[code], row)), "")


def _does(form: _Form, row: str) -> bool:
    measured = form["measured"][row]
    return measured["verdict"] == "taken" and _decibel(measured.get("quantized_db", "exact")) >= _LEAST


def page() -> str:
    """docs/operators.md."""
    kept = record()
    columns = _columns(kept)
    versions = ", ".join(f"{name} {version}" for name, version in kept["versions"].items())
    alike = "; ".join(f"{_title(shared)}: {', '.join(shared)}" for shared in columns if len(shared) > 1)
    introduction = _INTRODUCTION.format(versions=versions, alike=f"({alike}.)" if alike else "")
    parts = [introduction, _SITE, "", SORTABLE, "", _written(_table(kept, columns))]
    parts += [_LEFT, _written(_what_is_left(kept, columns))]
    kernels = _kernels(kept)
    parts += [_KERNELS, _written(kernels)] if kernels.rows else []
    return "\n".join(parts)


def _written(block: Table) -> str:
    return markdown(Document("", (block,))).partition("\n\n")[2]


def sortable() -> str:
    """The table for the site, of the blocks and with the script of the package's own pages."""
    kept = record()
    whole = html_page(Document("Operators", (_table(kept, _columns(kept)),)))
    style = whole.partition("<style>")[2].partition("</style>")[0]
    body = whole.partition("</h1>")[2].partition("</body>")[0]
    # With a class the theme leaves a table alone.
    body = body.replace("<table>", '<table class="operators">')
    return f'<style>{style}</style>\n<div class="arm-recipes">{body}</div>'


# Rows of the catalog that are alike in every form are one column.
_Columns = Sequence[Sequence[str]]


def _columns(kept: Mapping[str, Any]) -> _Columns:
    groups: dict[tuple[object, ...], list[str]] = {}
    for row in kept["rows"]:
        key = (BY_NAME[row].precision, *(_verdict(form, row) for form in kept["forms"]))
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def _title(shared: Sequence[str]) -> str:
    """E.g. ``U55, U65 int8``."""
    names = (BY_NAME[row].target.name.removeprefix("ethos-").removeprefix("cortex-") for row in shared)
    precision = BY_NAME[shared[0]].precision.value
    return f"{', '.join(dict.fromkeys(name.upper() for name in names))} {precision}"


def _table(kept: Mapping[str, Any], columns: _Columns) -> Table:
    measured = {BY_NAME[row].precision for row in kept["rows"]}
    precisions = [precision for precision in Precision if precision.quantized and precision in measured]
    header = [Column("as used", "code"), *(Column(_title(shared)) for shared in columns)]
    header += [Column(f"dB {precision.value}", "decibel") for precision in precisions]
    header += [Column("operator", "code")]
    rows = []
    for form in kept["forms"]:
        words = [_WORDS.get(_verdict(form, shared[0]), "") for shared in columns]
        rows.append((form["code"], *words, *(_worst(form, each) for each in precisions), form["operator"]))
    details = tuple(tuple(_details(form, columns)) for form in kept["forms"])
    return Table(tuple(header), tuple(rows), name="operators", details=details, filters=True)


def _verdict(form: _Form, row: str) -> str:
    return str(form["measured"].get(row, {}).get("verdict", ""))


def _worst(form: _Form, precision: Precision) -> float | None:
    """SQNR in dB of the quantized network, the lowest of the targets of a precision."""
    rows = [measured for row, measured in form["measured"].items() if BY_NAME[row].precision is precision]
    return min((_decibel(each["quantized_db"]) for each in rows if "quantized_db" in each), default=None)


def _decibel(figure: float | str) -> float:
    return float("inf") if figure == "exact" else float(figure)


def _details(form: _Form, columns: _Columns) -> Iterator[Block]:
    """What it became on each target, how exactly, and why it is not on it."""
    inputs = ", ".join(form["inputs"])
    yield Paragraph(f"Inputs, each added to itself: {inputs}")
    rows = []
    for shared in columns:
        measured = form["measured"].get(shared[0])
        if measured:
            decibels = [measured.get(name) for name in ("quantized_db", "program_db")]
            became = ", ".join(measured.get("taken", ()))
            rows.append(
                (_title(shared), _WORDS[measured["verdict"]], *map(_maybe, decibels), became, _reason(measured))
            )
    yield table(
        (
            "target",
            "taken",
            Column("quantized against float", "decibel"),
            Column("program against that", "decibel"),
            Column("on the target", "text"),
            "on the CPU",
        ),
        rows,
    )
    if form["instead"]:
        yield Items(tuple(f"Perhaps instead: {code}" for code in form["instead"]))


def _maybe(figure: float | str | None) -> float | None:
    return None if figure is None else _decibel(figure)


def _reason(measured: Mapping[str, Any]) -> str:
    left = [f"{operator}: {reason}" if reason else operator for operator, reason in measured.get("left", ())]
    return " ".join([*left, measured.get("words", "")]).strip()


def _what_is_left(kept: Mapping[str, Any], columns: _Columns) -> Table:
    by_code = {form["code"]: form for form in kept["forms"]}
    rows = []
    for form in kept["forms"]:
        told: dict[tuple[str, str], list[str]] = {}
        for shared in columns:
            measured = form["measured"].get(shared[0], {})
            if measured.get("verdict") in _NOT_ALL:
                told.setdefault((_reason(measured), _instead(form, by_code, shared[0])), []).append(_title(shared))
        rows += [(form["code"], ", ".join(titles), reason, code) for (reason, code), titles in told.items()]
    return table((Column("as used", "code"), "not whole on", "left, and why", Column("taken instead", "code")), rows)


def _kernels(kept: Mapping[str, Any]) -> Table:
    """Of the rows without delegates: each kernel, its demand of memory, and some of the forms that become it."""
    using: dict[str, list[str]] = {}
    for form in kept["forms"]:
        for row, measured in form["measured"].items():
            if not BY_NAME[row].family.facts.delegates:
                for kernel in (*measured.get("taken", ()), *(name for name, _ in measured.get("left", ()))):
                    using.setdefault(kernel, []).append(form["code"])
    rows = []
    for kernel, codes in sorted(using.items(), key=lambda item: (item[0].startswith("aten"), item[0])):
        namespace, _, name = kernel.partition("::")
        demand = demand_of(f"{namespace}.{name.partition('.')[0]}")
        rows.append((kernel, demand.text, codes[0], len(codes)))
    return table(
        (Column("kernel", "code"), "takes", Column("for example of", "code"), Column("rows above", "whole")), rows
    )
