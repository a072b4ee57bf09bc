"""The recommended plan of each system reaches its steady state, with fewer walkers; potentials learnt of little."""

from __future__ import annotations

import functools

import pytest

import pyness

WALKERS = {
    "gaussian-mixture-12d": 1000,
    "lorenz": 1000,
    "cell-cycle-3d": 1000,
    "cell-cycle-8d": 1000,
    "stem-cell-52d": 1000,
    "toggle-switch-langevin": 300,
}
# units, steps and points that two cores have done with in minutes
SMALL = {
    "cell-cycle-8d": {"units": 40, "steps": 25, "points": 4000, "contrast": 8000},
    "stem-cell-52d": {"units": 30, "steps": 6, "points": 4000, "contrast": 8000},
}


@functools.cache
def drawn(name: str) -> tuple[pyness.System, pyness.Samples]:
    system = pyness.systems.get(name)
    return system, pyness.sample(system, engine="torch", walkers=WALKERS[name], seed=1, max_failed=0.0, progress=False)


@pytest.mark.validate
@pytest.mark.parametrize("name", list(WALKERS))
def test_the_plan_reaches_stationarity(name):
    """No walker lost, ``E[L g] = 0``, the slowest mode followed for more than three times its relaxation time."""
    system, samples = drawn(name)
    assert samples.stats["failed_walkers"] == 0
    found = pyness.stationarity(system, samples)
    assert found.passed, str(found)
    assert found.relaxation.covered > 3, str(found)
    if system.truth.epr is not None:
        epr = pyness.score_free_epr(system, samples)
        # what the recommended step is off by is not in the error bar
        assert abs(epr.value - system.truth.epr) < 4 * epr.stderr + system.truth.epr_error + 0.02 * system.truth.epr


@pytest.mark.validate
@pytest.mark.parametrize("name", list(SMALL))
def test_few_units_leave_little_of_the_gradient(name):
    system, samples = drawn(name)
    report = pyness.fit_landscape(system, samples, seed=0, progress=False, **SMALL[name]).report(samples)
    assert report.gradient_error.value <= 0.1
    assert report.gradient_error.stderr < 0.03
