"""How the command prints: tables, reports and JSON, for people and for pipes. No torch here."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from arm_recipes.documents.tables import table

if TYPE_CHECKING:
    from rich.console import Console

    from arm_recipes.reporting.result import ExportReport
    from arm_recipes.sweeping.result import Point, SweepResult

SCHEMA_VERSION = 1


def print_json(**content: Any) -> None:
    click.echo(json.dumps({"schema_version": SCHEMA_VERSION, **content}, indent=2))


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def spelled(value: Any) -> str:
    """A value as -o takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return shlex.join(value) if isinstance(value, tuple) else str(value)


def _console() -> Console:
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False, markup=False, emoji=False)


def terminal_width() -> int:
    return shutil.get_terminal_size().columns


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    _console().print(table(header, rows))


def print_report(report: ExportReport, files: dict[str, Path]) -> None:
    click.echo(report.text(terminal_width()))
    for kind, path in files.items():
        click.echo(f"{path}" if kind == "pte" else f"{path}  {kind}")


def print_sweep(result: SweepResult, best: Point | None, *, limited: bool, files: Iterable[Path]) -> None:
    left_out = sum(each.count for each in result.skipped)
    click.echo(
        f"{len(result.done)} configurations estimated, {len(result.failed)} failed, {left_out} left out as not legal"
        + (". Interrupted: there are more." if result.interrupted else "")
    )
    reasons: dict[str, int] = {}
    for point in result.failed:
        reasons[point.error or ""] = reasons.get(point.error or "", 0) + 1
    for reason, count in reasons.items():
        click.echo(f"  {count} failed: {reason}")
    if not result.done:
        return
    click.echo("\nThe front of latency against SRAM (Vela's estimates, not measured; the .pte's size is exact):")
    _print_points(result.pareto)
    if best is not None:
        what = "Chosen, as it fits the limits:" if limited else "The fastest:"
        click.echo(f"\n{what}")
        _print_points([best])
        options = " ".join(f"-o {name}={value}" for name, value in best.options.items())
        click.echo(f"  -r {best.recipe.lower().replace('_', '-')} {options}")
    for path in files:
        click.echo(str(path))


def _print_points(points: Iterable[Point]) -> None:
    """What and how much, for each; of configurations that come to the same figures only the first."""
    seen: dict[tuple[object, ...], list[Point]] = {}
    for point in points:
        assert point.figures is not None
        figures = point.figures
        seen.setdefault((point.recipe, figures.milliseconds, figures.sram_kib, figures.flash_kib), []).append(point)
    for same in seen.values():
        first, of = same[0], same[0].figures
        assert of is not None
        more = f" (and {len(same) - 1} more)" if len(same) > 1 else ""
        name = first.recipe.lower().replace("_", "-")
        click.echo(f"  {name} {first.macs}, {first.system_config}, {first.memory_mode}, {first.optimise}{more}")
        click.echo(
            f"    {of.milliseconds:.4g} ms, SRAM {of.sram_kib:,.1f} KiB, flash {of.flash_kib:,.1f} KiB, "
            f"{of.utilisation:.1%} of MACs used, .pte {of.pte_bytes:,} bytes"
        )
