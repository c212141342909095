"""docs/models.md: what is in docs/models.json, as tables. docs/generate.py writes it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from arm_recipes.recipes import catalog

DATA = Path(__file__).with_name("models.json")

Figures = Mapping[str, Any]

_INTRODUCTION = """# Models

What comes of {count} public architectures on each target. They are written from their papers, small ({least:,} to
{most:,} weights, random ones), and stand in `tests/zoo/`. Each program was checked layer by layer when it was exported,
and run on its reference simulator on {verified} samples other than the {calibrated} that it was calibrated on.

- **%** is the share of operators on the accelerator; on Cortex-M the share of kernels that are CMSIS-NN's.
- **dB** is how far the program's outputs are from the float model's (SQNR of the worst output; at 20 dB the error is a
  tenth, at 40 a hundredth). Random weights quantize worse than trained ones, so compare columns. The program is what
  the quantized model is: {lowering}.
- **†** takes `allow_portable_fallback=True`: the recipe refuses what has layers on slow float kernels.
- **no** is a refusal; [below](#what-is-refused) is why. An empty cell has not been measured yet.
"""

_COSTS = """## What they cost

KiB of the .pte, and on Ethos-U thousands of the NPU's cycles (Vela's estimates; nothing was measured on hardware).
The seconds are CPU time of an export with its check, for {row}, without imports and the simulator's own process.
"""

_LEFT = """## What stays on the CPU

Operators that the delegate did not take, and in how many subgraphs the others are. [Report](report.md) says why, one by
one.
"""

_REFUSED = """## What is refused

With an error that says what is wrong and what to do, and no program. † is made with `allow_portable_fallback=True`.
"""


def page() -> str:
    """The page, of what was measured."""
    data = json.loads(DATA.read_text(encoding="utf-8"))
    models: dict[str, Figures] = data["models"]
    rows = [row for row in data["rows"] if any(row in model["rows"] for model in models.values())]
    weights = [model["weights"] for model in models.values()]
    versions = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
    words = {key: data[key] for key in ("calibrated", "verified")}
    words |= {"count": len(models), "least": min(weights), "most": max(weights), "lowering": _lowering(models)}
    lines = [_INTRODUCTION.format(**words)]
    lines += [*_by_domain(models, rows, _outcome), ""]
    lines += [_COSTS.format(row=_word(rows[0])), *_by_domain(models, rows, _cost, seconds=rows[0]), ""]
    lines += [_LEFT, *_left(models, rows), ""]
    lines += [_REFUSED, *_refused(models, rows), ""]
    lines += [f"Made by `python docs/generate.py` of what `python docs/models.py` measured with {versions}."]
    return "\n".join(lines) + "\n"


def _title(row: str) -> str:
    """The family's target and precision, as two lines."""
    recipe = catalog.BY_NAME[row]
    family = {"ethos_u": "Ethos&#8209;", "cortex_m": "Cortex&#8209;"}.get(recipe.family.value, "")
    name = row.removesuffix(f"_{recipe.precision.value.upper()}").rpartition("_")[2].removeprefix("ETHOSU")
    return f"{family}{name}<br>{recipe.precision.value.upper().replace('INT8', 'int8')}"


def _by_domain(models: Mapping[str, Figures], rows: list[str], cell: Any, seconds: str = "") -> Iterator[str]:
    """One table; the domains are rows of their own."""
    more = ["export<br>CPU s"] if seconds else []
    yield f"| | {' | '.join([*map(_title, rows), *more])} |"
    yield "|---|" + "--:|" * (len(rows) + len(more))
    domain = ""
    for name, model in models.items():
        if model["domain"] != domain:
            domain = model["domain"]
            yield f"| **{domain}** |" + " |" * (len(rows) + len(more))
        cells = [cell(model["rows"].get(row)) for row in rows]
        if seconds:
            spent = (model["rows"].get(seconds) or {}).get("seconds")
            cells.append("" if spent is None else f"{spent:.0f}")
        about = name if seconds else f'<span title="{model["paper"]}">{name}</span>'
        yield f"| {about} | {' | '.join(cells)} |"


