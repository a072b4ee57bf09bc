"""The kernels' engine, on KernelAbstractions' CPU: laws, walls, reproducibility, refusals. CUDA is not tested here."""

from __future__ import annotations

import pytest
import torch

import pyness
from pyness.errors import JuliaError, LimitError, SamplingError, SolverError
from pyness.sampling.engines.julia import runtime
from pyness.sampling.engines.julia.installation import Installation

PLAN = {"burn_in": 4.0, "snapshots": 3, "spacing": 2.0, "dtype": "float64", "engine": "julia-gpu"}


def linear(boundary="open", width=3.0, diffusion=0.5):
    domain = pyness.Box([-width] * 2, [width] * 2, boundary)
    return pyness.System(name="linear", dim=2, drift=lambda x: -x, diffusion=diffusion, domain=domain)


class TestRefusals:
    def test_solvers_that_have_no_kernel(self):
        with pytest.raises(SolverError, match="engine 'julia-gpu' has no solver 'ImplicitEM'"):
            pyness.sample(linear(), "ImplicitEM", walkers=10, **PLAN)

    def test_kernels_need_the_engine_that_has_them(self):
        with pytest.raises(SolverError, match="engine 'torch' has no solver 'GPUEM'"):
            pyness.sample(linear(), "GPUEM:dt=0.1", walkers=10, **{**PLAN, "engine": "torch"})

    def test_more_coordinates_than_a_kernel_takes(self):
        system = pyness.System("long", 21, lambda x: -x, 0.5, pyness.Box([-3] * 21, [3] * 21, "open"))
        with pytest.raises(
            SolverError, match="the 21 coordinates of 'long' on engine 'julia-gpu', whose kernels take 20"
        ):
            pyness.sample(system, "SOSRA", walkers=10, **PLAN)


@pytest.mark.julia
@pytest.mark.parametrize(
    "solver", ["SOSRA", "GPUEM:dt=0.02", "GPUSIEA:dt=0.1", pytest.param("SOSRI", marks=pytest.mark.validate)]
)
class TestEachKernel:
    def test_stationary_variance(self, solver):
        samples = pyness.sample(linear(), solver, walkers=2000, **PLAN)
        squares = samples.states.double().square().mean((1, 2))
        expected = 1 / (2 - 0.02) if solver.startswith("GPUEM") else 0.5
        assert abs(squares.mean() - expected) < 4 * squares.std() / 2000**0.5
        assert samples.metadata["engine"]["name"] == "julia-gpu"
        assert len(torch.unique(samples.states)) == samples.states.numel()

    def test_same_seed_same_bits(self, solver):
        a, b, other = (pyness.sample(linear(), solver, walkers=60, seed=seed, **PLAN).states for seed in (3, 3, 4))
        assert torch.equal(a, b)
        assert not torch.isin(other, a).any()

    def test_states_that_wrap_round(self, solver):
        states = pyness.sample(linear("periodic", 0.5), solver, walkers=60, **PLAN).states
        assert (states.abs() <= 0.5).all()


