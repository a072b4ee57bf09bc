"""Bounds, defect and certificate of a score, exact or learnt, a gradient or not (active_matter.md, section 5)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from pyness.estimators.averages import surface_per_walker, volume_per_walker
from pyness.estimators.control import controlled
from pyness.estimators.estimate import Estimate
from pyness.estimators.identities import identities, names
from pyness.estimators.score_free import active_work_per_walker, check_samples, fisher_per_walker, works
from pyness.estimators.stationarity import family
from pyness.sampling import Samples
from pyness.systems import ParticleSystem, System
from pyness.systems.derivatives import value_and_divergence

__all__ = ["Block", "ScoreCertificate", "blocks_of", "certify_score", "noisy"]

#: ``x: (n, d) -> (s_t, terms)``, both ``(n, d)``: the score, and ``d_i (D s_t)_i`` of each coordinate, exact or
#: unbiased; zero where a coordinate has no noise.
ScoreWithTerms = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]

#: Standard errors that the defect of a gradient may be from 0.
DOUBTFUL = 4.0


@dataclass(frozen=True)
class Block:
    """The part of the entropy production that some coordinates make, ``E[v_b . D^{-1} v_b]``.

    Attributes:
        lower: a bound for every candidate, below the truth by the candidate's error in this block.
        upper: ``lower`` and the error of all blocks: a bound too.
        naive: ``E[phi_b . D^{-1} phi_b]`` of the candidate, which is no bound.
        midpoint: ``E[v_b . D^{-1} phi_b]``, the part of it that is current.
        scale_free: ``midpoint^2 / naive``, a bound from below too, by Cauchy and Schwarz, and never under ``lower``.
    """

    lower: Estimate
    upper: Estimate
    naive: Estimate
    midpoint: Estimate
    scale_free: Estimate

    def to_dict(self) -> dict[str, dict[str, float]]:
        return {name: value.to_dict() for name, value in vars(self).items()}


@dataclass(frozen=True)
class ScoreCertificate:
    """What samples say about a score ``s_t``, whether or not it is a gradient.

    Attributes:
        epr: entropy production rate with zero-mean control variates, from what ``epr_from`` says; where some
            coordinates have no noise, of the others, ``E[v_b . D^{-1} v_b]``, which of activities is ``E[lap U]``.
        score_free: from ``E[F_v . D^{-1} F_v + div F_v]``, without control variates; where some coordinates have no
            noise, over the others, less the divergence over those.
        defect: ``C = E[v . s_t]``, 0 for a gradient; where some coordinates have no noise, ``E[v . (s_t - s)]`` of the
            others, 0 for the true score.
        excess: ``E|s_t - s|_D^2``.
        upper: ``upper + 2 C`` of the candidate; a bound for every score.
        lower: ``epr - excess``; a bound for every score.
        midpoint: ``E[v . D^{-1} phi] = epr - C``, biased where the score is no gradient; None where some coordinates
            have no noise.
        scale_free: ``midpoint^2 / E[phi . D^{-1} phi]``, a bound from below for every score, which one of the
            right shape and the wrong size reaches; None likewise.
        relative: the excess over ``-E[div F]``, which is ``E|s|_D^2`` of the coordinates with noise.
        against_current: the excess over ``epr``: relative to the departure from equilibrium where the score of
            equilibrium is known, which is the stricter measure.
        blocks: by name, the entropy production of groups of coordinates, bounded.
        complete: whether all coordinates have noise.
        epr_from: ``"active work"`` (I6), ``"score-free form"``, or, of activities alone, ``"E[lap U]"``.
        gradient: whether the score is a gradient, as was claimed, as far as its defect shows; None without the claim.
        by_particle: ``(walkers, N)``, where positions have no noise and all particles are alike: the share of each in
            ``excess``, ``gamma (s_i^2 + d) + 2 gamma div_{g_i} s_i + lap_i U``, whose mean is ``gamma E|s_t - s|_i^2``.
        identities: of particles, by name, what would be 0 of the true score (``pyness.estimators.identities``).
    """

    epr: Estimate
    score_free: Estimate
    defect: Estimate
    excess: Estimate
    upper: Estimate
    lower: Estimate
    midpoint: Estimate | None
    scale_free: Estimate | None
    relative: Estimate
    against_current: Estimate
    blocks: dict[str, Block]
    complete: bool
    epr_from: str
    gradient: bool | None
    by_particle: torch.Tensor | None
    identities: dict[str, Estimate]


def noisy(system: System) -> torch.Tensor:
    """``(d,)`` bool: coordinates with noise of their own."""
    D = system.diffusion
    if not D.constant or D.kind == "matrix":
        return torch.ones(system.dim, dtype=torch.bool)
    return D.value.expand(system.dim) > 0


def blocks_of(system: System) -> dict[str, torch.Tensor]:
    """Groups of coordinates whose entropy production is told apart: positions and activities of particles."""
    if not isinstance(system, ParticleSystem):
        return {}
    position = torch.arange(system.dim) < system.n_particles * system.space_dim
    return {"position": position, "activity": ~position} if system.noise > 0 else {"activity": ~position}


def certify_score(
    system: System, samples: Samples, score: ScoreWithTerms, *, gradient: bool = False
) -> ScoreCertificate:
    """Everything that samples say of a score, wall terms included.

    With ``T = div(D s_t)``, its surface term taken off where there are walls:
    ``C = E[F_v . s_t + T]``, ``err = E[s_t . D s_t + 2 T - div F_v]``, and by coordinates with noise
    ``lower_b = E[phi_b . D^{-1} (2 F_v - phi)_b + 2 div_b phi]`` with ``phi = F_v - D s_t``.

    Args:
        gradient: the score is a gradient, so that its defect over all coordinates is exactly 0 and a control variate;
            not where the defect is found more than ``DOUBTFUL`` standard errors from 0.

    Raises:
        InputError: samples of another dimension.
    """
    check_samples(system, samples)
    loud, groups, complete = noisy(system), blocks_of(system), bool(noisy(system).all())
    diagonal = system.diffusion.constant and system.diffusion.kind != "matrix"
    masks = {name: mask & loud for name, mask in groups.items()} if diagonal else {}
    each = not complete and _alike(system)
    vanishing = names(system) if isinstance(system, ParticleSystem) else ()

    def integrand(x: torch.Tensor) -> torch.Tensor:
        s, terms = score(x)
        s = torch.where(loud.to(x.device), s, 0.0)
        F, div = system.drift_and_divergence(x)
        Ds = system.diffusion.apply(x, s)
        flux, square = terms.sum(-1), (s * Ds).sum(-1)
        columns = [(F * s).sum(-1) + flux, square + 2 * flux - div]
        if complete:
            phi = F - Ds
            columns += [
                (phi * system.diffusion.solve(x, phi)).sum(-1),
                (F * system.diffusion.solve(x, F)).sum(-1) + div,
            ]
        else:
            D = system.diffusion(x).expand(system.dim)[loud]
            columns += [(F[:, loud].square() / D).sum(-1), _drift_divergence(system, x, loud)]
        for mask in masks.values():
            columns += _block_terms(system, x, F, s, terms, mask.to(x.device))
        if vanishing:
            columns += identities(system, F, div, s, terms)
        columns = torch.stack(columns, dim=-1)
        return torch.cat([columns, _particle_terms(system, x, s * Ds, terms)], dim=-1) if each else columns

    volume = volume_per_walker(samples, integrand)

    def pushed(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([system.diffusion.apply(x, score(x)[0]), system.modified_drift(x)], dim=1)

    walled = samples.walls is not None and len(samples.walls) > 0
    surface = surface_per_walker(system, samples, pushed) if walled else torch.zeros(samples.walkers, 2).to(volume)
    fisher = fisher_per_walker(system, samples)
    # E[v . s] vanishes over all coordinates; over those with noise it is E[div F] over the others
    passed = 0.0 if complete else -fisher - volume[:, 3]
    defect = volume[:, 0] - surface[:, 0] - passed
    excess = volume[:, 1] - 2 * surface[:, 0] + surface[:, 1]
    controls = volume_per_walker(samples, lambda x: family(system, samples).generator(system, x))
    found_defect = controlled(defect, controls)
    trusted = not abs(found_defect.z) >= DOUBTFUL if gradient and complete else None
    if trusted:
        controls = torch.cat([controls, defect.unsqueeze(1)], dim=1)
    if complete:
        raw, origin = volume[:, 3] - surface[:, 1], "score-free form"
        upper = volume[:, 2] + 2 * defect
    elif isinstance(system, ParticleSystem):
        # the law of the activities alone is known, and with it all but this
        raw, origin = -passed, "E[lap U]"
        upper = raw + excess
    else:
        raw, origin = volume[:, 2] + volume[:, 3] - passed, "score-free form"
        upper = raw + excess
    quoted = raw
    if works(system):
        quoted, origin = active_work_per_walker(system, samples), "active work"
    blocks = {}
    for index, name in enumerate(masks):
        lower, naive = volume[:, 4 + 2 * index], volume[:, 5 + 2 * index]
        middle = 0.5 * (lower + naive)
        values = (lower, lower + excess, naive, middle)
        blocks[name] = Block(*(controlled(value, controls) for value in values), _scale_free(middle, naive, controls))
    return ScoreCertificate(
        epr=controlled(quoted, controls),
        score_free=Estimate.over_walkers(raw),
        defect=found_defect,
        excess=controlled(excess, controls),
        upper=controlled(upper, controls),
        lower=controlled(quoted - excess, controls),
        midpoint=controlled(raw - defect, controls) if complete else None,
        scale_free=_scale_free(raw - defect, volume[:, 2], controls) if complete else None,
        relative=_ratio(excess, fisher, controls),
        against_current=_ratio(excess, quoted, controls),
        blocks=blocks,
        complete=complete,
        epr_from=origin,
        gradient=trusted,
        by_particle=volume[:, -system.n_particles :] if each else None,
        identities={
            name: Estimate.over_walkers(volume[:, place]) for place, name in enumerate(vanishing, 4 + 2 * len(masks))
        },
    )


def _alike(system: System) -> bool:
    """Whether no particle is told from another.

    Particles of several kinds pass information on to each other, ``E[v_i . s_i] != 0``, so that of one kind
    ``E|v_{g_i}|^2 / gamma`` is not ``E[lap_i U]``, only of all.
    """
    return isinstance(system, ParticleSystem) and (system.species is None or len(system.species.unique()) == 1)


def _particle_terms(system: ParticleSystem, x: torch.Tensor, square: torch.Tensor, terms: torch.Tensor) -> torch.Tensor:
    """Each particle's share of the integrand of the excess, ``(n, N)``; ``square`` are the terms of ``s . D s``."""
    own = system.activity.divergence(system.activity_dim)
    return system.split(square + 2 * terms)[1].sum(-1) - own + system.laplacian(system.split(x)[0])


