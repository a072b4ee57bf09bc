"""Bounds, midpoint and certificate of a candidate current velocity, exact or learnt (landscapes.md, 3.3 to 3.5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from pyness.estimators.averages import surface_per_walker, volume_per_walker
from pyness.estimators.estimate import Estimate
from pyness.estimators.score_free import check_samples, fisher_per_walker
from pyness.sampling import Samples
from pyness.systems import System
from pyness.systems.derivatives import value_and_divergence

__all__ = ["Certificate", "certify"]

Velocity = Callable[[torch.Tensor], torch.Tensor]
WithDivergence = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class Certificate:
    """What samples say about a candidate ``phi = F_v + D grad Phi_t`` whose second part is a gradient.

    Attributes:
        midpoint: the entropy production rate, unbiased for every such candidate, k_B per unit time.
        upper, lower: bounds, off by the gradient error on either side.
        gap: the gradient error ``E|grad Phi_t - grad Phi|_D^2``, half of the gap between the bounds.
        relative: the gap divided by ``E|grad Phi|_D^2``.
    """

    midpoint: Estimate
    upper: Estimate
    lower: Estimate
    gap: Estimate
    relative: Estimate


def certify(
    system: System, samples: Samples, velocity: Velocity, with_divergence: WithDivergence | None = None
) -> Certificate:
    """Bounds and certificate of a candidate current velocity, wall terms included.

    upper ``E[phi . D^{-1} phi]``; midpoint ``E[F_v . D^{-1} phi + div phi] - surface int p phi . nu``; lower ``2
    midpoint - upper``. A negative gap beyond its error means samples that are not of the steady state.

    Args:
        velocity: ``phi``, ``(n, d) -> (n, d)`` made of torch operations; ``phi - F_v`` must be ``D`` times a gradient.
        with_divergence: ``x -> (phi, div phi)`` where a cheaper way than forward-mode differentiation exists.

    Raises:
        InputError: samples of another dimension.
        SystemDefinitionError: a diffusion with directions without noise.
    """
    check_samples(system, samples)
    both = with_divergence or (lambda x: value_and_divergence(velocity, x))

    def integrand(x: torch.Tensor) -> torch.Tensor:
        phi, div = both(x)
        scaled = system.diffusion.solve(x, phi)
        return torch.stack([(phi * scaled).sum(-1), (system.modified_drift(x) * scaled).sum(-1) + div], dim=-1)

    volume = volume_per_walker(samples, integrand)
    upper = volume[:, 0]
    midpoint = volume[:, 1] - surface_per_walker(system, samples, velocity).squeeze(1)
    gap = upper - midpoint
    return Certificate(
        midpoint=Estimate.over_walkers(midpoint),
        upper=Estimate.over_walkers(upper),
        lower=Estimate.over_walkers(2 * midpoint - upper),
        gap=Estimate.over_walkers(gap),
        relative=Estimate.ratio(gap, fisher_per_walker(system, samples)),
    )
