"""Coordinates in which the drift varies evenly, so that thin layers get their share of the network's units.

Along each coordinate ``u = (1 - b) z + b (2 C(z) - 1)``: ``z`` runs from -1 to 1 over the hull and ``C`` is the
cumulated variation of the drift, ``E|dF/dx_i|`` over the points, smoothed by a Gaussian so that two derivatives are at
hand.
"""

from __future__ import annotations

import math

import torch

from pyness.systems import System

__all__ = ["measure", "warp"]

BINS = 128
SMOOTHING = 1.5
BLEND = 0.5


def measure(system: System, cloud: torch.Tensor, center: torch.Tensor, half_width: torch.Tensor) -> torch.Tensor:
    """``(d, BINS)`` shares of the drift's variation along each coordinate, from points ``cloud: (n, d)``."""
    shares = []
    for axis in range(system.dim):
        step = torch.zeros(system.dim, dtype=cloud.dtype, device=cloud.device)
        step[axis] = half_width[axis] / BINS
        change = (system.drift(cloud + step) - system.drift(cloud - step)).norm(dim=1)
        change = torch.nan_to_num(change, nan=0.0, posinf=0.0, neginf=0.0)
        z = (cloud[:, axis] - center[axis]) / half_width[axis]
        bins = ((z + 1) * (BINS / 2)).long().clamp(0, BINS - 1)
        count = torch.bincount(bins, minlength=BINS).clamp_min(1)
        mean = torch.bincount(bins, weights=change, minlength=BINS) / count
        # where there are no points the variation is taken as the average one
        mean = torch.where(count > 5, mean, mean.mean())
        shares.append(mean / mean.sum().clamp_min(1e-300))
    return torch.stack(shares)


def warp(z: torch.Tensor, shares: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """``u`` of one coordinate ``z: (n,)`` and its first and second derivative by ``z``, ``(n,)`` each."""
    middle = torch.linspace(-1 + 1 / BINS, 1 - 1 / BINS, BINS, dtype=z.dtype, device=z.device)
    width = SMOOTHING * 2 / BINS
    t = (z[:, None] - middle) / width
    bell = torch.exp(-0.5 * t * t) / math.sqrt(2 * math.pi)
    cumulated = torch.special.ndtr(t) @ shares
    first = (bell @ shares) / width
    second = -((t * bell) @ shares) / width**2
    return (1 - BLEND) * z + BLEND * (2 * cumulated - 1), (1 - BLEND) + 2 * BLEND * first, 2 * BLEND * second
