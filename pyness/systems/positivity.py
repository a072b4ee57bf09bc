"""Where in a box a diffusion that depends on the state comes closest to losing positivity."""

from __future__ import annotations

import itertools

import torch

from pyness.systems.box import Box
from pyness.systems.diffusion import Diffusion, not_positive

__all__ = ["lowest_diffusion", "refuse_negative"]

POINTS, STARTS, STEPS = 2048, 24, 40
CORNERS_UP_TO = 10
FIRST_STEP, SHRINK = 0.1, 0.88
ROUNDING = 1e-6


def lowest_diffusion(diffusion: Diffusion, box: Box) -> tuple[float, float, torch.Tensor]:
    """The lowest eigenvalue of ``D(x)`` found in the box, the largest entry of ``D`` there, and where, ``(d,)``.

    Random points and corners, the lowest of which then go downhill: a search, not a proof.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.cat([box.uniform(POINTS, generator, dtype=torch.float64), _corners(box, generator)])
    # linear walls cut corners off
    x = x[box.contains(x)]
    low, high = torch.tensor([box.low, box.high], dtype=x.dtype)
    values, scale = _lowest(diffusion, x)
    if not bool(torch.isfinite(values).all()):
        return float("nan"), scale, x[~torch.isfinite(values)][0]
    best = values.argmin()
    found, where = values[best].item(), x[best]
    at, step = x[values.argsort()[:STARTS]], FIRST_STEP
    for _ in range(STEPS):
        at = at.detach().requires_grad_()
        values, _ = _lowest(diffusion, at)
        if not values.requires_grad:
            break
        (slope,) = torch.autograd.grad(values.sum(), at)
        slope = torch.nan_to_num(slope) * (high - low)
        size = slope.norm(dim=1, keepdim=True).clamp_min(1e-300)
        ahead = (at.detach() - step * (high - low) * slope / size).clamp(low, high)
        at = torch.where(box.contains(ahead).unsqueeze(-1), ahead, at.detach())
        step *= SHRINK
        values = _lowest(diffusion, at)[0].detach()
        best = values.argmin()
        if values[best].item() < found:
            found, where = values[best].item(), at[best]
    return found, scale, where


def refuse_negative(diffusion: Diffusion, box: Box) -> None:
    """Refuse a state-dependent diffusion that is negative or not finite somewhere in the box.

    Raises:
        SystemDefinitionError: with the place and the value.
    """
    if diffusion.constant:
        return
    found, scale, where = lowest_diffusion(diffusion, box)
    if found >= -ROUNDING * scale:
        return
    raise not_positive(diffusion.kind, found, where)


def _lowest(diffusion: Diffusion, x: torch.Tensor) -> tuple[torch.Tensor, float]:
    D = diffusion(x)
    values = torch.linalg.eigvalsh(D)[:, 0] if diffusion.kind == "matrix" else D.amin(-1)
    return values, D.detach().abs().max().item()


def _corners(box: Box, generator: torch.Generator) -> torch.Tensor:
    if box.dim <= CORNERS_UP_TO:
        sides = torch.tensor(list(itertools.product((0.0, 1.0), repeat=box.dim)), dtype=torch.float64)
    else:
        sides = torch.randint(0, 2, (POINTS, box.dim), generator=generator).double()
    low, high = torch.tensor([box.low, box.high], dtype=torch.float64)
    return low + sides * (high - low)
