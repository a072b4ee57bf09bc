"""Interacting particles in Julia: the translated forces, the neighbour lists, and the law, beside the torch engine."""

from __future__ import annotations

import math

import pytest
import torch

import pyness
from pyness.errors import InterruptedRun, TranslationError
from pyness.estimators.local import contact_distance, region
from pyness.sampling import portions, run
from pyness.sampling.engines.julia import engine as engine_module
from pyness.sampling.engines.julia import runtime
from pyness.sampling.engines.julia.model import Model
from pyness.sampling.engines.julia.translator import translate_particles
from pyness.systems import OrnsteinUhlenbeckActivity, ParticleSystem, get
from tests.physics.structure import largest_cluster, pair_correlation

FALLEN = math.exp(-(1.1**2))


def mixture(n: int = 90, strength: float = 2.0) -> ParticleSystem:
    """Two species in a periodic box of three dimensions, in a field of its period."""

    def force(r, a, b):
        return strength * (1 + (a * b).to(r.dtype)) * (torch.exp(-(r**2)) - FALLEN) * torch.where(a == b, 1.0, -0.5)

    return ParticleSystem(
        "mixture", n, 3, OrnsteinUhlenbeckActivity(0.5, 1.0), 0.1, pair_force=force, cutoff=1.1, trap=0.0,
        external=lambda x: 0.3 * torch.sin(2 * math.pi * (x + 1) / 4), species=[i % 2 for i in range(n)],
        box=pyness.Box([-1.0] * 3, [3.0] * 3, "periodic"),
    )  # fmt: skip


class TestTranslation:
    def test_the_source_does_not_depend_on_how_many_there_are_or_on_parameters(self):
        few, many = (
            translate_particles(get("aoup-mips", n_particles=n, eps=eps)) for n, eps in ((60, 0.1), (500, 0.2))
        )
        assert few.source == many.source
        assert len(few.source.splitlines()) < 60
        assert few.source.count("function pair_0_0(") == 1

    def test_species_have_a_function_for_each_pair_of_labels(self):
        source = translate_particles(mixture()).source
        assert [source.count(f"function pair_{a}_{b}(") for a in (0, 1) for b in (0, 1)] == [1, 1, 1, 1]
        assert "a == 0 && b == 1 ? pair_0_1" in source
        assert "const external = (x, p) -> force(x, p, 0.0)" in source

    def test_particles_that_do_not_interact_have_no_pair_force(self):
        source = translate_particles(get("aoup-free", n_particles=40)).source
        assert "const pair = nothing" in source
        assert "const external = nothing" in source

    def test_a_force_without_a_translation_is_refused(self):
        system = ParticleSystem(
            "sorted", 4, 2, OrnsteinUhlenbeckActivity(0.5, 1.0), 0.1, cutoff=1.0,
            pair_force=lambda r: torch.sort(1 - r, -1, descending=True).values,
        )  # fmt: skip
        with pytest.raises(TranslationError, match=r"pair_0_0.*aten.sort.*test_particles.py"):
            translate_particles(system)


@pytest.mark.julia
@pytest.mark.parametrize(
    "system",
    [get("aoup-mips", n_particles=300), get("abp", n_particles=100), get("aoup-harmonic", n_particles=5), mixture()],
    ids=lambda system: system.name,
)
def test_drifts_are_those_of_torch(system):
    """Compared at random configurations when the model is made; beside each other, so that pairs do meet."""
    session = runtime.start()
    model = Model(system, session)
    assert model.particles
    x = system.draw_start("clustered", 3, torch.Generator().manual_seed(2), torch.float64)
    points, drift, noise = (session.empty(tuple(x.shape), torch.float64).copy_(x) for _ in range(3))
    session.call("PyNESS.check!", drift, noise, model.name, points, *model.arguments)
    torch.testing.assert_close(drift, system.drift(x), rtol=1e-10, atol=1e-10 * system.drift(x).abs().max().item())
    torch.testing.assert_close(noise, torch.sqrt(2 * system.diffusion(x)).expand_as(x), rtol=1e-15, atol=0.0)


@pytest.mark.julia
def test_same_bits_for_any_threads_and_order(single, monkeypatch):
    system = get("aoup-mips", n_particles=120)
    plan = {"walkers": 3, "burn_in": 1.0, "snapshots": 2, "spacing": 0.5, "dtype": "float64", "seed": 3}
    plan["burn_in_dt"] = 0.02
    first = pyness.sample(system, "EM:dt=0.02", "julia", **plan)
    monkeypatch.setattr(engine_module, "start", lambda embedded: single)
    second = pyness.sample(system, "EM:dt=0.02", "julia", **plan)
    assert torch.equal(first.states, second.states)
    assert first.stats["drift_evaluations"] == second.stats["drift_evaluations"] == 3 * 100


@pytest.mark.julia
def test_the_split_step_of_the_activity_is_exact_at_any_step():
    system = get("aoup-free", n_particles=50, space_dim=1, gamma=0.5)
    plan = {"walkers": 400, "burn_in": 6.0, "snapshots": 2, "spacing": 3.0, "dt": 3.0, "seed": 1}
    g = system.split(pyness.sample(system, "EM:split=true", "julia", **plan).states)[1].double()
    n = g[:, 0].numel()
    assert abs(g.square().mean() - 1) < 4 * math.sqrt(2 / (2 * n)) * 1.3
    assert abs((g[:, 0] * g[:, 1]).mean() - math.exp(-1.5)) < 4 * math.sqrt(1.2 / n)


