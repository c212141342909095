"""Which blocks a form of a document shows. No torch here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .blocks import (
    Bars,
    Block,
    Facts,
    Heading,
    Items,
    KeyFigures,
    OnlyPage,
    OnlyText,
    Scatter,
    Stack,
    Steps,
    Table,
    Words,
)

_PLOTS = (Stack, Bars, Steps, Scatter)


def flow(blocks: Iterable[Block], page: bool) -> list[Block]:
    """The blocks of a page, or else of a text form: none that is empty, and no heading that has nothing under it."""
    kept: list[Block] = []
    level = 0  # of what follows, from the end: a heading that a higher one, or the end, follows has nothing under it
    for block in reversed(list(_own(blocks, page))):
        if isinstance(block, Heading):
            if block.level >= level:
                continue
            level = block.level
        else:
            level = 100
        kept.append(block)
    return kept[::-1]


def _own(blocks: Iterable[Block], page: bool) -> Iterator[Block]:
    for block in blocks:
        if isinstance(block, (OnlyPage, OnlyText)):
            if isinstance(block, OnlyPage) == page:
                yield from _own(block.blocks, page)
        elif (page or not isinstance(block, _PLOTS)) and not _empty(block):
            yield block


def _empty(block: Block) -> bool:
    match block:
        case Items(content) | Words(content) | KeyFigures(content) | Facts(content) | Bars(bars=content):
            return not content
        case Table(rows=content) | Steps(steps=content) | Scatter(dots=content) | Stack(parts=content):
            return not content
        case _:
            return False
