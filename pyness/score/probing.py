"""Diagonals of Jacobians of many particles: exactly where they are few, with random probes where they are many."""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = ["EXACT_UP_TO", "position_terms"]

#: Coordinates up to which every derivative is taken.
EXACT_UP_TO = 12


def position_terms(
    field: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, generator: torch.Generator | None, probes: int
) -> torch.Tensor:
    """``d field_i / d x_i``, ``(n, N, d)``, at ``x: (n, N, d)``: exact, or the mean over ``probes`` of ``z_i (J z)_i``.

    With signs ``z`` as probes this is unbiased, and exact for the diagonal (Hutchinson 1990).
    """
    size = x[0].numel()
    if size <= EXACT_UP_TO:
        total = torch.zeros_like(x)
        for axis in range(size):
            direction = torch.zeros_like(x)
            direction.view(len(x), -1)[:, axis] = 1.0
            total = total + direction * torch.func.jvp(field, (x,), (direction,))[1].to(x)
        return total
    total = torch.zeros_like(x)
    for _ in range(probes):
        signs = torch.randint(0, 2, x.shape, generator=generator, device=x.device).to(x) * 2 - 1
        total = total + signs * torch.func.jvp(field, (x,), (signs,))[1].to(x)
    return total / probes
