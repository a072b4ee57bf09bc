"""Particle systems against brute force and derivatives, the exact ones against their stationarity equation."""

from __future__ import annotations

import math

import pytest
import torch

import pyness
from pyness.errors import InputError, SystemDefinitionError
from pyness.estimators import fisher_information
from pyness.systems import Box, OrnsteinUhlenbeckActivity, ParticleSystem, get
from pyness.systems.derivatives import value_and_divergence

SMALL = {
    "aoup-free": {"n_particles": 3},
    "aoup-harmonic": {"n_particles": 3, "space_dim": 2},
    "aoup-ring": {},
    "aoup-trap-64": {"n_particles": 6},
    "aoup-mips": {"n_particles": 54, "packing": 0.8},
    "abp": {"n_particles": 52, "packing": 0.8},
}
EXACT = {
    "aoup-free": SMALL["aoup-free"],
    "aoup-harmonic": SMALL["aoup-harmonic"],
    "abp": {"n_particles": 20, "k": 0.0},
}


def states(system, count=2, seed=0):
    return system.draw_start("uniform", count, torch.Generator().manual_seed(seed), torch.float64)


@pytest.fixture(params=SMALL)
def system(request):
    return get(request.param, **SMALL[request.param])


def test_divergence_and_curvature_are_derivatives_of_the_forces(system):
    x = states(system)
    drift, divergence = system.drift_and_divergence(x)
    assert torch.equal(drift, system.drift(x))
    assert torch.equal(divergence, system.drift_divergence(x))
    torch.testing.assert_close(divergence, value_and_divergence(system.drift, x)[1])
    positions = system.split(x)[0]
    u = torch.randn(positions.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    pushed = torch.func.jvp(system.forces, (positions,), (u,))[1]
    torch.testing.assert_close(system.curvature(positions, u), -pushed)


def test_forces_by_particle_add_up_to_the_published_formula():
    system = get("aoup-mips", n_particles=60, packing=0.9)
    x = system.split(states(system, 1))[0][0]
    width = system.box.width[0]
    expected = torch.zeros_like(x)
    for i in range(60):
        d = x[i] - x
        d = d - width * torch.round(d / width)
        r = d.norm(dim=-1)
        r[i] = torch.inf
        expected[i] = (torch.log1p(torch.exp(7.5 * (2 - r))) / 7.5 / r)[:, None].mul(d).sum(0)
    torch.testing.assert_close(system.forces(x[None])[0], expected, atol=1e-7, rtol=1e-6)


def test_state_views_and_translation(system):
    x = states(system, 3)
    positions, activities = system.split(x)
    assert positions.shape == (3, system.n_particles, system.space_dim)
    assert positions.data_ptr() == x.data_ptr()
    assert torch.equal(system.join(positions, activities), x)
    if system.box.periodic and system.external is None:
        moved = positions + 0.37 * system.box.width[0]
        moved = moved - system.box.width[0] * torch.floor(moved / system.box.width[0])
        torch.testing.assert_close(system.forces(moved), system.forces(positions), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", EXACT)
def test_exact_scores_solve_the_stationarity_equation(name):
    system = get(name, **EXACT[name])
    x = states(system, 5)

    def velocity(y):
        return system.drift(y) - system.diffusion.apply(y, system.truth.score(y))

    v, div = value_and_divergence(velocity, x)
    assert (div + (v * system.truth.score(x)).sum(-1)).abs().max() < 1e-12


def test_two_trapped_particles_have_the_closed_form():
    # the independent route: Lyapunov equation and trace formula of the Ornstein-Uhlenbeck process
    from pyness.systems.ornstein_uhlenbeck import entropy_production

    system = get("aoup-harmonic")
    A = -system.drift(torch.eye(4, dtype=torch.float64)).mT
    assert system.truth.epr == pytest.approx(entropy_production(A, system.diffusion.value), rel=1e-12)
    assert system.truth.epr == pytest.approx(0.58968, abs=5e-6)


def test_activity_part_of_a_trapped_particle():
    system = get("aoup-harmonic", n_particles=1, trap=0.05, v0=0.2, gamma=0.1, eps=0.1)
    assert system.truth.epr == pytest.approx(0.26667, abs=1e-5)
    assert system.truth.activity_epr == pytest.approx(0.0320, abs=5e-5)
    persistent = get("aoup-harmonic", eps=0.0)
    assert persistent.truth.epr is None
    assert persistent.truth.activity_epr == pytest.approx(2 * 0.7 + 2 * 1.3)  # tr H


def test_packing_sets_the_box():
    assert get("aoup-mips").box.width[0] == pytest.approx(160.42, abs=0.01)
    assert get("aoup-mips", n_particles=8192, packing=0.25).n_particles * math.pi / 0.25 == pytest.approx(
        get("aoup-mips", n_particles=8192, packing=0.25).volume
    )


def test_species_reach_the_pair_force():
    system = ParticleSystem(
        "mixture", 4, 1, OrnsteinUhlenbeckActivity(0.1, 1.0), 0.1, species=[0, 0, 1, 1],
        pair_force=lambda r, a, b: torch.where(a == b, 1.0, -1.0) * torch.exp(-r),
    )  # fmt: skip
    x = torch.tensor([[[0.0], [1.0], [10.0], [11.0]]], dtype=torch.float64)
    force = system.forces(x)[0, :, 0]
    assert force[0] < 0 < force[1]
    alone = ParticleSystem("pair", 2, 1, OrnsteinUhlenbeckActivity(0.1, 1.0), 0.1, pair_force=lambda r: torch.exp(-r))
    assert force[0] == pytest.approx(alone.forces(x[:, :2])[0, 0, 0].item(), rel=1e-3)


def test_touching_particles_have_finite_forces_and_gradients():
    system = get("aoup-mips", n_particles=55)
    x = system.split(states(system, 1))[0]
    x[0, 1] = x[0, 0]
    x.requires_grad_()
    force = system.forces(x)
    (gradient,) = torch.autograd.grad(force.square().sum(), x)
    assert torch.isfinite(force).all()
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("aoup-mips", {"packing": 1.0}, "packing fraction is 1.0; give one between 0 and 1"),
        ("aoup-mips", {"n_particles": 4, "packing": 0.5}, "cutoff 4 is larger than half the box"),
        ("aoup-mips", {"n_particles": 0}, "give a whole number of at least 1"),
        ("aoup-trap-64", {"n_particles": 0}, "give a whole number of at least 1"),
        ("aoup-free", {"n_particles": 0}, "give a whole number of at least 1"),
        ("aoup-mips", {"v0": -1.0}, "v0 is -1.0"),
        ("aoup-mips", {"gamma": 0.0}, "gamma is 0.0"),
        ("aoup-harmonic", {"trap": 0.0}, "give trap > 0"),
        *((name, {"gamma": 0.0}, "gamma is 0.0; give a rate") for name in sorted(SMALL)),
        *((name, {"eps": -0.1}, "noise is -0.1; give eps of at least 0") for name in sorted(SMALL)),
        ("aoup-ring", {"eps": 0.0, "gamma": 0.0}, "gamma is 0.0"),
        ("aoup-mips", {"k": 0.0}, "k is 0.0; give a stiffness greater than 0"),
        ("aoup-trap-64", {"k": -1.0}, "k is -1.0"),
        ("aoup-mips", {"beta": 0.0}, "beta is 0.0"),
        ("aoup-ring", {"beta": -7.5}, "beta is -7.5"),
        ("abp", {"k": 0.0, "beta": 0.0}, "beta is 0.0"),
    ],
)
def test_wrong_parameters_are_refused_in_one_line(name, options, message):
    with pytest.raises(SystemDefinitionError) as caught:
        get(name, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_definitions_are_refused():
    activity = OrnsteinUhlenbeckActivity(0.1, 1.0)
    with pytest.raises(SystemDefinitionError, match="reflecting"):
        ParticleSystem("p", 2, 1, activity, box=Box([0.0], [1.0], "reflect"))
    with pytest.raises(SystemDefinitionError, match="without a cutoff"):
        ParticleSystem("p", 2, 1, activity, pair_force=torch.exp, box=Box([0.0], [1.0], "periodic"))
    with pytest.raises(SystemDefinitionError, match="pair_force failed"):
        ParticleSystem("p", 2, 1, activity, pair_force=lambda r: r.nonsense())
    with pytest.raises(SystemDefinitionError, match="pair_force does not return"):
        ParticleSystem("p", 2, 1, activity, pair_force=lambda r: r.sum())
    for cutoff in (0, -1.0, math.inf, math.nan, True, "1"):
        with pytest.raises(SystemDefinitionError, match=r"cutoff is .*; give a distance greater than 0"):
            ParticleSystem("p", 2, 1, activity, pair_force=lambda r: 0 * r, cutoff=cutoff)
    with pytest.raises(SystemDefinitionError, match="noise is inf"):
        ParticleSystem("p", 2, 1, activity, math.inf)
    with pytest.raises(SystemDefinitionError, match=r"a trap of stiffness 0\.5 in a periodic box"):
        ParticleSystem("p", 2, 2, activity, trap=0.5, box=Box([0.0] * 2, [1.0] * 2, ["open", "periodic"]))
    with pytest.raises(SystemDefinitionError, match="a species is -1"):
        ParticleSystem("p", 2, 1, activity, species=[-1, 0])
    for labels in (["a", "b"], [None, 0]):
        with pytest.raises(SystemDefinitionError, match=r"species are \[.*\]; give 2 whole numbers"):
            ParticleSystem("p", 2, 1, activity, species=labels)
    for wrong in ("fast", None, torch.ones(2)):
        with pytest.raises(SystemDefinitionError, match=r"v0 is .*; give a finite speed of at least 0"):
            OrnsteinUhlenbeckActivity(wrong, 1.0)
        with pytest.raises(SystemDefinitionError, match=r"gamma is .*; give a rate greater than 0"):
            OrnsteinUhlenbeckActivity(1.0, wrong)
    with pytest.raises(SystemDefinitionError, match="activity is 'ou'; give an OrnsteinUhlenbeckActivity"):
        ParticleSystem("p", 2, 1, "ou")
    with pytest.raises(SystemDefinitionError, match=r"box is \[20, 20\]; give a Box"):
        ParticleSystem("p", 2, 2, activity, box=[20, 20])


def test_a_pair_force_that_jumps_at_its_cutoff_is_refused():
    # lap U lacks the delta there, and with it the score-free entropy production and all identities
    def particles(force, cutoff, **more):
        return ParticleSystem(
            "p", 4, 2, OrnsteinUhlenbeckActivity(0.1, 1.0), 0.1, pair_force=force, cutoff=cutoff, **more
        )

    with pytest.raises(SystemDefinitionError, match="jumps by 1 of its median at its cutoff 1; subtract its value"):
        particles(torch.ones_like, 1.0)
    with pytest.raises(SystemDefinitionError, match="at its cutoff"):
        particles(lambda r: torch.exp(-r), 1.0)
    particles(lambda r: torch.exp(-r) - math.exp(-1.0), 1.0)
    particles(lambda r: torch.exp(-r), 10.0)
    # Lennard-Jones, of which the force in its core must not count
    with pytest.raises(SystemDefinitionError, match="at its cutoff"):
        particles(lambda r: 24 * (2 / r**13 - 1 / r**7), 2.5)
    particles(lambda r: 24 * (2 / r**13 - 1 / r**7), 3.5)
    particles(lambda r: 24 * (2 / r**13 - 1 / r**7), 2 ** (1 / 6))
    for beta in (1.0, 7.5, 100.0):
        get("aoup-mips", n_particles=400, beta=beta)

    def mixed(r, a, b):
        return torch.where(a == b, 1 - r, torch.exp(-r))

    particles(mixed, 1.0, species=[1, 1, 1, 1])
    with pytest.raises(SystemDefinitionError, match="at its cutoff"):
        particles(mixed, 1.0, species=[0, 0, 1, 1])


def test_the_ring_has_its_limit_without_noise_of_the_position():
    # active_matter.md, 11.5: E[lap U] is 0.2975, 0.3061 and 0.3142 at eps of 0.1, 0.05 and 0.025, and rises to
    system = get("aoup-ring", eps=0.0)
    plan = {"walkers": 1000, "burn_in": 50.0, "snapshots": 3, "spacing": 5.0, "seed": 1, "progress": False}
    samples = pyness.sample(system, "SOSRA:adaptive=false,dt=0.05", "torch", **plan)
    assert pyness.stationarity(system, samples).passed
    curvature = fisher_information(system, samples)
    assert curvature.value - 0.1 == pytest.approx(0.33, abs=0.01 + 4 * curvature.stderr)


@pytest.mark.parametrize("name", ["aoup-mips", "aoup-trap-64"])
@pytest.mark.parametrize("kind", ["uniform", "clustered"])
def test_starts_have_the_density_they_are_named_after(name, kind):
    # positions in shares of the box: cos(2 pi k (u - 1/2)) has the mean 0, or the characteristic function of the blob
    system = get(name, n_particles=400)
    states = system.draw_start(kind, 50, torch.Generator().manual_seed(0), torch.float64)
    x, g = system.split(system.check_states(states))  # within the box, and none at the place of another
    if name == "aoup-mips":
        assert system.n_particles * math.pi / system.volume == pytest.approx(0.5)
    u = (x - torch.tensor(system.box.low)) / torch.tensor(system.box.width) - 0.5
    for order in (1, 2, 3):
        waves = torch.cos(2 * math.pi * order * u)
        truth = 0.0 if kind == "uniform" else math.exp(-((2 * math.pi * order * 0.25) ** 2) / 2)
        for values, mean in ((waves.flatten(0, 1), truth), (waves.prod(-1).reshape(-1, 1), truth**2)):
            assert ((values.mean(0) - mean).abs() < 4 * values.std(0) / len(values) ** 0.5).all()
    if kind == "clustered" and name == "aoup-trap-64":  # nothing is wrapped round where the box is open
        assert u.var().item() == pytest.approx(1 / 16, abs=4 * (2 / u.numel()) ** 0.5 / 16)
    assert g.var().item() == pytest.approx(1.0, abs=4 * (2 / g.numel()) ** 0.5)


def test_a_start_of_another_name_is_refused():
    system = get("aoup-mips", n_particles=60)
    with pytest.raises(InputError, match="start is 'clusterd'; give 'uniform' or 'clustered'"):
        system.draw_start("clusterd", 1)
    with pytest.raises(SystemDefinitionError, match="start is 'clusterd'; give 'uniform' or 'clustered'"):
        ParticleSystem("p", 2, 1, OrnsteinUhlenbeckActivity(0.1, 1.0), start="clusterd")


def test_test_functions_are_named_in_any_dimension():
    system = get("aoup-free", n_particles=5, space_dim=4)
    states = system.draw_start("uniform", 10, torch.Generator().manual_seed(0), torch.float64)
    found = pyness.stationarity(system, pyness.Samples.from_states(system, states))
    assert "cos(x3_)" in found.names


def test_forces_that_are_no_gradient_are_told_from_those_that_are():
    activity, plane = OrnsteinUhlenbeckActivity(0.1, 1.0), Box([-1.0, 0.0], [1.0, 3.0], ["open", "periodic"])

    def found(external, box=plane):
        return ParticleSystem("p", 3, box.dim, activity, 0.1, external=external, box=box).conservative

    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    ring = Box([0.0], [3.0], "periodic")
    assert found(None)
    assert found(lambda x: -x, Box([-1.0] * 2, [1.0] * 2, "open"))
    assert found(lambda x: torch.stack([-x[..., 0] + 5.0, torch.sin(2 * math.pi * x[..., 1] / 3)], -1))
    assert not found(lambda x: -x + 0.01 * x @ turn.to(x), Box([-1.0] * 2, [1.0] * 2, "open"))
    assert not found(lambda x: torch.stack([-x[..., 0], torch.full_like(x[..., 1], 0.1)], -1))
    assert not found(lambda x: 0.01 + torch.sin(2 * math.pi * x / 3), ring)
    # a contact that jumps where particles pass each other
    assert found(lambda x: torch.sign(x - 1.234) * torch.exp(-(x - 1.234).abs()), Box([-20.0], [20.0], "periodic"))
    assert get("aoup-ring").conservative


def test_states_of_another_number_of_particles_and_coincident_ones_are_refused():
    system = get("aoup-mips", n_particles=60)
    with pytest.raises(InputError, match=r"which is 61 particles, but system 'aoup-mips' has 60"):
        pyness.Samples.from_states(system, torch.zeros(5, 4 * 61))
    x = states(system, 1)
    x[0, 2:4] = x[0, :2]
    with pytest.raises(InputError, match="start them at different places"):
        system.check_states(x)
    x = states(system, 1)
    x[0, 0] = -1.0
    with pytest.raises(InputError, match="outside the domain"):
        system.check_states(x)
