"""Are the samples stationary? Generator averages as z-scores, and the slow modes these cannot see."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from scipy.stats import t as student

from pyness.estimators.averages import surface_per_walker, volume_per_walker
from pyness.estimators.estimate import Estimate
from pyness.estimators.observables import Observables
from pyness.estimators.particle_observables import ParticleObservables
from pyness.estimators.relaxation import Relaxation, relaxation
from pyness.estimators.score_free import check_samples
from pyness.sampling import Samples
from pyness.systems import ParticleSystem, System

__all__ = ["Stationarity", "family", "stationarity"]

FAMILY_LEVEL = 1e-3


@dataclass(frozen=True)
class Stationarity:
    """The result of the stationarity test.

    Attributes:
        names: the test functions ``g_k``.
        averages: ``E[L g_k]``, zero in the steady state.
        threshold: the largest ``|z|`` that chance explains: two-sided at 1e-3 for the whole family (Bonferroni).
        relaxation: the slowest mode seen between snapshots and what the run says of it; None with one snapshot or
            one walker.
    """

    names: tuple[str, ...]
    averages: tuple[Estimate, ...]
    threshold: float
    relaxation: Relaxation | None

    @property
    def z(self) -> dict[str, float]:
        """``E[L g]`` in standard errors, by the name of ``g``."""
        return {name: average.z for name, average in zip(self.names, self.averages, strict=True)}

    @property
    def max_z(self) -> float:
        return max((abs(average.z) for average in self.averages), default=0.0)

    @property
    def worst(self) -> str:
        """The name of the function with the largest ``|z|``."""
        return max(zip(self.names, self.averages, strict=True), key=lambda pair: abs(pair[1].z))[0]

    @property
    def judged(self) -> bool:
        """Whether there are standard errors to judge by: a single walker has none."""
        return not self.averages or any(math.isfinite(average.stderr) for average in self.averages)

    @property
    def passed(self) -> bool:
        return self.judged and self.max_z <= self.threshold

    @property
    def warnings(self) -> list[str]:
        """One line for each thing that speaks against a steady state."""
        found = []
        if not self.judged:
            found.append("stationarity is not judged: of a single walker there is no standard error; sample several")
        elif not self.passed:
            found.append(
                f"not stationary: E[L g] of {self.worst} is {self.max_z:.1f} standard errors from 0 (chance explains "
                f"{self.threshold:.1f}); burn in longer, or take a smaller step"
            )
        if self.relaxation is not None:
            found += self.relaxation.warnings
        return found

    def to_dict(self) -> dict[str, Any]:
        return {
            "judged": self.judged,
            "passed": self.passed,
            "max_z": self.max_z,
            "threshold": self.threshold,
            "worst": self.worst,
            "z": self.z,
            "relaxation": None if self.relaxation is None else self.relaxation.to_dict(),
        }

    def __str__(self) -> str:
        if not self.judged:
            return "stationarity not judged: a single walker"
        verdict = "stationary" if self.passed else "NOT stationary"
        slow = "" if self.relaxation is None else f"; {self.relaxation}"
        return (
            f"{verdict}: largest |z| {self.max_z:.2f} of {len(self.names)} ({self.worst}), chance {self.threshold:.2f}"
            f"{slow}"
        )


def family(system: System, samples: Samples) -> Observables | ParticleObservables:
    """The test functions of a system: by coordinate, or of more than two particles averages over them."""
    if isinstance(system, ParticleSystem) and system.n_particles > 2:
        return ParticleObservables(system)
    flat = samples.states.reshape(-1, samples.dim)
    thinned = flat[:: max(1, flat.shape[0] // 20_000)].double()
    return Observables(system, thinned.mean(0), thinned.std(0).clamp_min(1e-12))


def stationarity(system: System, samples: Samples) -> Stationarity:
    """Test ``E[L g] = E[F . grad g + D : grad grad g] = 0`` over a fixed family of ``g`` (landscapes.md, 3.1).

    Detects too short a burn-in, a time-step bias, a wrong ``D``. It cannot see the weights of basins that exchange on
    times beyond the run, since each basin alone is nearly stationary: the slowest mode between snapshots is looked at
    for that, in ``.relaxation``: its time, how often the run covers it, and its populations between the halves of the
    run and between starts on either side. Of samples without fold records in a domain with linear walls only functions
    of coordinates that no linear wall involves are tested.

    Raises:
        InputError: samples of another dimension.
    """
    check_samples(system, samples)
    observables = family(system, samples)
    names = list(observables.names)
    per_walker = volume_per_walker(samples, lambda x: observables.generator(system, x))
    if system.domain.walls:
        # at linear walls the functions have a flux: surface int p nu . D grad g, measured from the folds
        per_walker = per_walker - surface_per_walker(system, samples, lambda x: observables.flux(system, x))
        if samples.walls is None:
            kept = observables.apart_from_linear_walls()
            per_walker, names = per_walker[:, kept], [names[k] for k in kept]
    averages = tuple(Estimate.over_walkers(column) for column in per_walker.unbind(1))
    # of few walkers the standard error is itself uncertain
    threshold = float(student.isf(FAMILY_LEVEL / (2 * max(1, len(names))), max(1, samples.walkers - 1)))
    slow = relaxation(samples, observables) if samples.snapshots > 1 and samples.walkers > 1 else None
    return Stationarity(tuple(names), averages, threshold, slow)
