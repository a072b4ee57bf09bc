"""Losses of a score, each a mean over samples in units of ``-E[div F]``, so that numbers compare (active_matter.md, 7).

All blocks are weighted by ``D``: the implicit loss then has the known minimum ``E[div F]``, and its value above that is
the error ``E|s_t - s|_D^2`` of the score.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch

from pyness.systems import System

__all__ = ["LOSSES", "Network", "denoising", "drift", "dynamics", "implicit", "paths", "stationarity_residual"]


class Network(Protocol):
    """A score network: called with states ``(n, d)`` it returns the score; ``with_terms`` adds ``d_i (D s)_i``."""

    def __call__(self, states: torch.Tensor) -> torch.Tensor: ...

    def with_terms(
        self, states: torch.Tensor, generator: torch.Generator | None = None, probes: int = 1
    ) -> tuple[torch.Tensor, torch.Tensor]: ...


def implicit(
    network: Network,
    system: System,
    states: torch.Tensor,
    generator: torch.Generator,
    *,
    probes: int = 1,
    residual: bool = False,
    **known: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Implicit score matching, ``s . D s + 2 div(D s)``, ``(n,)``.

    Args:
        residual: return ``div phi + phi . s``, ``(n,)``, of ``phi = F - D s`` as well, else None.
        **known: what the network has worked out of these states before.
    """
    s, terms = network.with_terms(states, generator, probes, **known)
    Ds, flux = system.diffusion.apply(states.to(s), s), terms.sum(-1)
    value = (s * Ds).sum(-1) + 2 * flux
    if not residual:
        return value, None
    drift, div = (t.to(s) for t in system.drift_and_divergence(states.double()))
    return value, div - flux + ((drift - Ds) * s).sum(-1)


def drift(network: Network, system: System, states: torch.Tensor) -> torch.Tensor:
    """``s . D s - 2 F . s``, ``(n,)``, for gradients, all coordinates with noise: no divergence, and no smoothing.

    It is the implicit loss less ``2 C``, and ``|F - D s|^2`` in the norm of ``D^{-1}`` less what is the same for every
    ``s``: its minimum is the score where samples are stationary (active_matter.md, 5).
    """
    s = network(states)
    F = system.drift(states.double()).to(s)
    return (s * system.diffusion.apply(states.to(s), s)).sum(-1) - 2 * (F * s).sum(-1)


def denoising(
    network: Network,
    system: System,
    states: torch.Tensor,
    generator: torch.Generator,
    *,
    alpha: float,
    mask: torch.Tensor,
) -> torch.Tensor:
    """Denoising with a pair ``+-alpha z`` on the coordinates of ``mask``, ``(n,)`` (Vincent 2011).

    Its minimum is the score of ``p`` convolved with ``N(0, alpha^2)``; only coordinates with noise are regressed.
    """
    z = torch.randn(states.shape, generator=generator, device=states.device, dtype=states.dtype) * mask.to(states)
    D = system.diffusion(states).expand(system.dim).to(states) * mask.to(states)
    total = 0.0
    for sign in (1.0, -1.0):
        s = network(states + sign * alpha * z)
        total = total + 0.5 * (D.to(s) * (s * s + 2 * sign * s * z.to(s) / alpha)).sum(-1)
    return total


def dynamics(
    network: Network, system: System, states: torch.Tensor, generator: torch.Generator, *, dt: float
) -> torch.Tensor:
    """Denoising by the dynamics' own noise over a step ``dt``, both signs of it, ``(n,)``; biased by ``O(dt)``."""
    D = system.diffusion(states).expand(system.dim).to(states)
    z = torch.randn(states.shape, generator=generator, device=states.device, dtype=states.dtype)
    moved, kick = states + dt * system.drift(states), torch.sqrt(2 * D * dt)
    total = 0.0
    for sign in (1.0, -1.0):
        s = network(moved + sign * kick * z)
        # D s . z / sqrt(2 D dt) is written so that it vanishes with D
        total = total + 0.5 * (D.to(s) * s * s + 2 * sign * s * (torch.sqrt(0.5 * D / dt) * z).to(s)).sum(-1)
    return total


def paths(network: Network, system: System, states: torch.Tensor, targets: torch.Tensor, **known: Any) -> torch.Tensor:
    """``|s - target|_D^2``, ``(n,)``, for targets whose mean is the score; its minimum is their scatter.

    Args:
        **known: what the network has worked out of these states before.
    """
    off = network(states, **known)
    off = off - targets.to(off)
    return (off * system.diffusion.apply(states.to(off), off)).sum(-1)


def stationarity_residual(first: torch.Tensor, second: torch.Tensor, fisher: float) -> torch.Tensor:
    """``(div phi + phi . s)^2``, relative, ``(n,)``: zero pointwise at the true score, and only there if ``C = 0``.

    Args:
        first, second: the residual twice: where its divergence is drawn at random, from independent draws.
    """
    return first * second / fisher**2


LOSSES: dict[str, Callable[..., torch.Tensor]] = {
    "implicit": implicit, "drift": drift, "paths": paths, "denoising": denoising, "dynamics": dynamics,
}  # fmt: skip
