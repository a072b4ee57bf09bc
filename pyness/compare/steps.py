"""Adaptive steps in time and over the state space, from the step each walker was about to take at its snapshots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from pyness.sampling import Samples
from pyness.systems import System

__all__ = ["distribution", "merged", "summary"]

#: Cells per axis of the map, over the first two coordinates of the system's window.
CELLS = 24
PER_DECADE = 20
QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)


def distribution(system: System, samples: Samples) -> dict[str, Any] | None:
    """Sums that add up over several runs: of ``log step`` by snapshot and by cell, and counts by length.

    At a snapshot, a step is met as often as it is long, so this is the distribution over time; the histogram in
    ``samples.stats`` counts each step once.
    """
    if samples.steps is None:
        return None
    log = samples.steps.double().log()
    known = torch.isfinite(log)
    by_time = {
        "times": samples.times.tolist(),
        "count": known.sum(0).tolist(),
        "log": torch.where(known, log, 0.0).sum(0).tolist(),
    }
    length = torch.floor(log[known] / math.log(10) * PER_DECADE).to(torch.int64)
    bins, counts = length.unique(return_counts=True)
    lengths = {str(b): n for b, n in zip(bins.tolist(), counts.tolist(), strict=True)}
    axes = min(2, system.dim)
    low, high = system.window
    edges = [torch.linspace(low[a], high[a], CELLS + 1, dtype=torch.float64).tolist() for a in range(axes)]
    x = samples.states[known][:, :axes].double()
    at = torch.zeros(len(x), dtype=torch.int64)
    inside = torch.ones(len(x), dtype=torch.bool)
    for a in range(axes):
        cell = torch.floor((x[:, a] - low[a]) / (high[a] - low[a]) * CELLS).to(torch.int64)
        inside &= (cell >= 0) & (cell < CELLS)
        at = at * CELLS + cell
    total = CELLS**axes
    count = torch.bincount(at[inside], minlength=total)
    weight = torch.bincount(at[inside], log[known][inside], minlength=total)
    return {
        "time": by_time,
        "lengths": lengths,
        "states": {
            "coordinates": list(system.variables[:axes]),
            "edges": edges,
            "count": count.tolist(),
            "log": weight.tolist(),
        },
    }


def merged(parts: Sequence[dict[str, Any] | None]) -> dict[str, Any] | None:
    """The sums of several runs of one plan."""
    parts = [part for part in parts if part is not None]
    if not parts:
        return None

    def added(section: str, name: str) -> list[float]:
        return [sum(values) for values in zip(*(part[section][name] for part in parts), strict=True)]

    lengths: dict[str, int] = {}
    for part in parts:
        for length, count in part["lengths"].items():
            lengths[length] = lengths.get(length, 0) + count
    first = parts[0]
    return {
        "time": {"times": first["time"]["times"], "count": added("time", "count"), "log": added("time", "log")},
        "lengths": lengths,
        "states": {**first["states"], "count": added("states", "count"), "log": added("states", "log")},
    }


def summary(sums: dict[str, Any] | None) -> dict[str, Any] | None:
    """As it is reported: quantiles over time, and geometric means by snapshot and by cell (None where nobody was)."""
    if sums is None:
        return None
    time, states = sums["time"], sums["states"]
    means = _geometric(states["count"], states["log"])
    shape = [len(edges) - 1 for edges in states["edges"]]
    if len(shape) == 2:
        means = [means[i * shape[1] : (i + 1) * shape[1]] for i in range(shape[0])]
    return {
        "quantiles": _quantiles(sums["lengths"]),
        "over_time": {"times": time["times"], "geometric_mean": _geometric(time["count"], time["log"])},
        "over_states": {
            "coordinates": states["coordinates"],
            "edges": states["edges"],
            "geometric_mean": means,
        },
    }


def _geometric(count: Sequence[float], log: Sequence[float]) -> list[float | None]:
    return [math.exp(total / n) if n else None for n, total in zip(count, log, strict=True)]


def _quantiles(lengths: dict[str, int]) -> dict[str, float]:
    """To the width of a bin, a twentieth of a decade."""
    ordered = sorted((int(length), count) for length, count in lengths.items())
    total, found = sum(count for _, count in ordered), {}
    for quantile in QUANTILES:
        below = 0
        for length, count in ordered:
            below += count
            if below >= quantile * total:
                found[str(quantile)] = 10 ** ((length + 0.5) / PER_DECADE)
                break
    return found
