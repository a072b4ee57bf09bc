"""The points of training besides the samples: their laws, where these are known."""

from __future__ import annotations

import pytest
import torch

import pyness
from pyness.errors import TrainingError
from pyness.landscape import clouds


def test_reference_integrates_to_one_and_is_what_is_drawn():
    system = pyness.System(
        "plane", 2, lambda x: torch.stack([torch.sin(x[..., 0]), -x[..., 1]], -1), 1.0,
        pyness.Box([0, -1], [6, 1], ["periodic", "open"]),
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    states = system.domain.uniform(4000, generator, dtype=torch.float64)
    reference = clouds.Reference(system, states, generator)
    x = torch.linspace(0, 6, 241, dtype=torch.float64)[:-1]
    y = torch.linspace(-5, 5, 401, dtype=torch.float64)
    nodes = torch.stack(torch.meshgrid(x, y, indexing="ij"), dim=-1)
    weight = reference.log_density(nodes.reshape(-1, 2)).exp() * (6 / 240) * (10 / 400)
    # the nearest image stands for all of them: at most 4 standard deviations are cut off
    assert weight.sum().item() == pytest.approx(1.0, abs=2e-4)
    drawn = reference.draw(40_000, generator)
    assert len(drawn) == 40_000
    assert bool(system.domain.contains(drawn).all())
    for g in (
        lambda z: torch.cos(z[..., 0]),
        lambda z: torch.cos(2 * z[..., 1]),
        lambda z: z[..., 1] * z[..., 0].sin(),
    ):
        values = g(drawn)
        expected = (weight * g(nodes.reshape(-1, 2))).sum()
        assert (values.mean() - expected).abs() < 4 * values.std() / len(drawn) ** 0.5 + 2e-4


def test_reference_leaves_out_what_is_beyond_a_wall():
    system = pyness.System("half", 1, lambda x: -x, 1.0, pyness.Box([0], [1], "reflect"))
    generator = torch.Generator().manual_seed(1)
    reference = clouds.Reference(system, 0.1 * torch.rand(500, 1, generator=generator, dtype=torch.float64), generator)
    drawn = reference.draw(5000, generator)
    assert 0 < len(drawn) < 5000
    assert drawn.min() >= 0


def test_widened_states_have_four_times_the_variance():
    """``A = 1`` in two dimensions: ten inverse Fisher rates are five relaxation times, where ``e^-10`` is left."""
    system = pyness.systems.get("ornstein-uhlenbeck", A=[[1.0, 0.5], [-0.5, 1.0]], D=0.5)
    states = torch.randn(3000, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 0.5**0.5
    cloud = clouds.widened(system, pyness.Samples.from_states(system, states), 4.0, 4000, 2.0, 3)
    assert cloud.shape == (4000, 2)
    assert cloud.dtype == torch.float64
    variance = cloud.square().mean(0)
    # variance 2 each, its standard error 2 sqrt(2 / n); half a percent for the solver's tolerance
    assert (variance - 2.0).abs().max() < 4 * 2 * (2 / 4000) ** 0.5 + 0.01
    again = clouds.widened(system, pyness.Samples.from_states(system, states), 4.0, 4000, 2.0, 3)
    assert torch.equal(cloud, again)


def _asked(monkeypatch, system, states) -> dict:
    """What ``widened`` asks ``sample`` for."""
    asked = {}

    def sample(noisy, solver, engine, **given):
        asked.update(given, system=noisy, solver=str(solver))
        return pyness.sample(noisy, solver, engine, **given)

    with monkeypatch.context() as patched:
        patched.setattr(clouds, "sample", sample)
        asked["cloud"] = clouds.widened(system, pyness.Samples.from_states(system, states), 4.0, 200, 2.0, 3)
    return asked


def _linear(solver, diffusion=0.5, **plan):
    return pyness.System("linear", 2, lambda x: -x, diffusion, solver=solver, plan=plan)


def test_widened_states_take_the_steps_of_the_plan(monkeypatch):
    states = 0.5 * torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    asked = _asked(monkeypatch, _linear("EM:dt=0.01", burn_in_dt=0.05), states)
    assert (asked["solver"], asked["burn_in_dt"]) == ("EM:dt=0.01", 0.05)
    # no longer than a twentieth of the run, which takes 5 here
    assert _asked(monkeypatch, _linear("EM:dt=0.01", burn_in_dt=3.0), states)["burn_in_dt"] == 0.25
    assert _asked(monkeypatch, _linear("SOSRA:rtol=0.05"), states)["solver"] == "SOSRA:rtol=0.05"
    assert "burn_in_dt" not in _asked(monkeypatch, _linear("EM", dt=0.02), states)
    assert _asked(monkeypatch, _linear("EM", dt=0.02), states)["dt"] == 0.02


@pytest.mark.parametrize(
    ("solver", "diffusion", "taken"),
    [
        (None, 0.5, "SOSRA"),
        ("SKenCarp", 0.5, "ImplicitEM"),
        ("julia:SOSRI", 0.5, "SOSRA"),
        ("julia:EM:dt=0.01", 0.5, "EM:dt=0.01"),
        (None, lambda x: 0.5 + 0 * x, "EM"),
    ],
)
def test_widened_states_are_made_by_the_torch_engine(monkeypatch, solver, diffusion, taken):
    states = 0.5 * torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    asked = _asked(monkeypatch, _linear(solver, diffusion), states)
    assert asked["solver"] == taken
    assert asked["cloud"].shape == (200, 2)


def test_widened_states_are_reflected_where_walkers_would_fail(monkeypatch):
    box = pyness.Box([0.0, -1.0], [2.0, 1.0], ["refuse", "open"], walls=[([1.0, 1.0], 2.5)])
    system = pyness.System("kept", 2, lambda x: 0.5 - x, 0.5, box, solver="EM:dt=0.01")
    states = 0.4 + 0.2 * torch.rand(50, 2, generator=torch.Generator().manual_seed(0))
    asked = _asked(monkeypatch, system, states)
    assert asked["system"].domain == pyness.Box([0.0, -1.0], [2.0, 1.0], ["reflect", "open"], walls=box.walls)
    assert asked["cloud"].shape == (200, 2)
    assert bool(box.contains(asked["cloud"]).all())
    assert system.domain.boundary == ("refuse", "open")


def test_widened_states_that_blow_up_are_said_to_be_those():
    system = pyness.System("steep", 1, lambda x: -(x**5), 0.5, solver="EM:dt=0.05")
    samples = pyness.Samples.from_states(system, torch.zeros(50, 1))
    with pytest.raises(TrainingError, match=r"at 400 times the noise, which the training makes by EM:dt=0\.05, went"):
        clouds.widened(system, samples, 400.0, 200, 0.5, 0)


def test_flattened_states_are_even_up_to_the_top():
    """States of density ``exp(-x^2 / 2 / 4)`` and ``top`` 4: even over ``|x| < 2.83``."""
    generator = torch.Generator().manual_seed(4)
    x = 2 * torch.randn(200_000, generator=generator, dtype=torch.float64)
    chosen = clouds.flattened(0.5 * x * x + 7.0, 7.0, 4.0, 4.0, 6000, generator)
    assert len(torch.unique(chosen)) == 6000
    picked = x[chosen]
    assert picked.abs().max() < (2 * 1.3 * 4.0) ** 0.5
    counts = torch.histc(picked, bins=10, min=-2.8, max=2.8)
    expected = counts.mean()
    # chosen few of many, without replacement, so Poisson at the most
    assert (counts - expected).abs().max() < 4 * expected.sqrt()


def test_wall_points_are_states_moved_onto_walls_with_outward_normals():
    domain = pyness.Box([0, -1], [2, 1], ["reflect", "open"], walls=[([1.0, 1.0], 2.5)])
    system = pyness.System("box", 2, lambda x: -x, 1.0, domain)
    generator = torch.Generator().manual_seed(5)
    states = domain.uniform(3000, generator, dtype=torch.float64)
    points, normals = clouds.wall_points(system, states, 50, generator)
    assert points.shape == normals.shape
    on = {"low": normals[:, 0] == -1, "high": normals[:, 0] == 1, "linear": normals[:, 1] > 0}
    assert int(on["low"].sum()) == 50
    # those moved across another wall are left out
    assert 0 < int(on["high"].sum()) <= 50
    assert 0 < int(on["linear"].sum()) <= 50
    assert len(points) == sum(int(at.sum()) for at in on.values())
    offsets = {"low": 0.0, "high": 2.0, "linear": 2.5 / 2**0.5}
    for name, at in on.items():
        assert ((points * normals).sum(1)[at] - offsets[name]).abs().max() < 1e-12
    # what stays away from a wall has no points on it
    assert not clouds.wall_points(system, states[states[:, 0] < 0.3], 50, generator)[0][:, 0].any()
    none, _ = clouds.wall_points(pyness.systems.get("double-well"), states, 50, generator)
    assert none.shape == (0, 2)


@pytest.mark.parametrize("dim", [2, 5])
def test_anchors_keep_their_distance(dim):
    system = pyness.systems.get("ornstein-uhlenbeck", A=torch.eye(dim).tolist(), D=0.5)
    generator = torch.Generator().manual_seed(6)
    cloud = torch.randn(3000, dim, generator=generator, dtype=torch.float64)
    far = clouds.anchors(system, cloud, torch.ones(dim).double(), 2000, generator)
    assert 0 < len(far) < 2000
    assert torch.cdist(far, cloud).min() > clouds.FAR * (dim / 2) ** 0.5
