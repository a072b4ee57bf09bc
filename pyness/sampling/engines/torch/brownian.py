"""Brownian paths that survive rejected steps.

A rejected step keeps the increment it drew: the path over the rest of the interval is drawn conditionally on it (a
Brownian bridge), never afresh. Redrawing would prefer quiet noise, since noisy increments are rejected more often,
and would so lower the stationary variance.
"""

from __future__ import annotations

import math

import torch

__all__ = ["Futures", "area", "split"]

_ROOT12 = math.sqrt(12.0)


def area(h: torch.Tensor, normal: torch.Tensor) -> torch.Tensor:
    """The space-time Levy area of a step, ``N(0, h^3 / 12)``, independent of the increment: from ``normal``."""
    return h * torch.sqrt(h) / _ROOT12 * normal


def split(
    w: torch.Tensor, a: torch.Tensor, h: torch.Tensor, s: torch.Tensor, normals: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Increments and areas of ``[0, s]`` and ``[s, h]``, given those of ``[0, h]``.

    With ``r = h - s`` and ``b = w_1 - (s / h) w`` (the bridge at ``s``, ``N(0, r s / h)``), the area of the whole is
    ``a = a_1 + a_2 + h b / 2`` and the three terms are independent Gaussians with variances ``s^3 / 12``,
    ``r^3 / 12`` and ``h r s / 4``, which sum to ``h^3 / 12``. Conditioning them on their sum shares the difference out
    in proportion to the variances. (Elementary; compare Foster, Lyons & Oberhauser, SIAM J. Numer. Anal. 58, 1500.)

    Args:
        w, a: ``(n, d)``, of the whole.
        h, s: ``(n, 1)``, ``0 < s < h``.
        normals: three independent ``(n, d)`` standard normal tensors.

    Returns:
        ``w_1, a_1, w_2, a_2``.
    """
    r = h - s
    part, rest = s / h, r / h
    first = area(s, normals[0])
    second = area(r, normals[1])
    bridge = 0.5 * torch.sqrt(h * r * s) * normals[2]
    excess = a - (first + second + bridge)
    first = first + part**3 * excess
    second = second + rest**3 * excess
    bridge = bridge + 3 * part * rest * excess
    w1 = part * w + 2 * bridge / h
    return w1, first, w - w1, second


class Futures:
    """For each walker a stack of increments that are known already because the step they belonged to was rejected.

    Contiguous in time: the top one starts at the walker's present time. Depth grows by itself where needed.
    """

    def __init__(self, rows: int, dim: int, dtype: torch.dtype, device: str, depth: int = 6) -> None:
        self.depth = torch.zeros(rows, dtype=torch.int64, device=device)
        self._h = torch.zeros(rows, depth, dtype=dtype, device=device)
        self._w = torch.zeros(rows, depth, dim, dtype=dtype, device=device)
        self._a = torch.zeros(rows, depth, dim, dtype=dtype, device=device)

    def top(self, rows: torch.Tensor) -> torch.Tensor:
        """``(m,)``, the length of the top increment of ``rows: (m,)``, all of which have one."""
        return self._h[rows, self.depth[rows] - 1]

    def push(self, rows: torch.Tensor, h: torch.Tensor, w: torch.Tensor, a: torch.Tensor) -> None:
        """Put back the increments of rejected steps."""
        depth = self.depth[rows]
        if depth.numel() and int(depth.max()) == self._h.shape[1]:
            self._h = torch.cat([self._h, torch.zeros_like(self._h)], 1)
            self._w = torch.cat([self._w, torch.zeros_like(self._w)], 1)
            self._a = torch.cat([self._a, torch.zeros_like(self._a)], 1)
        self._h[rows, depth] = h
        self._w[rows, depth] = w
        self._a[rows, depth] = a
        self.depth[rows] = depth + 1

    def take(
        self, rows: torch.Tensor, s: torch.Tensor, whole: torch.Tensor, normals: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Increment and area over the next ``s: (m,)`` of ``rows``; where ``whole``, ``s`` is all of the top one."""
        level = self.depth[rows] - 1
        h, w, a = self._h[rows, level], self._w[rows, level], self._a[rows, level]
        # where the whole is taken, s is half of it: a harmless split whose result is not used
        inner = torch.where(whole, 0.5 * h, s)
        w1, a1, w2, a2 = split(w, a, h.unsqueeze(-1), inner.unsqueeze(-1), normals)
        self._h[rows, level] = h - inner
        self._w[rows, level] = w2
        self._a[rows, level] = a2
        self.depth[rows] = torch.where(whole, level, level + 1)
        all_of_it = whole.unsqueeze(-1)
        return torch.where(all_of_it, w, w1), torch.where(all_of_it, a, a1)

    def select(self, rows: torch.Tensor) -> None:
        """Keep ``rows`` only."""
        self.depth, self._h, self._w, self._a = self.depth[rows], self._h[rows], self._w[rows], self._a[rows]
