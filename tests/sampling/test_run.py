"""``sample``: the same bits whatever happens, starts, failures, and refusals at the door."""

from __future__ import annotations

import io
import math
import sys

import pytest
import torch

from pyness import systems
from pyness.errors import (
    InputError,
    InterruptedRun,
    LimitError,
    SamplingError,
    SolverError,
    StoreError,
    UnknownNameError,
)
from pyness.sampling import Samples, run, sample
from pyness.systems import Box, OrnsteinUhlenbeckActivity, ParticleSystem, System

SHORT = {"walkers": 300, "burn_in": 0.2, "snapshots": 3, "spacing": 0.1}


@pytest.fixture
def small_blocks(monkeypatch):
    """Five blocks of 64 rows for 300 walkers."""
    monkeypatch.setattr(run, "block_rows", lambda system, plan: 64)


def _system() -> System:
    return systems.get("limit-cycle")


def _same(one: Samples, other: Samples) -> bool:
    walls = ("walker", "face", "position", "displacement")
    return (
        torch.equal(one.states, other.states)
        and torch.equal(one.start, other.start)
        and (one.steps is None or torch.equal(one.steps, other.steps))
        and all(torch.equal(getattr(one.walls, name), getattr(other.walls, name)) for name in walls)
        and {k: v for k, v in one.stats.items() if k != "seconds"}
        == {k: v for k, v in other.stats.items() if k != "seconds"}
    )


@pytest.mark.parametrize("solver", ["EM:dt=1e-3", "SOSRA"])
def test_same_bits_for_any_chunk_and_any_number_of_threads(small_blocks, solver):
    whole = sample(_system(), solver, "torch", seed=7, **SHORT)
    for chunk in (1, 130, 1000):
        assert _same(whole, sample(_system(), solver, "torch", seed=7, chunk=chunk, **SHORT))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert _same(whole, sample(_system(), solver, "torch", seed=7, **SHORT))
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("solver", ["EM:dt=1e-3", "SOSRA"])
def test_walkers_are_distinct_across_blocks_and_seeds(small_blocks, solver):
    one = sample(_system(), solver, "torch", seed=0, start=torch.full((300, 2), 2.0), **SHORT)
    other = sample(_system(), solver, "torch", seed=1, start=torch.full((300, 2), 2.0), **SHORT)
    states = torch.cat([one.states, other.states]).reshape(600, -1)
    assert torch.unique(states, dim=0).shape[0] == 600
    # rows in the same place of two blocks share no noise: correlation 0 with standard error 1 / sqrt(rows)
    x = one.states[:256, -1, 0].double().reshape(4, 64)
    correlation = torch.corrcoef(x) - torch.eye(4)
    assert correlation.abs().max().item() < 4.5 / math.sqrt(64)


def test_going_on_from_samples_does_not_meet_their_noise_again():
    # states are made of the noise before them: followed by the same noise, activities would have a variance of 1.9
    system = systems.get("aoup-harmonic", n_particles=3)
    plan = {"walkers": 1000, "burn_in": 0.0, "snapshots": 1, "spacing": 0.5, "seed": 3}
    x = torch.randn(1000, system.dim, generator=torch.Generator().manual_seed(1))
    for _ in range(4):
        x = sample(system, "EM:split=true,dt=0.1", "torch", start=x, **plan)
    activities = system.split(x.states)[1]
    assert abs(activities.var().item() - 1) < 4 * math.sqrt(2 / activities.numel())
    # the same start and seed are the same run
    once, again = (sample(system, "EM:dt=0.1", "torch", start=x, **plan) for _ in range(2))
    assert _same(once, again)


@pytest.mark.parametrize("solver", ["EM:dt=1e-3", "SOSRA"])
def test_interrupted_and_resumed_is_the_same_as_uninterrupted(small_blocks, tmp_path, monkeypatch, solver):
    whole = sample(_system(), solver, "torch", seed=7, **SHORT)
    path, original, calls = tmp_path / "s.zarr", run._Run._enter, []

    def enter_twice(self, result, *rest):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(result.index)
        original(self, result, *rest)

    monkeypatch.setattr(run._Run, "_enter", enter_twice)
    with pytest.raises(InterruptedRun, match="2 of 5 blocks") as caught:
        sample(_system(), solver, "torch", seed=7, store=path, **SHORT)
    assert caught.value.exit_code == 130
    monkeypatch.setattr(run._Run, "_enter", original)
    partial = Samples.load(path)
    assert partial.walkers == 128
    assert not partial.metadata["complete"]
    assert torch.equal(partial.states, whole.states[:128])
    resumed = sample(_system(), solver, "torch", seed=7, store=path, resume=True, **SHORT)
    assert _same(whole, resumed)
    assert _same(whole, Samples.load(path))
    # a finished run is returned, an absent one is begun
    assert _same(whole, sample(_system(), solver, "torch", seed=7, store=path, resume=True, **SHORT))
    fresh = sample(_system(), solver, "torch", seed=7, store=tmp_path / "t.zarr", resume=True, **SHORT)
    assert _same(whole, fresh)


