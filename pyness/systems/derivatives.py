"""Jacobians and divergences of vector fields given as torch functions on ``(..., d)``.

Forward mode: one push-forward per coordinate, one after the other and each of all states at once, so nothing is kept
for a backward pass and the field may be any composition of torch operations. (Several coordinates at once are quicker
for few states only: of 12 coordinates eight times for 512 states, not at all for 8192.) The level that torch pushes
forward at belongs to the process and not to the thread, so blocks of walkers in threads of their own take turns here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import torch

__all__ = ["divergence", "first_and_second", "jacobian", "value_and_divergence"]

Field = Callable[[torch.Tensor], torch.Tensor]

# a field may itself contain derivatives
_ONE_AT_A_TIME = threading.RLock()


def jacobian(field: Field, x: torch.Tensor) -> torch.Tensor:
    """``J[..., i, j] = d field_i / d x_j`` at ``x: (..., d)``; ``field`` maps ``(..., d)`` to ``(..., m)``."""
    columns = [_push(field, x, axis)[1] for axis in range(x.shape[-1])]
    return torch.stack(columns, dim=-1)


def divergence(field: Field, x: torch.Tensor) -> torch.Tensor:
    """``sum_i d field_i / d x_i`` at ``x: (..., d)``, shape ``(...,)``."""
    return value_and_divergence(field, x)[1]


def value_and_divergence(
    field: Field, x: torch.Tensor, axes: Iterable[int] | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The field ``(..., d)`` and its divergence ``(...,)`` at ``x: (..., d)``, over ``axes`` or all of them."""
    value, total = None, 0.0
    for axis in range(x.shape[-1]) if axes is None else axes:
        value, tangent = _push(field, x, axis)
        total = total + tangent[..., axis]
    return value, total


def first_and_second(field: Field, x: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The field ``(..., m)`` and its first and second derivative by coordinate ``axis`` at ``x: (..., d)``."""
    (value, first), (_, second) = _push(lambda y: _push(field, y, axis), x, axis)
    return value, first, second


def _push(field: Field, x: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    direction = torch.zeros_like(x)
    direction[..., axis] = 1.0
    with _ONE_AT_A_TIME:
        return torch.func.jvp(field, (x,), (direction,))
