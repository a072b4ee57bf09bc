"""Tables and JSON on standard output."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pyness.files import strict

__all__ = ["number", "pairs", "show_json", "show_table"]


def show_json(value: Any) -> None:
    """Strict JSON: what is not finite becomes null."""
    print(json.dumps(strict(value), indent=2, ensure_ascii=False))


def show_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str | None = None) -> None:
    """A table whose first column is never wrapped; where the output is no terminal nothing is wrapped or cut."""
    from rich import box
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=index == 0)
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        wide = Console(width=100_000)
        console.width = Measurement.get(wide, wide.options, table).maximum
    console.print(table)


def number(value: Any) -> str:
    """Six digits of a float; a dash for None."""
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def pairs(values: Mapping[str, Any]) -> str:
    """``"a=1 b=2"``."""
    return " ".join(f"{key}={number(value)}" for key, value in values.items())
