"""Landscapes under noise that depends on the state, against systems built from their density."""

from __future__ import annotations

import pytest
import torch

import pyness
from pyness.errors import InputError
from pyness.estimators import potential_error
from pyness.landscape import assembly as module
from tests.estimators.exact import double_well_states, matrix_diffusion
from tests.systems.test_prescribed import BOX, diagonal, number, turning, well

CASES = {"number": number, "diagonal": diagonal, "matrix": matrix_diffusion}
NODES = pyness.systems.get("double-well").evaluation.nodes()


def _system(kind: str) -> pyness.System:
    # the noise is milder than what the double well has, so that walkers cross and samples can be drawn
    return pyness.systems.from_potential(
        f"{kind} noise", 2, well, CASES[kind], turning, BOX, solver="EM:dt=0.01", plan={"walkers": 4000}
    )


@pytest.mark.parametrize("kind", list(CASES))
def test_exact_samples(kind, monkeypatch):
    monkeypatch.setattr(module, "CLOUD", 2000)
    system = _system(kind)
    samples = pyness.Samples.from_states(system, double_well_states(12_000, 1).reshape(3000, 4, 2))
    landscape = pyness.fit_landscape(
        system, samples, seed=0, units=20, points=1000, contrast=5000, steps=12, progress=False
    )
    fresh = pyness.Samples.from_states(system, double_well_states(40_000, 2))
    report = landscape.report(fresh)
    assert report.epr.stderr < 0.012 * system.truth.epr
    assert abs(report.epr.value - system.truth.epr) < 4 * report.epr.stderr
    assert report.epr.stderr < 0.5 * report.epr_score_free.stderr
    assert abs(report.gradient_error.value) < 0.02
    assert report.warnings == ()
    # Phi, not U: there is no one D to multiply it with
    assert system.potential_scale == 1.0
    assert potential_error(landscape.potential(NODES), system.truth.potential(NODES), 1.0).rrmse_weighted < 0.1


@pytest.mark.validate
@pytest.mark.julia
@pytest.mark.parametrize("kind", list(CASES))
def test_sampled_from_the_equations(kind):
    """The whole line, the bias of this step (0.8 %) included: the entropy production within 2 % of the truth."""
    system = _system(kind)
    # the torch engine takes a quarter of an hour for these 2.6e8 steps of automatic differentiation
    samples = pyness.sample(
        system, "EM:dt=0.001", "julia", walkers=20_000, burn_in=3.0, snapshots=20, spacing=0.5,
        start=double_well_states(20_000, 3), seed=0, dtype="float64", progress=False,
    )  # fmt: skip
    assert pyness.stationarity(system, samples).passed
    report = pyness.fit_landscape(system, samples, seed=0, progress=False).report(samples)
    assert report.epr.stderr < 0.01 * system.truth.epr
    assert abs(report.epr.value - system.truth.epr) < 0.02 * system.truth.epr
    assert abs(report.gradient_error.value) < 0.01


def test_no_noise_in_some_place_is_refused():
    system = pyness.System("demographic", 1, lambda x: 1 - x, lambda x: x, pyness.Box([0.0], [3.0], "reflect"))
    samples = pyness.Samples.from_states(system, torch.linspace(0, 2, 100).unsqueeze(1))
    with pytest.raises(InputError, match=r"no noise in some direction at x = \[0.0\]; .*"):
        pyness.fit_landscape(system, samples)
