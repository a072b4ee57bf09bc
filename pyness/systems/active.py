"""The published active systems and those that are known exactly (active_matter.md, sections 2, 6 and 11)."""

from __future__ import annotations

import math

import torch
from torch.nn.functional import softplus

from pyness.errors import SystemDefinitionError
from pyness.systems.activity import OrnsteinUhlenbeckActivity, RotatingActivity
from pyness.systems.box import Box
from pyness.systems.particles import ParticleSystem
from pyness.systems.registry import register
from pyness.systems.truth import Truth

RADIUS = 1.0
SOURCE = "Boffi, Vanden-Eijnden, PNAS 121, e2318106121 (2024), arXiv:2309.12991"
# a fixed step: the split step of the activity is exact, positions are of weak order 1
SPLIT_EM = "EM:split=true,dt={:g}"


def contact_force(k: float, beta: float):
    """``k softplus(2 r0 - r)``, the smoothed one-sided harmonic repulsion of discs of radius ``r0 = 1``.

    Raises:
        SystemDefinitionError: a negative stiffness, a sharpness that is not positive.
    """
    if not k >= 0:
        raise SystemDefinitionError(f"k is {k!r}", "give a stiffness of at least 0")
    _check_sharpness(beta)

    def force(r: torch.Tensor) -> torch.Tensor:
        return k * softplus(2 * RADIUS - r, beta)

    return force


def contact_cutoff(beta: float) -> float:
    """Where the contact force has fallen to ``4e-8 k``: below the resolution of single precision."""
    _check_sharpness(beta)
    return 2 * RADIUS + 15 / beta


def _check_sharpness(beta: float) -> None:
    if not beta > 0:
        raise SystemDefinitionError(f"beta is {beta!r}", "give a sharpness of the contact greater than 0")


def packed_box(n_particles: int, packing: float) -> Box:
    """The periodic square in which discs of radius 1 have the packing fraction ``N pi / L^2``."""
    if not 0 < packing < 1:
        raise SystemDefinitionError(f"the packing fraction is {packing!r}", "give one between 0 and 1")
    if n_particles < 1:
        raise SystemDefinitionError(f"n_particles is {n_particles!r}", "give a whole number of at least 1")
    side = math.sqrt(n_particles * math.pi * RADIUS**2 / packing)
    return Box([0.0, 0.0], [side, side], "periodic")


@register("aoup-free")
def aoup_free(
    n_particles: int = 16, space_dim: int = 2, v0: float = 0.5, gamma: float = 0.5, eps: float = 0.2, width: float = 10
) -> ParticleSystem:
    """Particles without interaction on a torus: ``s = (0, -g)``, ``v = (v0 g, 0)``, ``e_p = N d v0^2 / eps``."""

    def score(states: torch.Tensor) -> torch.Tensor:
        cut = n_particles * space_dim
        return torch.cat([torch.zeros_like(states[..., :cut]), -states[..., cut:]], dim=-1)

    return ParticleSystem(
        "aoup-free", n_particles, space_dim, OrnsteinUhlenbeckActivity(v0, gamma), eps,
        box=Box([0.0] * space_dim, [width] * space_dim, "periodic"),
        parameters={"n_particles": n_particles, "space_dim": space_dim, "v0": v0, "gamma": gamma, "eps": eps,
                    "width": width},
        solver="EM:split=true,dt=0.02",
        plan={"walkers": 1000, "burn_in": 10 / gamma, "snapshots": 10, "spacing": 1 / gamma},
        truth=Truth(
            epr=n_particles * space_dim * v0**2 / eps if eps > 0 else None, score=score, activity_epr=0.0,
            source="uniform positions, Gaussian activities",
        ),
        source="closed form",
    )  # fmt: skip


