"""Entropy production and Fisher information from the samples and the drift alone: no score, no network."""

from __future__ import annotations

import torch

from pyness.errors import InputError
from pyness.estimators.averages import surface_per_walker, volume_per_walker
from pyness.estimators.estimate import Estimate
from pyness.sampling import Samples
from pyness.systems import ParticleSystem, System

__all__ = [
    "active_work_epr",
    "active_work_per_walker",
    "check_samples",
    "fisher_information",
    "score_free_epr",
    "score_free_per_walker",
    "works",
]


def check_samples(system: System, samples: Samples) -> None:
    """Refuse samples of another dimension, or of particles in another box or of other species.

    Raises:
        InputError: with both dimensions or boxes.
    """
    if not isinstance(samples, Samples):
        raise InputError(
            f"samples are a {type(samples).__name__}", "give pyness.sample(...) or pyness.Samples.from_states(...)"
        )
    if samples.dim != system.dim:
        raise InputError(
            f"samples have {samples.dim} coordinates, system {system.name!r} has {system.dim}",
            "give samples of this system",
        )
    sampled = samples.system
    particles = isinstance(system, ParticleSystem) and isinstance(sampled, ParticleSystem)
    if particles and system.box.to_dict() != sampled.box.to_dict():
        raise InputError(
            f"samples are of a box {_sides(sampled)}, system {system.name!r} has {_sides(system)}",
            "give samples of this system",
        )
    if particles and system.to_dict()["species"] != sampled.to_dict()["species"]:
        raise InputError(
            f"samples are of other species than those of system {system.name!r}", "give samples of this system"
        )


def _sides(system: ParticleSystem) -> str:
    return " x ".join(f"{width:.6g}" for width in system.box.width)


def score_free_per_walker(system: System, samples: Samples) -> torch.Tensor:
    """``(walkers,)`` values whose mean is the score-free entropy production rate, wall term included."""

    def integrand(x: torch.Tensor) -> torch.Tensor:
        value, div = system.drift_and_divergence(x)
        return (value * system.diffusion.solve(x, value)).sum(-1) + div

    volume = volume_per_walker(samples, integrand)
    return (volume - surface_per_walker(system, samples, system.modified_drift)).squeeze(1)


def score_free_epr(system: System, samples: Samples) -> Estimate:
    """``e_p = E[F_v . D^{-1} F_v + div F_v] - surface int p F_v . nu``, k_B per unit time (landscapes.md, 3.2 and 3.5).

    No score and no network: a difference of two averages, each of the size of ``E|F|^2 / D``. Needs all variables
    even under time reversal and an invertible ``D``. On reflecting walls the surface term is measured from the fold
    records; without them it is missing.

    Raises:
        InputError: samples of another dimension.
        SystemDefinitionError: a diffusion with directions without noise.
    """
    check_samples(system, samples)
    return Estimate.over_walkers(score_free_per_walker(system, samples))


def works(system: System) -> bool:
    """Whether the entropy production is the work of the activities alone: conservative forces, and noise."""
    return isinstance(system, ParticleSystem) and system.noise > 0 and system.conservative


def active_work_epr(system: ParticleSystem, samples: Samples) -> Estimate:
    """``e_p = E[F_x . u(g)] / eps``, k_B per unit time: the work of the activities (I6).

    ``F_x = -grad U + u(g)`` is the velocity of the positions without noise. The same number as ``score_free_epr``, from
    which it differs by the mean of ``L U`` and of the activities' own generator: without the large ``E|F_x|^2 / eps``
    and ``E[lap U]`` of stiff contacts it scatters less (active_matter.md, section 4).

    Raises:
        InputError: no particles, positions without noise, forces that are no gradient; samples of another system.
    """
    if not works(system):
        raise InputError(
            f"{system.name!r} is not made of particles whose positions have noise and whose forces are conservative",
            "take score_free_epr",
        )
    check_samples(system, samples)
    return Estimate.over_walkers(active_work_per_walker(system, samples))


def active_work_per_walker(system: ParticleSystem, samples: Samples) -> torch.Tensor:
    """``(walkers,)`` values whose mean is that of ``active_work_epr``."""

    def integrand(states: torch.Tensor) -> torch.Tensor:
        x, g = system.split(states)
        push = system.activity.push(g)
        return ((system.forces(x) + push) * push).sum((-1, -2)) / system.noise

    return volume_per_walker(samples, integrand).squeeze(1)


def fisher_information(system: System, samples: Samples) -> Estimate:
    """``E|grad log p|_D^2 = -E[div F_v] + surface int p F_v . nu``, per unit time (landscapes.md, 3.2 and 3.5)."""
    check_samples(system, samples)
    return Estimate.over_walkers(fisher_per_walker(system, samples))


def fisher_per_walker(system: System, samples: Samples) -> torch.Tensor:
    """``(walkers,)`` values whose mean is the Fisher information."""
    volume = volume_per_walker(samples, lambda x: -system.drift_and_divergence(x)[1])
    return (volume + surface_per_walker(system, samples, system.modified_drift)).squeeze(1)
