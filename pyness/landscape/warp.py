"""Coordinates in which the drift varies evenly, so that thin layers get their share of the network's units.

Along each coordinate ``u = (1 - b) z + b (2 C(z) - 1)``: ``z`` runs from -1 to 1 over the hull and ``C`` is the
cumulated variation of the drift, ``E|dF/dx_i|`` over the points, as a cubic spline, so that two continuous derivatives
are at hand.
"""

from __future__ import annotations

import torch

from pyness.systems import System

__all__ = ["BINS", "measure", "warp"]

BINS = 96
BLEND = 0.5
SMOOTHINGS = 16


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
    return _smooth(torch.stack(shares))


def _smooth(shares: torch.Tensor) -> torch.Tensor:
    """Rid of the noise from bin to bin, which would leave kinks in the third derivative; sums stay."""
    for _ in range(SMOOTHINGS):
        padded = torch.cat([shares[:, :1], shares, shares[:, -1:]], dim=1)
        shares = 0.25 * padded[:, :-2] + 0.5 * shares + 0.25 * padded[:, 2:]
    return shares


def warp(z: torch.Tensor, shares: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """``u`` of one coordinate ``z: (n,)`` and its first and second derivative by ``z``, ``(n,)`` each.

    The spline's coefficients are the cumulated shares, so it rises wherever they do, and is level beyond the hull.
    """
    cumulated = torch.cat([shares.new_zeros(1), shares.cumsum(0)])
    at = (z + 1) * (BINS / 2)
    cell = at.floor()
    f, cell = at - cell, cell.clamp(-9, BINS + 9).long()
    a, b, c, d = (cumulated[(cell + k).clamp(0, BINS)] for k in (-1, 0, 1, 2))
    g, width = 1 - f, 2 / BINS
    value = (g**3 * a + (3 * f**3 - 6 * f**2 + 4) * b + (3 * g**3 - 6 * g**2 + 4) * c + f**3 * d) / 6
    first = (-(g**2) * a + (3 * f**2 - 4 * f) * b - (3 * g**2 - 4 * g) * c + f**2 * d) / (2 * width)
    second = (g * a + (3 * f - 2) * b + (3 * g - 2) * c + f * d) / width**2
    return (1 - BLEND) * z + BLEND * (2 * value - 1), (1 - BLEND) + 2 * BLEND * first, 2 * BLEND * second
