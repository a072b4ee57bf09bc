"""What a sampling run says of its integrator: averages with errors, costs, and how many samples it was worth."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from pyness.compare.reference import Cells
from pyness.compare.steps import distribution, merged
from pyness.estimators import Estimate, score_free_epr, stationarity
from pyness.sampling import Samples
from pyness.systems import System

__all__ = ["Measurement", "measure", "pooled"]

#: Coordinates up to which moments are compared one by one.
MANY = 12
#: Coordinates that are looked at for the number of independent samples.
TRIED = 64
CHUNK = 1 << 16


@dataclass(frozen=True)
class Measurement:
    """Averages over the walkers of one run, or of several pooled.

    Attributes:
        walkers, snapshots: how many, of each.
        quantities: moments, mean squared drift and entropy production rate, by name.
        generator: ``E[L g]`` by the name of ``g``, zero in the steady state.
        cells: share of the time spent in each cell of the reference, or None.
        effective: independent samples that the states are worth (of the slowest coordinate).
        stats: what the run counted, as in ``samples.stats``; empty for samples made elsewhere.
        relaxation: the slowest exchange seen, as in the stationarity test, or None.
        steps: sums of the steps at the snapshots (:mod:`pyness.compare.steps`), or None.
        notes: what the stationarity test warns of apart from its z-scores.
    """

    walkers: int
    snapshots: int
    quantities: dict[str, Estimate]
    generator: dict[str, Estimate]
    cells: list[Estimate] | None
    effective: float
    stats: dict[str, Any] = field(default_factory=dict)
    relaxation: dict[str, Any] | None = None
    steps: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Measurement:
        """What ``to_dict`` gave, also by way of JSON."""

        def estimates(values: Mapping[str, Any]) -> dict[str, Estimate]:
            return {name: _estimate(value) for name, value in values.items()}

        cells = record["cells"]
        return cls(**{
            **record, "quantities": estimates(record["quantities"]), "generator": estimates(record["generator"]),
            "cells": None if cells is None else [_estimate(value) for value in cells], "notes": tuple(record["notes"]),
        })  # fmt: skip

    @property
    def evaluations(self) -> float | None:
        return self.stats.get("drift_evaluations")

    @property
    def seconds(self) -> float | None:
        return self.stats.get("seconds")


def _estimate(value: Mapping[str, float | None]) -> Estimate:
    return Estimate(*(math.nan if value[name] is None else value[name] for name in ("value", "stderr")))


def measure(system: System, samples: Samples, cells: Cells | None = None) -> Measurement:
    """Averages of ``samples`` with standard errors over walkers.

    Args:
        cells: the cells whose shares of the time are counted.
    """
    test = stationarity(system, samples)
    slow = test.relaxation
    occupation = None
    if cells is not None:
        occupation = _floored(cells.occupation(samples.states), samples.walkers * samples.snapshots)
    quantities = _moments(system, samples) | {"E|F|^2": Estimate.over_walkers(_squared_drift(system, samples))}
    # without fold records the surface term is missing, and with directions without noise the rate does not exist
    if system.diffusion.invertible and not (system.domain.walled and samples.walls is None):
        quantities["EPR"] = score_free_epr(system, samples)
    return Measurement(
        walkers=samples.walkers,
        snapshots=samples.snapshots,
        quantities=quantities,
        generator=dict(zip(test.names, test.averages, strict=True)),
        cells=occupation,
        effective=_effective(samples.states),
        stats=dict(samples.stats),
        relaxation=None if slow is None else slow.to_dict(),
        steps=distribution(system, samples),
        notes=() if slow is None else tuple(slow.warnings),
    )


def _moments(system: System, samples: Samples) -> dict[str, Estimate]:
    if system.dim > MANY:
        return {}
    found = {}
    for axis, name in enumerate(system.variables):
        x = samples.states[..., axis].double()
        if system.domain.boundary[axis] == "periodic":
            low, high = system.domain.low[axis], system.domain.high[axis]
            angle = 2 * math.pi * (x - low) / (high - low)
            found[f"cos({name})"] = Estimate.over_walkers(torch.cos(angle))
            found[f"sin({name})"] = Estimate.over_walkers(torch.sin(angle))
            continue
        found[f"mean({name})"] = Estimate.over_walkers(x)
        found[f"var({name})"] = Estimate.over_walkers((x - x.mean()).square())
    return found


def _squared_drift(system: System, samples: Samples) -> torch.Tensor:
    rows = max(1, CHUNK // (samples.snapshots * system.dim))
    parts = [system.drift(states.double()).square().sum(-1) for states in samples.states.split(rows)]
    return torch.cat(parts)


def _effective(states: torch.Tensor) -> float:
    """Of the coordinate with the fewest: its variance over the squared error of its mean. Of many, some are tried."""
    walkers, snapshots, dim = states.shape
    if walkers < 2:
        return 1.0
    tried = states[..., :: -(-dim // TRIED)].double()
    per_walker = tried.mean(1).mT
    spread = tried.flatten(0, 1).var(0)
    number = walkers * spread / per_walker.var(1).clamp_min(1e-300)
    return min(number.min().item(), float(walkers * snapshots))


def _floored(occupation: torch.Tensor, states: int) -> list[Estimate]:
    """Share of each cell from ``(walkers, cells)``; of few visits the error is at least that of independent ones."""
    found = [Estimate.over_walkers(column) for column in occupation.unbind(1)]
    return [Estimate(e.value, max(e.stderr, math.sqrt(max(e.value, 1 / states) / states))) for e in found]


def pooled(parts: Sequence[Measurement]) -> Measurement:
    """Several runs as one, weighted by their walkers; all of one system and one set of test functions."""
    walkers = [part.walkers for part in parts]
    largest = max(parts, key=lambda part: part.walkers)

    def by_name(name: str) -> dict[str, Estimate]:
        return {key: _mean([getattr(part, name)[key] for part in parts], walkers) for key in getattr(largest, name)}

    cells = None
    if largest.cells is not None:
        cells = [_mean(column, walkers) for column in zip(*(part.cells for part in parts), strict=True)]
    return Measurement(
        walkers=sum(walkers),
        snapshots=largest.snapshots,
        quantities=by_name("quantities"),
        generator=by_name("generator"),
        cells=cells,
        effective=sum(part.effective for part in parts),
        stats=_total([part.stats for part in parts]),
        relaxation=largest.relaxation,
        steps=merged([part.steps for part in parts]),
        notes=largest.notes,
    )


def _mean(estimates: Iterable[Estimate], walkers: Sequence[int]) -> Estimate:
    estimates, total = list(estimates), sum(walkers)
    value = sum(n * e.value for n, e in zip(walkers, estimates, strict=True)) / total
    variance = sum((n * e.stderr) ** 2 for n, e in zip(walkers, estimates, strict=True)) / total**2
    return Estimate(value, math.sqrt(variance))


def _total(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts added up; of the steps the extremes, the mean and the histogram of all."""
    if not all(parts):
        return {}
    names = ("steps_accepted", "steps_rejected", "drift_evaluations", "wall_hits", "failed_walkers", "seconds")
    total: dict[str, Any] = {name: sum(part[name] for part in parts) for name in names}
    steps = [part["step"] for part in parts if part["steps_accepted"]]
    accepted = total["steps_accepted"]
    length = sum(part["steps_accepted"] * part["step"]["mean"] for part in parts if part["steps_accepted"])
    total["step"] = {
        "min": min((step["min"] for step in steps), default=None),
        "mean": length / accepted if accepted else None,
        "max": max((step["max"] for step in steps), default=None),
    }
    counted = [step["histogram"] for step in steps if "histogram" in step]
    if counted:
        total["step"]["histogram"] = _joined(counted)
    return total


def _joined(histograms: Sequence[Mapping[str, list]]) -> dict[str, list]:
    """One histogram of several whose bins are of the same grid but begin and end elsewhere."""
    counts: dict[float, int] = {}
    for histogram in histograms:
        for edge, count in zip(histogram["edges"], histogram["counts"], strict=False):
            counts[edge] = counts.get(edge, 0) + count
    first, last = min(counts), max(counts)
    ratio = histograms[0]["edges"][1] / histograms[0]["edges"][0]
    bins = round(math.log(last / first) / math.log(ratio)) + 1
    edges = [first * ratio**k for k in range(bins + 1)]
    filled = [0] * bins
    for edge, count in counts.items():
        filled[round(math.log(edge / first) / math.log(ratio))] += count
    return {"edges": edges, "counts": filled}
