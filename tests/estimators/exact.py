"""Systems whose steady state is known in closed form, with exact samples: no integrator stands between test and truth.

The three of `landscapes.md`, section 3.6, each with the deliberately wrong potential of that table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

import pyness
from pyness.systems.ornstein_uhlenbeck import covariance

Field = Callable[[torch.Tensor], torch.Tensor]

K = torch.tensor([[1.6, 0.3, -0.2], [0.3, 0.8, 0.4], [-0.2, 0.4, 1.1]], dtype=torch.float64)


@dataclass(frozen=True)
class Exact:
    """``truth`` and ``wrong`` are current velocities; the numbers are those of the table for ``wrong``."""

    system: pyness.System
    truth: Field
    wrong: Field
    epr: float
    upper: float
    lower: float
    gap: float
    draw: Callable[[int, int], torch.Tensor]

    def samples(self, count: int, seed: int) -> pyness.Samples:
        return pyness.Samples.from_states(self.system, self.draw(count, seed))


def gaussian_states(system: pyness.System, count: int, seed: int) -> torch.Tensor:
    """``(count, d)`` exact states of an Ornstein-Uhlenbeck system."""
    A = torch.tensor(system.parameters["A"], dtype=torch.float64)
    factor = torch.linalg.cholesky(covariance(A, torch.tensor(system.parameters["D"], dtype=torch.float64)))
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, system.dim, generator=generator, dtype=torch.float64) @ factor.mT


def double_well_states(count: int, seed: int, D: float = 0.1) -> torch.Tensor:
    """``(count, 2)`` exact states of the double well: ``x`` by inversion of a table, ``y`` Gaussian."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.linspace(-3, 3, 20_001, dtype=torch.float64)
    below = torch.cumsum(torch.exp(-((a * a - 1) ** 2) / D), 0)
    u = torch.rand(count, generator=generator, dtype=torch.float64) * below[-1]
    cell = torch.searchsorted(below, u).clamp(1, len(a) - 1)
    share = (u - below[cell - 1]) / (below[cell] - below[cell - 1])
    x = a[cell] + (share - 0.5) * (a[1] - a[0])
    y = math.sqrt(D) * torch.randn(count, generator=generator, dtype=torch.float64)
    return torch.stack([x, y], dim=-1) + 1.5


def ou() -> Exact:
    """(a)"""
    system = pyness.systems.get("ornstein-uhlenbeck")
    A = torch.tensor(system.parameters["A"], dtype=torch.float64)
    precision = torch.linalg.inv(covariance(A, torch.tensor(0.5, dtype=torch.float64)))
    return Exact(
        system,
        truth=lambda x: system.drift(x) + 0.5 * x @ precision.to(x),
        wrong=lambda x: system.drift(x) + x @ K.to(x),
        epr=1.88716, upper=3.32931, lower=0.44501, gap=1.44215,
        draw=lambda count, seed: gaussian_states(system, count, seed),
    )  # fmt: skip


def _well_gradient(x: torch.Tensor) -> torch.Tensor:
    a, b = x[..., 0] - 1.5, x[..., 1] - 1.5
    return torch.stack([4 * a * (a * a - 1), b], dim=-1)


def _wrong_gradient(x: torch.Tensor) -> torch.Tensor:
    """Of ``V = 0.7 a^4 - 1.2 a^2 + 0.8 b^2 + 0.3 b sin 2a``."""
    a, b = x[..., 0] - 1.5, x[..., 1] - 1.5
    return torch.stack([2.8 * a**3 - 2.4 * a + 0.6 * b * torch.cos(2 * a), 1.6 * b + 0.3 * torch.sin(2 * a)], dim=-1)


def double_well() -> Exact:
    """(b)"""
    system = pyness.systems.get("double-well")
    return Exact(
        system,
        truth=lambda x: system.drift(x) + _well_gradient(x),
        wrong=lambda x: system.drift(x) + _wrong_gradient(x),
        epr=2.16757, upper=5.33524, lower=-1.00010, gap=3.16767,
        draw=double_well_states,
    )  # fmt: skip


def matrix_diffusion(x: torch.Tensor) -> torch.Tensor:
    """``D(x)`` of case (c), ``(..., 2, 2)``."""
    a, b = x[..., 0] - 1.5, x[..., 1] - 1.5
    across = 0.03 * torch.sin(a) * torch.cos(b)
    rows = [0.1 + 0.05 * torch.tanh(a), across, across, 0.1 + 0.04 * b * b / (1 + b * b)]
    return torch.stack(rows, dim=-1).unflatten(-1, (2, 2))


def state_dependent() -> Exact:
    """(c): the density of (b), ``D`` a matrix that depends on the state, ``v = 0.05 rot(grad log p)``."""

    def div_D(x: torch.Tensor) -> torch.Tensor:
        a, b = x[..., 0] - 1.5, x[..., 1] - 1.5
        first = 0.05 / torch.cosh(a) ** 2 - 0.03 * torch.sin(a) * torch.sin(b)
        return torch.stack([first, 0.03 * torch.cos(a) * torch.cos(b) + 0.08 * b / (1 + b * b) ** 2], dim=-1)

    def velocity(x: torch.Tensor) -> torch.Tensor:
        score = -10 * _well_gradient(x)
        return 0.05 * torch.stack([score[..., 1], -score[..., 0]], dim=-1)

    def modified(x: torch.Tensor) -> torch.Tensor:
        return velocity(x) - 10 * (matrix_diffusion(x) @ _well_gradient(x).unsqueeze(-1)).squeeze(-1)

    box = pyness.Box([0, 0], [3, 3], "open")
    return Exact(
        pyness.System("state-dependent", 2, lambda x: modified(x) + div_D(x), matrix_diffusion, box),
        truth=velocity,
        wrong=lambda x: modified(x) + 10 * (matrix_diffusion(x) @ _wrong_gradient(x).unsqueeze(-1)).squeeze(-1),
        epr=2.30777, upper=5.52868, lower=-0.91314, gap=3.22091,
        draw=double_well_states,
    )  # fmt: skip


CASES = {"ornstein-uhlenbeck": ou, "double-well": double_well, "state-dependent": state_dependent}