def test_snapshots_lie_where_they_are_said_to():
    """A deterministic clock: dx = dt with vanishing noise, wrapped nowhere."""
    system = System("clock", 1, lambda x: torch.ones_like(x), 1e-12, Box([0.0], [1.0]))
    plan = {"walkers": 4, "burn_in": 0.35, "snapshots": 3, "spacing": 0.2, "start": torch.zeros(4, 1)}
    for solver in ("EM:dt=0.03", "SOSRA"):
        samples = sample(system, solver, "torch", dtype="float64", **plan)
        assert samples.times.tolist() == pytest.approx([0.55, 0.75, 0.95])
        assert torch.allclose(samples.states[..., 0], samples.times.expand(4, 3), atol=1e-4)
    coarse = sample(system, "EM:dt=0.01", "torch", burn_in_dt=0.1, dtype="float64", **plan)
    assert torch.allclose(coarse.states[..., 0], coarse.times.expand(4, 3), atol=1e-4)
    assert coarse.stats["step"]["max"] > 0.05


def test_starts():
    system = systems.get("double-well")
    plan = {"walkers": 5, "burn_in": 0.0, "snapshots": 1, "spacing": 1e-9}
    given = torch.rand(5, 2, generator=torch.Generator().manual_seed(0)) + 1
    at = sample(system, "EM:dt=1e-9", "torch", start=given, **plan)
    assert torch.allclose(at.states[:, 0], given, atol=1e-3)
    assert torch.equal(at.start, given)
    again = sample(system, "EM:dt=1e-9", "torch", start=at, **{**plan, "walkers": 12})
    assert torch.allclose(again.states[:, 0], given.repeat(3, 1)[:12], atol=1e-3)
    uniform = sample(system, "EM:dt=1e-9", "torch", **{**plan, "walkers": 2000}).states[:, 0]
    assert uniform.min().item() > -0.01
    assert uniform.max().item() < 3.01
    assert (uniform.mean(0) - 1.5).abs().max().item() < 4 * math.sqrt(9 / 12 / 2000)


def test_what_is_not_given_comes_from_the_system():
    system = systems.get("double-well")
    samples = sample(system, engine="torch", walkers=64, burn_in=0.1)
    plan = samples.metadata["plan"]
    assert (plan["snapshots"], plan["spacing"]) == (system.plan["snapshots"], system.plan["spacing"])
    assert samples.metadata["solver"].startswith("SOSRA")
    # the step that is recommended belongs to the recommended solver, and one that is asked for takes its place
    assert sample(system, engine="torch", walkers=64, burn_in=0.1, dt=0.05).stats["step"]["max"] == pytest.approx(0.05)
    with pytest.raises(SolverError, match="no dt"):
        sample(system, "EM", "torch", walkers=64)


def test_float64():
    samples = sample(_system(), "EM:dt=1e-3", "torch", dtype="float64", **SHORT)
    assert samples.states.dtype == torch.float64
    assert samples.walls.position.dtype == torch.float64


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "given", "shown"),
    [(_Terminal, {}, True), (_Terminal, {"progress": False}, False), (io.StringIO, {}, False)],
    ids=["terminal", "not wanted", "file"],
)
def test_the_progress_bar_is_for_terminals(monkeypatch, stream, given, shown):
    monkeypatch.setattr(sys, "stderr", stream())
    sample(_system(), "EM:dt=1e-3", "torch", **given, **SHORT)
    assert ("sampling limit-cycle: 100%" in sys.stderr.getvalue()) is shown


def _explosive(reach: float) -> System:
    """Walkers that pass ``reach`` run away to infinity in finite time."""
    return System("explosive", 1, lambda x: torch.where(x > reach, x**3 * 50, -x), 0.05, Box([-1.0], [1.0]))


