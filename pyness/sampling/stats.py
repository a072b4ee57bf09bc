"""What a run counted: steps, evaluations, folds, failures, and how long the steps were."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["BINS_PER_DECADE", "FIRST_DECADE", "HISTOGRAM_BINS", "Failure", "Stats"]

# accepted steps are counted in bins of a tenth of a decade from 1e-12 to 1e4
FIRST_DECADE, BINS_PER_DECADE, HISTOGRAM_BINS = -12, 10, 160


@dataclass(frozen=True)
class Failure:
    """A walker that blew up: its number, the time, and the last state that was finite."""

    walker: int
    time: float
    state: tuple[float, ...]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        return {"walker": self.walker, "time": self.time, "state": list(self.state), "reason": self.reason}


@dataclass
class Stats:
    """Counts over walkers; padding rows are not counted.

    Attributes:
        accepted, rejected: steps, burn-in included.
        evaluations: drift evaluations (one per walker and call).
        wall_hits: folds after the burn-in.
        clipped: how often walkers were put back onto a side that clips, after the burn-in.
        shortest, longest, time: smallest and largest accepted step, and their sum.
        histogram: accepted steps of an adaptive run by length, ``HISTOGRAM_BINS`` bins; empty at a fixed step.
    """

    accepted: int = 0
    rejected: int = 0
    evaluations: int = 0
    wall_hits: int = 0
    clipped: int = 0
    shortest: float = math.inf
    longest: float = 0.0
    time: float = 0.0
    histogram: list[int] = field(default_factory=list)

    @classmethod
    def total(cls, parts: Iterable[Stats]) -> Stats:
        out = cls()
        for part in parts:
            out.accepted += part.accepted
            out.rejected += part.rejected
            out.evaluations += part.evaluations
            out.wall_hits += part.wall_hits
            out.clipped += part.clipped
            out.shortest = min(out.shortest, part.shortest)
            out.longest = max(out.longest, part.longest)
            out.time += part.time
            if part.histogram:
                old = out.histogram or [0] * len(part.histogram)
                out.histogram = [a + b for a, b in zip(old, part.histogram, strict=True)]
        return out

    def to_dict(self) -> dict[str, Any]:
        """As it stands in ``samples.stats`` and in ``report.json``; the histogram keeps its occupied bins only."""
        step: dict[str, Any] = {
            "min": self.shortest if self.accepted else None,
            "mean": self.time / self.accepted if self.accepted else None,
            "max": self.longest if self.accepted else None,
        }
        occupied = [i for i, n in enumerate(self.histogram) if n]
        if occupied:
            first, last = occupied[0], occupied[-1]
            edges = [10 ** (FIRST_DECADE + i / BINS_PER_DECADE) for i in range(first, last + 2)]
            step["histogram"] = {"edges": edges, "counts": self.histogram[first : last + 1]}
        return {
            "steps_accepted": self.accepted,
            "steps_rejected": self.rejected,
            "drift_evaluations": self.evaluations,
            "wall_hits": self.wall_hits,
            "clipped": self.clipped,
            "step": step,
        }