@pytest.mark.julia
def test_the_split_step_scatters_activities_at_given_positions_as_it_should():
    # as in the test of the torch engine, with its reason
    system = get("aoup-harmonic", n_particles=150, spring=0.0, trap=1.0, gamma=0.02, eps=0.0)
    plan = {"walkers": 200, "burn_in": 15.0, "snapshots": 3, "spacing": 10.0, "seed": 6}
    x, g = system.split(pyness.sample(system, "EM:split=true,dt=0.1", "julia", dtype="float64", **plan).states)
    x, g = x.flatten(1), g.flatten(1)
    left = (g - (x * g).mean() / x.square().mean() * x).square().mean(1) * (1.02 / 0.02)
    assert abs(left.mean() - 1) < 4 * left.std() / math.sqrt(200) + 0.003


@pytest.mark.julia
@pytest.mark.parametrize(
    ("solver", "engine"),
    [
        ("EM:dt=0.01", "julia"),
        ("EM:dt=0.01", "julia-gpu"),
        ("SOSRA:adaptive=false,dt=0.02", "julia-gpu"),
        pytest.param("SOSRA", "julia", marks=pytest.mark.validate),
    ],
)
def test_engines_agree_on_structure(solver, engine):
    """Pair distances and forces of a dense fluid, walker by walker, the step's own bias included."""
    system = get("aoup-mips", n_particles=64)
    plan = {"walkers": 60, "burn_in": 5.0, "snapshots": 4, "spacing": 1.0, "seed": 5, "dtype": "float64"}
    found = []
    for name in ("torch", engine):
        samples = pyness.sample(system, solver, name, **plan)
        x, g = (part.flatten(0, 1) for part in system.split(samples.states))
        near = (torch.cdist(x, x) < system.cutoff).double().sum((-1, -2)) - 64
        force = system.forces(x)
        values = [near, force.square().sum((-1, -2)), (force * g).sum((-1, -2)), g.square().sum((-1, -2))]
        found.append(torch.stack(values, -1).unflatten(0, (60, 4)).mean(1))
    a, b = found
    assert ((a.mean(0) - b.mean(0)).abs() < 4 * ((a.var(0) + b.var(0)) / 60).sqrt()).all()


@pytest.mark.julia
@pytest.mark.parametrize("engine", ["julia", "julia-gpu"])
def test_engines_agree_on_pair_correlation_and_clusters(engine):
    """Of a dense phase that forms: the same law at the same times, walker by walker, the step's own bias included."""
    system = get("aoup-mips", n_particles=256)
    plan = {"walkers": 48, "burn_in": 20.0, "burn_in_dt": 0.1, "snapshots": 2, "spacing": 20.0, "seed": 5}
    # contacts in seven bins, then up to half the box, which is 40.1
    edges = torch.cat([torch.linspace(1.95, 2.65, 8), torch.linspace(3.0, 20.0, 18)]).double()
    found = []
    for name in ("torch", engine):
        samples = pyness.sample(system, "EM:split=true,dt=0.1", name, **plan)
        x = system.split(samples.states.flatten(0, 1).double())[0]
        dense = (region(system, x) == 2).double().mean(1, True)
        cluster = largest_cluster(system, x, contact_distance(system)).unsqueeze(1)
        columns = torch.cat([pair_correlation(system, x, edges), dense, cluster], 1)
        found.append(columns.unflatten(0, (48, 2)).mean(1))
    a, b = found
    error = ((a.var(0) + b.var(0)) / 48).sqrt()
    assert ((a.mean(0) - b.mean(0)).abs() < 4 * error).all()
    assert a[:, :7].mean(0).max() > 3  # contacts
    assert (error[:-2] < 0.1 * a.mean(0)[:-2]).all()
    assert (error[-2:] < 0.03).all()


@pytest.mark.julia
@pytest.mark.parametrize("engine", ["julia", "julia-gpu"])
def test_rounds_of_several_walkers(engine, tmp_path, monkeypatch):
    """A round's snapshots are no contiguous part of the result where a block has several walkers."""
    system = get("aoup-mips", n_particles=20)
    plan = {"walkers": 4, "burn_in": 1.0, "snapshots": 5, "spacing": 1.0, "progress": False}
    monkeypatch.setattr(portions, "_ROUND", 2 * 4 * 20 * 100)
    whole = pyness.sample(system, "EM:split=true,dt=0.01", engine, **plan)
    assert torch.isfinite(whole.states).all()
    # no round has the noise of another
    steps = system.split(whole.states.diff(dim=1))[1].transpose(0, 1).flatten(1).double()
    correlation = torch.corrcoef(steps) - torch.eye(4)
    assert correlation.abs().max() < 4.5 / steps.shape[1] ** 0.5
    entered, path, calls = run._Run._enter, tmp_path / "s.zarr", []

    def enter_once(self, *rest):
        entered(self, *rest)
        calls.append(0)
        if len(calls) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(run._Run, "_enter", enter_once)
    with pytest.raises(InterruptedRun):
        pyness.sample(system, "EM:split=true,dt=0.01", engine, store=path, **plan)
    resumed = pyness.sample(system, "EM:split=true,dt=0.01", engine, store=path, resume=True, **plan)
    assert torch.equal(resumed.states, whole.states)