def test_walkers_that_blow_up_are_left_out_counted_and_reported(tmp_path, caplog):
    system, plan = _explosive(0.8), {"walkers": 500, "burn_in": 1.0, "snapshots": 2, "spacing": 0.5}
    path = tmp_path / "s.zarr"
    with caplog.at_level("WARNING"):
        samples = sample(system, "EM:dt=0.01", "torch", max_failed=0.5, store=path, **plan)
    failed = len(samples.failures)
    assert 10 < failed < 250
    assert samples.walkers == 500 - failed
    assert samples.stats["failed_walkers"] == failed
    assert bool(torch.isfinite(samples.states).all())
    assert samples.start.shape == (500 - failed, 1)
    # who begins beyond the reach fails
    assert samples.start.max() < 0.8
    for failure in samples.failures:
        assert math.isfinite(failure["state"][0])
        assert 0 <= failure["time"] <= 2
    assert "blew up" in caplog.text
    loaded = Samples.load(path, system)
    assert torch.equal(loaded.states, samples.states)
    assert torch.equal(loaded.start, samples.start)
    assert loaded.stats["failed_walkers"] == failed


@pytest.mark.parametrize("solver", ["EM:dt=1e-3", "SOSRA:rtol=1e-2"])
def test_a_run_that_takes_too_much_is_stopped_and_keeps_its_blocks(small_blocks, tmp_path, solver):
    path, whole = tmp_path / "cut.zarr", sample(_system(), solver, "torch", **SHORT)
    most = 0.7 * whole.stats["drift_evaluations"]
    with pytest.raises(LimitError, match=r"stopped after .* drift evaluations, when .* % was done"):
        sample(_system(), solver, "torch", max_evaluations=most, store=path, chunk=64, **SHORT)
    # enough for what is left of it
    resumed = sample(_system(), solver, "torch", max_evaluations=most, store=path, resume=True, **SHORT)
    assert _same(whole, resumed)
    with pytest.raises(LimitError, match="stopped after 1e-09 seconds"):
        sample(_system(), solver, "torch", max_seconds=1e-9, **SHORT)
    assert _same(whole, sample(_system(), solver, "torch", max_seconds=1e9, max_evaluations=math.inf, **SHORT))


def test_too_many_failures_end_the_run():
    with pytest.raises(SamplingError, match=r"\d+ of 500 walkers blew up, the first at time .* smaller dt") as caught:
        sample(_explosive(0.8), "EM:dt=0.01", "torch", walkers=500, burn_in=1.0, snapshots=2, spacing=0.5)
    assert caught.value.exit_code == 3
    assert caught.value.samples.walkers < 500


def test_overlaps_are_named_where_particles_blow_up():
    def steep(r):
        return torch.where(r < 1, r**-13 - 1, 0 * r)

    box = Box([0.0] * 2, [10.0] * 2, "periodic")
    system = ParticleSystem("steep", 60, 2, OrnsteinUhlenbeckActivity(1.0, 0.1), pair_force=steep, cutoff=1.0, box=box)
    plan = {"walkers": 4, "burn_in": 0.01, "snapshots": 1, "spacing": 0.1, "progress": False}
    with pytest.raises(
        SamplingError, match=r"with two particles 0\.\d+ apart .*; take .*, a start without overlaps, or"
    ):
        sample(system, "EM:split=true,dt=1e-3", "torch", **plan)
    side = (torch.arange(8) + 0.5) * 1.25
    lattice = torch.cartesian_prod(side, side)[:60].double()
    start = system.join(lattice.expand(4, 60, 2), torch.zeros(4, 60, 2, dtype=torch.float64))
    assert sample(system, "EM:split=true,dt=1e-3", "torch", start=start, **plan).stats["failed_walkers"] == 0


