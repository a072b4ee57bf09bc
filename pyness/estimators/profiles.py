"""Averages over particles sorted by where they are: by phase, local density or distance to the interface, on a map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from pyness.errors import InputError, UnknownNameError
from pyness.estimators.averages import ENTRIES
from pyness.estimators.estimate import Estimate
from pyness.estimators.local import (
    REGIONS,
    ball,
    distance_to_interface,
    neighbour_number,
    region,
)
from pyness.estimators.score_free import check_samples
from pyness.numbers import check_whole
from pyness.sampling import Samples
from pyness.systems import ParticleSystem

__all__ = ["Profile", "SpatialMap", "conditional", "profile", "spatial_map"]

PerParticle = Callable[[torch.Tensor], torch.Tensor]
BY = ("region", "density", "distance")


@dataclass(frozen=True)
class Profile:
    """What particles do, given where they are. Error bars are over walkers.

    Attributes:
        by: ``"region"``, ``"density"`` or ``"distance"``.
        at: of each bin the name of the region, the density, or the middle of the distances.
        particles: the share of the particles that is in each bin.
        share: the share of the total that these make.
        mean: per particle; NaN where there is none.
    """

    by: str
    at: tuple[str | float, ...]
    particles: tuple[Estimate, ...]
    share: tuple[Estimate, ...]
    mean: tuple[Estimate, ...]

    def __str__(self) -> str:
        rows = [(self.by, "particles", "share", "mean")]
        for at, *values in zip(self.at, self.particles, self.share, self.mean, strict=True):
            rows.append((at if isinstance(at, str) else f"{at:.4g}", *map(str, values)))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows
        )


@dataclass(frozen=True)
class SpatialMap:
    """Averages over the cells of a grid in the plane, ``(bins, bins)`` each, first axis x.

    Attributes:
        mean: per particle; NaN where no particle was.
        stderr: of ``mean``, over walkers.
        density: particles per unit area; times ``mean`` it is the rate per unit area.
        edges: of the cells, ``(bins + 1,)`` each.
    """

    mean: torch.Tensor
    stderr: torch.Tensor
    density: torch.Tensor
    edges: tuple[torch.Tensor, torch.Tensor]


def profile(
    system: ParticleSystem, samples: Samples, values: PerParticle, by: str = "density", bins: int = 12
) -> Profile:
    """Averages of ``values`` over particles by where they are.

    Args:
        values: ``(n, dim) -> (n, N)``, a value of each particle.
        by: ``"region"``: gas, interface, dense (``local.region``); ``"density"``: that within the cutoff, one bin for
            each number of neighbours; ``"distance"``: to the interface, negative in the gas
            (``local.distance_to_interface``).
        bins: how many for distances, of which one in a hundred at either end goes to the outermost.

    Raises:
        InputError: particles that cannot be sorted so.
    """
    _check(system, samples)
    if by not in BY:
        raise UnknownNameError.of("by", str(by), BY)
    if by == "region":
        found = conditional(samples, values, lambda x: region(system, system.split(x)[0]), len(REGIONS))
        return Profile(by, REGIONS, *found)
    if by == "density":
        if system.cutoff is None:
            raise InputError(f"{system.name!r} has no cutoff, within which density is counted", "take 'distance'")

        def number(x: torch.Tensor) -> torch.Tensor:
            return neighbour_number(system, system.split(x)[0], system.cutoff)

        held, total = _sums(samples, values, number, system.n_particles + 1)
        present = torch.nonzero(held.sum(0)).flatten()
        at = tuple((present / ball(system.space_dim, system.cutoff)).tolist())
        return Profile(by, at, *_ratios(held[:, present], total[:, present]))
    check_whole("bins", bins, least=2)
    last = distance_to_interface(system, system.split(samples.states[:, -1].double())[0])
    last = last[torch.isfinite(last)]
    if not len(last):
        raise InputError("no snapshot has a dense phase and another", "take profiles by density")
    low, high = torch.quantile(last[:: max(1, len(last) // 1_000_000)], torch.tensor([0.01, 0.99]).double()).tolist()
    edges = torch.linspace(low, high, bins + 1, dtype=torch.float64)

    def label(x: torch.Tensor) -> torch.Tensor:
        away = distance_to_interface(system, system.split(x)[0])
        return torch.where(torch.isfinite(away), torch.bucketize(away, edges[1:-1].to(away.device)), -1)

    middles = tuple((0.5 * (edges[1:] + edges[:-1])).tolist())
    return Profile(by, middles, *conditional(samples, values, label, bins))


def conditional(
    samples: Samples, values: PerParticle, labels: PerParticle, bins: int
) -> tuple[tuple[Estimate, ...], tuple[Estimate, ...], tuple[Estimate, ...]]:
    """Of each label the share of the particles, the share of the total of ``values``, and the mean.

    Args:
        values, labels: ``(n, dim) -> (n, N)``; labels whole numbers below ``bins``, others are left out.
    """
    return _ratios(*_sums(samples, values, labels, bins))


def _ratios(
    held: torch.Tensor, total: torch.Tensor
) -> tuple[tuple[Estimate, ...], tuple[Estimate, ...], tuple[Estimate, ...]]:
    whole = held.sum(1), total.sum(1)
    nothing = Estimate(float("nan"), float("nan"))
    return (
        tuple(Estimate.ratio(column, whole[0]) for column in held.unbind(1)),
        tuple(Estimate.ratio(column, whole[1]) for column in total.unbind(1)),
        tuple(
            Estimate.ratio(t, h) if h.sum() > 0 else nothing
            for t, h in zip(total.unbind(1), held.unbind(1), strict=True)
        ),
    )


def spatial_map(
    system: ParticleSystem, samples: Samples, values: PerParticle, bins: int = 32, centred: bool = False
) -> SpatialMap:
    """Averages of ``values`` over particles by their position in the plane.

    Args:
        values: ``(n, dim) -> (n, N)``, a value of each particle.
        bins: cells along each side: of the box, or where it is open of what holds all but a thousandth.
        centred: each snapshot moved so that its dense phase is in the middle; only in a periodic box, whose map is
            flat otherwise.

    Raises:
        InputError: particles that are not in the plane; ``centred`` in an open box, or without phases.
    """
    _check(system, samples)
    if system.space_dim != 2:
        raise InputError(f"{system.name!r} is not in the plane", "give a system with space_dim=2")
    check_whole("bins", bins)
    if centred and None in system.periods:
        raise InputError("centred in an open box", "leave it out: the trap is the centre")
    low, high = (torch.tensor(corner, dtype=torch.float64) for corner in (system.box.low, system.box.high))
    seen = system.split(samples.states[:, -1].double())[0].reshape(-1, 2)
    for axis, period in enumerate(system.periods):
        if period is None:
            column = seen[:: max(1, len(seen) // 1_000_000), axis].cpu()
            low[axis], high[axis] = torch.quantile(column, torch.tensor([5e-4, 1 - 5e-4]).double())
    width = high - low

    def cell(states: torch.Tensor) -> torch.Tensor:
        x = system.split(states)[0].cpu()
        if centred:
            x = _centred(system, x)
        at = ((x - low) / width * bins).floor()
        for axis, period in enumerate(system.periods):
            if period is not None:
                at[..., axis] = at[..., axis].remainder(bins)
        inside = ((at >= 0) & (at < bins)).all(-1)
        return torch.where(inside, at[..., 0] * bins + at[..., 1], -1.0).long()

    held, total = _sums(samples, values, cell, bins * bins)
    mean = total.sum(0) / held.sum(0)
    away = (total - mean.nan_to_num() * held) / held.mean(0)
    stderr = away.std(0) / len(away) ** 0.5 if len(away) > 1 else torch.full_like(mean, torch.nan)
    area = (width / bins).prod()
    density = held.mean(0) / samples.snapshots / area
    edges = tuple(torch.linspace(a, b, bins + 1, dtype=torch.float64) for a, b in zip(low, high, strict=True))
    return SpatialMap(*(column.reshape(bins, bins) for column in (mean, stderr, density)), edges)


def _centred(system: ParticleSystem, x: torch.Tensor) -> torch.Tensor:
    """Configurations moved so that the mean of their dense particles, as of angles, is in the middle of the box."""
    dense = (region(system, x) == REGIONS.index("dense")).unsqueeze(-1)
    low, width = (torch.tensor(v, dtype=x.dtype) for v in (system.box.low, system.box.width))
    turn = torch.exp(2j * torch.pi * (x - low) / width)
    middle = torch.angle((turn * dense).sum(-2, keepdim=True)) / (2 * torch.pi) * width
    return x - middle + 0.5 * width


def _sums(samples: Samples, values: PerParticle, labels: PerParticle, bins: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Particles with each label and the sum of their values, ``(walkers, bins)`` each."""
    held = torch.zeros(samples.walkers, bins, dtype=torch.float64)
    total = torch.zeros(samples.walkers, bins, dtype=torch.float64)
    together = max(1, ENTRIES // samples.dim)
    for walker in range(samples.walkers):
        for states in samples.states[walker].double().split(together):
            label, value = labels(states).flatten().cpu(), values(states).flatten().double().cpu()
            inside = (label >= 0) & (label < bins)
            held[walker] += torch.bincount(label[inside], minlength=bins)
            total[walker] += torch.bincount(label[inside], value[inside], minlength=bins)
    return held, total


def _check(system: ParticleSystem, samples: Samples) -> None:
    if not isinstance(system, ParticleSystem):
        raise InputError(f"{system.name!r} has no particles", "give a ParticleSystem")
    check_samples(system, samples)
