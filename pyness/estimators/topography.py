"""Basins and barriers of a report, as the rows of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyness.estimators.estimate import Estimate

__all__ = ["topography"]

SHOWN = 4


def topography(found: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Name, value and meaning of each basin and of the saddles that join them, where there is more than one basin.

    Args:
        found: what a ``Report`` of a landscape holds under ``basins`` and ``saddles``; others give no rows.
    """
    basins = found.get("basins", [])
    if len(basins) < 2:
        return []
    rows = [
        (f"basin {k}", str(Estimate.of(basin["population"])), f"of the samples; minimum at {_place(basin['at'])}")
        for k, basin in enumerate(basins, start=1)
    ]
    for saddle in found["saddles"]:
        if saddle.get("joins", True):
            a, b = (k + 1 for k in saddle["between"])
            there, back = (Estimate.of(barrier) for barrier in saddle["barriers"])
            rows.append((f"  {a} to {b}", str(there), f"barrier; back {back}; at {_place(saddle['at'])}"))
    return rows


def _place(at: Sequence[float]) -> str:
    return "(" + ", ".join(f"{x:.6g}" for x in at[:SHOWN]) + (", ...)" if len(at) > SHOWN else ")")
