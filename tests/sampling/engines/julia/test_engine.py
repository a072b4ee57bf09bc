"""The Julia engine end to end: memory, reproducibility, walls, failures, models."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
import torch

import pyness
from pyness.errors import LimitError, SamplingError, SolverError, TranslationError
from pyness.sampling.engines.julia import engine as engine_module
from pyness.sampling.engines.julia import runtime
from pyness.sampling.engines.julia.model import Model, named_tuple
from pyness.sampling.limit import Limit

PLAN = {"burn_in": 2.0, "snapshots": 3, "spacing": 0.5, "dtype": "float64"}


def walled(low=-0.5, high=0.5, boundary="reflect", diffusion=0.5):
    domain = pyness.Box([low] * 2, [high] * 2, boundary)
    return pyness.System(name="walled", dim=2, drift=lambda x: -x, diffusion=diffusion, domain=domain)


def test_named_tuples():
    assert named_tuple({}) == "(;)"
    assert named_tuple({"D": 0.1, "n": 4, "word": "a", "none": None}) == "(D = 0.1, n = 4, )"
    assert named_tuple({"v": [1.0, 2.5], "A": [[1.0, 2.0], [3.0, 4.0]]}) == "(v = [1.0, 2.5], A = [1.0 2.0; 3.0 4.0], )"


@pytest.mark.julia
class TestMemory:
    def test_both_sides_see_the_same_memory(self):
        session = runtime.start(embedded=True)
        states = session.empty((5, 4, 3), torch.float64).zero_()
        assert session.call("(a -> UInt(pointer(a)))", states) == states.data_ptr()
        session.call("(a -> (a[2, 3, 4] = 7.0; nothing))", states)  # dim, snapshot, walker
        assert states[3, 2, 1].item() == 7.0

    @pytest.mark.parametrize("embedded", [False, True])
    def test_states_are_filled_in_place(self, monkeypatch, embedded):
        filled = []
        original = engine_module.JuliaEngine._call

        def spy(self, block, start, taken, first, last, stop):
            filled.append(block.out[first:last].data_ptr())
            return original(self, block, start, taken, first, last, stop)

        monkeypatch.setattr(engine_module.JuliaEngine, "_call", spy)
        if embedded:
            monkeypatch.setattr(engine_module, "start", lambda embedded: runtime.start(embedded=True))
        samples = pyness.sample(walled(), "EM:dt=0.1", engine="julia", walkers=300, **PLAN)
        step = samples.states[0].numel() * samples.states.element_size()
        first, last = samples.states.data_ptr(), samples.states.data_ptr() + 300 * step
        assert filled
        assert filled[0] == first
        assert all(first <= address < last and (address - first) % step == 0 for address in filled)
        assert samples.states.is_contiguous()
        assert torch.isfinite(samples.states).all()

    def test_states_survive_both_garbage_collectors(self):
        samples = pyness.sample(walled(), "EM:dt=0.1", engine="julia", walkers=64, **PLAN)
        kept = samples.states.clone()
        for embedded in (False, True):
            runtime.start(embedded=embedded).include("GC.gc(true); GC.gc(true)")
        states = samples.states
        del samples
        gc.collect()
        runtime.start().include("x = [rand(1000) for _ in 1:1000]; x = nothing; GC.gc(true)")
        assert torch.equal(states, kept)

    def test_julias_array_survives_pythons_collector(self):
        session = runtime.start()
        states = session.empty((3, 2), torch.float64).fill_(2.0)
        view = states[1:]
        session.call("(a -> (global kept = a; nothing))", states)
        del states  # the view holds the memory
        gc.collect()
        view.fill_(5.0)
        assert session.call("(() -> (GC.gc(true); sum(kept)))") == 24.0
        session.include("kept = nothing")


def _memory(pid="self") -> dict[str, float]:
    """MiB of a process: its own, shared, and the most it had."""
    with open(f"/proc/{pid}/status") as file:
        words = dict(line.split(":", 1) for line in file)
    return {name: int(words[name].split()[0]) / 1024 for name in ("RssAnon", "RssShmem", "VmRSS", "VmHWM")}


@pytest.mark.julia
@pytest.mark.validate
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="counts pages in /proc")
def test_a_large_result_is_held_once():
    """10^5 walkers x 100 snapshots x 8 coordinates in single precision: 305 MiB, in pages that both processes share."""
    domain = pyness.Box([-3] * 8, [3] * 8, "open")
    system = pyness.System(name="eight", dim=8, drift=lambda x: -x, diffusion=0.5, domain=domain)
    plan = {"burn_in": 1.0, "spacing": 0.5, "dtype": "float32", "progress": False}
    pyness.sample(system, "EM:dt=0.5", "julia", walkers=1000, snapshots=2, **plan)
    pids = ("self", runtime.start().pid)
    before = [_memory(pid) for pid in pids]
    states = pyness.sample(system, "EM:dt=0.5", "julia", walkers=100_000, snapshots=100, **plan).states
    size = states.numel() * states.element_size() / 2**20
    assert round(size) == 305
    for pid, then in zip(pids, before, strict=True):
        now = _memory(pid)
        assert now["RssAnon"] - then["RssAnon"] < 0.1 * size
        assert 0.95 * size < now["RssShmem"] - then["RssShmem"] < 1.05 * size
        assert now["VmHWM"] - max(now["VmRSS"], then["VmHWM"]) < 0.1 * size


@pytest.mark.julia
@pytest.mark.parametrize(
    "solver",
    [
        "EM:dt=0.05",
        "SOSRA",
        # compiled in both sessions
        pytest.param("ImplicitEM:adaptive=false,dt=0.1", marks=pytest.mark.validate),
        pytest.param("SOSRI", marks=pytest.mark.validate),
    ],
)
def test_same_bits_for_any_threads_and_chunks(solver, single, monkeypatch):
    """Blocks are cut by the walkers' number alone; calls, threads and whoever ran before change nothing."""
    system = pyness.systems.get("double-well")
    plan = {**PLAN, "walkers": 150, "seed": 4}
    first = pyness.sample(system, solver, engine="julia", **plan)
    with monkeypatch.context() as patch:
        patch.setattr(engine_module, "start", lambda embedded: single)
        patch.setattr(engine_module, "PATIENCE", 1e-6)  # few walkers a call
        second = pyness.sample(system, solver, engine="julia", **plan)
    assert torch.equal(first.states, second.states)
    assert (first.steps is None) == ("dt=" in solver)
    if first.steps is not None:
        assert torch.equal(first.steps, second.steps)
        assert torch.isfinite(first.steps).all()
        assert (first.steps > 0).all()
        assert (first.steps <= PLAN["spacing"]).all()
    assert first.stats["steps_accepted"] == second.stats["steps_accepted"]
    assert first.stats["drift_evaluations"] == second.stats["drift_evaluations"]
    assert len(torch.unique(first.states.reshape(-1, 2), dim=0)) == 150 * 3
    other = pyness.sample(system, solver, engine="julia", **{**plan, "seed": 5})
    assert not torch.equal(other.states, first.states)


