"""Compiled steps of interacting particles are the eager ones, whatever pairs there are."""

from __future__ import annotations

import shutil

import pytest
import torch

from pyness import systems
from pyness.sampling import sample
from pyness.sampling.engines.torch import compiled, compiled_pairs
from pyness.sampling.engines.torch.domain import Domain
from pyness.sampling.engines.torch.methods import EM
from pyness.systems import Box, OrnsteinUhlenbeckActivity, ParticleSystem
from pyness.systems.neighbours import minimum_image
from pyness.systems.verlet import Followed

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")


def _two_species() -> ParticleSystem:
    def force(r: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (1.0 + (a != b)) * (3.0 - r).clamp_min(0.0) ** 2

    return ParticleSystem(
        "two-species", 30, 2, OrnsteinUhlenbeckActivity(0.5, 0.5), 0.1, pair_force=force, cutoff=3.0,
        box=Box([0.0, 0.0], [12.0, 14.0], "periodic"), species=[0, 1] * 15,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("system", "solver", "plan"),
    [
        # fast enough for lists to be renewed many times
        (systems.get("aoup-mips", n_particles=80, v0=0.5, gamma=0.1), "EM:split=true,dt=0.05", {}),
        (systems.get("aoup-trap-64", n_particles=20), "SOSRA:adaptive=false,dt=0.01", {"dtype": "float32"}),
        (_two_species(), "EulerHeun:dt=0.02", {}),
        # compiling takes seconds
        pytest.param(systems.get("abp", n_particles=60), "EM:split=true,dt=0.02", {}, marks=pytest.mark.validate),
        pytest.param(systems.get("aoup-harmonic", n_particles=5), "EM:dt=0.01", {}, marks=pytest.mark.validate),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_compiled_run_is_an_eager_one_up_to_rounding(monkeypatch, system, solver, plan):
    plan = {"walkers": 6, "burn_in": 1.0, "snapshots": 3, "spacing": 0.7, "dtype": "float64", **plan}
    eager = sample(system, solver, "torch", **plan)
    monkeypatch.setattr(compiled, "WORTHWHILE", 0)
    # one kernel for every length of the list, also in the threads that blocks run in
    with torch._dynamo.config.patch(error_on_recompile=True):
        fused = sample(system, solver, "torch", **plan)
    assert not eager.metadata["engine"]["compiled"]
    assert fused.metadata["engine"]["compiled"]
    assert not eager.failures
    assert not fused.failures
    # the paths share their noise; contacts forget, so that rounding does not grow
    close = 1e-9 if plan["dtype"] == "float64" else 2e-3
    difference = fused.states - eager.states
    for axis in system.domain.periodic:
        difference[..., axis] = minimum_image(difference[..., axis], system.domain.width[axis])
    assert difference.abs().max() < close
    assert fused.stats["drift_evaluations"] == eager.stats["drift_evaluations"]


def test_a_list_that_did_not_hold_is_renewed_and_the_step_made_again():
    """A kernel of one's own that says the first time that particles were far from where they were listed."""
    system = systems.get("aoup-mips", n_particles=30)
    calls = []

    def kernel(h, x, w, i, j, home):
        calls.append(home)
        return x + w, torch.tensor(torch.nan if len(calls) == 1 else 0.0)

    stride = _stride(system, kernel)
    x = system.draw_start("uniform", 2, torch.Generator().manual_seed(1), torch.float64)
    after, _ = stride(x, 3, torch.tensor(0.1, dtype=x.dtype))
    assert len(calls) == 4
    assert calls[0] is not calls[1]
    assert calls[1] is calls[3]
    assert not torch.equal(after, x)


def test_steps_too_long_for_any_list_are_eager_ones():
    system = systems.get("aoup-mips", n_particles=30)
    stride = _stride(system, lambda h, x, w, i, j, home: (x, torch.tensor(torch.inf)))
    x = system.draw_start("uniform", 2, torch.Generator().manual_seed(1), torch.float64)
    after, evaluations = stride(x, 2, torch.tensor(0.1, dtype=x.dtype))
    assert evaluations == 2
    assert not torch.equal(after, x)


def _stride(system: ParticleSystem, kernel) -> compiled_pairs.PairStride:
    domain, followed = Domain(system.domain, torch.float64, "cpu"), Followed(system)
    x = torch.zeros(2, system.dim, dtype=torch.float64)
    method = EM(followed, domain, torch.float64, "cpu")
    return compiled_pairs.PairStride(kernel, 1, followed, x, method, domain, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("share", [lambda r: 1.0 / (1 + len(r)), lambda r: torch.tensor(1.0 / (1 + len(r)))])
def test_a_force_that_asks_for_the_number_of_pairs_is_left_to_eager_steps(monkeypatch, caplog, share):
    def force(r: torch.Tensor) -> torch.Tensor:
        return share(r) * (2.0 - r).clamp_min(0.0)

    system = ParticleSystem(
        "counting", 12, 2, OrnsteinUhlenbeckActivity(0.5, 0.5), 0.1, pair_force=force, cutoff=2.0,
        box=Box([0.0, 0.0], [8.0, 8.0], "periodic"),
    )  # fmt: skip
    monkeypatch.setattr(compiled, "WORTHWHILE", 0)
    samples = sample(system, "EM:dt=0.01", walkers=4, burn_in=0.1, snapshots=1, spacing=0.1)
    assert not samples.metadata["engine"]["compiled"]
    assert "number of pairs" in caplog.text