@register("aoup-harmonic")
def aoup_harmonic(
    n_particles: int = 2,
    space_dim: int = 1,
    trap: float = 0.7,
    spring: float = 1.3,
    v0: float = 0.5,
    gamma: float = 0.4,
    eps: float = 0.2,
) -> ParticleSystem:
    """``U = (trap/2) sum x_i^2 + (spring/2) sum_{i<j} |x_i - x_j|^2``: Gaussian, all exact (active_matter.md, 11.2).

    The centre of mass has stiffness ``trap``, the ``N - 1`` relative modes have ``trap + N spring``.
    """
    if not trap > 0 or spring < 0:
        raise SystemDefinitionError(f"trap is {trap!r}, spring {spring!r}", "give trap > 0 and spring >= 0")
    if n_particles < 1:
        raise SystemDefinitionError(f"n_particles is {n_particles!r}", "give a whole number of at least 1")
    activity = OrnsteinUhlenbeckActivity(v0, gamma)
    modes = [(trap, 1), (trap + n_particles * spring, n_particles - 1)]

    def score(states: torch.Tensor) -> torch.Tensor:
        x = states[..., : n_particles * space_dim].unflatten(-1, (n_particles, space_dim))
        g = states[..., n_particles * space_dim :].unflatten(-1, (n_particles, space_dim))
        middle = (x.mean(-2, keepdim=True).expand_as(x), g.mean(-2, keepdim=True).expand_as(g))
        s_x, s_g = torch.zeros_like(x), -g
        for (stiffness, _), (y, h) in zip(modes, (middle, (x - middle[0], g - middle[1])), strict=True):
            c = v0 / (stiffness + gamma)
            own = -stiffness * (y - c * h) / (eps + gamma * c * c)
            s_x, s_g = s_x + own, s_g - c * own
        return torch.cat([s_x.flatten(-2), s_g.flatten(-2)], dim=-1)

    persistent = [(n * space_dim, gamma / (lam + gamma), v0 / (lam + gamma), lam) for lam, n in modes]
    total = v0**2 / eps * sum(n * share for n, share, _, _ in persistent) if eps > 0 else None
    part = sum(n * lam * gamma * c**2 / (eps + gamma * c**2) if v0 > 0 else 0.0 for n, _, c, lam in persistent)
    slowest = 1 / min(trap, gamma)
    return ParticleSystem(
        "aoup-harmonic", n_particles, space_dim, activity, eps,
        pair_force=(lambda r: -spring * r) if spring else None, trap=trap,
        parameters={"n_particles": n_particles, "space_dim": space_dim, "trap": trap, "spring": spring, "v0": v0,
                    "gamma": gamma, "eps": eps},
        # by this step the entropy production is 2e-4 too small for one particle, 1.3e-3 for 64 (exact covariances)
        solver=f"SOSRA:adaptive=false,dt={0.02 / modes[1][0]:g}",
        plan={"walkers": 10_000, "burn_in": 10 * slowest, "burn_in_dt": 0.1 / modes[1][0], "snapshots": 10,
              "spacing": slowest},
        truth=Truth(epr=total, score=score, activity_epr=part, source="Gaussian steady state"),
        source="closed form",
    )  # fmt: skip


@register("aoup-ring")
def aoup_ring(
    v0: float = 0.25, gamma: float = 0.1, eps: float = 0.1, k: float = 2.5, beta: float = 7.5, width: float = 16.0
) -> ParticleSystem:
    """Two particles on a ring, in their relative coordinate ``x`` in [0, width) with contact at 0 (6.1).

    The contact acts as a fixed particle at the origin. The entropy production is known from a finite-volume
    solution for the published parameters only.
    """
    activity = OrnsteinUhlenbeckActivity(v0, gamma)
    repulsion = contact_force(k, beta)

    def external(x: torch.Tensor) -> torch.Tensor:
        away = x - width * torch.round(x / width)
        return repulsion(away.abs()) * torch.sign(away)

    parameters = {"v0": v0, "gamma": gamma, "eps": eps, "k": k, "beta": beta, "width": width}
    published = list(parameters.values()) == [0.25, 0.1, 0.1, 2.5, 7.5, 16.0]
    # 0.39687 and 0.03244 on 512 x 200 cells; the next finer mesh moves the last digit of the first
    truth = Truth(epr=0.3969, epr_error=1e-4, activity_epr=0.03244, source="finite volume, 512 x 200 and 768 x 300")
    slowest = 1 / min(gamma, eps or gamma)
    return ParticleSystem(
        "aoup-ring", 1, 1, activity, eps, external=external,
        box=Box([0.0], [width], "periodic"), parameters=parameters,
        # of second order, so that the contact is resolved at a step where EM is 1 % off
        solver="SOSRA:adaptive=false,dt=0.025",
        plan={"walkers": 10_000, "burn_in": 10 * slowest, "burn_in_dt": 0.1, "snapshots": 20, "spacing": slowest},
        truth=truth if published else Truth(),
        source=SOURCE,
    )  # fmt: skip


