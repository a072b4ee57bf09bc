"""``Comparison``: which integrator gives the right steady state, at what cost; table, JSON, figure and verdict."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scipy.stats import chi2

from pyness.compare.convergence import Convergence
from pyness.compare.judge import Candidate, Judgement, Verdict
from pyness.compare.reference import Reference
from pyness.compare.steps import summary
from pyness.estimators import Estimate
from pyness.files import strict, write_whole
from pyness.numbers import percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Comparison", "disagreement"]

COLUMNS = (
    "solver", "", "EPR", "bias", "max |z|", "TV", "cost", "evaluations", "seconds", "samples", "rejected", "step",
)  # fmt: skip
LEGEND = (
    "bias: the most significant deviation; max |z|: stationarity; TV: total variation to the known density; cost: "
    "drift evaluations for an independent sample; samples: independent ones; step: the mean one"
)


@dataclass(frozen=True)
class Comparison:
    """What :func:`pyness.compare_solvers` found.

    Attributes:
        system: its name.
        settings: parameters, plan, budget, seeds.
        candidates: what was compared, in the order given.
        judgements: of each, by its label: ``.flagged``, ``.reasons``, ``.deviations``, ``.power``.
        reference: what the system's steady state is known to be.
        standard: label of the candidate that others were held against where nothing is known, or None.
        convergence: for each method with several steps or tolerances, the fitted order and the value at zero.
        verdict: the integrator to take, and why.
        warnings: one line each.
    """

    system: str
    settings: Mapping[str, Any]
    candidates: tuple[Candidate, ...]
    judgements: Mapping[str, Judgement]
    reference: Reference
    standard: str | None
    convergence: Mapping[str, tuple[Convergence, ...]]
    verdict: Verdict
    warnings: tuple[str, ...] = field(default=())

    @property
    def failed(self) -> bool:
        """Whether not one of them finished."""
        return all(candidate.measurement is None for candidate in self.candidates)

    def flagged(self, label: str) -> bool:
        """Whether the bias of this one was detected (or it failed)."""
        return self.judgements[label].flagged

    def to_dict(self) -> dict[str, Any]:
        """Plain values; ``solvers`` has each under the label that was typed."""
        known = {name: value.to_dict() for name, value in self.reference.quantities.items()}
        return {
            "system": self.system,
            **self.settings,
            "reference": {"source": self.reference.source, "quantities": known, "standard": self.standard},
            "solvers": {c.label: _record(c, self.judgements[c.label]) for c in self.candidates},
            "convergence": {name: [c.to_dict() for c in found] for name, found in self.convergence.items()},
            "verdict": self.verdict.to_dict(),
            "warnings": list(self.warnings),
        }

    def to_json(self, path: str | Path) -> None:
        """Write strict JSON.

        Raises:
            StoreError: the file cannot be written.
        """
        write_whole({path: self.json()})

    def json(self) -> str:
        """``to_dict`` as strict JSON: what is not finite is null."""
        return json.dumps(strict(self.to_dict()), indent=2) + "\n"

    def figure(self, path: str | Path | None = None) -> Figure:
        """Bias against cost, adaptive and fixed steps marked, and the lengths of the steps."""
        from pyness import plots

        return plots.comparison(self, path)

    def __str__(self) -> str:
        rows = [COLUMNS, *(_row(c, self.judgements[c.label]) for c in self.candidates)]
        lines = [f"{self.system}: {self.settings['spent']}", *_aligned(rows), LEGEND]
        for candidate in self.candidates:
            for reason in self.judgements[candidate.label].reasons:
                lines.append(f"{candidate.label}: {reason}")
        for name, found in self.convergence.items():
            lines += [f"{name}: {line}" for line in _headlines(found)]
        for candidate in self.candidates:
            lines += [f"{candidate.label}, {_trained(record)}" for record in candidate.trained]
        if self.reference.source:
            lines.append(f"reference: {self.reference.source}")
        if self.standard:
            lines.append(f"what is not known is compared with {self.standard}, the most careful one that passes")
        lines.append(f"verdict: {self.verdict.text}")
        return "\n".join([*lines, *(f"warning: {warning}" for warning in self.warnings)])


def disagreement(candidate: Candidate) -> float:
    """Probability that the seeds differ as much by chance, judged by their entropy production rates."""
    seeds = [e for e in candidate.seeds if e.stderr > 0]
    if len(seeds) < 2:
        return 1.0
    weight = [e.stderr**-2 for e in seeds]
    mean = sum(w * e.value for w, e in zip(weight, seeds, strict=True)) / sum(weight)
    return float(chi2.sf(sum(w * (e.value - mean) ** 2 for w, e in zip(weight, seeds, strict=True)), len(seeds) - 1))


def _record(candidate: Candidate, judgement: Judgement) -> dict[str, Any]:
    found = candidate.measurement
    record = {
        "label": candidate.label, "solver": candidate.solver, "engine": candidate.engine,
        "adaptive": candidate.adaptive, "knob": None if candidate.knob is None else dict([candidate.knob]),
        **judgement.to_dict(), "error": candidate.error,
    }  # fmt: skip
    if found is None:
        return record
    per_sample = {unit: candidate.cost(unit) for unit in ("evaluations", "seconds")}
    return record | {
        "quantities": {name: value.to_dict() for name, value in found.quantities.items()},
        "epr_of_seeds": [value.to_dict() for value in candidate.seeds],
        "walkers": found.walkers,
        "snapshots": found.snapshots,
        "effective_samples": found.effective,
        "cost": {f"{unit}_per_effective_sample": value for unit, value in per_sample.items()},
        "sampling": dict(found.stats),
        "steps": summary(found.steps),
        "relaxation": found.relaxation,
        "notes": list(found.notes),
        "trained": list(candidate.trained),
    }


def _row(candidate: Candidate, judgement: Judgement) -> Sequence[str]:
    found = candidate.measurement
    kind = "adaptive" if candidate.adaptive else "fixed" if candidate.knob else "given"
    if found is None:
        return (candidate.label, "FAILED", *[""] * (len(COLUMNS) - 2))
    epr, worst, stats, cost = found.quantities.get("EPR"), judgement.worst, found.stats, candidate.cost()
    deviation = "-"
    if worst is not None:
        deviation = f"{worst.quantity} {worst.size}"
    step = stats.get("step", {}).get("mean")
    return (
        candidate.label,
        "FLAGGED" if judgement.flagged else kind,
        str(epr) if epr is not None else "-",
        deviation,
        f"{judgement.stationarity[0]:.1f}" if judgement.stationarity else "-",
        f"{judgement.distance['total_variation']:.2g}" if judgement.distance else "-",
        _short(cost),
        _short(found.evaluations),
        _short(found.seconds),
        _short(found.effective),
        percent(stats["steps_rejected"] / max(1, stats["steps_accepted"] + stats["steps_rejected"])) if stats else "-",
        _short(step),
    )  # fmt: skip


def _short(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.3g}"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [lines[0], "-" * (sum(widths) + 2 * len(widths) - 2), *lines[1:]]


def _headlines(found: Sequence[Convergence]) -> Iterable[str]:
    """Of a method the entropy production rate, or where there is none the mean squared drift."""
    names = {c.quantity: c for c in found}
    return [str(names[name]) for name in ("EPR", "E|F|^2") if name in names][:1]


def _trained(record: Mapping[str, Any]) -> str:
    if "error" in record:
        return f"training of seed {record['seed']} failed: {record['error']}"
    epr = Estimate(record["epr"]["value"], record["epr"]["stderr"] or math.nan)
    text = f"landscape of seed {record['seed']}: EPR {epr}, gradient error {record['gradient_error']['value']:.2g}"
    error = record.get("potential_error")
    return text + (f", potential off by {error['rrmse']:.2g} (rRMSE)" if error else "")
