"""The certificate of scores against the closed form of two coupled particles, for scores that are wrong on purpose."""

from __future__ import annotations

import math

import pytest
import torch

import pyness
from pyness.errors import InputError
from pyness.estimators.control import controlled
from pyness.estimators.particle_observables import ParticleObservables
from pyness.estimators.score_certificate import certify_score
from pyness.estimators.score_free import active_work_epr
from pyness.systems import Box, OrnsteinUhlenbeckActivity, ParticleSystem, get
from pyness.systems.derivatives import jacobian
from pyness.systems.ornstein_uhlenbeck import covariance

# active_matter.md, section 5, case A: two trapped particles with a spring
EPR, FISHER = 0.58968, 2 * 2.0 + 2 * 0.4


def with_terms(system, score):
    def both(x):
        J = jacobian(lambda y: system.diffusion.apply(y, score(y)), x)
        return score(x), torch.diagonal(J, dim1=-2, dim2=-1)

    return both


def gaussian(system, count, seed):
    A = -system.drift(torch.eye(system.dim, dtype=torch.float64)).mT
    S = covariance(A, system.diffusion.value)
    normal = torch.randn(count, system.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return pyness.Samples.from_states(system, normal @ torch.linalg.cholesky(S).mT)


def tilt():
    T = torch.zeros(4, 4, dtype=torch.float64)
    T[0, 0], T[0, 2], T[1, 3], T[2, 0], T[3, 1] = 0.3, 0.6, 0.6, -0.5, -0.5
    return T


SCORES = {
    "exact": (lambda system: system.truth.score, 0.0, 0.0),
    "of equilibrium": (
        lambda system: lambda x: torch.cat([system.forces(x[:, :2, None])[..., 0] / system.noise, -x[:, 2:]], -1),
        0.0,
        1.91032,
    ),
    "not a gradient": (lambda system: lambda x: system.truth.score(x) - x @ tilt().mT, -0.25946, 0.24060),
}


@pytest.mark.parametrize("name", SCORES)
def test_certificate_of_known_scores(name):
    make, defect, excess = SCORES[name]
    system = get("aoup-harmonic")
    found = certify_score(system, gaussian(system, 60_000, 5), with_terms(system, make(system)))
    expected = {
        "epr": EPR, "score_free": EPR, "defect": defect, "excess": excess, "upper": EPR + excess,
        "lower": EPR - excess, "midpoint": EPR - defect, "relative": excess / FISHER,
        "against_current": excess / EPR, "scale_free": (EPR - defect) ** 2 / (EPR + excess - 2 * defect),
    }  # fmt: skip
    for key, value in expected.items():
        estimate = getattr(found, key)
        assert abs(estimate.value - value) < 4 * estimate.stderr, key
        assert 0 < estimate.stderr < 0.1, key
    assert found.complete
    truth = {"activity": system.truth.activity_epr, "position": system.truth.epr - system.truth.activity_epr}
    for key, block in found.blocks.items():
        assert block.lower.value < truth[key] + 4 * block.lower.stderr
        assert block.upper.value > truth[key] - 4 * block.upper.stderr
        assert block.lower.value - 1e-12 <= block.scale_free.value < truth[key] + 4 * block.scale_free.stderr
        assert block.scale_free.stderr < 0.1
    if name == "exact":
        assert list(found.identities) == ["I1", "I2", "I3", "I4, positions", "I4, activities", "I5", "I7", "I8"]
        for vanishing in found.identities.values():
            assert abs(vanishing.value) < 4 * vanishing.stderr + 1e-9
    elif name == "not a gradient":  # I2 = I4 - err and I3 = C - I4 (docs/active_matter.md, 4)
        zero = found.identities["I4, positions"].value + found.identities["I4, activities"].value
        assert found.identities["I2"].value == pytest.approx(zero - excess, abs=0.02)
        assert found.identities["I3"].value == pytest.approx(defect - zero, abs=0.02)
    if name == "exact":
        block = found.blocks["activity"]
        assert abs(block.lower.value - truth["activity"]) < 4 * block.lower.stderr + 1e-12
        assert abs(block.naive.value - truth["activity"]) < 4 * block.naive.stderr


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize(("mix", "excess"), [(0.0, 0.0), (0.5, 1.0), (1.0, 4.0)])
def test_without_noise_of_the_positions_the_activity_part_is_certified(mix, excess, gradient):
    # exact score, the score of equilibrium, and their mean: gamma times the error is 0, tr H = 4, tr H / 4; all three
    # are gradients, and yet their defect over the activities alone is not 0 but mix times tr H
    system = get("aoup-harmonic", eps=0.0)
    found = certify_score(
        system,
        gaussian(system, 40_000, 6),
        with_terms(
            system, lambda x: (1 - mix) * system.truth.score(x) + mix * torch.cat([0 * x[:, :2], -x[:, 2:]], -1)
        ),
        gradient=gradient,
    )
    assert not found.complete
    assert abs(found.defect.value - 4 * mix) < 4 * found.defect.stderr + 1e-9
    assert abs(found.excess.value - excess) < 4 * found.excess.stderr + 1e-9
    assert abs(found.epr.value - 4.0) < 1e-9  # lap U is a constant here
    assert abs(found.against_current.value - excess / 4) < 4 * found.against_current.stderr + 1e-9
    assert list(found.blocks) == ["activity"]
    # without noise of positions E[div_g v_g] = E[lap U] says how much of the current a score has
    assert list(found.identities) == ["I4, activities", "I5", "I7", "I8"]
    assert abs(found.identities["I8"].value + 4 * mix) < 1e-9
    if mix == 0:
        assert all(abs(value.value) < 4 * value.stderr + 1e-9 for value in found.identities.values())


#: Linear systems ``dz = -A z dt + noise``, of which the first coordinates have no noise: an oscillator in equilibrium,
#: and one of three coordinates that leaks (``div_a F != 0``), feels itself and is fed from the third.
DEGENERATE = {
    "oscillator": ([[0.0, -1.0], [1.5, 0.5]], [0.0, 0.5 * 0.8]),
    "driven": ([[0.3, -1.0, 0.4], [1.2, 0.8, -0.7], [-0.5, 0.6, 0.9]], [0.0, 0.5, 0.2]),
}


@pytest.mark.parametrize("wrong", [0.0, 0.6])
@pytest.mark.parametrize("name", DEGENERATE)
def test_coordinates_without_noise_of_plain_systems_leave_the_others_certified(name, wrong):
    A, D = (torch.tensor(values, dtype=torch.float64) for values in DEGENERATE[name])
    system = pyness.System(name, len(D), lambda x: -x @ A.mT.to(x), D.tolist())
    S = covariance(A, D)
    loud = D > 0
    exact = -torch.linalg.inv(S) * loud[:, None]
    off = wrong * torch.tensor([[0.4, 0.5, -0.3], [0.7, -0.2, 0.6], [0.1, 0.5, 0.3]]).double()[: len(D), : len(D)]
    off = off * loud[:, None]
    learnt = exact + off

    def score(x):
        return x @ learnt.mT, (D * learnt.diagonal()).expand(x.shape)

    found = certify_score(system, gaussian(system, 40_000, 10), score, gradient=True)
    v = (-A - D[:, None] * exact) * loud[:, None]
    inverse = torch.where(loud, 1 / D, 0.0)

    def mean(left, weight, right):
        """``E[l . weight r]`` of the linear fields ``left`` and ``right``."""
        return torch.einsum("i,ij,jk,ik->", weight, left, S, right).item()

    epr, excess, defect = mean(v, inverse, v), mean(off, D, off), mean(v, loud.double(), off)
    if name == "oscillator":
        assert epr == pytest.approx(1.5 / 0.5)  # k / gamma, in equilibrium: velocities are odd
    assert mean(exact, D, exact) == pytest.approx(A.trace().item())  # E|s_b|_D^2 = -E[div F]
    expected = {
        "epr": epr, "score_free": epr, "defect": defect, "excess": excess, "upper": epr + excess,
        "lower": epr - excess, "relative": excess / A.trace().item(), "against_current": excess / epr,
    }  # fmt: skip
    for key, value in expected.items():
        estimate = getattr(found, key)
        assert abs(estimate.value - value) < 4 * estimate.stderr + 1e-9, key
        assert estimate.stderr < 0.05, key
    assert (found.complete, found.gradient, found.epr_from) == (False, None, "score-free form")
    assert not found.blocks
    assert found.by_particle is None


def test_each_particle_has_its_share_of_the_error():
    # of the first particle the score of equilibrium, whose error is lap_i U, of the others the exact one
    system = get("aoup-harmonic", n_particles=3, space_dim=2, eps=0.0)
    drawn = gaussian(system, 9 * 4000, 7).states.reshape(9, 4000, -1)  # too few walkers for controls
    first = torch.arange(12) // 2 == 3
    score = with_terms(system, lambda x: torch.where(first, -x, system.truth.score(x)))
    found = certify_score(system, pyness.Samples.from_states(system, drawn), score)
    assert found.by_particle.shape == (9, 3)
    for column, error in zip(found.by_particle.unbind(1), (2 * (0.7 + 2 * 1.3), 0.0, 0.0), strict=True):
        estimate = pyness.Estimate.over_walkers(column)
        assert abs(estimate.value - error) < 4 * estimate.stderr
        assert estimate.stderr < 0.05
    total = pyness.Estimate.over_walkers(found.by_particle.sum(1))
    assert total.value == pytest.approx(found.excess.value, abs=1e-9)
    assert total.stderr == pytest.approx(found.excess.stderr, abs=1e-9)


def test_particles_of_several_kinds_have_an_error_together_only():
    mixed = ParticleSystem(
        "mixed", 2, 1, OrnsteinUhlenbeckActivity(0.5, 0.4), trap=0.7, species=[0, 1],
        pair_force=lambda r, a, b: -1.3 * r,
    )  # fmt: skip
    one = get("aoup-harmonic", eps=0.0)
    samples = gaussian(one, 40, 8)
    score = with_terms(one, one.truth.score)
    assert certify_score(mixed, pyness.Samples.from_states(mixed, samples.states), score).by_particle is None
    assert certify_score(get("aoup-harmonic"), gaussian(get("aoup-harmonic"), 40, 8), score).by_particle is None


def test_the_work_of_the_activities_is_the_entropy_production():
    headings = get("abp", k=0.0, n_particles=12)
    states = headings.draw_start("uniform", 50, torch.Generator().manual_seed(0), torch.float64)
    found = active_work_epr(headings, pyness.Samples.from_states(headings, states))
    assert found.value == pytest.approx(headings.truth.epr)
    system = get("aoup-harmonic", n_particles=3)
    samples = gaussian(system, 8 * 4000, 9)
    few = pyness.Samples.from_states(system, samples.states.reshape(8, 4000, -1))
    work, plain = active_work_epr(system, few), pyness.score_free_epr(system, few)
    assert abs(work.value - system.truth.epr) < 4 * work.stderr
    assert work.stderr < plain.stderr
    # with too few walkers for controls it is what is quoted
    found = certify_score(system, few, with_terms(system, system.truth.score))
    assert (found.epr, found.epr_from) == (work, "active work")
    assert found.score_free.value == pytest.approx(plain.value)


def test_what_has_no_work_of_activities_is_quoted_without():
    ring = Box([0.0], [6.0], "periodic")
    tilted = ParticleSystem(
        "tilted", 1, 1, OrnsteinUhlenbeckActivity(0.3, 1.0), 0.3, external=lambda x: torch.full_like(x, 0.5), box=ring
    )
    samples = pyness.Samples.from_states(tilted, tilted.draw_start("uniform", 8, torch.Generator().manual_seed(0)))
    found = certify_score(tilted, samples, lambda x: (torch.zeros_like(x), torch.zeros_like(x)))
    assert (found.epr, found.epr_from) == (found.score_free, "score-free form")
    for system in (tilted, get("aoup-harmonic", eps=0.0), get("limit-cycle")):
        with pytest.raises(InputError, match="take score_free_epr"):
            active_work_epr(system, samples)


def test_a_defect_that_is_not_zero_takes_no_noise_out_of_anything():
    # called a gradient by mistake: its defect of -0.26 as a control with mean 0 would move the entropy production
    system = get("aoup-harmonic")
    score = with_terms(system, lambda x: system.truth.score(x) - x @ tilt().mT)
    plain, claimed = (certify_score(system, gaussian(system, 20_000, 5), score, gradient=g) for g in (False, True))
    assert plain.gradient is None
    assert claimed.gradient is False
    assert claimed.epr == plain.epr
    exact = certify_score(system, gaussian(system, 20_000, 5), with_terms(system, system.truth.score), gradient=True)
    assert exact.gradient


def test_energy_is_no_test_function_of_forces_that_are_no_gradient():
    def particles(tilt):
        return ParticleSystem(
            "ring", 3, 1, OrnsteinUhlenbeckActivity(0.3, 1.0), 0.3, external=lambda x: tilt + 0.6 * torch.sin(x),
            box=Box([0.0], [2 * math.pi], "periodic"),
        )  # fmt: skip

    for system, last in ((particles(0.0), "energy"), (particles(0.5), "|density mode x|^2")):
        observables = ParticleObservables(system)
        x = system.draw_start("uniform", 2, torch.Generator().manual_seed(0), torch.float64)
        assert observables.names[-1] == last
        assert observables.generator(system, x).shape == (2, len(observables))


def test_controls_keep_the_mean_and_take_the_noise():
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(400, 3, generator=generator)
    own = 0.1 * torch.randn(400, generator=generator)
    plain = pyness.Estimate.over_walkers(2.0 + z @ torch.tensor([1.0, -2.0, 0.0]) + own)
    with_controls = controlled(2.0 + z @ torch.tensor([1.0, -2.0, 0.0]) + own, z)
    assert abs(with_controls.value - 2.0) < 4 * with_controls.stderr
    assert with_controls.stderr == pytest.approx(0.1 / 20, rel=0.15)
    assert plain.stderr > 10 * with_controls.stderr
    few = controlled(z[:5, 0], z[:5])
    assert few == pyness.Estimate.over_walkers(z[:5, 0])


@pytest.mark.parametrize("name", ["aoup-mips", "aoup-trap-64", "abp"])
def test_generators_of_particle_observables_are_derivatives(name):
    system = get(name, n_particles=12, eps=0.3)
    observables = ParticleObservables(system)
    x = system.draw_start("uniform", 2, torch.Generator().manual_seed(0), torch.float64)
    found = observables.generator(system, x)
    D = system.diffusion.value

    def value(y):
        return observables.values(y.unsqueeze(0)).squeeze(0)

    for row, at in enumerate(x):
        gradient = torch.func.jacrev(value)(at)
        slope = torch.func.jacrev(value)
        pushed = [torch.func.jvp(slope, (at,), (unit,))[1] for unit in torch.eye(len(at)).double()]
        curvature = torch.stack([column[:, axis] for axis, column in enumerate(pushed)], dim=1)
        expected = gradient @ system.drift(at) + curvature @ D
        torch.testing.assert_close(found[row, :-1], expected, atol=1e-9, rtol=1e-9)
    positions = system.split(x)[0]
    force = system.forces(positions)
    drift = force + system.activity.push(system.split(x)[1])
    energy = (-(force * drift).sum((-1, -2)) + 0.3 * system.laplacian(positions).sum(-1)) / 12
    torch.testing.assert_close(found[:, -1], energy)
    assert len(observables) == found.shape[1] == len(observables.names)


def test_stationarity_of_particles_tells_a_steady_state_from_a_start():
    system = get("aoup-trap-64", n_particles=4, trap=0.5, gamma=0.5, v0=0.5)
    plan = {"walkers": 500, "snapshots": 2, "seed": 1, "progress": False, "dt": 0.01}
    early = pyness.sample(system, engine="torch", burn_in=0.0, spacing=0.1, **plan)
    late = pyness.sample(system, engine="torch", burn_in=10.0, burn_in_dt=0.02, spacing=1.0, **plan)
    assert not pyness.stationarity(system, early).passed
    assert pyness.stationarity(system, late).passed
    sixth = active_work_epr(system, late)
    plain = pyness.score_free_epr(system, late)
    assert abs(sixth.value - plain.value) < 4 * math.hypot(sixth.stderr, plain.stderr)
