"""How the command prints: tables, reports and JSON, for people and for pipes. No torch here."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .catalog import Recipe
from .names import typed

if TYPE_CHECKING:
    from rich.console import Console

    from .report import ExportReport, MethodReport
    from .sweep_result import Point, SweepResult

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


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], indent: int = 0) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in header:
        # What is read word by word may be broken, what is copied may not.
        table.add_column(name, overflow="fold", no_wrap=name in ("RECIPE", "TARGET", "TOOL", "COUNT", "STATUS"))
    for row in rows:
        table.add_row(*row)
    console = _console()
    if indent:
        from rich.padding import Padding

        console.print(Padding(table, (0, 0, 0, indent)))
    else:
        console.print(table)


def print_report(report: ExportReport, recipe: Recipe, files: dict[str, Path]) -> None:
    for method in report.methods:
        _print_method(method, len(report.methods) > 1)
    if report.vela_estimates:
        click.echo("Vela's estimates of the delegated subgraphs (computed by the compiler, not measured):")
        memories = list(dict.fromkeys(name for each in report.vela_estimates for name in each.memory_kib))
        print_table(
            ("CYCLES", "TIME", "MACS", *(f"{name} (KiB)" for name in memories)),
            [
                (
                    f"{each.cycles:,}",
                    f"{each.milliseconds:.4g} ms at {each.clock_mhz:.0f} MHz",
                    f"{each.macs:,}",
                    *(f"{each.memory_kib.get(name, 0):,}" for name in memories),
                )
                for each in report.vela_estimates
            ],
            indent=2,
        )
        click.echo()
    click.echo(f"{files['pte']}  {report.pte_bytes:,} bytes, {typed(recipe)}")
    for kind, path in files.items():
        if kind != "pte":
            click.echo(f"{path}  {kind}")


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


def _print_method(method: MethodReport, several: bool) -> None:
    if several:
        click.echo(f"Method {method.name}\n")
    if method.calibration is not None:
        samples = "sample" if method.calibration.samples == 1 else "samples"
        click.echo(f"Calibrated on {method.calibration.samples} {samples}: {method.calibration.source}\n")
    if method.delegates:
        total = sum(each.operators for each in method.delegates)
        graphs = "1 subgraph" if len(method.delegates) == 1 else f"{len(method.delegates)} subgraphs"
        sizes = " + ".join(f"{each.payload_bytes:,}" for each in method.delegates)
        backends = ", ".join(dict.fromkeys(each.backend for each in method.delegates))
        click.echo(f"Delegated: {total} operators in {graphs} of {backends}, {sizes} bytes")
        click.echo(_listed(f"{each.count} {_short(each.operator)}" for each in method.delegated))
        click.echo()
    if method.not_delegated:
        click.echo(f"Not delegated: {sum(each.count for each in method.not_delegated)} operators")
        rows = [
            (str(each.count), _short(each.operator), each.reason or "not known", ", ".join(each.where) or "-")
            for each in method.not_delegated
        ]
        columns = 4 if any(each.where for each in method.not_delegated) else 3
        header = ("COUNT", "OPERATOR", "REASON", "IN MODULE")
        print_table(header[:columns], [row[:columns] for row in rows], indent=2)
        click.echo()
    if method.kernels:
        click.echo("Kernels that the runtime must have, and the calls of each:")
        click.echo(_listed(f"{each.count} {each.operator}" for each in method.kernels))
    else:
        click.echo("Kernels that the runtime must have: none")
    memory = " + ".join(f"{size:,}" for size in method.planned_memory_bytes) or "0"
    click.echo(f"\nMemory planned for activations outside of delegates: {memory} bytes\n")


def _short(operator: str) -> str:
    return operator.removeprefix("quantized_decomposed.")


def _listed(words: Iterable[str]) -> str:
    # The spaces within a word are kept together.
    text = textwrap.fill(
        ", ".join(word.replace(" ", "\0") for word in words),
        min(terminal_width(), 120),
        initial_indent="  ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return text.replace("\0", " ")
