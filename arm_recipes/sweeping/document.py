"""A `SweepResult` as blocks. No torch here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from arm_recipes.documents.blocks import (
    Block,
    Cell,
    Column,
    Document,
    Dot,
    Heading,
    Items,
    OnlyPage,
    OnlyText,
    Paragraph,
    Scatter,
    Table,
)
from arm_recipes.tools.vela.tables import layer_table

if TYPE_CHECKING:
    from .result import Figures, Point, SweepResult

_POINTS = "points"  # by which the plot knows its table


def document(result: SweepResult) -> Document:
    """What a sweep says: on a page all points, in a text the front."""
    left_out = sum(each.count for each in result.skipped)
    counts = f"{len(result.done)} configurations estimated, {len(result.failed)} failed, {left_out} left out"
    interrupted = ". Interrupted: there are more." if result.interrupted else ""
    blocks: list[Block] = [
        Paragraph(f"{counts} as not legal{interrupted}", "bad" if result.interrupted else "plain"),
        OnlyPage((Paragraph(f"{_NOTE} Vela {result.vela}.", "note"),)),
    ]
    if result.done:
        fastest = sorted(result.done, key=lambda point: _figures(point).milliseconds)
        blocks += [OnlyPage((_scatter(fastest), _table(fastest))), OnlyText(tuple(front(result)))]
    failed = Counter(f"{point.recipe}: {point.error}" for point in result.failed)
    skipped = tuple(f"{each.count} {each.reason}" for each in result.skipped)
    blocks += [
        Heading("Failed"),
        Items(tuple(f"{count} {reason}" for reason, count in failed.items())),
        OnlyPage((Heading("Left out"), Items(skipped))),
    ]
    return Document("Sweep", tuple(blocks))


_NOTE = "Every figure but the size of the .pte is Vela's estimate: computed by the compiler, not measured on hardware."


def command(point: Point) -> str:
    """The options of `arm-recipes export` that make the program of a point."""
    options = " ".join(f"-o {name}={value}" for name, value in point.options.items())
    return f"-r {_recipe(point)} {options}"


def _recipe(point: Point) -> str:
    return point.recipe.lower().replace("_", "-")


def _figures(point: Point) -> Figures:
    assert point.figures is not None  # of a point that is done
    return point.figures


# the page


def _scatter(points: Sequence[Point]) -> Scatter:
    dots = []
    for row, point in enumerate(points):
        figures = _figures(point)
        label = "\n".join(
            (
                *map(str, point.key),
                f"{figures.milliseconds:.4g} ms, SRAM {figures.sram_kib:,.1f} KiB, flash {figures.flash_kib:,.1f} KiB",
                f"{figures.utilisation:.1%} of MACs used, .pte {figures.pte_bytes:,} bytes",
            )
        )
        dots.append(Dot(figures.milliseconds, figures.sram_kib, label, point.recipe, point.pareto, row))
    title = "Latency against peak SRAM, the front marked"
    return Scatter(title, "estimated latency, ms", "estimated peak SRAM, KiB", tuple(dots), _POINTS)


_COLUMNS = (
    Column("recipe", "code"),
    Column("MACs", "whole"),
    Column("system", "code"),
    Column("memory mode", "code"),
    Column("optimise", "code"),
    Column("front"),
    Column("ms", "number"),
    Column("cycles", "whole"),
    Column("MHz", "whole"),
    Column("SRAM KiB", "number"),
    Column("DRAM KiB", "number"),
    Column("flash KiB", "number"),
    Column("MACs used", "percent"),
    Column("NPU cycles", "whole"),
    Column("SRAM cycles", "whole"),
    Column("DRAM cycles", "whole"),
    Column("on-chip flash cycles", "whole"),
    Column("off-chip flash cycles", "whole"),
    Column("weights, bytes", "bytes"),
    Column(".pte bytes", "bytes"),
)


def _row(point: Point) -> tuple[Cell, ...]:
    figures = _figures(point)
    return (
        *point.key,
        "yes" if point.pareto else "",
        figures.milliseconds,
        figures.cycles,
        figures.clock_mhz,
        figures.sram_kib,
        figures.dram_kib,
        figures.flash_kib,
        figures.utilisation,
        figures.npu_cycles,
        figures.sram_access_cycles,
        figures.dram_access_cycles,
        figures.on_chip_flash_access_cycles,
        figures.off_chip_flash_access_cycles,
        figures.encoded_weight_bytes,
        figures.pte_bytes,
    )


def _table(points: Sequence[Point]) -> Table:
    return Table(
        _COLUMNS,
        tuple(_row(point) for point in points),
        f"{len(points)} configurations",
        tuple(tuple(_details(point)) for point in points),
        _POINTS,
        filters=True,
    )


def _details(point: Point) -> Iterator[Block]:
    yield Heading(" ".join(map(str, point.key)), 3)
    yield Paragraph(f"arm-recipes export MODEL {command(point)}", "code")
    if point.layers:
        yield Paragraph(
            "Layers overlap, so that theirs need not add up to the total. What bounds a layer is what takes the most "
            "of its cycles.",
            "note",
        )
        yield layer_table(point.layers)


# the text


def front(result: SweepResult) -> Iterator[Block]:
    estimates = f"Vela {result.vela}'s estimates, not measured; the .pte's size is exact"
    yield Heading(f"The front of latency against SRAM ({estimates})")
    yield Items(tuple(summaries(result.pareto)))
    best = result.best()
    if best is not None:
        yield Heading("The fastest")
        yield from chosen(best)


def chosen(point: Point) -> Iterator[Block]:
    """A point, and how to make its program."""
    yield Items(tuple(summaries([point])))
    yield Paragraph(command(point), "code")


def summaries(points: Iterable[Point]) -> Iterator[str]:
    """What and how much, for each; of configurations that come to the same figures only the first."""
    seen: dict[tuple[object, ...], list[Point]] = {}
    for point in points:
        figures = _figures(point)
        seen.setdefault((point.recipe, figures.milliseconds, figures.sram_kib, figures.flash_kib), []).append(point)
    for first, *others in seen.values():
        figures = _figures(first)
        more = f" (and {len(others)} more)" if others else ""
        yield (
            f"{_recipe(first)} {first.macs}, {first.system_config}, {first.memory_mode}, {first.optimise}{more}\n"
            f"{figures.milliseconds:.4g} ms, SRAM {figures.sram_kib:,.1f} KiB, flash {figures.flash_kib:,.1f} KiB, "
            f"{figures.utilisation:.1%} of MACs used, .pte {figures.pte_bytes:,} bytes"
        )
