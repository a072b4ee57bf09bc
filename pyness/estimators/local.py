"""Where entropy is produced: by particle, by degree of freedom, by region, on a map (active_matter.md, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from pyness.estimators.averages import ENTRIES
from pyness.estimators.estimate import Estimate
from pyness.estimators.score_certificate import ScoreWithTerms
from pyness.sampling import Samples
from pyness.systems import ParticleSystem
from pyness.systems.neighbours import close_pairs

__all__ = [
    "REGIONS",
    "LocalEPR",
    "activity_epr",
    "by_region",
    "conditional",
    "distance_to_interface",
    "local_epr",
    "neighbour_number",
    "profile_map",
    "region",
]

#: A particle with at most GAS particles within CONTACT (itself included) is gas, with at least SOLID dense.
CONTACT, GAS, SOLID = 2.4, 2, 5
REGIONS = ("gas", "interface", "dense")


@dataclass(frozen=True)
class LocalEPR:
    """Entropy production of each particle, ``(n, N)`` each, k_B per unit time; ``g`` even under time reversal.

    Attributes:
        position, activity: ``v_x^2 / eps`` (NaN without translational noise) and ``v_g . D^{-1} v_g``: total.
        position_divergence, activity_divergence: ``div_{x_i} v_{x_i}`` and ``div_{g_i} v_{g_i}``: of the system.
    """

    position: torch.Tensor
    activity: torch.Tensor
    position_divergence: torch.Tensor
    activity_divergence: torch.Tensor


def local_epr(system: ParticleSystem, states: torch.Tensor, score: ScoreWithTerms) -> LocalEPR:
    """The local entropy production rates of a score at ``states: (n, dim)``."""
    s, terms = score(states)
    (x, g), s_x = system.split(states), system.split(torch.nan_to_num(s))[0]
    t_x, t_g = system.split(terms)
    activity, eps = system.activity, system.noise
    v_x = system.forces(x) + activity.push(g) - eps * s_x
    own = activity.divergence(system.activity_dim)
    square = v_x.square().sum(-1)
    return LocalEPR(
        position=square / eps if eps > 0 else torch.full_like(square, torch.nan),
        activity=activity_epr(system, states, s),
        position_divergence=-system.laplacian(x) - t_x.sum(-1),
        activity_divergence=own - t_g.sum(-1),
    )


def activity_epr(system: ParticleSystem, states: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    """``v_g . D^{-1} v_g`` of each particle, ``(n, N)``, from the score ``s: (n, dim)`` alone."""
    v_g = system.activity.drift(system.split(states)[1]) - system.activity.rate * system.split(s)[1]
    return v_g.square().sum(-1) / system.activity.rate


def neighbour_number(system: ParticleSystem, x: torch.Tensor, radius: float = CONTACT) -> torch.Tensor:
    """``(n, N)``: particles within ``radius`` of each of ``x: (n, N, d)``, itself included."""
    pairs = close_pairs(x, system.periods, radius)
    rows = torch.cat([pairs.i, pairs.j])
    return 1 + torch.bincount(rows, minlength=x.shape[0] * x.shape[1]).reshape(x.shape[:2])


def region(system: ParticleSystem, x: torch.Tensor) -> torch.Tensor:
    """``(n, N)``: 0 gas, 1 interface, 2 dense, by the number of neighbours (active_matter.md, 6.4)."""
    count = neighbour_number(system, x)
    return 1 + (count >= SOLID).long() - (count <= GAS).long()


def distance_to_interface(system: ParticleSystem, x: torch.Tensor) -> torch.Tensor:
    """``(n, N)``: distance to the nearest particle of the other phase, positive in the dense one, negative in the gas.

    0 for particles of the interface; infinite where the other phase is absent.
    """
    from scipy.spatial import cKDTree

    kinds = region(system, x)
    periods = np.array([p if p is not None else 0.0 for p in system.periods])
    box = periods if (periods > 0).any() else None
    out = torch.zeros(x.shape[:2], dtype=torch.float64)
    for row in range(len(x)):
        at = x[row].double().cpu().numpy()
        at = np.where(periods > 0, np.mod(at, np.where(periods > 0, periods, 1.0)), at)
        for mine, other, sign in ((2, 0, 1.0), (0, 2, -1.0)):
            own, far = (kinds[row] == mine).cpu().numpy(), (kinds[row] == other).cpu().numpy()
            if own.any():
                found = cKDTree(at[far], boxsize=box).query(at[own])[0] if far.any() else np.full(own.sum(), np.inf)
                out[row, torch.from_numpy(own)] = sign * torch.from_numpy(found)
    return out.to(x.device)


PerParticle = Callable[[torch.Tensor], torch.Tensor]


def conditional(
    system: ParticleSystem, samples: Samples, values: PerParticle, labels: PerParticle, bins: int
) -> list[tuple[Estimate, Estimate, Estimate]]:
    """For each label its share of the particles, its share of the total of ``values``, and its conditional mean.

    Args:
        values, labels: ``(n, dim) -> (n, N)``; labels whole numbers below ``bins``, others are left out.
    """
    held = torch.zeros(samples.walkers, bins, dtype=torch.float64)
    total = torch.zeros(samples.walkers, bins, dtype=torch.float64)
    together = max(1, ENTRIES // samples.dim)
    for walker in range(samples.walkers):
        for states in samples.states[walker].double().split(together):
            label, value = labels(states).flatten(), values(states).flatten()
            inside = (label >= 0) & (label < bins)
            held[walker] += torch.bincount(label[inside], minlength=bins).cpu()
            total[walker] += torch.bincount(label[inside], value[inside], minlength=bins).cpu()
    all_held, all_total = held.sum(1), total.sum(1)
    return [
        (
            Estimate.ratio(held[:, k], all_held),
            Estimate.ratio(total[:, k], all_total),
            Estimate.ratio(total[:, k], held[:, k]) if held[:, k].sum() > 0 else Estimate(float("nan"), float("nan")),
        )
        for k in range(bins)
    ]


def by_region(
    system: ParticleSystem, samples: Samples, values: PerParticle
) -> dict[str, tuple[Estimate, Estimate, Estimate]]:
    """``conditional`` by ``REGIONS``."""
    found = conditional(system, samples, values, lambda states: region(system, system.split(states)[0]), len(REGIONS))
    return dict(zip(REGIONS, found, strict=True))


def profile_map(
    x: torch.Tensor, values: torch.Tensor, low: tuple[float, float], high: tuple[float, float], bins: int = 64
) -> tuple[torch.Tensor, torch.Tensor]:
    """Conditional mean of ``values: (n,)`` and number of points on a grid of ``x: (n, 2)``, ``(bins, bins)`` each."""
    corner, width = (
        torch.tensor(low, dtype=x.dtype),
        torch.tensor(high, dtype=x.dtype) - torch.tensor(low, dtype=x.dtype),
    )
    cell = ((x.cpu() - corner) / width * bins).floor().long()
    inside = ((cell >= 0) & (cell < bins)).all(-1)
    index = cell[inside, 0] * bins + cell[inside, 1]
    count = torch.bincount(index, minlength=bins * bins)
    total = torch.bincount(index, values.cpu()[inside].double(), minlength=bins * bins)
    return (total / count.clamp_min(1)).where(count > 0, torch.nan).reshape(bins, bins), count.reshape(bins, bins)
