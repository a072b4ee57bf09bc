"""Is the bias of an integrator detectable, where, and which one to take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scipy.stats import t as student

from pyness.compare.measure import Measurement
from pyness.compare.reference import Reference
from pyness.estimators import Estimate

__all__ = ["Candidate", "Deviation", "Judgement", "Verdict", "choose", "hidden", "judge"]

#: Probability with which chance alone flags an integrator, for each of the three tests.
LEVEL = 1e-3


@dataclass(frozen=True)
class Candidate:
    """One entry of a comparison.

    Attributes:
        label: as it was typed.
        solver: the algorithm with its resolved options; ``""`` for samples made elsewhere.
        engine: which one ran it.
        adaptive: whether it chooses its steps.
        knob: what sets its accuracy, ``("dt" | "rtol" | "atol", value)``; None for samples made elsewhere.
        measurement: what all its seeds say together; None where it failed.
        seeds: the entropy production rate of each seed.
        error: why it failed, or None.
        trained: what landscapes trained on its samples say, one record for each seed.
    """

    label: str
    solver: str = ""
    engine: str = ""
    adaptive: bool = False
    knob: tuple[str, float] | None = None
    measurement: Measurement | None = None
    seeds: tuple[Estimate, ...] = ()
    error: str | None = None
    trained: tuple[Mapping[str, Any], ...] = ()

    @property
    def method(self) -> tuple[str, str, str]:
        """Engine, algorithm with all options but its step or tolerance, and which of them sets its accuracy."""
        name, _, options = self.solver.partition(":")
        knob = self.knob[0] if self.knob else ""
        others = [word for word in options.split(",") if word and word.partition("=")[0] not in (knob, "adaptive")]
        return self.engine, ":".join(filter(None, (name, ",".join(others)))), knob

    def cost(self, unit: str = "evaluations") -> float | None:
        """Drift evaluations (or ``"seconds"``) spent on each effective independent sample, burn-in included."""
        found = self.measurement
        if found is None or not found.stats:
            return None
        return (found.evaluations if unit == "evaluations" else found.seconds) / found.effective


@dataclass(frozen=True)
class Deviation:
    """How far an average is from what it should be.

    Attributes:
        quantity: which.
        found, expected: with their errors.
        scale: what makes it relative: the standard deviation for a mean, else the expected value.
    """

    quantity: str
    found: Estimate
    expected: Estimate
    scale: float

    @property
    def relative(self) -> Estimate:
        error = math.hypot(self.found.stderr, self.expected.stderr)
        return Estimate((self.found.value - self.expected.value) / self.scale, error / self.scale)

    def to_dict(self) -> dict[str, Any]:
        return {
            "quantity": self.quantity, "found": self.found.to_dict(), "expected": self.expected.to_dict(),
            "relative": self.relative.to_dict(), "z": self.relative.z,
        }  # fmt: skip

    def __str__(self) -> str:
        exact = self.expected.stderr < 0.05 * self.found.stderr
        expected = f"{self.expected.value:.5g}" if exact else str(self.expected)
        return f"{self.quantity} is {self.found}, should be {expected} ({self.size})"

    @property
    def size(self) -> str:
        """The relative deviation in words: percent, or for a mean standard deviations."""
        if self.quantity.startswith("mean"):
            return f"{self.relative.value:+.2g} sd"
        return f"{100 * self.relative.value:+.3g} %"


@dataclass(frozen=True)
class Judgement:
    """Attributes:
    reasons: why the integrator is flagged; empty if its bias is not detectable.
    deviations: each quantity with a reference, the most significant first.
    stationarity: the largest ``|z|`` of ``E[L g]``, the name of that ``g``, and what chance explains.
    distance: total variation and Kullback-Leibler divergence to the known density over its cells, each with what
        the errors alone would make of it; None without one.
    power: the smallest relative bias that would have been detected, by quantity.
    """

    reasons: tuple[str, ...] = ()
    deviations: tuple[Deviation, ...] = ()
    stationarity: tuple[float, str, float] | None = None
    distance: dict[str, float] | None = None
    power: dict[str, float] = field(default_factory=dict)

    @property
    def flagged(self) -> bool:
        return bool(self.reasons)

    @property
    def worst(self) -> Deviation | None:
        return self.deviations[0] if self.deviations else None

    def to_dict(self) -> dict[str, Any]:
        test = None
        if self.stationarity is not None:
            test = dict(zip(("max_z", "worst", "threshold"), self.stationarity, strict=True))
        return {
            "flagged": self.flagged,
            "reason": "; ".join(self.reasons) or None,
            "bias": [deviation.to_dict() for deviation in self.deviations],
            "stationarity": test,
            "distance": self.distance,
            "detectable": self.power,
        }


def judge(candidates: Sequence[Candidate], reference: Reference) -> tuple[dict[str, Judgement], str | None]:
    """A judgement of each candidate by its label, and the label of the one that others were held against, if any.

    Three tests, each at a level of 1e-3: ``E[L g] = 0`` over the family of ``g``, which needs no reference; averages
    against what is known; time spent in the cells of the known density. Averages of which nothing is known are
    compared with those of the most careful candidate (the most drift evaluations for a walker) that passes.
    """
    alone = {c.label: _judge(c, reference.quantities, reference) for c in candidates}
    careful = [c for c in candidates if c.measurement and c.measurement.stats and not alone[c.label].flagged]
    careful.sort(key=lambda c: c.measurement.evaluations / c.measurement.walkers)
    if not careful or set(careful[-1].measurement.quantities) <= set(reference.quantities):
        return alone, None
    standard = careful[-1]
    expected = {**standard.measurement.quantities, **reference.quantities}
    others = {c.label: _judge(c, expected, reference) for c in candidates if c is not standard}
    return {**alone, **others}, standard.label


def _judge(candidate: Candidate, expected: Mapping[str, Estimate], reference: Reference) -> Judgement:
    found = candidate.measurement
    if found is None:
        return Judgement((candidate.error or "no samples",))
    reasons = []
    deviations = [
        Deviation(name, value, expected[name], _scale(name, expected))
        for name, value in found.quantities.items()
        if name in expected
    ]
    deviations.sort(key=lambda deviation: -abs(deviation.relative.z))
    limit = _threshold(len(deviations), found.walkers)
    if deviations and not abs(deviations[0].relative.z) <= limit:
        reasons.append(f"{deviations[0]}, {abs(deviations[0].relative.z):.1f} standard errors off")
    z = {name: average.z for name, average in found.generator.items()}
    worst = max(z, key=lambda name: abs(z[name]))
    chance = _threshold(len(z), found.walkers)
    if not abs(z[worst]) <= chance:
        reasons.append(f"not stationary: E[L g] of {worst} is {abs(z[worst]):.1f} standard errors from 0")
    distance = None
    if reference.cells is not None:
        distance, most = _distance(found.cells, reference.cells.share)
        if not most <= _threshold(len(found.cells), found.walkers):
            reasons.append(
                f"time is spent in the wrong places: total variation {distance['total_variation']:.2g}, the errors "
                f"explain {distance['total_variation_noise']:.2g}"
            )
    power = {d.quantity: limit * d.relative.stderr for d in deviations}
    return Judgement(tuple(reasons), tuple(deviations), (abs(z[worst]), worst, chance), distance, power)


def _threshold(tests: int, walkers: int) -> float:
    """The largest ``|z|`` that chance explains, of ``tests`` values whose errors come from ``walkers`` walkers."""
    return float(student.isf(LEVEL / (2 * max(1, tests)), max(1, walkers - 1)))


def _scale(name: str, expected: Mapping[str, Estimate]) -> float:
    kind, _, variable = name.partition("(")
    if kind in ("cos", "sin"):
        return 1.0
    if kind == "mean":
        return math.sqrt(abs(expected[f"var({variable}"].value)) or 1.0
    return abs(expected[name].value) or 1.0


def _distance(found: Sequence[Estimate], share: Sequence[Estimate]) -> tuple[dict[str, float], float]:
    """Total variation and Kullback-Leibler divergence with what noise makes of them, and the largest ``|z|``."""
    pairs = list(zip(found, share, strict=True))
    errors = [math.hypot(_expected_error(p, q.value), q.stderr) for p, q in pairs]
    result = {
        "total_variation": 0.5 * sum(abs(p.value - q.value) for p, q in pairs),
        "total_variation_noise": 0.5 * math.sqrt(2 / math.pi) * sum(errors),
        "kl": sum(p.value * math.log(p.value / q.value) for p, q in pairs if p.value > 0),
        "kl_noise": 0.5 * sum(e * e / q.value for e, (_, q) in zip(errors, pairs, strict=True)),
    }
    return result, max(abs(p.value - q.value) / e for e, (p, q) in zip(errors, pairs, strict=True))


def _percent(share: float) -> str:
    """To two digits, never as a power of ten."""
    return f"{float(f'{100 * share:.2g}'):.10g}"


def _expected_error(found: Estimate, share: float) -> float:
    """The error of a share if the true one were ``share``: where fewer visits than expected were seen, the error that
    they show is too small, in proportion to the root of their number."""
    return found.stderr * math.sqrt(max(1.0, share / max(found.value, found.stderr)))


def hidden(candidate: Candidate, judgement: Judgement, other: Candidate, reference: Reference) -> bool:
    """Whether the bias that was detected in ``candidate`` is too small for the errors of ``other`` to show it."""
    mine, its = candidate.measurement, other.measurement

    def small(z: Sequence[float]) -> bool:
        return max(z, default=0.0) <= _threshold(len(z), its.walkers)

    averages = [
        abs(d.found.value - d.expected.value) / math.hypot(its.quantities[d.quantity].stderr, d.expected.stderr)
        for d in judgement.deviations
        if d.quantity in its.quantities
    ]
    test = [abs(mine.generator[g].value) / e.stderr for g, e in its.generator.items() if g in mine.generator]
    cells = []
    if reference.cells is not None:
        shares = zip(mine.cells, its.cells, reference.cells.share, strict=True)
        cells = [abs(p.value - q.value) / math.hypot(_expected_error(e, q.value), q.stderr) for p, e, q in shares]
    return small(averages) and small(test) and small(cells)


@dataclass(frozen=True)
class Verdict:
    """Attributes:
    label: the integrator to take, or None.
    text: a sentence to quote.
    """

    label: str | None
    text: str

    def to_dict(self) -> dict[str, Any]:
        return {"solver": self.label, "text": self.text}


def choose(
    candidates: Sequence[Candidate], judgements: Mapping[str, Judgement], budget: str, unit: str = "evaluations"
) -> Verdict:
    """The cheapest candidate whose bias is not detectable: the fewest evaluations for an effective sample."""
    of = {"evaluations": "drift evaluations", "seconds": "seconds"}[unit]
    fit = [c for c in candidates if not judgements[c.label].flagged and c.cost(unit) is not None]
    fit.sort(key=lambda c: c.cost(unit))
    if not fit:
        slow = any(c.measurement and c.measurement.notes for c in candidates)
        more = ", or burn in longer: the stationarity test sees slow exchange" if slow else ""
        return Verdict(None, f"no listed integrator qualifies: take a smaller step or tolerance{more}")
    best = fit[0]
    detected = judgements[best.label].power
    seen = [f"a bias of {name} beyond {_percent(detected[name])} %" for name in ("EPR", "E|F|^2") if name in detected]
    text = (
        f"{best.label} is the cheapest whose bias is not detectable ({len(fit)} of {len(candidates)}) with {budget}: "
        f"{best.cost(unit):.3g} {of} for each independent sample"
    )
    if len(fit) > 1:
        text += f" (next: {fit[1].label}, {fit[1].cost(unit):.3g})"
    return Verdict(best.label, text + (f"; {' or '.join(seen)} would have been seen" if seen else ""))
