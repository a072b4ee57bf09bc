"""The systems of three variables: drifts against formulas written a second time, published figures, the grid."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import pyness


def cell_cycle(x, y, z):
    def on(u):
        return u**8 / (0.5**8 + u**8)

    return 10 * (0.1 - 3 * x * on(z)), 10 * (3 * (1 - y) * on(x) - y), 10 * (3 * (1 - z) * on(y) - z)


def lorenz(x, y, z):
    return 10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z


@pytest.mark.parametrize(("name", "formula"), [("cell-cycle-3d", cell_cycle), ("lorenz", lorenz)])
def test_drifts(name, formula):
    system = pyness.systems.get(name)
    x = system.domain.uniform(40, torch.Generator().manual_seed(11), dtype=torch.float64)
    assert np.allclose(system.drift(x).numpy(), np.stack(formula(*x.numpy().T), axis=-1), rtol=1e-12, atol=1e-12)


def test_truths_hold_for_the_default_parameters_only():
    assert pyness.systems.get("cell-cycle-3d").truth.epr == 2204
    assert pyness.systems.get("cell-cycle-3d", beta1=2.0).truth.epr is None
    assert pyness.systems.get("lorenz").truth.epr == 1084
    assert pyness.systems.get("lorenz", D=5.0).truth.epr is None


def sampled(name, solver, **plan):
    system = pyness.systems.get(name)
    settings = {"walkers": 500, "burn_in_dt": None, "progress": False, "engine": "torch", **plan}
    samples = pyness.sample(system, solver, **settings)
    return system, samples


def test_the_published_step_of_the_cell_cycle_shifts_its_first_mean_by_a_tenth():
    """Euler-Maruyama at 0.01: E[x1] = 0.297, found 0.2965 with 2000 walkers; converged 0.335 (landscapes.md 8.1)."""
    for solver, expected, flagged in (("EM:dt=0.01", 0.297, True), ("EulerHeun:dt=0.002", 0.335, False)):
        system, samples = sampled("cell-cycle-3d", solver, burn_in=3.0, snapshots=8, spacing=0.15)
        per_walker = samples.states[..., 0].double().mean(1)
        assert abs(per_walker.mean().item() - expected) < 4 * per_walker.std().item() / math.sqrt(500) + 5e-4
        assert pyness.stationarity(system, samples).passed != flagged


def test_lorenz_entropy_production_is_that_of_the_grid():
    """The squared drift has a standard deviation near its mean, so 500 walkers know it to about 2 %."""
    system, samples = sampled("lorenz", None, burn_in=2.0, snapshots=8, spacing=0.2)
    epr = pyness.score_free_epr(system, samples)
    assert epr.stderr < 0.03 * epr.value
    assert abs(epr.value - system.truth.epr) < 4 * epr.stderr + system.truth.epr_error
    assert pyness.stationarity(system, samples).passed


def test_grids_extrapolate_towards_the_truth():
    """Coarse cells alone are off by a third (lorenz) and 2 % (cell cycle), two levels together by much less."""
    system = pyness.systems.get("lorenz")
    solution = pyness.grid.steady_state(system, (48, 48, 48))
    assert solution.mesh.low == (-27.0, -36.0, -8.0)
    assert solution.epr > 1.2 * system.truth.epr
    assert solution.epr_extrapolated == pytest.approx(system.truth.epr, rel=0.12)
    system = pyness.systems.get("cell-cycle-3d")
    solution = pyness.grid.steady_state(system, (32, 32, 32))
    assert solution.epr == pytest.approx(2244, abs=1)
    assert solution.epr_extrapolated == pytest.approx(system.truth.epr, rel=0.012)


@pytest.mark.validate
@pytest.mark.parametrize(("name", "within"), [("cell-cycle-3d", 0.003), ("lorenz", 0.01)])
def test_full_grids(name, within):
    system = pyness.systems.get(name)
    solution = pyness.grid.steady_state(system, system.truth.grid)
    assert solution.epr_extrapolated == pytest.approx(system.truth.epr, rel=within)
