"""The attention network as a gradient: its Jacobian, its defect, its training, files, and what it refuses.

Symmetries, fading and touching particles are tested with those of the other networks.
"""

from __future__ import annotations

import json

import pytest
import torch

import pyness
from pyness.errors import InputError
from pyness.estimators import Estimate
from pyness.estimators.score_certificate import certify_score, noisy
from pyness.sampling import Plan
from pyness.score import Score, fit, fit_score, probing, resolve_options
from pyness.score.attention import AttentionScore
from pyness.score.energy import EnergyScore
from pyness.score.networks import build, describe
from pyness.score.paths import course_for, follow
from pyness.systems import ParticleSystem, RotatingActivity, get
from pyness.systems.derivatives import jacobian
from tests.score.test_fit import gaussian, own_particles
from tests.score.test_networks import diagonal, network, states

QUIET = ("aoup-harmonic", {"n_particles": 3, "space_dim": 2, "eps": 0.0})
CASES = {
    "mips": ("aoup-mips", {"n_particles": 5, "packing": 0.15}, True),
    "mips, eps > 0": ("aoup-mips", {"n_particles": 5, "packing": 0.15, "eps": 0.01}, True),
    "trap": ("aoup-trap-64", {"n_particles": 3}, True),
    "trap, not turned": ("aoup-trap-64", {"n_particles": 3}, False),
    "harmonic": ("aoup-harmonic", {"n_particles": 3, "space_dim": 1}, True),
    "harmonic, eps = 0": (*QUIET, False),
    "headings": ("abp", {"n_particles": 5, "packing": 0.15}, True),
}
LITTLE = {"hidden": 8, "channels": 2, "width": 16}


def asymmetry(made, x):
    """How far the Jacobian of the score in coordinates with noise is from symmetric, relative to its largest entry."""
    loud = noisy(made.system)
    J = jacobian(made, x)[:, loud][:, :, loud]
    return ((J - J.mT).abs().max() / J.abs().max()).item()


