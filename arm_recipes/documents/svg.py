"""Plots as inline SVG. Places across are percentages, so that a plot fits its page and its letters keep their size.

No torch here.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence

from .blocks import Bars, Dot, Scatter, Stack, Steps
from .forms import visible, written

COLOURS = 8

_MOST_PARTS = COLOURS
_LABEL = 52
# Bars end here, which leaves room for their figures.
_BAR_END = 82.0
_TALL = 16
_MOST_TICKS = 9


def stack(plot: Stack) -> str:
    parts = _largest(plot.parts)
    total = sum(value for _, value in parts)
    bars, names, start = [], [], 0.0
    for index, (name, value) in enumerate(parts):
        share = value / total if total else 0.0
        figure = written(value, plot.form)
        colour = _colour(index)
        tip = f"{name}: {figure} ({written(share, 'percent')})"
        bars.append(
            f'<rect class="{colour}" x="{100 * start:.3f}%" width="{100 * share:.3f}%" height="28">{_tip(tip)}</rect>'
        )
        names.append((colour, f"{_short(name)}", f"{figure}", written(share, "percent")))
        start += share
    told = "; ".join(f"{name} {written(value, plot.form)}" for name, value in parts)
    legend = "".join(
        f"<li>{_swatch(colour)}<span>{_text(name)}</span> <b>{_text(figure)}</b> <small>{share}</small></li>"
        for colour, name, figure, share in names
    )
    return _figure("stack", plot.title, _svg(plot.title, told, 28, "".join(bars)) + f'<ul class="legend">{legend}</ul>')


def bars(plot: Bars) -> str:
    values = [value for _, group in plot.bars for value in group if value is not None and math.isfinite(value)]
    low, high = min([0.0, *values]), max([0.0, *values])
    span = (high - low) or 1.0
    zero = _BAR_END * -low / span
    drawn, top, told = [], 0, []
    for label, group in plot.bars:
        drawn.append(f'<text class="label" y="{top + 12}">{_text(_short(label))}{_tip(label)}</text>')
        top += 17
        for index, value in enumerate(group):
            if value is None:
                continue
            end = zero if math.isnan(value) else _BAR_END * (min(max(value, low), high) - low) / span
            figure = "exact" if value == math.inf else written(value, plot.form)
            start, width = min(zero, end), max(abs(end - zero), 0.15)
            series = f"{plot.series[index]}: " if plot.series[index] else ""
            tip = f"{label}\n{series}{figure}"
            drawn.append(
                f'<rect class="{_colour(index)}" x="{start:.2f}%" y="{top}" width="{width:.2f}%" height="10" rx="2">'
                f'{_tip(tip)}</rect><text class="figure" x="{max(start + width, zero):.2f}%" dx="6" y="{top + 9}">'
                f"{_text(figure)}</text>"
            )
            told.append(f"{label} {series}{figure}")
            top += 13
        top += 6
    body = _svg(plot.title, "; ".join(told), top, "".join(drawn))
    legend = _legend([(name, _colour(index)) for index, name in enumerate(plot.series)]) if len(plot.series) > 1 else ""
    tall = ' class="tall" tabindex="0"' if len(plot.bars) > _TALL else ""
    return _figure("bars", plot.title, f"{legend}<div{tall}>{body}</div>")


def steps(plot: Steps) -> str:
    height, count = 170.0, len(plot.steps)
    values = [value if 0 < value < math.inf else 0.0 for _, value in plot.steps]
    most = max(values)
    peak = values.index(most)
    name = plot.steps[peak][0]
    top = 1.05 * most or 1.0
    path = "".join(f"V{1000 * (1 - value / top):.0f}H{index + 1}" for index, value in enumerate(values))
    area = (
        f'<svg width="100%" height="{height:.0f}" viewBox="0 0 {count} 1000" preserveAspectRatio="none">'
        f'<path class="c0 area" d="M0 1000{path}V1000Z"/></svg>'
    )
    grid = "".join(_level(height * (1 - tick / top), written(tick, plot.form)) for tick in _linear_ticks(0.0, most))
    fields = "".join(
        f'<rect class="{"c1 peak" if index == peak else "field"}" x="{100 * index / count:.3f}%" '
        f'width="{100 / count:.3f}%" y="{height * (1 - value / top) if index == peak else 0:.1f}" '
        f'height="{height * value / top if index == peak else height:.1f}">'
        f"{_tip(f'{index + 1}. {plot.steps[index][0]}: {written(plot.steps[index][1], plot.form)}')}</rect>"
        for index, value in enumerate(values)
    )
    axis = "".join(
        f'<text class="axis" x="{x}%" y="{height + 16:.0f}" text-anchor="{anchor}">{_text(shown)}</text>'
        for x, anchor, shown in ((0, "start", "1"), (50, "middle", plot.axis), (100, "end", str(count)))
    )
    told = f"The most is {written(most, plot.form)}, in {name} ({peak + 1} of {count})."
    body = _svg(plot.title, told, height + 22, area + grid + fields + axis)
    return _figure("steps", plot.title, f'{body}<p class="note">{_swatch("c1")}{_text(told)}</p>')


def scatter(plot: Scatter) -> str:
    dots = [dot for dot in plot.dots if math.isfinite(dot.x) and math.isfinite(dot.y)]
    if not dots:
        return ""
    height = 380.0
    across, up = _Axis([dot.x for dot in dots]), _Axis([dot.y for dot in dots])
    grid = []
    for value in across.ticks():
        x = f"{100 * across.place(value):.2f}%"
        grid.append(
            f'<line class="grid" x1="{x}" x2="{x}" y2="{height:.0f}"/>'
            f'<text class="axis" x="{x}" y="{height + 16:.0f}" text-anchor="middle">{written(value, "number")}</text>'
        )
    for value in up.ticks():
        grid.append(_level(height * (1 - up.place(value)), written(value, "number")))
    grid.append(f'<text class="axis" x="100%" y="{height + 34:.0f}" text-anchor="end">{_text(plot.x)}</text>')
    groups = list(dict.fromkeys(dot.group for dot in dots))
    circles = []
    for dot in sorted(dots, key=lambda dot: dot.marked):  # what stands out is drawn last, on top
        classes = _colour(groups.index(dot.group)) + (" marked" if dot.marked else "")
        row = "" if dot.row is None else f' data-row="{dot.row}"'
        place = f'cx="{100 * across.place(dot.x):.2f}%" cy="{height * (1 - up.place(dot.y)):.1f}"'
        radius = 6 if dot.marked else 4.5
        circles.append(f'<circle class="{classes}" {place} r="{radius}"{row}>{_tip(dot.label)}</circle>')
    table = f' data-of="{_text(plot.table)}"' if plot.table else ""
    told = f"{len(dots)} points of {plot.y} over {plot.x}"
    body = _svg(
        plot.title, told, height + 40, "".join(grid) + _front(dots, across, up, height) + "".join(circles), table
    )
    legend = _legend([(name, _colour(index)) for index, name in enumerate(groups)]) if any(groups) else ""
    return _figure("scatter", plot.title, f'{legend}<p class="axis">{_text(plot.y)}</p>{body}')


class _Axis:
    """A logarithmic axis over values, with some room at its ends; places are shares of its length."""

    def __init__(self, values: Sequence[float]) -> None:
        positive = [value for value in values if value > 0]
        self.least = min(positive, default=1.0)
        low, high = math.log10(self.least), math.log10(max(positive, default=1.0))
        room = max(0.06 * (high - low), 0.03)
        self.low, self.high = low - room, high + room

    def place(self, value: float) -> float:
        return (math.log10(max(value, self.least)) - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """1, 2 and 5 of each power of ten; over many powers 1 alone, and within one round values."""
        low, high = 10**self.low, 10**self.high
        powers = range(math.floor(self.low), math.ceil(self.high) + 1)
        ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5) if low <= digit * 10.0**power <= high]
        if len(ticks) > _MOST_TICKS:
            return [10.0**power for power in powers if low <= 10.0**power <= high]
        return ticks if len(ticks) > 2 else _linear_ticks(low, high)


def _level(y: float, figure: str) -> str:
    """A line across, with its figure beside it."""
    return (
        f'<line class="grid" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="axis" x="-6" y="{y + 4:.1f}" text-anchor="end">{figure}</text>'
    )


def _linear_ticks(low: float, high: float) -> list[float]:
    """Three to seven round values from `low` to `high`."""
    rough = (high - low) / 3 or 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(digit * power for digit in (5, 2, 1) if digit * power <= rough * 1.0001)
    return [index * step for index in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _front(dots: Iterable[Dot], across: _Axis, up: _Axis, height: float) -> str:
    path = ""
    for dot in sorted((dot for dot in dots if dot.marked), key=lambda dot: (dot.x, -dot.y)):
        x, y = 1000 * across.place(dot.x), 1000 * (1 - up.place(dot.y))
        path += f"H{x:.1f}V{y:.1f}" if path else f"M{x:.1f} {y:.1f}"
    if not path:
        return ""
    return (
        f'<svg width="100%" height="{height:.0f}" viewBox="0 0 1000 1000" preserveAspectRatio="none">'
        f'<path class="front" d="{path}"/></svg>'
    )


def _largest(parts: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """The parts in their order; where they are too many, the small ones as one."""
    kept = [part for part in parts if 0 < part[1] < math.inf]
    if len(kept) <= _MOST_PARTS:
        return kept
    least = sorted((value for _, value in kept), reverse=True)[_MOST_PARTS - 2]
    large = [part for part in kept if part[1] >= least][: _MOST_PARTS - 1]
    rest = sum(value for _, value in kept) - sum(value for _, value in large)
    return [*large, (f"{len(kept) - len(large)} others", rest)]


def _figure(kind: str, title: str, body: str) -> str:
    return f'<figure class="{kind}"><figcaption>{_text(title)}</figcaption>{body}</figure>'


def _svg(title: str, told: str, height: float, body: str, attributes: str = "") -> str:
    return (
        f'<svg role="img" width="100%" height="{height:.0f}"{attributes} aria-label="{_text(f"{title}: {told}")}">'
        f"<desc>{_text(told)}</desc>{body}</svg>"
    )


def _legend(groups: Iterable[tuple[str, str]]) -> str:
    return f'<ul class="legend">{"".join(f"<li>{_swatch(colour)}{_text(name)}</li>" for name, colour in groups)}</ul>'


def _swatch(colour: str) -> str:
    square = f'<rect class="{colour}" width="11" height="11" rx="2"/>'
    return f'<svg class="swatch" width="11" height="11" aria-hidden="true">{square}</svg>'


def _colour(index: int) -> str:
    return f"c{index % COLOURS}"


def _tip(text: str) -> str:
    return f"<title>{html.escape(visible(text, keep=chr(10)))}</title>"


def _short(label: str, most: int = _LABEL) -> str:
    """The label, without its middle where it is long: the parts of a model differ in their ends."""
    if len(label) <= most:
        return label
    return f"{label[: most // 3]}…{label[-(most - most // 3 - 1) :]}"


def _text(text: str) -> str:
    return html.escape(visible(text))