MULTIPLICATIVE = System("multiplicative", 1, lambda x: -x, lambda x: 0.1 + x**2, Box([-1.0], [1.0]))


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"walkers": 0}, InputError, "walkers is 0"),
        ({"walkers": 2.5}, InputError, "walkers is 2.5"),
        ({"walkers": True}, InputError, "walkers is True"),
        ({"snapshots": 0}, InputError, "snapshots is 0"),
        ({"burn_in": -1.0}, InputError, "burn_in is -1.0"),
        ({"spacing": 0.0}, InputError, "spacing is 0.0"),
        ({"spacing": math.inf}, InputError, "spacing is inf"),
        ({"seed": 1.0}, InputError, "seed is 1.0"),
        ({"seed": True}, InputError, "seed is True"),
        ({"seed": -1}, InputError, "seed is -1"),
        ({"dtype": "float16"}, InputError, "float16"),
        ({"device": "nowhere"}, InputError, "nowhere"),
        ({"chunk": 0}, InputError, "chunk is 0"),
        ({"max_failed": 2}, InputError, "max_failed is 2"),
        ({"max_seconds": 0}, InputError, "max_seconds is 0"),
        ({"max_evaluations": "1e6"}, InputError, "max_evaluations is '1e6'"),
        ({"start": "somewhere"}, InputError, "somewhere"),
        ({"start": _explosive}, InputError, "give a kind of start, a tensor"),
        ({"start": torch.zeros(3, 2)}, InputError, r"\(3, 2\)"),
        ({"start": torch.full((300, 2), torch.nan)}, InputError, "NaN"),
        ({"resume": True}, InputError, "without a store"),
        ({"engine": "jula"}, UnknownNameError, "julia"),
        ({"solver": "EMM:dt=1e-3"}, UnknownNameError, "'EM'"),
        ({"solver": "EM:dt=0"}, SolverError, "dt is '0'"),
        ({"solver": "EM", "dt": -1.0}, InputError, "-1.0"),
        ({"solver": "EM"}, SolverError, "no dt was given"),
        ({"solver": "EM:dt=1e-3,rtol=1e-2"}, SolverError, "fixed step"),
        ({"solver": "EM", "dt": 1e-3, "rtol": 1e-2}, SolverError, "fixed step"),
        ({"solver": "SOSRA", "rtol": 0.0}, InputError, "0.0"),
        ({"solver": "SOSRA", "burn_in_dt": 0.1}, SolverError, "chooses its own steps"),
        ({"solver": "EM:dt=1e-3", "burn_in_dt": 0.0}, InputError, "burn_in_dt is 0.0"),
        ({"solver": "SOSRI", "engine": "torch"}, SolverError, "no solver 'SOSRI'"),
        ({"solver": "julia:EM:dt=1e-3", "engine": "torch"}, SolverError, "julia"),
    ],
)
def test_refusals(options, error, text):
    system = System("plain", 2, lambda x: -x, 0.1, Box([-1.0, -1.0], [1.0, 1.0]))
    arguments = {"solver": "EM:dt=1e-3", "engine": "torch", **SHORT, **options}
    with pytest.raises(error, match=text) as caught:
        sample(system, **arguments)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_methods_for_additive_noise_are_refused_elsewhere():
    with pytest.raises(SolverError, match=r"these fit: .*EM"):
        sample(MULTIPLICATIVE, "SOSRA", "torch", **SHORT)


def test_times_must_be_known():
    with pytest.raises(InputError, match="burn_in is not given"):
        sample(MULTIPLICATIVE, "EM:dt=1e-3", "torch", walkers=10)
    with pytest.raises(InputError, match="give a System"):
        sample("double-well")


def test_another_run_is_not_resumed(tmp_path):
    path = tmp_path / "s.zarr"
    sample(_system(), "EM:dt=1e-3", "torch", store=path, **SHORT)
    with pytest.raises(StoreError, match="exists"):
        sample(_system(), "EM:dt=1e-3", "torch", store=path, **SHORT)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    others = [
        {"seed": 1}, {"solver": "EM:dt=2e-3"}, {"solver": "EulerHeun:dt=1e-3"}, {"spacing": 0.2}, {"walkers": 200},
        {"dtype": "float64"}, {"start": torch.ones(300, 2)},
    ]  # fmt: skip
    for other in others:
        with pytest.raises(StoreError, match="another run"):
            sample(_system(), **{"solver": "EM:dt=1e-3", "engine": "torch", **SHORT, **other}, store=path, resume=True)
    for system in (systems.get("limit-cycle", a=0.2), systems.get("double-well")):
        with pytest.raises(StoreError, match="another run: it differs in system"):
            sample(system, "EM:dt=1e-3", "torch", store=path, resume=True, **SHORT)
    assert before == {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    replaced = sample(_system(), "EM:dt=1e-3", "torch", seed=1, store=path, overwrite=True, **SHORT)
    assert torch.equal(Samples.load(path).states, replaced.states)


def test_a_drift_that_was_edited_is_another_run(tmp_path):
    """A system of one's own has a name and perhaps no parameters: its equations are compared at a few points."""
    plan = {"walkers": 10, "burn_in": 0.0, "snapshots": 1, "spacing": 0.1, "store": tmp_path / "s.zarr"}
    box = Box([-1.0], [1.0])
    first = sample(System("mine", 1, lambda x: -x, lambda x: 0.1 + 0 * x, box), "EM:dt=0.01", "torch", **plan)
    for drift, diffusion in ((lambda x: -2 * x, 0.1), (lambda x: -x, 0.2)):
        edited = System("mine", 1, drift, lambda x, D=diffusion: D + 0 * x, box)
        with pytest.raises(StoreError, match="another run: it differs in equations"):
            sample(edited, "EM:dt=0.01", "torch", resume=True, **plan)
    same = System("mine", 1, lambda x: 0 - x, lambda x: 0.1 + 0 * x, box)
    assert torch.equal(sample(same, "EM:dt=0.01", "torch", resume=True, **plan).states, first.states)
