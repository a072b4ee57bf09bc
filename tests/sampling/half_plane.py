"""A law behind a linear wall that is known exactly.

In ``u = (x + y) / sqrt 2``, ``w = (x - y) / sqrt 2``: ``du = -u dt``, ``dw = (c u - w) dt``, both with noise, and a
wall ``u <= u0``. ``u`` is a cut Gaussian whatever ``w`` does, so its mean and variance are known; ``E[w] = c E[u]``.
"""

from __future__ import annotations

import math

import torch

import pyness
from pyness.systems import Box

__all__ = ["HALF", "PLAN", "SHEAR", "check_half_plane", "half_plane"]

HALF = math.sqrt(0.5)
NOISE, EDGE, SHEAR = 0.4, 0.5, 0.8
PLAN = {
    "walkers": 3000, "burn_in": 5.0, "snapshots": 4, "spacing": 0.6, "dtype": "float64", "progress": False,
}  # fmt: skip


def half_plane(c: float, boundary: str = "open") -> pyness.System:
    """With a shear ``c`` along the wall."""

    def drift(x):
        u, w = (x[..., 0] + x[..., 1]) * HALF, (x[..., 0] - x[..., 1]) * HALF
        # across the wall a gradient, along it a flux that depends on u alone
        return torch.stack([(-u + (c * u - w)) * HALF, (-u - (c * u - w)) * HALF], dim=-1)

    return pyness.System("half-plane", 2, drift, NOISE, Box([-3, -3], [1, 1], boundary, [((1.0, 1.0), EDGE)]))


def check_half_plane(samples: pyness.Samples) -> None:
    """Of ``half_plane(SHEAR)``, drawn by ``PLAN``: its moments, and the folds at the wall."""
    x, walkers, edge = samples.states, samples.states.shape[0], EDGE * HALF
    u, w = (x[..., 0] + x[..., 1]) * HALF, (x[..., 0] - x[..., 1]) * HALF
    s = math.sqrt(NOISE)
    z = edge / s
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi) / (0.5 * math.erfc(-z * HALF))
    mean, variance = -s * density, NOISE * (1 - z * density - density**2)

    def within(per_walker, expected):
        assert abs(per_walker.mean() - expected) < 5 * per_walker.std() / math.sqrt(walkers)

    within(u.mean(1), mean)
    within(((u - mean) ** 2).mean(1), variance)
    within(w.mean(1), SHEAR * mean)
    assert u.max() <= edge + 1e-12
    # the folds are D p of the wall: their total displacement per time is D p(u0), p the cut Gaussian
    pushed = torch.zeros(walkers, dtype=torch.float64)
    pushed = pushed.index_add(0, samples.walls.walker, samples.walls.displacement)
    within(pushed / samples.walls.elapsed, NOISE * density / s)
    assert set(samples.walls.face.tolist()) == {4}
