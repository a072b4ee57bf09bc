"""Tables and JSON on standard output."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

__all__ = ["show_json", "show_table"]


def show_json(value: Any) -> None:
    """Strict JSON: what is not finite becomes null."""
    print(json.dumps(_finite(value), indent=2, ensure_ascii=False))


def show_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str | None = None) -> None:
    """A table whose first column is never wrapped; where the output is no terminal nothing is wrapped or cut."""
    from rich import box
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == columns[0])
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal:
        wide = Console(width=10_000)
        console.width = Measurement.get(wide, wide.options, table).maximum
    console.print(table)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