@pytest.mark.parametrize("case", CASES)
def test_the_score_is_a_gradient_and_knows_its_derivatives(case, monkeypatch):
    monkeypatch.setattr(probing, "EXACT_UP_TO", 1000)
    name, parameters, equivariant = CASES[case]
    system, made = network(name, EnergyScore, system=parameters, equivariant=equivariant, **LITTLE)
    x = states(system, 1)
    assert asymmetry(made, x) < 1e-13
    assert asymmetry(made.float(), x) < 1e-5
    other = network(name, AttentionScore, system=parameters, equivariant=equivariant, **LITTLE)[1]
    assert asymmetry(other, x) > 1e-3
    made.double()
    s, terms = made.with_terms(x)
    torch.testing.assert_close(s, made(x))
    exact = diagonal(made, x) * system.diffusion.value
    for found, expected in zip(system.split(terms), system.split(exact), strict=True):
        torch.testing.assert_close(found.sum(-1), expected.sum(-1), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("shift", ["none", "equilibrium", "persistent"])
def test_known_parts_are_gradients(shift):
    system, made = network("aoup-mips", EnergyScore, system={"n_particles": 6, "packing": 0.2}, **LITTLE)
    made.shift = shift
    assert asymmetry(made, states(system, 1)) < 1e-13


def test_probes_are_right_on_average(monkeypatch):
    system, made = network("aoup-trap-64", EnergyScore, system={"n_particles": 4}, **LITTLE)
    x = states(system)
    monkeypatch.setattr(probing, "EXACT_UP_TO", 1000)
    exact = made.with_terms(x)[1].sum(-1)
    monkeypatch.setattr(probing, "EXACT_UP_TO", 0)
    drawn = made.with_terms(x.repeat(100, 1), torch.Generator().manual_seed(0))[1].sum(-1).reshape(100, 2)
    assert ((drawn.mean(0) - exact).abs() < 4 * drawn.std(0) / 10).all()
    assert (drawn.std(0) > 1e-6).all()


def test_where_all_coordinates_have_noise_any_weights_have_no_defect():
    system, made = network("aoup-harmonic", EnergyScore, system={"n_particles": 3}, **LITTLE)
    samples = gaussian(system, 2000, 1)
    found = certify_score(system, samples, made.with_terms, gradient=True)
    assert found.gradient
    assert abs(found.defect.z) < 4
    assert found.excess.value > 20 * found.excess.stderr  # far off, and yet
    assert abs(found.midpoint.value - system.truth.epr) < 4 * found.midpoint.stderr
    other = network("aoup-harmonic", AttentionScore, system={"n_particles": 3}, **LITTLE)[1]
    assert abs(certify_score(system, samples, other.with_terms).defect.z) > 8


def test_without_noise_of_positions_the_midpoint_needs_no_divergence():
    # E[v_g . (s_t - s_g)] of s_t = grad_g h is no 0 but E[lap U - F_x . grad_x h], and the part of the activities
    # that is current E[F_x . grad_x h]: what is 0 is E[v . grad h] over all coordinates (active_matter.md, section 5)
    system, made = network(QUIET[0], EnergyScore, system=QUIET[1], **LITTLE)
    samples = gaussian(system, 1500, 2)
    found = certify_score(system, samples, made.with_terms, gradient=True)
    assert found.gradient is None
    x, g = system.split(samples.states[:, 0])
    pairs = made._pairs(x)
    by_x = torch.func.grad(lambda y: made.energy(system.join(y, g), pairs).sum())(x)
    whole = ((system.forces(x) + system.activity.push(g)) * by_x).sum((-1, -2))
    midpoint = found.blocks["activity"].midpoint
    said = Estimate.over_walkers(whole.unsqueeze(1))
    assert abs(said.value) > 8 * said.stderr
    assert abs(midpoint.value - said.value) < 4 * (midpoint.stderr + said.stderr)
    assert abs(found.defect.value - (system.truth.activity_epr - said.value)) < 4 * (found.defect.stderr + said.stderr)


def excess(system, field, x):
    """``E|s_t - s|_D^2`` over ``E|s|_D^2``, of coordinates with noise, at states of which the truth is known."""
    loud, D = noisy(system), system.diffusion.value
    truth, found = (torch.where(loud, f(x), 0.0) for f in (system.truth.score, field))
    return ((D * (found - truth).square()).sum(-1).mean() / (D * truth.square()).sum(-1).mean()).item()


@pytest.mark.parametrize("loss", ["drift", pytest.param("implicit", marks=pytest.mark.validate)])
def test_a_learnt_score_of_two_coupled_particles(loss, monkeypatch):
    monkeypatch.setattr(fit, "LOOKS", 1)
    system = get("aoup-harmonic")
    score = fit_score(
        system, gaussian(system, 3000, 2), arch="attention", gradient=True, loss=loss, steps=50, batch=64,
        **LITTLE, progress=False,
    )  # fmt: skip
    fresh = gaussian(system, 2000, 3)
    true = excess(system, score.score, fresh.states[:, 0])
    # a tenth of what the shift leaves, (2.5 - 0.59) of E|s|_D^2 = 4.8: it has learnt, if from few states
    assert true < 0.1 * (2.5 - 0.59) / 4.8
    report = score.report(fresh)
    assert abs(report.gradient_error.value - true) < 4 * report.gradient_error.stderr
    assert abs(report.defect.z) < 4
    assert not any("defect" in note for note in report.warnings)
    assert abs(report.epr.value - system.truth.epr) < 4 * report.epr.stderr


def test_a_learnt_score_from_paths(monkeypatch):
    monkeypatch.setattr(fit, "LOOKS", 1)
    system = get("aoup-harmonic", n_particles=4, eps=0.0)
    samples = gaussian(system, 600, 2)
    options = {"steps": 60, "batch": 64, "paths": 200, "learning_rate": 5e-3, "progress": False}
    score = fit_score(system, samples, arch="attention", gradient=True, **options, **LITTLE)
    assert score.metadata["options"]["loss"] == "paths"
    x, targets = follow(system, samples.states[:, 0], torch.Generator().manual_seed(4), course_for(system, samples))
    # 1600 numbers that scatter so much: what is learnt from them is well within
    scatter = excess(system, lambda _: targets, x)
    assert excess(system, score.score, gaussian(system, 1000, 3).states[:, 0]) < 0.25 * scatter


SHORT = {"steps": 3, "batch": 24, "progress": False, "arch": "attention", "gradient": True, **LITTLE}


@pytest.fixture(scope="module")
def few():
    system = get("aoup-mips", n_particles=12, eps=0.01)
    return system, pyness.Samples.from_states(
        system, system.draw_start("uniform", 8, torch.Generator().manual_seed(0)).reshape(4, 2, -1)
    )


@pytest.mark.parametrize(
    "options", [{}, {"loss": "denoising", "alpha": 0.1}, {"loss": "dynamics", "alpha": 0.1}, {"loss": "implicit"},
                {"loss": "implicit", "residual": 1.0}, {"precision": "bfloat16"}],
    ids=lambda options: "-".join(map(str, options.values())) or "drift",
)  # fmt: skip
def test_every_loss_trains_it(few, options):
    score = fit_score(*few, **SHORT | options)
    assert score.network.weigh.weight.any()
    assert torch.isfinite(score.score(few[1].states)).all()


def test_saved_scores_give_the_same_bits_and_transfer(few, tmp_path):
    system, samples = few
    score = fit_score(system, samples, **SHORT)
    score.save(path := tmp_path / "model.safetensors")
    assert json.loads((tmp_path / "model.json").read_text())["network"]["gradient"] is True
    x = samples.states[:, 0]
    loaded = Score.load(path)
    assert torch.equal(loaded.score(x), score.score(x))
    assert loaded.report(samples).to_dict()["defect"] == score.report(samples).to_dict()["defect"]
    many = get("aoup-mips", n_particles=30, packing=0.3, eps=0.01)
    y = many.draw_start("uniform", 2, torch.Generator().manual_seed(1), torch.float64)
    moved = score.transferred(many)
    assert torch.equal(Score.load(path, many).score(y), moved.score(y))


def test_a_gradient_is_asked_for_and_refused(few, tmp_path):
    mips = get("aoup-mips", n_particles=20)
    plan = Plan(walkers=4, burn_in=1.0, snapshots=2, spacing=1.0)
    given = fit_score.__kwdefaults__ | {"gradient": True}
    found = resolve_options(mips, plan, 0, given)
    assert (found["arch"], found["gradient"], found["loss"]) == ("attention", True, "paths")
    assert resolve_options(few[0], plan, 0, given)["loss"] == "drift"
    with pytest.raises(InputError, match="loss is 'drift' for a score that is no gradient; give 'implicit', or"):
        fit_score(*few, **SHORT | {"gradient": False, "loss": "drift"})
    with pytest.raises(InputError, match="loss is 'drift' for 'aoup-mips', which has coordinates without noise; give"):
        resolve_options(mips, plan, 0, given | {"loss": "drift"})
    assert "gradient" not in describe(few[0], "attention", {})
    for arch in ("contacts", "local-transformer"):
        with pytest.raises(InputError, match=f"gradient is True and '{arch}' has none; it has .*'attention' has it"):
            describe(mips, arch, {"gradient": True})
    with pytest.raises(InputError, match="gradient is 1; give True or False"):
        fit_score(*few, **SHORT | {"gradient": 1})
    kinked = own_particles(16, noise=0.1)
    made = {"arch": "attention", "gradient": True}
    with pytest.raises(InputError, match="slope of whose pair force jumps by 1 at 1; leave gradient out"):
        build(kinked, made, "none")
    inside = own_particles(16, noise=0.1, pair_force=lambda r: (0.6 - r).clamp_min(0))
    with pytest.raises(InputError, match=r"slope of whose pair force jumps by 1 at 0\.6; leave gradient out"):
        build(inside, made, "none")
    build(own_particles(16), made, "none")  # nothing is derived by positions where they have no noise
    build(own_particles(16, noise=0.1, pair_force=lambda r: (1 - r).square()), made, "none")
    steep = own_particles(16, noise=0.1, pair_force=lambda r: (r.square() + 1e-3) ** -6 * (1 - r) ** 3)
    build(steep, made, "none")


def test_the_size_of_an_energy_is_a_number_where_forces_attract():
    """Of a tenth of the states ``-E[div F]`` comes out as less than 0 here, of all of them as more."""
    system = ParticleSystem(
        "attract", 12, 2, RotatingActivity(0.5, 0.5), 0.1, pair_force=lambda r: -3 * (1 - r).square(), cutoff=1.0,
        box=pyness.Box([0.0, 0.0], [4.0, 4.0], "periodic"),
    )  # fmt: skip
    x = system.draw_start("uniform", 6000, torch.Generator().manual_seed(0))
    assert system.drift_divergence(x.double()).mean() < 0 < system.drift_divergence(x[::10].double()).mean()
    made = build(system, {"arch": "attention", "gradient": True} | LITTLE, "none")
    made.calibrate(pyness.Samples.from_states(system, x.reshape(3000, 2, -1)))
    assert torch.isfinite(made.size)
