"""Diagonals of Jacobians of many particles: exactly where they are few, with random probes where they are many."""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = ["EXACT_UP_TO", "few", "position_terms", "signs_like"]

#: Coordinates up to which every derivative is taken.
EXACT_UP_TO = 12


def few(shape: torch.Size) -> bool:
    """Whether states of ``shape (n, N, d)`` have so few coordinates that each gets a direction of its own."""
    return shape[1] * shape[2] <= EXACT_UP_TO


def signs_like(x: torch.Tensor, generator: torch.Generator | None, probes: int) -> list[torch.Tensor]:
    """Directions ``z``, each like ``x: (n, N, d)``, such that ``z_i (J z)_i`` gives the diagonal of ``J``.

    Summed over all coordinates where they are few; else its mean over random signs is unbiased (Hutchinson 1990).
    """
    if few(x.shape):
        unit = torch.eye(x[0].numel(), dtype=x.dtype, device=x.device)
        return [row.reshape(x.shape[1:]).expand_as(x) for row in unit]
    return [torch.randint(0, 2, x.shape, generator=generator, device=x.device).to(x) * 2 - 1 for _ in range(probes)]


def position_terms(
    field: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, generator: torch.Generator | None, probes: int
) -> torch.Tensor:
    """``d field_i / d x_i``, ``(n, N, d)``, at ``x: (n, N, d)``: exact, or the mean over ``probes``."""
    signs = signs_like(x, generator, probes)
    total = sum(z * torch.func.jvp(field, (x,), (z,))[1].to(x) for z in signs)
    return total if few(x.shape) else total / len(signs)
