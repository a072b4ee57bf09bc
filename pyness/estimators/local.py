"""Where entropy is produced: by particle and degree of freedom (active_matter.md, section 3.2), and where each is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from pyness.errors import InputError
from pyness.estimators.score_certificate import ScoreWithTerms
from pyness.systems import ParticleSystem
from pyness.systems.neighbours import close_pairs, wrapped

__all__ = [
    "REGIONS",
    "LocalEPR",
    "activity_epr",
    "contact_distance",
    "distance_to_interface",
    "has_phases",
    "local_density",
    "local_epr",
    "neighbour_number",
    "position_epr",
    "region",
]

#: Particles are in contact up to where they push each other by this share of the active speed: 2.4 radii for the
#: published discs.
PRESSED = 0.2591
#: In the plane a particle with at most GAS particles in contact (itself included) is gas, with at least SOLID dense.
GAS, SOLID = 2, 5
REGIONS = ("gas", "interface", "dense")
#: Fewer particles than these have no room for two phases.
CROWD = 100


@dataclass(frozen=True)
class LocalEPR:
    """Entropy production of each particle, ``(n, N)`` each, k_B per unit time; ``g`` even under time reversal.

    Attributes:
        position, activity: ``v_x^2 / eps`` (NaN without translational noise) and ``v_g . D^{-1} v_g``: total.
        position_divergence, activity_divergence: ``div_{x_i} v_{x_i}`` and ``div_{g_i} v_{g_i}``: of the system.
            Networks draw what they cannot differentiate exactly: of ``"attention"`` the first, of ``"contacts"``
            the second, are beyond ``pyness.score.probing.EXACT_UP_TO`` coordinates one random probe of each particle,
            right on average over many states only. A map of one state is made of the other two.
    """

    position: torch.Tensor
    activity: torch.Tensor
    position_divergence: torch.Tensor
    activity_divergence: torch.Tensor


def local_epr(system: ParticleSystem, states: torch.Tensor, score: ScoreWithTerms) -> LocalEPR:
    """The local entropy production rates of a score at ``states: (n, dim)``."""
    s, terms = score(states)
    t_x, t_g = system.split(terms)
    return LocalEPR(
        position=position_epr(system, states, s),
        activity=activity_epr(system, states, s),
        position_divergence=-system.laplacian(system.split(states)[0]) - t_x.sum(-1),
        activity_divergence=system.activity.divergence(system.activity_dim) - t_g.sum(-1),
    )


def position_epr(system: ParticleSystem, states: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    """``v_x^2 / eps`` of each particle, ``(n, N)``, from the score ``s: (n, dim)`` alone; NaN without noise."""
    x, g = system.split(states)
    if system.noise == 0:
        return torch.full(x.shape[:-1], torch.nan, dtype=x.dtype, device=x.device)
    v_x = system.forces(x) + system.activity.push(g) - system.noise * system.split(s)[0]
    return v_x.square().sum(-1) / system.noise


def activity_epr(system: ParticleSystem, states: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    """``v_g . D^{-1} v_g`` of each particle, ``(n, N)``, from the score ``s: (n, dim)`` alone."""
    v_g = system.activity.drift(system.split(states)[1]) - system.activity.rate * system.split(s)[1]
    return v_g.square().sum(-1) / system.activity.rate


def contact_distance(system: ParticleSystem, share: float = PRESSED) -> float | None:
    """Up to where two particles push or pull by a share of the active speed; None where they never do."""
    if system.pair_force is None or system.cutoff is None or not system.activity.speed > 0:
        return None
    r = torch.linspace(0, system.cutoff, 1 << 14, dtype=torch.float64)[1:]
    force = system.pair_forces(r).abs().amax(0)
    pressed = r[force >= share * system.activity.speed]
    return pressed.max().item() if len(pressed) else None


def has_phases(system: ParticleSystem) -> bool:
    """Whether ``region`` means something: particles in the plane that touch, and enough of them."""
    plane = isinstance(system, ParticleSystem) and system.space_dim == 2 and system.n_particles >= CROWD
    return plane and contact_distance(system) is not None


def neighbour_number(system: ParticleSystem, x: torch.Tensor, radius: float) -> torch.Tensor:
    """``(n, N)``: particles within ``radius`` of each of ``x: (n, N, d)``, itself included.

    Raises:
        InputError: a radius of more than half the box, where particles would count twice.
    """
    narrow = min((period for period in system.periods if period is not None), default=math.inf)
    if not 0 < radius <= narrow / 2:
        raise InputError(f"radius is {radius!r} and half the box {narrow / 2:g}", "give one between 0 and half of it")
    pairs = close_pairs(x, system.periods, radius)
    rows = torch.cat([pairs.i, pairs.j])
    return 1 + torch.bincount(rows, minlength=x.shape[0] * x.shape[1]).reshape(x.shape[:2])


def local_density(system: ParticleSystem, x: torch.Tensor, radius: float | None = None) -> torch.Tensor:
    """``(n, N)``: particles per unit volume within ``radius`` (the cutoff if not given) of each, itself included."""
    radius = _reach(system) if radius is None else radius
    return neighbour_number(system, x, radius) / ball(system.space_dim, radius)


def ball(dim: int, radius: float) -> float:
    """The volume of a ball."""
    return math.pi ** (dim / 2) / math.gamma(dim / 2 + 1) * radius**dim


def _reach(system: ParticleSystem) -> float:
    if system.cutoff is None:
        raise InputError(f"{system.name!r} has no cutoff", "give radius=")
    return system.cutoff


def region(system: ParticleSystem, x: torch.Tensor) -> torch.Tensor:
    """``(n, N)``: 0 gas, 1 interface, 2 dense, by the number of contacts (active_matter.md, 6.4).

    Raises:
        InputError: particles that are not in the plane, or never touch.
    """
    contact = contact_distance(system) if system.space_dim == 2 else None
    if contact is None:
        raise InputError(
            f"{system.name!r} has no contacts in the plane, by whose number phases are told apart",
            "take profiles by density, or labels of your own",
        )
    count = neighbour_number(system, x, contact)
    return 1 + (count >= SOLID).long() - (count <= GAS).long()


def distance_to_interface(system: ParticleSystem, x: torch.Tensor) -> torch.Tensor:
    """``(n, N)``: distance to where the dense phase ends, positive inside it and negative outside.

    That is, of a dense particle (``region``) the distance to the nearest that is not, of any other minus the distance
    to the nearest dense one; infinite where there is none.
    """
    from scipy.spatial import cKDTree

    dense = region(system, x) == REGIONS.index("dense")
    periods = np.array([p if p is not None else 0.0 for p in system.periods])
    box = periods if (periods > 0).any() else None
    out = torch.zeros(x.shape[:2], dtype=torch.float64)
    for row in range(len(x)):
        at, inside = x[row].double().cpu().numpy(), dense[row].cpu().numpy()
        at = wrapped(at, periods)
        for mine, sign in ((inside, 1.0), (~inside, -1.0)):
            if mine.any():
                far = at[~mine]
                found = cKDTree(far, boxsize=box).query(at[mine])[0] if len(far) else np.full(mine.sum(), np.inf)
                out[row, torch.from_numpy(mine)] = sign * torch.from_numpy(found)
    return out.to(x.device)