@register("aoup-trap-64")
def aoup_trap(
    n_particles: int = 64,
    v0: float = 0.2,
    gamma: float = 0.1,
    eps: float = 0.1,
    k: float = 2.5,
    beta: float = 7.5,
    trap: float = 0.05,
) -> ParticleSystem:
    """Repelling particles in a harmonic trap in the plane (6.2); ``v0 = 0`` is exact equilibrium."""
    if not trap > 0:
        raise SystemDefinitionError(f"trap is {trap!r}", "give a stiffness greater than 0")
    activity = OrnsteinUhlenbeckActivity(v0, gamma)
    reach = 1.2 * math.sqrt(max(n_particles, 1))
    force = contact_force(k, beta)
    truth = Truth()
    if v0 == 0 and eps > 0:
        truth = Truth(epr=0.0, activity_epr=0.0, source="equilibrium: no self-propulsion")
    return ParticleSystem(
        "aoup-trap-64", n_particles, 2, activity, eps,
        pair_force=force, cutoff=contact_cutoff(beta), trap=trap, box=Box([-reach] * 2, [reach] * 2, "open"),
        parameters={"n_particles": n_particles, "v0": v0, "gamma": gamma, "eps": eps, "k": k, "beta": beta,
                    "trap": trap},
        # contacts relax at up to about 8 k = 20: a second-order step of 0.01 takes the place of 0.001 with EM
        solver="SOSRA:adaptive=false,dt=0.01",
        plan={"walkers": 256, "burn_in": 10 / min(gamma, eps or gamma, trap), "burn_in_dt": 0.02, "snapshots": 10,
              "spacing": 1 / gamma},
        truth=truth,
        source=SOURCE,
    )  # fmt: skip


@register("aoup-mips")
def aoup_mips(
    n_particles: int = 4096,
    packing: float = 0.5,
    v0: float = 0.025,
    gamma: float = 1e-4,
    eps: float = 0.0,
    k: float = 1.0,
    beta: float = 7.5,
) -> ParticleSystem:
    """Motility-induced phase separation: persistent repelling discs in a periodic square (6.3)."""
    if not k > 0:
        raise SystemDefinitionError(f"k is {k!r}", "give a stiffness greater than 0, or take 'aoup-free'")
    few = n_particles <= 1024
    return ParticleSystem(
        "aoup-mips", n_particles, 2, OrnsteinUhlenbeckActivity(v0, gamma), eps,
        pair_force=contact_force(k, beta), cutoff=contact_cutoff(beta), box=packed_box(n_particles, packing),
        start="uniform" if packing < 0.25 else "clustered",
        parameters={"n_particles": n_particles, "packing": packing, "v0": v0, "gamma": gamma, "eps": eps, "k": k,
                    "beta": beta},
        solver=SPLIT_EM.format(0.1 / k),
        # contacts forget within some tens of time units: many snapshots close to each other serve the score best. Of
        # few particles they are stationary after a tenth of the persistence time, in which the box is crossed; dense
        # phases of many form in several
        plan={"walkers": 16 if few else 4, "burn_in": (0.5 if few else 1.0) / gamma, "burn_in_dt": 0.2 / k,
              "snapshots": 100, "spacing": 0.005 / gamma},
        source=SOURCE,
    )  # fmt: skip


@register("abp")
def abp(
    n_particles: int = 256,
    packing: float = 0.4,
    v0: float = 0.5,
    gamma: float = 0.1,
    eps: float = 0.1,
    k: float = 2.5,
    beta: float = 7.5,
) -> ParticleSystem:
    """Active Brownian particles: headings on a circle with rotational diffusion ``gamma``; ``k = 0`` is exact."""
    truth = Truth()
    if k == 0 and eps > 0:
        cut = 2 * n_particles
        truth = Truth(
            epr=n_particles * v0**2 / eps, score=torch.zeros_like, activity_epr=0.0,
            source=f"free particles: uniform in all {cut + n_particles} coordinates",
        )  # fmt: skip
    return ParticleSystem(
        "abp", n_particles, 2, RotatingActivity(v0, gamma), eps,
        pair_force=contact_force(k, beta) if k else None, cutoff=contact_cutoff(beta),
        box=packed_box(n_particles, packing),
        parameters={"n_particles": n_particles, "packing": packing, "v0": v0, "gamma": gamma, "eps": eps, "k": k,
                    "beta": beta},
        solver=SPLIT_EM.format(0.02),
        plan={"walkers": 64, "burn_in": 10 / gamma, "snapshots": 10, "spacing": 1 / gamma},
        truth=truth,
        source="Romanczuk et al., Eur. Phys. J. Special Topics 202, 1 (2012); soft discs as in the AOUP systems",
    )  # fmt: skip
