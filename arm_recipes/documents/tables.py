"""Tables as text. No torch here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    from rich.table import Table

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in header:
        # What is read word by word may be broken, what is copied may not.
        made.add_column(name, overflow="fold", no_wrap=name in ("RECIPE", "TARGET", "TOOL", "COUNT", "STATUS"))
    for row in rows:
        made.add_row(*row)
    return made
