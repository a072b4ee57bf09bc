"""Where particles would go next without noise: Taylor coefficients in time of their positions and distances."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from pyness.systems.neighbours import Pairs, minimum_image
from pyness.systems.particles import ParticleSystem

__all__ = ["Jets", "noise_free_jets"]

#: Distances below this share of the cutoff are taken as it: derivatives of directions diverge where particles touch.
CORE = 3e-4


@dataclass(frozen=True)
class Jets:
    """Derivatives in time at 0 of ``dx/dt = -grad U + u(g)`` with ``g`` held fixed.

    Attributes:
        motion: ``(n, N, d)`` each: velocity, acceleration and so on.
        approach: ``(pairs,)`` each: derivatives of the distances, the first one first.
        distance, force, slope: ``(pairs,)``: ``r``, ``f`` and ``f'``.
        unit: ``(pairs, d)`` from ``j`` to ``i``.
    """

    motion: list[torch.Tensor]
    approach: list[torch.Tensor]
    distance: torch.Tensor
    force: torch.Tensor
    slope: torch.Tensor
    unit: torch.Tensor


def noise_free_jets(system: ParticleSystem, x: torch.Tensor, g: torch.Tensor, pairs: Pairs, order: int) -> Jets:
    """Derivatives up to ``order`` at ``x: (n, N, d)``, ``g: (n, N, components)``, pair forces by ``pairs`` alone.

    By power series: each coefficient of the forces follows from those of the positions up to the same order, and the
    next one of the positions from it.
    """
    i, j = pairs.i, pairs.j
    series = [x]
    away, square, r, over, f = [], [], [], [], []
    powers: list[list[torch.Tensor]] = [[] for _ in range(order + 1)]
    slopes: tuple[torch.Tensor, ...] = ()
    for k in range(order + 1):
        flat = series[k].reshape(-1, system.space_dim)
        d = flat.index_select(0, i) - flat.index_select(0, j)
        if k == 0:
            columns = zip(d.unbind(-1), system.periods, strict=True)
            d = torch.stack([minimum_image(c, period) for c, period in columns], dim=-1)
        away.append(d)
        square.append(sum(away[m] * away[k - m] for m in range(k + 1)).sum(-1))
        if k == 0:
            r.append(torch.sqrt(square[0].clamp_min((CORE * (system.cutoff or 1.0)) ** 2)))
            slopes = _derivatives(lambda s: system.radial(s, pairs), r[0], order)
            f.append(slopes[0])
        else:
            inner = sum((r[m] * r[k - m] for m in range(1, k)), torch.zeros_like(r[0]))
            r.append(0.5 * (square[k] - inner) / r[0])
            # coefficient k of (r(t) - r(0))^m, from m - 1 of them
            powers[1].append(r[k])
            for m in range(2, k + 1):
                powers[m].append(sum(r[k - low] * powers[m - 1][low - m + 1] for low in range(m - 1, k)))
            f.append(sum(slopes[m] / math.factorial(m) * powers[m][k - m] for m in range(1, k + 1)))
        if k == order:
            break
        over.append((f[k] - sum((over[m] * r[k - m] for m in range(k)), torch.zeros_like(r[0]))) / r[0])
        push = sum(over[m].unsqueeze(-1) * away[k - m] for m in range(k + 1))
        total = torch.zeros_like(flat).index_add(0, i, push).index_add(0, j, -push).reshape(x.shape)
        if system.trap:
            total = total - system.trap * series[k]
        if system.external is not None:
            total = total + _composed(system.external, series, k)
        if k == 0:
            total = total + system.activity.push(g)
        series.append(total / (k + 1))
    return Jets(
        motion=[math.factorial(k) * series[k] for k in range(1, order + 1)],
        approach=[math.factorial(k) * r[k] for k in range(1, order + 1)],
        distance=r[0], force=slopes[0], slope=slopes[1], unit=away[0] / r[0].unsqueeze(-1),
    )  # fmt: skip


def _derivatives(f: Callable[[torch.Tensor], torch.Tensor], r: torch.Tensor, order: int) -> tuple[torch.Tensor, ...]:
    """``f, f', ...`` up to ``order``, entry by entry."""
    if order == 0:
        return (f(r),)
    lower, raised = torch.func.jvp(lambda s: _derivatives(f, s, order - 1), (r,), (torch.ones_like(r),))
    return (*lower, raised[-1])


def _composed(field: Callable[[torch.Tensor], torch.Tensor], series: list[torch.Tensor], order: int) -> torch.Tensor:
    """Coefficient ``order`` of a field along the path of the series."""

    def along(t: torch.Tensor) -> torch.Tensor:
        return field(sum(c * t**m for m, c in enumerate(series[: order + 1])))

    t = torch.zeros((), dtype=series[0].dtype, device=series[0].device)
    return _derivatives(along, t, order)[order] / math.factorial(order)
