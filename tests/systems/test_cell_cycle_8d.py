"""The eight-variable cell cycle: formulas written a second time, its physical limits, its cycle, its solver."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import pyness

NAME = "cell-cycle-8d"


@pytest.fixture(scope="module")
def system():
    return pyness.systems.get(NAME)


def published(x):
    """Equations of landscapes.md, 5.6, with its numbers."""
    x1, x2, x3, x4, x5, x6, x7, x8 = x
    s = x1 + x6 + 1 / 1000
    y = 0.8 * (x1 - 2 * x1 * x6 / (s + np.sqrt(s * s - 4 * x1 * x6)))
    return 1000 * np.stack([
        0.04 - (0.04 + x2 + x4) * x1,
        (1 + 10 * x4) * (1 - x2) / (1.04 - x2) - (35 * y + 2 * x7) * x2 / (0.04 + x2),
        0.005 + 0.2 * y**4 / (0.3**4 + y**4) - 0.1 * x3,
        x5 * (x3 - x4) / (0.001 + x3 - x4) - 0.5 * x4 / (0.001 + x4) - 0.1 * x4,
        0.1 * y * (1 - x5) - 0.02 * x5,
        1 - (0.2 + 50 * x7 + 100 * y) * x6,
        x8 - x7,
        (1.5 * 0.8 + 0.05 * x7) * (1 - x8) / (1.01 - x8) - (1 + 3 * y) * x8 / (0.01 + x8),
    ], axis=-1)  # fmt: skip


def test_drift(system):
    x = system.domain.uniform(50, torch.Generator().manual_seed(3), dtype=torch.float64)
    assert np.allclose(system.drift(x).numpy(), published(x.numpy().T), rtol=1e-10, atol=1e-8)
    assert len(system.parameters) == 37


def test_the_domain_keeps_clear_of_the_poles(system):
    box = system.domain
    x = torch.tensor([[0.2, 0.5, 0.5, 0.4, 0.2, 0.2, 0.2, 0.5]], dtype=torch.float64)
    assert bool(box.contains(x).all())
    for axis, value in ((1, 1.01), (3, 0.51), (7, 1.001), (0, -0.01), (3, -0.001)):
        beyond = x.clone()
        beyond[0, axis] = value
        assert not bool(box.contains(beyond).any())
    corners = box.uniform(20_000, torch.Generator().manual_seed(0), dtype=torch.float64)
    assert bool((corners[:, 3] <= corners[:, 2]).all())
    # the largest rate: 1000 k8 Mad / J8 where no Cdc20 is active
    x[0, 3] = 0.0
    assert system.drift_jacobian(x)[0, 3, 3].item() == pytest.approx(-5e5, rel=0.01)


def test_the_deterministic_cycle(system):
    """Period 0.03605, CycB between 0.036 and 0.454, total Cdc20 between 0.254 and 0.916 (landscapes.md, 5.6)."""
    from scipy.integrate import solve_ivp

    def field(_, x):
        return system.drift(torch.from_numpy(x)).numpy()

    start = np.array([0.2, 0.5, 0.5, 0.2, 0.2, 0.2, 0.2, 0.5])
    times = np.linspace(0.15, 0.23, 1601)
    x = solve_ivp(field, (0, 0.23), start, method="LSODA", t_eval=times, rtol=1e-6, atol=1e-8).y
    assert (x[0].min(), x[0].max()) == (pytest.approx(0.036, abs=1e-3), pytest.approx(0.454, abs=1e-3))
    assert (x[2].min(), x[2].max()) == (pytest.approx(0.254, abs=1e-3), pytest.approx(0.916, abs=1e-3))
    up = np.nonzero((x[0, :-1] < 0.2) & (x[0, 1:] >= 0.2))[0]
    assert np.diff(times[up]).mean() == pytest.approx(0.03605, abs=1e-4)


def test_no_walker_is_lost_from_a_uniform_start(system):
    """Newton's iteration of the recommended solver ends everywhere in the domain, next to the poles too."""
    samples = pyness.sample(
        system, engine="torch", walkers=1000, burn_in=4e-4, burn_in_dt=None, snapshots=1, spacing=4e-4, max_failed=0.0,
        progress=False,
    )  # fmt: skip
    assert samples.stats["failed_walkers"] == 0
    assert bool(system.domain.contains(samples.states).all())
    assert samples.stats["wall_hits"] > 0


def test_the_recommended_step_keeps_the_variance_of_fast_variables():
    """``dx = -lambda x dt + sqrt(2 D) dW`` at ``lambda dt = 20``: the trapezoidal rule has the variance ``D / lambda``.

    Implicit Euler has ``D / lambda / (1 + 10)``, which is what makes entropy production wrong in a stiff system.
    """
    rate = 2e5
    line = pyness.System("fast", 1, lambda x: -rate * x, 0.01)
    plan = {"walkers": 2000, "burn_in": 4e-3, "burn_in_dt": None, "snapshots": 4, "spacing": 2e-3, "dtype": "float64"}
    for theta, expected in ((0.5, 1.0), (1.0, 1 / 11)):
        solver = f"ImplicitEM:theta={theta},adaptive=false,dt=1e-4"
        states = pyness.sample(
            line, solver, engine="torch", start=torch.zeros(2000, 1).double(), progress=False, **plan
        )
        each = states.states.square().mean((1, 2)) * rate / 0.01
        assert abs(each.mean().item() - expected) < 5 * each.std().item() / math.sqrt(2000)


@pytest.mark.validate
def test_ten_thousand_walkers(system):
    """Zero failed, stationary, entropy production to 5 % with the recommended plan."""
    samples = pyness.sample(system, engine="torch", max_failed=0.0, progress=False)
    assert samples.states.shape[0] == 10_000
    assert samples.stats["failed_walkers"] == 0
    assert pyness.stationarity(system, samples).passed
    epr = pyness.score_free_epr(system, samples)
    assert epr.stderr < 0.05 * epr.value
