"""The slowest mode that a run shows: its relaxation time, and whether the run is long against it.

A variational estimate (time-lagged independent components): among combinations of the test functions the one whose
correlation over one spacing of the snapshots is largest. In a system with basins it tells them apart, so its mean is
their population up to a linear map.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch

from pyness.estimators.averages import ENTRIES
from pyness.estimators.estimate import Estimate
from pyness.estimators.observables import Observables
from pyness.numbers import percent
from pyness.sampling import Samples

__all__ = ["Relaxation", "relaxation"]

ENOUGH_TIMES = 3.0
FOUR_SIGMA = 4.0
# walkers that must have begun on either side to compare the two
FEWEST = 10


@dataclass(frozen=True)
class Relaxation:
    """What snapshots say about slow exchange.

    Attributes:
        time: relaxation time of the slowest mode, in the units of the system; infinite if no walker ever changed sides.
        covered: how many of these times a walker was followed, burn-in included.
        halves: population of the upper side of the slowest mode in the second half of the snapshots minus the first.
        population: fraction of samples on the upper side of the slowest mode.
        crossings: fraction of walkers found on both sides.
        starts: that population among walkers that began on the upper side minus that among those from the lower one,
            with its error if there were no difference; None where the start is not known or lies on one side.
    """

    time: float
    covered: float
    halves: Estimate
    population: Estimate
    crossings: float
    starts: Estimate | None = None

    @property
    def warnings(self) -> list[str]:
        found = []
        if self.covered < ENOUGH_TIMES:
            found.append(
                f"slow exchange: the run covers {self.covered:.2g} relaxation times ({self.time:.3g} each) and "
                f"{percent(self.crossings)} of the walkers changed sides, so basin weights reflect the start as "
                "much as the dynamics; burn in longer"
            )
        if abs(self.halves.z) > FOUR_SIGMA:
            found.append(
                f"basin populations drift: {self.halves.value:+.3g} between the halves of the run "
                f"({abs(self.halves.z):.1f} standard errors); burn in longer"
            )
        if self.starts is not None and abs(self.starts.z) > FOUR_SIGMA:
            found.append(
                f"basin populations remember the start: {self.starts.value:+.3g} between walkers that began on either "
                f"side of the slowest mode ({abs(self.starts.z):.1f} standard errors); burn in longer, unless the "
                "start was a steady state"
            )
        return found

    def to_dict(self) -> dict:
        finite = self.time if math.isfinite(self.time) else None
        return asdict(self) | {"time": finite}

    def __str__(self) -> str:
        if not math.isfinite(self.time):
            return "the run covers none of the slowest exchange: no walker changed sides"
        return f"the run covers {self.covered:.3g} relaxation times ({self.time:.3g}) of the slowest mode seen"


def relaxation(samples: Samples, observables: Observables) -> Relaxation:
    """The slowest mode of samples with at least two snapshots."""
    states = samples.states
    n, s = states.shape[:2]
    values = _functions(observables, states.reshape(-1, samples.dim)).reshape(n, s, -1)
    mean = values.mean((0, 1))
    values = values - mean
    before, after = values[:, :-1].reshape(-1, values.shape[-1]), values[:, 1:].reshape(-1, values.shape[-1])
    instant = (before.mT @ before + after.mT @ after) / (2 * before.shape[0])
    lagged = before.mT @ after / before.shape[0]
    lagged = 0.5 * (lagged + lagged.mT)
    size, basis = torch.linalg.eigh(instant)
    keep = size > 1e-8 * size[-1]
    white = basis[:, keep] / size[keep].sqrt()
    correlation, modes = torch.linalg.eigh(white.mT @ lagged @ white)
    slowest = correlation[-1].item()
    direction = white @ modes[:, -1]
    mode = values @ direction
    low, high = torch.quantile(mode[:, :: max(1, s // 4)].reshape(-1)[:1_000_000], torch.tensor([0.05, 0.95]).double())
    side = (mode > 0.5 * (low + high)).double()
    began = None
    if samples.start is not None:
        began = (_functions(observables, samples.start) - mean) @ direction > 0.5 * (low + high)
    spacing = (samples.times[1] - samples.times[0]).item()
    crossings = ((side.amax(1) > side.amin(1)).double()).mean().item()
    frozen = crossings == 0 or slowest >= 1
    time = math.inf if frozen else -spacing / math.log(max(slowest, 1e-300))
    half = s // 2
    return Relaxation(
        time=time,
        covered=samples.times[-1].item() / time if time > 0 else math.inf,
        halves=Estimate.over_walkers(side[:, -half:].mean(1) - side[:, :half].mean(1)),
        population=Estimate.over_walkers(side),
        crossings=crossings,
        starts=None if began is None else _between(side.mean(1), began),
    )


def _between(population: torch.Tensor, began: torch.Tensor) -> Estimate | None:
    """Mean of ``population: (walkers,)`` where ``began`` minus where not, error as if both were of one law."""
    upper, total = int(began.sum()), began.numel()
    if min(upper, total - upper) < FEWEST:
        return None
    difference = population[began].mean() - population[~began].mean()
    error = population.std() * math.sqrt(1 / upper + 1 / (total - upper))
    return Estimate(difference.item(), error.item())


def _functions(observables: Observables, x: torch.Tensor) -> torch.Tensor:
    parts = x.split(max(1, ENTRIES // x.shape[1]) if x.shape[1] > 64 else len(x))
    both = [(observables.values(part.double()), observables.linear(part.double())) for part in parts]
    return torch.cat([torch.cat(pair, dim=1) for pair in both])
