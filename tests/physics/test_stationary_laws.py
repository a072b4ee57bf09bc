"""The stationary law of linear systems, through the save path of every method, in standard errors over walkers."""

from __future__ import annotations

import pytest
import torch

from pyness.sampling import sample
from pyness.systems.ornstein_uhlenbeck import covariance, ornstein_uhlenbeck

A = [[1.0, 0.8], [-0.6, 1.5]]


def _z(samples, exact: torch.Tensor, allowed: float = 0.0) -> torch.Tensor:
    """Deviations of the second moments in standard errors, after a known relative bias of the step is allowed for."""
    x = samples.states.double()
    products = (x.unsqueeze(-1) * x.unsqueeze(-2)).mean(1)
    error = products.std(0) / x.shape[0] ** 0.5
    excess = ((products.mean(0) - exact).abs() - allowed * exact.abs().max()).clamp_min(0)
    return excess / error


@pytest.mark.parametrize(
    ("solver", "allowed"),
    [
        # biases of the variance at these steps, computed from the linear maps of the methods (see test_methods):
        # EM k h / 2, ImplicitEM -k h / 2, SOSRA -0.1 (k h)^2, EulerHeun -0.26 (k h)^2, with rates up to 1.5
        ("EM:dt=0.005", 0.004),
        ("EulerHeun:dt=0.05", 0.0015),
        ("SOSRA:adaptive=false,dt=0.1", 0.0025),
        ("SOSRA", 0.0015),
        ("SOSRA:rtol=0.1", 0.006),
        ("ImplicitEM:adaptive=false,dt=0.05", 0.04),
        ("ImplicitEM:rtol=2e-2", 0.05),
    ],
)
@pytest.mark.parametrize("diffusion", [0.5, [[0.5, 0.2], [0.2, 0.3]]], ids=["scalar", "matrix"])
def test_covariance(solver, allowed, diffusion):
    system = ornstein_uhlenbeck(A, diffusion)
    exact = covariance(torch.tensor(A, dtype=torch.float64), torch.tensor(diffusion, dtype=torch.float64))
    samples = sample(system, solver, "torch", walkers=4000, burn_in=5.0, snapshots=3, spacing=1.0, seed=5)
    assert _z(samples, exact, allowed).max().item() < 4


def test_stiff_and_small():
    """Rate 100, variance 5e-5 (where absolute tolerances mislead): the default tolerance of SOSRA gets it right."""
    system = ornstein_uhlenbeck([[100.0]], 0.005)
    samples = sample(system, "SOSRA", "torch", walkers=4000, burn_in=0.1, snapshots=5, spacing=0.03, seed=2)
    assert _z(samples, torch.tensor([[5e-5]], dtype=torch.float64), 0.002).max().item() < 4


def test_saves_are_not_interpolated():
    """Steps far longer than needed to see it: linear interpolation would lose k h / 3 of the variance, here 20 %."""
    system = ornstein_uhlenbeck([[1.0]], 1.0)
    samples = sample(system, "SOSRA:rtol=1", "torch", walkers=4000, burn_in=5.0, snapshots=8, spacing=0.77, seed=1)
    assert samples.stats["step"]["max"] > 0.5
    assert _z(samples, torch.tensor([[1.0]], dtype=torch.float64), 0.03).max().item() < 4


def test_state_dependent_noise():
    """Ito: ``dx = -x dt + sqrt(2 (0.2 + 0.3 x^2)) dW`` has ``E x^2 = 0.2 / (1 - 0.3)``."""
    from pyness.systems import Box, System

    system = System("multiplicative", 1, lambda x: -x, lambda x: 0.2 + 0.3 * x**2, Box([-1], [1]))
    samples = sample(system, "EM:dt=0.01", "torch", walkers=4000, burn_in=4.0, snapshots=10, spacing=0.5, seed=3)
    assert _z(samples, torch.tensor([[0.2 / 0.7]], dtype=torch.float64), 0.01).max().item() < 4


def test_reflecting_walls_keep_the_uniform_law_and_record_it():
    """No drift: uniform in the box, and the mean fold displacement per wall area and time is ``D p``."""
    from pyness.systems import Box, System

    D, box = 0.3, Box([0.0, 0.0], [2.0, 1.0], ["reflect", "periodic"])
    system = System("free", 2, lambda x: 0 * x, D, box)
    samples = sample(system, "EM:dt=1e-3", "torch", walkers=2000, burn_in=0.0, snapshots=4, spacing=0.25, seed=3)
    walls, walkers = samples.walls, samples.walkers
    assert set(walls.face.tolist()) == {0, 1}
    for face, coordinate in ((0, 0.0), (1, 2.0)):
        own = walls.face == face
        assert bool((walls.position[own, 0] == coordinate).all())
        moved = torch.zeros(walkers, dtype=torch.float64).index_add_(
            0, walls.walker[own], walls.displacement[own].double()
        )
        rate = moved / walls.elapsed
        # p = 1/2 per unit of x, integrated over the wall of length 1
        assert abs(rate.mean().item() - D / 2) < 4 * rate.std().item() / walkers**0.5
    x = samples.states[..., 0].double().mean(1)
    assert abs(x.mean().item() - 1) < 4 * x.std().item() / walkers**0.5
    assert samples.stats["wall_hits"] == len(walls)