@pytest.mark.julia
def test_the_kernel_and_the_torch_engine_agree_between_walls():
    system = linear("reflect", 0.5)
    plan = {**PLAN, "burn_in": 1.0, "spacing": 0.5}
    found = [
        pyness.sample(system, "SOSRA:dtmax=2e-3", walkers=2000, **{**plan, "engine": e}) for e in ("torch", "julia-gpu")
    ]
    squares = [s.states.square().mean((1, 2)) for s in found]
    counts = [torch.bincount(s.walls.walker, minlength=2000).double() for s in found]
    for a, b in (squares, counts):
        assert abs(a.mean() - b.mean()) < 4 * ((a.var() + b.var()) / 2000).sqrt()
    walls = found[1].walls
    assert torch.equal(walls.position[torch.arange(len(walls)), walls.face // 2], walls.face % 2 - 0.5)
    assert found[1].stats["wall_hits"] == len(walls)


@pytest.mark.julia
@pytest.mark.validate  # a kernel of its own to compile; Pkg.test() has it too
def test_single_precision_is_computed_in_single_precision():
    states = pyness.sample(linear(), "SOSRA", walkers=500, **{**PLAN, "dtype": "float32"}).states
    assert states.dtype == torch.float32
    squares = states.double().square().mean((1, 2))
    assert abs(squares.mean() - 0.5) < 4 * squares.std() / 500**0.5


@pytest.mark.julia
@pytest.mark.validate
def test_noise_along_other_axes():
    matrix = torch.tensor([[0.5, 0.3], [0.3, 0.4]], dtype=torch.float64)
    samples = pyness.sample(linear(diffusion=matrix), "SOSRA", walkers=2000, **PLAN)
    products = torch.einsum("nsi,nsj->nij", samples.states, samples.states) / samples.states.shape[1]
    # the covariance of dX = -X dt + sqrt(2 D) dW is D
    error = products.std(0) / 2000**0.5
    assert ((products.mean(0) - matrix).abs() < 4 * error).all()


@pytest.mark.julia
@pytest.mark.parametrize(
    ("system", "solver"),
    [
        (pyness.systems.get("aoup-harmonic", n_particles=6), "SOSRA:adaptive=false,dt=0.05"),
        (pyness.systems.get("aoup-free", n_particles=8), "EM:split=true,dt=0.05"),
        (pyness.systems.get("abp", n_particles=12, k=0), "EM:dt=0.05"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_particles_whose_law_is_known(system, solver):
    """Their exact score is that of the samples: ``E[s_i x_i] = -1`` where space is open, and for every activity."""
    plan = {**PLAN, "burn_in": 15.0, "spacing": 3.0, "burn_in_dt": 0.05}
    samples = pyness.sample(system, solver, walkers=400, **plan)
    assert not samples.failures
    assert samples.states.dtype == torch.float64
    states = samples.states.double()
    open_ = torch.tensor([kind == "open" for kind in system.domain.boundary])
    if system.name == "abp":
        # headings are uniform on the circle and do not know each other
        heading = states[..., -system.n_particles :]
        for wave in (torch.cos(heading), torch.sin(heading), torch.cos(2 * heading)):
            each = wave.mean((1, 2))
            assert abs(each.mean()) < 4 * each.std() / 20
        return
    each = (states * system.truth.score(states))[..., open_].mean((1, 2)) + 1
    # a step of 0.05 against rates of up to 8.5: of second order, and of the activities exact
    assert abs(each.mean()) < 4 * each.std() / 20 + 0.01


@pytest.mark.julia
def test_particles_have_the_same_bits_and_their_own_noise():
    system = pyness.systems.get("aoup-trap-64", n_particles=20)
    plan = {**PLAN, "burn_in": 1.0, "spacing": 0.5, "burn_in_dt": 0.02}
    a, b, other = (pyness.sample(system, walkers=6, seed=seed, **plan).states for seed in (3, 3, 4))
    assert torch.equal(a, b)
    assert not torch.isin(other, a).any()
    assert len(torch.unique(a)) == a.numel()


@pytest.mark.julia
def test_a_walker_of_particles_that_blows_up_is_reported():
    system = pyness.systems.get("aoup-trap-64", n_particles=10, trap=1.0)
    with pytest.raises(SamplingError, match=r"(\d) of \1 walkers blew up") as caught:
        # a step of four relaxation times triples the distance from the centre
        pyness.sample(system, "EM:dt=4.0", walkers=6, **{**PLAN, "burn_in": 4000.0, "burn_in_dt": 4.0})
    assert all(0 < failure["time"] < 4000 for failure in caught.value.samples.failures)


@pytest.mark.julia
def test_particles_stop_where_a_budget_ends():
    system = pyness.systems.get("aoup-mips", n_particles=40)
    plan = {**PLAN, "burn_in": 1000.0, "burn_in_dt": 0.1}
    with pytest.raises(LimitError, match="stopped after"):
        pyness.sample(system, "EM:split=true,dt=0.1", walkers=4, max_evaluations=5_000, **plan)


@pytest.mark.julia
@pytest.mark.parametrize("solver", ["SOSRA", "SOSRI", "GPUEM:dt=0.05"])
def test_many_particles_without_interaction_go_by_particle_or_not_at_all(solver):
    system = pyness.systems.get("aoup-free", n_particles=11)
    assert pyness.sample(system, "SOSRA:adaptive=false,dt=0.05", walkers=2, **PLAN).states.isfinite().all()
    with pytest.raises(SolverError, match=r"the 44 coordinates of 'aoup-free'; take EM:dt=1e-2 or SOSRA:"):
        pyness.sample(system, solver, walkers=2, **PLAN)


@pytest.mark.julia
@pytest.mark.parametrize("solver", ["SOSRA", "GPUEM:dt=0.05", "EM:split=true,dt=0.05"])
def test_a_single_particle_has_no_neighbours(solver):
    system = pyness.systems.ParticleSystem(
        "alone", 1, 2, pyness.systems.OrnsteinUhlenbeckActivity(0.5, 0.5), 0.1,
        pair_force=lambda r: (1 - r).clamp_min(0), cutoff=1.0, box=pyness.Box([0, 0], [6, 6], "periodic"),
    )  # fmt: skip
    assert pyness.sample(system, solver, walkers=2, **PLAN).states.isfinite().all()


@pytest.mark.julia
def test_what_kernels_do_not_have():
    with pytest.raises(SolverError, match="reflecting sides of 'linear'"):
        pyness.sample(linear("reflect"), "GPUEM:dt=0.1", walkers=10, **PLAN)
    source = "drift!(du, u, p, t) = (du[1] = -p.v[1] * u[1]; nothing)"
    domain = pyness.Box([-1], [1], "open")
    own = pyness.System("own", 1, lambda x: -x, 0.1, domain, parameters={"v": [1.0]}, julia=source)
    with pytest.raises(JuliaError, match="parameters of type"):
        pyness.sample(own, "SOSRA", walkers=10, **PLAN)


@pytest.mark.julia
def test_a_missing_package_is_named(monkeypatch):
    packages = Installation.packages
    monkeypatch.setattr(
        Installation, "packages", lambda self: {k: v for k, v in packages(self).items() if k != "DiffEqGPU"}
    )
    with pytest.raises(JuliaError, match=r"lacks DiffEqGPU, which kernels need; run .*Pkg.add\(\[\"DiffEqGPU\"\]\)"):
        pyness.sample(linear(), "SOSRA", walkers=10, **PLAN)


@pytest.mark.julia
def test_cuda_is_refused_where_it_is_not():
    session = runtime.start()
    session.include("using KernelAbstractions")
    with pytest.raises(JuliaError, match="no device cuda"):
        session.call("PyNESS.backend", "cuda")
