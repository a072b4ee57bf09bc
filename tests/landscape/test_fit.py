"""``fit_landscape`` on exact samples, and its refusals."""

from __future__ import annotations

import pytest
import torch

import pyness
from pyness.errors import InputError
from pyness.estimators import potential_error
from tests.estimators.exact import double_well_states, gaussian_states


@pytest.fixture(scope="module")
def gaussian():
    system = pyness.systems.get("ornstein-uhlenbeck")
    return system, pyness.Samples.from_states(system, gaussian_states(system, 4000, 1).reshape(2000, 2, 3))


def test_double_well():
    system = pyness.systems.get("double-well")
    samples = pyness.Samples.from_states(system, double_well_states(16_000, 10).reshape(2000, 8, 2))
    landscape = pyness.fit_landscape(system, samples, seed=0, units=40, points=4000, contrast=8000, steps=40)
    nodes = system.evaluation.nodes()
    found = potential_error(landscape.potential(nodes), system.truth.potential(nodes), system.potential_scale)
    assert found.rrmse < 0.05
    wells = landscape.potential(torch.tensor([[0.5, 1.5], [2.5, 1.5]], dtype=torch.float64))
    # 8000 training states split between the wells with a standard error of 0.022 D in the depth
    assert (wells[0] - wells[1]).abs().item() < 4 * 0.022 * 0.1
    report = landscape.report(pyness.Samples.from_states(system, double_well_states(40_000, 11)))
    assert abs(report.epr.value - system.truth.epr) < 4 * report.epr.stderr
    assert abs(report.epr_upper.value - report.epr_lower.value) < 0.05 * system.truth.epr
    assert report.epr.stderr < 0.5 * report.epr_score_free.stderr
    assert abs(report.gradient_error.value) < 0.01
    assert report.warnings == ()
    assert report.states == 40_000


def test_ornstein_uhlenbeck(gaussian):
    system, samples = gaussian
    landscape = pyness.fit_landscape(system, samples, seed=2, units=20, points=1500, contrast=4000, steps=16)
    fresh = gaussian_states(system, 20_000, 3)
    difference = (landscape.potential(fresh) - system.truth.potential(fresh)) / 0.5
    assert difference.std().item() < 0.05
    report = landscape.report(pyness.Samples.from_states(system, fresh))
    assert abs(report.epr.value - system.truth.epr) < 4 * report.epr.stderr
    assert abs(report.gradient_error.value) < 0.005
    velocity = fresh @ torch.linalg.inv(torch.cov(gaussian_states(system, 1_000_000, 4).mT)) * 0.5
    error = landscape.current_velocity(fresh) - system.drift(fresh) - velocity
    assert error.square().mean().sqrt() < 0.03 * velocity.square().mean().sqrt()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("units", 0), ("units", True), ("units", 10.0), ("steps", 0), ("points", 0),
        ("contrast", "many"), ("widening", 1), ("widening", float("nan")), ("held_out", 1.5), ("held_out", 0),
        ("seed", True), ("seed", 1.0),
    ],
)  # fmt: skip
def test_options_are_refused(gaussian, option, value):
    with pytest.raises(InputError, match=f"{option} is {value!r}; give"):
        pyness.fit_landscape(*gaussian, **{option: value})


def test_samples_are_refused(gaussian):
    system, samples = gaussian
    with pytest.raises(InputError, match=r"samples have 3 coordinates.*has 2"):
        pyness.fit_landscape(pyness.systems.get("double-well"), samples)
    with pytest.raises(InputError, match="3 walkers; give"):
        pyness.fit_landscape(system, samples.select(range(3)))
    inertia = pyness.System(
        "inertia", 3, lambda x: torch.stack([x[..., 1], -x[..., 0] - x[..., 1], -x[..., 2]], -1), [0.0, 1.0, 1.0]
    )
    with pytest.raises(InputError, match="without noise; learn its score"):
        pyness.fit_landscape(inertia, samples)