def _made(figures: Figures | None) -> tuple[Figures | None, str]:
    """The figures of a program, and a mark; None where there is no program."""
    if figures is None or figures["kind"] == "right":
        return figures, ""
    fallback = figures.get("fallback")
    return (fallback, "†") if fallback and fallback["kind"] == "right" else (None, "")


def _outcome(figures: Figures | None) -> str:
    made, mark = _made(figures)
    if figures is None:
        return ""
    if made is None:
        return "no" if figures["kind"] == "refused" else f"**{figures['kind']}**"
    return f"{made['share']:.0f}&nbsp;%{mark} {_db(made['program_db'])}"


def _db(value: float) -> str:
    return f"{value:.0f}&nbsp;dB"


def _cost(figures: Figures | None) -> str:
    made, mark = _made(figures)
    if made is None:
        return "" if figures is None else "no"
    cycles = f"<br>{made['cycles'] / 1000:,.0f} k" if made["cycles"] is not None else ""
    return f"{made['bytes'] / 1024:,.0f}{mark}{cycles}"


def _lowering(models: Mapping[str, Figures]) -> str:
    """How many programs are nearer to their quantized module than that is to the float model."""
    made = [_made(figures)[0] for model in models.values() for figures in model["rows"].values()]
    quantized = [each for each in made if each is not None and each["quantized_db"] is not None]
    equal = sum(each["lowering_db"] >= 200 for each in quantized)
    worst = max(each["quantized_db"] - each["program_db"] for each in quantized)
    return f"{equal} of {len(quantized)} of them bit for bit; the others lose at most {max(worst, 0):.1f} dB to it"


def _left(models: Mapping[str, Figures], rows: list[str]) -> Iterator[str]:
    yield "| model | target | % | subgraphs | not on it |"
    yield "|---|---|--:|--:|---|"
    for name, model in models.items():
        alike: dict[tuple[int, str, str], list[str]] = {}
        for row in rows:
            made, _ = _made(model["rows"].get(row))
            if made is not None and made["share"] < 100:
                left = made["left"] or {key: count for key, count in made["kernels"].items() if "cortex_m::" not in key}
                words = ", ".join(
                    f"`{_short(key)}`" + (f" x {count}" if count > 1 else "")
                    for key, count in left.items()
                    if "quantize_per_" not in key and "_clone_dim_order" not in key
                )
                alike.setdefault((round(made["share"]), made["subgraphs"] or "", words), []).append(row)
        for (share, subgraphs, words), same in alike.items():
            yield f"| {name} | {', '.join(map(_word, same))} | {share} | {subgraphs} | {words} |"


def _word(row: str) -> str:
    return _title(row).replace("<br>", " ")


def _short(operator: str) -> str:
    """`aten.topk` of a node's operator, `topk` of a kernel's."""
    return re.sub(r"^aten(\.|::)|\.(out|default)$", "", operator)


def _refused(models: Mapping[str, Figures], rows: list[str]) -> Iterator[str]:
    """Each reason once: its sentence, as the first model has it, and whom it is about."""
    reasons: dict[str, tuple[str, dict[str, list[str]]]] = {}
    for name, model in models.items():
        for row in rows:
            figures = model["rows"].get(row)
            if figures is not None and figures["kind"] != "right":
                sentence = re.sub(r"\s+", " ", figures["words"]).replace(f"{row}: ", "").strip()
                _, who = reasons.setdefault(_kind(sentence), (sentence, {}))
                who.setdefault(row, []).append(name + _made(figures)[1])
    for sentence, who in sorted(reasons.values(), key=lambda each: -sum(map(len, each[1].values()))):
        about = "; ".join(f"{_word(row)}: {', '.join(names)}" for row, names in who.items())
        yield f"- {about}\n\n    > {_cut(sentence)}\n"


def _kind(sentence: str) -> str:
    """Without names, numbers and places, so that refusals for one reason count as one."""
    return re.sub(r"'[^']*'|[\d.]+|\bm\d+\b|\([^)]*\)", "_", sentence)[:60]


def _cut(sentence: str, most: int = 420) -> str:
    sentence = sentence.replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")
    return sentence if len(sentence) <= most else f"{sentence[:most].rpartition(' ')[0]} ..."