def _block_terms(
    system: System, x: torch.Tensor, F: torch.Tensor, s: torch.Tensor, terms: torch.Tensor, mask: torch.Tensor
) -> list[torch.Tensor]:
    """Lower bound and naive value of one group of coordinates, ``(n,)`` each; ``div_b F`` is exact."""
    D = system.diffusion(x).expand(system.dim)[mask]
    phi = F[:, mask] - D * s[:, mask]
    div = _drift_divergence(system, x, mask) - terms[:, mask].sum(-1)
    naive = (phi * phi / D).sum(-1)
    return [2 * ((F[:, mask] * phi / D).sum(-1) + div) - naive, naive]


def _drift_divergence(system: System, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """``div F`` over the coordinates of ``mask``, ``(n,)``; of particles all positions or all activities."""
    if not isinstance(system, ParticleSystem):
        return value_and_divergence(system.drift, x, mask.nonzero().flatten().tolist())[1]
    activity = system.n_particles * system.activity.divergence(system.activity_dim)
    if not bool(mask[0]):
        return torch.full(x.shape[:1], activity, dtype=x.dtype, device=x.device)
    return system.drift_divergence(x) - activity


def _scale_free(midpoint: torch.Tensor, naive: torch.Tensor, controls: torch.Tensor) -> Estimate:
    """``midpoint^2 / naive``, error by the delta method; 0 of a candidate that has no current."""
    share = _ratio(midpoint, naive, controls).value
    if not math.isfinite(share):
        return Estimate(0.0, 0.0)
    middle = controlled(midpoint, controls).value
    return Estimate(share * middle, controlled(2 * share * midpoint - share**2 * naive, controls).stderr)


def _ratio(numerator: torch.Tensor, denominator: torch.Tensor, controls: torch.Tensor) -> Estimate:
    """A ratio of means, error by the delta method, both with control variates."""
    top, bottom = controlled(numerator, controls), controlled(denominator, controls)
    if bottom.value == 0:
        return Estimate(float("nan"), float("nan"))
    value = top.value / bottom.value
    return Estimate(value, controlled((numerator - value * denominator) / bottom.value, controls).stderr)
