"""Averages over stationary samples, one number per walker: volume integrands and what walls add to them.

Snapshots of one walker correlate, so every error bar in pyness comes from the spread between walkers. What is
averaged is evaluated in double precision and in chunks, whatever the precision of the samples.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from pyness.sampling import Samples
from pyness.systems import System

__all__ = ["CHUNK", "has_walls", "surface_per_walker", "volume_per_walker"]

CHUNK = 1 << 16
#: Numbers evaluated at a time at the most; an interacting particle takes some hundred times its own memory.
ENTRIES = 1 << 19

Integrand = Callable[[torch.Tensor], torch.Tensor]


def volume_per_walker(samples: Samples, integrand: Integrand) -> torch.Tensor:
    """``(walkers, k)``: the mean of ``integrand: (n, d) -> (n,) or (n, k)`` over the snapshots of each walker."""
    together = max(1, min(CHUNK, ENTRIES // samples.dim))

    def values(states: torch.Tensor) -> torch.Tensor:
        out = integrand(states.reshape(-1, samples.dim).double())
        out = out.unsqueeze(-1) if out.ndim == 1 else out
        return out.reshape(*states.shape[:2], -1)

    if together < samples.snapshots:
        parts = [[values(part).sum(1) for part in one.split(together, 1)] for one in samples.states.split(1)]
        return torch.cat([torch.stack(sums).sum(0) for sums in parts]) / samples.snapshots
    return torch.cat([values(states).mean(1) for states in samples.states.split(together // samples.snapshots)])


def surface_per_walker(system: System, samples: Samples, field: Integrand) -> torch.Tensor:
    """``(walkers, k)``: each walker's share of ``surface int p field . nu`` over the reflecting walls.

    The mean fold displacement per unit wall area and time is ``D_nn p`` (``D_nn`` the diffusion along the normal),
    so the integral is ``sum over folds of displacement * (field . nu) / (D_nn * elapsed)``, averaged over walkers
    (landscapes.md, section 3.5). Zero where the samples carry no fold records.

    Args:
        field: ``(n, d) -> (n, d)`` or ``(n, k, d)``.
    """
    walls = samples.walls
    if walls is None or len(walls) == 0:
        return torch.zeros(samples.walkers, 1, dtype=torch.float64)
    total, normals = None, system.domain.normals().to(walls.position.device)
    for part in torch.arange(len(walls), device=walls.walker.device).split(CHUNK):
        position, outward = walls.position[part].double(), normals[walls.face[part]]
        values = field(position)
        values = values.unsqueeze(1) if values.ndim == 2 else values
        normal = (values * outward.unsqueeze(1)).sum(-1)
        along = (outward * system.diffusion.apply(position, outward)).sum(-1)
        push = walls.displacement[part].double() / (along * walls.elapsed)
        if total is None:
            total = torch.zeros(samples.walkers, normal.shape[1], dtype=torch.float64, device=normal.device)
        total.index_add_(0, walls.walker[part], push[:, None] * normal)
    return total


def has_walls(system: System) -> bool:
    """Whether walkers can be folded at all."""
    return system.domain.walled