@pytest.mark.julia
def test_changed_parameters_compile_nothing():
    session = runtime.start()
    a, b = (Model(pyness.systems.get("limit-cycle", **changed), session) for changed in ({}, {"a": 0.2, "D": 0.3}))
    assert a.name == b.name
    assert a.arguments != b.arguments
    assert Model(pyness.systems.get("double-well"), session).name != a.name


@pytest.mark.julia
@pytest.mark.parametrize("name", pyness.systems.names())
def test_registered_systems_compile_to_what_torch_computes(name):
    system = pyness.systems.get(name)
    if system.dim > 100:
        pytest.skip("refused for its size, as test_translation asserts")
    session = runtime.start()
    model = Model(system, session)  # compares at random points and raises where they differ
    x = system.domain.uniform(20, torch.Generator().manual_seed(9), dtype=torch.float64)
    shape = (20, system.dim, system.dim) if model.matrix else (20, system.dim)
    points = session.empty((20, system.dim), torch.float64).copy_(x)
    drift, noise = session.empty((20, system.dim), torch.float64), session.empty(shape, torch.float64)
    session.call("PyNESS.check!", drift, noise, model.name, points, *model.arguments)
    expected = system.drift(x)
    scale = expected.abs().amax(-1, keepdim=True)
    assert ((drift - expected).abs() <= 1e-12 * scale).all()
    session.include(
        "inner(f, du, u, p) = @allocated f(du, u, p, 0.0)\n"
        "spent(name, u, p) = (f = PyNESS.MODELS[name].drift!; du = zero(u); inner(f, du, u, p); inner(f, du, u, p))"
    )
    assert session.call("spent", model.name, [float(v) for v in x[0]], model.arguments[0]) == 0


