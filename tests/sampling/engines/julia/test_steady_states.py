"""Known steady states through the solvers of DifferentialEquations.jl, in standard errors, beside the torch engine.

No tolerance but the standard error: methods of second weak order run where their step does nothing visible, those of
first order at two steps, whose results are extrapolated to none (2 Q(h) - Q(2 h), Talay & Tubaro 1990).
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

import pyness
from pyness.estimators import score_free_epr
from pyness.systems.ornstein_uhlenbeck import covariance, ornstein_uhlenbeck
from tests.sampling.half_plane import PLAN, SHEAR, check_half_plane, half_plane

pytestmark = pytest.mark.julia

A = [[1.0, 0.8], [-0.6, 1.5]]
#: One solver, or the same at a step and at twice that step.
SOLVERS = {
    "EM": ("EM:dt=0.002", "EM:dt=0.004"),
    "SOSRA": ("SOSRA",),
    "SOSRI": ("SOSRI",),
    "SRIW1": ("SRIW1",),
    "SKenCarp": ("SKenCarp",),
    "ImplicitEM": ("ImplicitEM:adaptive=false,dt=0.004", "ImplicitEM:adaptive=false,dt=0.008"),
    "ImplicitRKMil": ("ImplicitRKMil:adaptive=false,dt=0.004", "ImplicitRKMil:adaptive=false,dt=0.008"),
    "LambaEM": ("LambaEM:adaptive=false,dt=0.002", "LambaEM:adaptive=false,dt=0.004"),
    "DRI1": ("DRI1:rtol=1e-2",),
    "SROCK2": ("SROCK2:dt=0.01",),
}
#: A solver met for the first time is compiled for seconds: two of them here, all with ``make validate``.
EACH = [name if name in ("EM", "SOSRA") else pytest.param(name, marks=pytest.mark.validate) for name in SOLVERS]


@dataclass
class Result:
    value: torch.Tensor
    stderr: torch.Tensor


def extrapolated(results: list[Result]) -> Result:
    """To no step at all, from a step and twice that step; a single result as it is."""
    if len(results) == 1:
        return results[0]
    once, twice = results
    return Result(2 * once.value - twice.value, (4 * once.stderr**2 + twice.stderr**2).sqrt())


def second_moments(system, solver: str, seed: int) -> Result:
    samples = pyness.sample(
        system, solver, "julia", walkers=2000, burn_in=5.0, snapshots=4, spacing=1.5, dtype="float64", seed=seed
    )
    products = torch.einsum("nsi,nsj->nij", samples.states, samples.states) / samples.states.shape[1]
    return Result(products.mean(0), products.std(0) / 2000**0.5)


@pytest.mark.parametrize("name", EACH)
def test_covariance_of_ornstein_uhlenbeck(name):
    system = ornstein_uhlenbeck(A, 0.5)
    exact = covariance(torch.tensor(A, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64))
    found = extrapolated([second_moments(system, solver, seed) for seed, solver in enumerate(SOLVERS[name])])
    assert ((found.value - exact).abs() < 4 * found.stderr).all()


def entropy_production(system, solver: str, seed: int) -> Result:
    samples = pyness.sample(
        system, solver, "julia", walkers=1000, burn_in=5.0, snapshots=200, spacing=0.25, dtype="float64", seed=seed
    )
    found = score_free_epr(system, samples)
    return Result(torch.tensor(found.value), torch.tensor(found.stderr))


@pytest.mark.parametrize("name", EACH)
def test_entropy_production_of_the_double_well(name):
    system = pyness.systems.get("double-well")
    found = extrapolated([entropy_production(system, solver, seed) for seed, solver in enumerate(SOLVERS[name])])
    assert found.stderr < 0.04 * system.truth.epr
    assert abs(found.value - system.truth.epr) < 4 * found.stderr


@pytest.mark.parametrize(
    "solver",
    ["EulerHeun:dt=0.01"]
    # one that chooses its steps, one that differentiates the drift, one whose states are vectors
    + [
        pytest.param(s, marks=pytest.mark.validate)
        for s in (
            "SOSRA:rtol=0.01",
            "ImplicitEM:theta=0.5,adaptive=false,dt=0.01",
            "ImplicitEulerHeun:adaptive=false,dt=0.01",
        )
    ],
)
def test_a_law_behind_a_linear_wall(solver):
    check_half_plane(pyness.sample(half_plane(SHEAR), solver, "julia", **PLAN))


@pytest.mark.validate
def test_the_bias_of_a_coarse_tolerance_is_seen():
    """What the other tests would miss they could not show: SKenCarp at a hundred times its default tolerance."""
    system = pyness.systems.get("double-well")
    found = entropy_production(system, "SKenCarp:rtol=1e-3", 1)
    assert found.value - system.truth.epr > 10 * found.stderr


@pytest.mark.parametrize(
    "solver",
    ["EM:dt=0.01"]
    + [
        pytest.param(s, marks=pytest.mark.validate)
        for s in ("SOSRA", "EulerHeun:dt=0.05", "ImplicitEM:adaptive=false,dt=0.02")
    ],
)
def test_both_engines_agree(solver):
    """On a system whose law is not Gaussian, moment by moment, the steps' own bias included."""
    system = pyness.systems.get("double-well")
    plan = {"walkers": 2000, "burn_in": 10.0, "snapshots": 10, "spacing": 0.5, "dtype": "float64"}
    moments = []
    for engine in ("torch", "julia"):
        states = pyness.sample(system, solver, engine, **plan).states - 1.5
        powers = torch.stack([states[..., 0] ** 2, states[..., 0] ** 4, states[..., 1] ** 2, states.prod(-1)], -1)
        moments.append(powers.mean(1))
    a, b = moments
    assert ((a.mean(0) - b.mean(0)).abs() < 4.5 * ((a.var(0) + b.var(0)) / 2000).sqrt()).all()