@pytest.mark.julia
def test_walls_are_recorded_as_the_torch_engine_does():
    system = walled()
    plan = {**PLAN, "walkers": 2000, "burn_in": 1.0, "snapshots": 4}
    found = {e: pyness.sample(system, "EM:dt=0.01", engine=e, **plan) for e in ("torch", "julia")}
    for samples in found.values():
        walls = samples.walls
        assert samples.stats["wall_hits"] == len(walls)
        on = walls.position[torch.arange(len(walls)), walls.face // 2]
        assert torch.equal(on, walls.face % 2 - 0.5)
        assert (walls.position.abs() <= 0.5).all()
        assert (walls.displacement > 0).all()
        assert (walls.walker[1:] >= walls.walker[:-1]).all()
        assert samples.states.abs().max() <= 0.5
    counts = [torch.bincount(s.walls.walker, minlength=2000).double() for s in found.values()]
    moved = [
        torch.zeros(2000, dtype=torch.float64).index_add_(0, s.walls.walker, s.walls.displacement)
        for s in found.values()
    ]
    for a, b in (counts, moved):
        error = ((a.var() + b.var()) / 2000).sqrt()
        assert abs(a.mean() - b.mean()) < 4 * error


@pytest.mark.julia
@pytest.mark.parametrize("boundary", ["periodic", ("reflect", "periodic"), ("open", "reflect")])
def test_boundaries_per_coordinate(boundary):
    samples = pyness.sample(walled(boundary=boundary), "SOSRA", engine="julia", walkers=200, **PLAN)
    for axis, kind in enumerate(samples.system.domain.boundary):
        beyond = samples.states[..., axis].abs().max() > 0.5
        assert bool(beyond) == (kind == "open")


@pytest.mark.julia
def test_a_walker_that_blows_up_is_counted():
    system = pyness.System(name="runaway", dim=1, drift=lambda x: x**3 - x, diffusion=0.05)
    start = torch.zeros(100, 1, dtype=torch.float64)
    start[17] = 3.0
    samples = pyness.sample(
        system, "EM:dt=0.01", engine="julia", walkers=100, start=start, max_failed=0.5, burn_in=0.2, snapshots=1,
        spacing=0.1, dtype="float64",
    )  # fmt: skip
    assert samples.states.shape[0] == 99
    with pytest.raises(SamplingError, match="1 of 100 walkers blew up"):
        pyness.sample(
            system, "EM:dt=0.01", engine="julia", walkers=100, start=start, burn_in=0.2, snapshots=1, spacing=0.1
        )


@pytest.mark.julia
class TestOwnSource:
    SOURCE = "drift!(du, u, p, t) = (du[1] = -p.k * u[1]; du[2] = -u[2]; nothing)"

    def system(self, julia, diffusion=0.3):
        def drift(x):
            return torch.stack([-2.0 * x[..., 0], -x[..., 1]], -1)

        return pyness.System(name="own", dim=2, drift=drift, diffusion=diffusion, parameters={"k": 2.0}, julia=julia)

    def test_it_is_used(self):
        system = self.system(self.SOURCE)
        translated = self.system(None)
        a, b = (pyness.sample(s, "EM:dt=0.1", engine="julia", walkers=50, **PLAN) for s in (system, translated))
        assert torch.allclose(a.states, b.states, atol=1e-12)

    def test_noise_may_be_given_too(self):
        def diffusion(scale):
            return lambda x: scale * (1 + x * x)

        noise = "noise!(du, u, p, t) = (du .= sqrt.(0.6 .* (1 .+ u .^ 2)); nothing)"
        systems = [self.system(source, diffusion(0.3)) for source in (f"{self.SOURCE}\n{noise}", self.SOURCE, None)]
        states = [pyness.sample(s, "EM:dt=0.1", engine="julia", walkers=50, **PLAN).states for s in systems]
        assert torch.allclose(states[0], states[2], atol=1e-9)
        assert torch.allclose(states[1], states[2], atol=1e-9)
        with pytest.raises(TranslationError, match=r"2 D at x = .* is \[.*\] in Julia and \[.*\] in torch; mend"):
            pyness.sample(self.system(f"{self.SOURCE}\n{noise}", diffusion(0.4)), "EM:dt=0.1", engine="julia", **PLAN)

    def test_disagreement_shows_the_point_and_both_values(self):
        wrong = self.SOURCE.replace("-u[2]", "-1.5 * u[2]")
        with pytest.raises(TranslationError, match=r"the drift at x = \[.*\] is \[.*\] in Julia and \[.*\] in torch"):
            pyness.sample(self.system(wrong), "EM:dt=0.1", engine="julia", **PLAN)

    @pytest.mark.parametrize("source", ["drift!(du, u, p, t) = (", "f(x) = x", "drift!(du, u, p, t) = du .= p.absent"])
    def test_broken_source_is_one_line_with_the_trace_as_its_cause(self, source):
        with pytest.raises(TranslationError, match=r"the Julia source of system 'own' failed") as refusal:
            pyness.sample(self.system(source), "EM:dt=0.1", engine="julia", **PLAN)
        assert "\n" not in str(refusal.value)
        assert isinstance(refusal.value.__cause__, runtime.JuliaTrace)


@pytest.mark.julia
def test_an_untranslatable_drift_is_refused():
    system = pyness.System(name="sorted", dim=2, drift=lambda x: -torch.sort(x, -1).values, diffusion=0.1)
    with pytest.raises(TranslationError, match=r"aten.sort.*test_engine.py"):
        pyness.sample(system, "EM:dt=0.1", engine="julia", **PLAN)


@pytest.mark.julia
def test_a_device_it_does_not_have(monkeypatch):
    from pyness.sampling.engines import Job
    from pyness.sampling.plan import Plan

    plan = Plan(walkers=10, burn_in=1.0, snapshots=1, spacing=1.0, dt=0.1, device="meta")
    with pytest.raises(SolverError, match="device 'meta'"):
        engine_module.JuliaEngine(Job(walled(), pyness.solvers.parse("EM:dt=0.1"), plan, None, 64))


@pytest.mark.julia
def test_progress_and_stop_between_calls(monkeypatch):
    from pyness.sampling.engines import Block, Job
    from pyness.sampling.plan import Plan

    monkeypatch.setattr(engine_module, "PATIENCE", 1e-6)
    plan = Plan(walkers=64, burn_in=1.0, snapshots=1, spacing=1.0, dt=0.1, dtype="float64")
    engine = engine_module.JuliaEngine(Job(walled(), pyness.solvers.parse("EM:dt=0.1"), plan, None, 64))
    block = Block(0, 0, 1, torch.zeros(64, 2, dtype=torch.float64), engine.empty((64, 1, 2)))
    ticks, stop = [], Limit()
    results = list(engine.run([block], ticks.append, stop))
    assert len(results) == 1
    assert sum(ticks) == pytest.approx(1.0)
    assert len(ticks) > 2

    def tick(part):
        ticks.append(part)
        stop.set()

    ticks.clear()
    assert list(engine.run([block, block], tick, stop)) == []
    assert len(ticks) == 1


@pytest.mark.julia
def test_the_store_names_the_versions():
    samples = pyness.sample(walled(), "EM:dt=0.1", engine="julia", walkers=64, **PLAN)
    versions = samples.metadata["engine"]
    assert versions["name"] == "julia"
    assert set(versions) >= {"julia", "PyNESS", "StochasticDiffEq", "SciMLBase"}


@pytest.mark.julia
def test_float32_states_are_rounded_double_ones():
    a, b = (
        pyness.sample(walled(boundary="open"), "EM:dt=0.1", engine="julia", walkers=64, start=torch.zeros(64, 2),
                      **{**PLAN, "dtype": dtype})
        for dtype in ("float32", "float64")
    )  # fmt: skip
    np.testing.assert_array_equal(a.states.numpy(), b.states.float().numpy())


@pytest.mark.julia
@pytest.mark.parametrize(("solver", "engine"), [("EM", "julia"), ("SOSRA:adaptive=false", "julia-gpu")])
def test_all_engines_make_the_same_steps(solver, engine):
    """With a coarser step for all but the end of the burn-in too."""
    system = pyness.System("open", 2, lambda x: -x, 0.5, pyness.Box([-3, -3], [3, 3], "open"))
    plan = {"walkers": 10, "burn_in": 5.0, "burn_in_dt": 0.2, "snapshots": 3, "spacing": 1.0, "dt": 0.03}
    counts = [pyness.sample(system, solver, name, **plan).stats for name in ("torch", engine)]
    for key in ("steps_accepted", "drift_evaluations"):
        assert counts[0][key] == counts[1][key]
    assert counts[0]["step"] == pytest.approx(counts[1]["step"])


@pytest.mark.julia
@pytest.mark.parametrize("solver", ["EM:dt=1e-7", "SOSRA:atol=1e-12"])
@pytest.mark.parametrize("limit", [{"max_seconds": 0.2}, {"max_evaluations": 10_000}])
def test_a_walker_that_takes_for_ever_is_left_in_the_middle(solver, limit):
    """A single one, so that the call of Julia itself ends it and not the next look between two calls."""
    with pytest.raises(LimitError, match="stopped after"):
        pyness.sample(walled(), solver, engine="julia", **limit, **{**PLAN, "walkers": 1})
