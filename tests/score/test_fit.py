"""Losses against their minima, and training: it learns, repeats, resumes, is saved, transfers and refuses."""

from __future__ import annotations

import json
import math

import pytest
import torch

import pyness
from pyness.errors import InputError, StoreError, TrainingError, UnknownNameError
from pyness.score import Score, fit_score, losses
from pyness.systems import Box, OrnsteinUhlenbeckActivity, ParticleSystem, System, get
from pyness.systems.derivatives import jacobian
from pyness.systems.ornstein_uhlenbeck import covariance


def gaussian(system, count, seed=0):
    A = -system.drift(torch.eye(system.dim, dtype=torch.float64)).mT
    S = covariance(A, system.diffusion.value)
    normal = torch.randn(count, system.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return pyness.Samples.from_states(system, normal @ torch.linalg.cholesky((S + S.mT) / 2).mT)


class Given:
    """A score as a network."""

    def __init__(self, system, score):
        self.system, self.score = system, score

    def __call__(self, x):
        return self.score(x)

    def with_terms(self, x, generator=None, probes=1):
        J = jacobian(self.score, x)
        return self.score(x), torch.diagonal(J, dim1=-2, dim2=-1) * self.system.diffusion.value


def test_the_implicit_loss_is_an_absolute_error_and_the_residual_keeps_its_divergence():
    system = get("aoup-harmonic")
    x = gaussian(system, 20_000).states[:, 0]
    generator = torch.Generator().manual_seed(0)
    exact, residual = losses.implicit(Given(system, system.truth.score), system, x, generator, residual=True)
    floor = system.drift_divergence(x)
    assert abs((exact - floor).mean()) < 4 * (exact - floor).std() / 20_000**0.5
    assert residual.abs().max() < 1e-12
    # a score that is off: the published code leaves the divergence out here
    wrong = Given(system, lambda y: system.truth.score(y) + 0.3 * torch.sin(y))
    value, residual = losses.implicit(wrong, system, x, generator, residual=True)
    error = (system.diffusion.value * (0.3 * torch.sin(x)).square()).sum(-1)
    off = value - floor - error
    assert abs(off.mean()) < 4 * off.std() / 20_000**0.5

    def velocity(y):
        return system.drift(y) - system.diffusion.apply(y, wrong(y))

    div = torch.diagonal(jacobian(velocity, x[:50]), dim1=-2, dim2=-1).sum(-1)
    torch.testing.assert_close(residual[:50], div + (velocity(x[:50]) * wrong(x[:50])).sum(-1))
    assert losses.stationarity_residual(residual, residual, 4.8).mean() > 1e-3


def test_the_drift_loss_is_the_implicit_one_of_gradients_alone():
    system = get("aoup-harmonic")
    x = gaussian(system, 20_000).states[:, 0]

    def difference(extra):
        network = Given(system, lambda y: system.truth.score(y) + extra(y))
        return losses.drift(network, system, x) - losses.implicit(network, system, x, torch.Generator())[0]

    wave = difference(lambda y: 0.3 * torch.sin(y))
    assert wave.std() > 0.1
    assert abs(wave.mean()) < 4 * wave.std() / 20_000**0.5
    # what goes round is no gradient: it lowers this loss without end
    swirl = difference(lambda y: 0.3 * torch.roll(y, system.n_particles, -1) * torch.tensor([1, 1, -1, -1]))
    assert abs(swirl.mean()) > 4 * swirl.std() / 20_000**0.5


def test_the_residual_of_random_derivatives_is_taken_of_two_draws():
    system = get("aoup-harmonic", n_particles=13)
    x = gaussian(system, 30).states[:, 0]

    def score(y):
        return system.truth.score(y) + 0.3 * torch.sin(y.roll(1, -1) + y)

    J = jacobian(score, x)

    class Drawn(Given):
        def with_terms(self, x, generator=None, probes=1):
            z = torch.randint(0, 2, x.shape, generator=generator).to(x) * 2 - 1
            return score(x), self.system.diffusion.value * z * (J @ z[..., None])[..., 0]

    generator = torch.Generator().manual_seed(0)
    true = losses.implicit(Given(system, score), system, x, generator, residual=True)[1]
    drawn = Drawn(system, score)
    draws = [losses.implicit(drawn, system, x, generator, residual=True)[1] for _ in range(800)]
    first, second = torch.stack(draws).unflatten(0, (400, 2)).unbind(1)
    truth = losses.stationarity_residual(true, true, 4.8).mean()
    for values, biased in ((losses.stationarity_residual(first, second, 4.8), False),
                           (losses.stationarity_residual(first, first, 4.8), True)):  # fmt: skip
        each = values.mean(-1)
        assert (abs(each.mean() - truth) > 8 * each.std() / 400**0.5) == biased


def test_the_residual_is_taken_where_it_is_exact_and_helps(few):
    system = get("aoup-harmonic", n_particles=1)
    samples = gaussian(system, 20_000, seed=2)
    fresh = gaussian(system, 5_000, seed=3).states[:, 0]
    truth = system.truth.score(fresh)

    def error(**options):
        score = fit_score(system, samples, **{"steps": 100, "batch": 256, "width": 32, "progress": False} | options)
        return score, (score.score(fresh) - truth).square().mean() / truth.square().mean()

    (score, with_it), (_, without) = error(), error(residual=0.0)
    assert score.metadata["options"]["residual"] == 10
    assert with_it < 0.5 * without
    assert fit_score(*few, **SHORT, **SMALL["contacts"]).metadata["options"]["residual"] == 0
    assert error(loss="denoising", alpha=0.1, steps=1)[0].metadata["options"]["residual"] == 0
    crowd = get("aoup-harmonic", n_particles=13)
    options = SHORT | SMALL["attention"] | {"residual": 1.0}
    drawn = fit_score(crowd, gaussian(crowd, 40), **options)
    assert torch.isfinite(drawn.score(gaussian(crowd, 4).states[:, 0])).all()


@pytest.mark.parametrize(("perturb", "alpha"), [("g", 0.4), ("xg", 0.3)])
def test_denoising_is_least_at_the_score_of_the_smoothed_density(perturb, alpha):
    system = get("aoup-harmonic", n_particles=1)
    samples = gaussian(system, 40_000)
    A = -system.drift(torch.eye(2, dtype=torch.float64)).mT
    S = covariance(A, system.diffusion.value)
    mask = torch.tensor([perturb == "xg", True])
    smooth = torch.linalg.inv(S + alpha**2 * torch.diag(mask.double()))

    def loss(score):
        generator = torch.Generator().manual_seed(1)
        return losses.denoising(Given(system, score), system, samples.states[:, 0], generator, alpha=alpha, mask=mask)

    best = loss(lambda x: -x @ smooth * mask)
    for factor in (0.8, 1.2):
        worse = loss(lambda x, f=factor: -f * (x @ smooth) * mask)
        difference = worse - best
        assert difference.mean() > 4 * difference.std() / 200


def test_dynamics_denoising_is_least_near_the_score():
    system = get("aoup-harmonic", n_particles=1)
    x = gaussian(system, 40_000).states[:, 0]

    def loss(factor):
        given = Given(system, lambda y: factor * system.truth.score(y))
        return losses.dynamics(given, system, x, torch.Generator().manual_seed(1), dt=0.01)

    for factor in (0.8, 1.2):
        difference = loss(factor) - loss(1.0)
        assert difference.mean() > 4 * difference.std() / 200


def test_a_learnt_score_of_two_coupled_particles(tmp_path):
    system = get("aoup-harmonic")
    samples = gaussian(system, 12_000, seed=2)
    score = fit_score(system, samples, steps=150, batch=512, log=tmp_path / "log.jsonl", progress=False)
    fresh = gaussian(system, 5_000, seed=3).states[:, 0]
    truth = system.truth.score(fresh)
    error = (score.score(fresh) - truth).square().mean() / truth.square().mean()
    assert error < 0.02
    report = score.report(samples)
    for estimate, expected in ((report.epr, system.truth.epr), (report.epr_score_free, system.truth.epr)):
        assert abs(estimate.value - expected) < 4 * estimate.stderr
    assert report.epr_lower.value - 4 * report.epr_lower.stderr < system.truth.epr
    assert report.epr_upper.value + 4 * report.epr_upper.stderr > system.truth.epr
    assert report.epr.stderr < 0.5 * report.epr_score_free.stderr
    assert abs(report.defect.value) < 4 * report.defect.stderr
    part = report.extra["parts"]["activity"]
    assert abs(part["lower"]["value"] - system.truth.activity_epr) < 4 * part["lower"]["stderr"] + 0.02
    assert report.extra["convention"] == "g even under time reversal"
    assert json.loads(json.dumps(report.to_dict()))["defect"]["stderr"] > 0
    v = score.current_velocity(fresh)
    torch.testing.assert_close(v, system.drift(fresh) - system.diffusion.apply(fresh, score.score(fresh)))
    last = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 150


def test_a_ring_that_is_tilted_has_the_entropy_production_of_the_grid(monkeypatch):
    # its force is no gradient: what is known of equilibrium is no part of its score, and was taken for a gradient
    from pyness.score import fit

    monkeypatch.setattr(fit, "LOOKS", 1)
    system = ParticleSystem(
        "tilted", 1, 1, OrnsteinUhlenbeckActivity(0.3, 1.0), 0.3, external=lambda x: 0.5 + 0.6 * torch.sin(x),
        box=Box([0.0], [2 * math.pi], "periodic"),
    )  # fmt: skip
    plan = {"walkers": 4000, "burn_in": 15.0, "snapshots": 3, "spacing": 5.0, "seed": 1, "progress": False}
    samples = pyness.sample(system, "SOSRA:adaptive=false,dt=0.1", "torch", **plan)
    truth = pyness.grid.steady_state(system, (64, 48), low=(0.0, -5.0), high=(2 * math.pi, 5.0)).epr
    score = fit_score(system, samples, steps=30, batch=2000, width=16, depth=2, progress=False)
    assert score.metadata["shift"] == "none"
    report = score.report(samples)
    assert abs(report.epr.value - truth) < 4 * report.epr.stderr
    assert report.epr.stderr < 0.7 * report.epr_score_free.stderr
    assert not any("defect" in note for note in report.warnings)
    with pytest.raises(InputError, match="whose external force is no gradient; give 'none'"):
        fit_score(system, samples, shift="equilibrium", progress=False)


SHORT = {"steps": 12, "batch": 24, "progress": False}


@pytest.fixture(scope="module")
def few():
    system = get("aoup-mips", n_particles=12)
    plan = {"walkers": 4, "burn_in": 5.0, "snapshots": 4, "spacing": 5.0, "progress": False}
    return system, pyness.sample(system, engine="torch", **plan)


SMALL = {
    "contacts": {"hidden": 4, "width": 8, "order": 2},
    "attention": {"hidden": 8, "channels": 2, "width": 16},
    "local-transformer": {"neighbours": 5, "width": 16},
}


@pytest.mark.parametrize("arch", SMALL)
def test_interrupted_training_goes_on_bit_for_bit(few, arch, tmp_path, monkeypatch):
    system, samples = few
    options = SHORT | SMALL[arch] | {"arch": arch, "seed": 3, "loss": "denoising", "alpha": 0.1}
    whole = fit_score(system, samples, **options)
    path = tmp_path / "checkpoint.pt"
    from pyness.score import fit

    once = fit._Trainer._one

    def interrupted(self):
        if self.step == 7:
            raise KeyboardInterrupt
        return once(self)

    monkeypatch.setattr(fit, "LOOKS", 4)
    monkeypatch.setattr(fit._Trainer, "_one", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit_score(system, samples, checkpoint=path, **options)
    monkeypatch.setattr(fit._Trainer, "_one", once)
    resumed = fit_score(system, samples, checkpoint=path, resume=True, **options)
    for a, b in zip(whole.network.state_dict().values(), resumed.network.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(StoreError, match="belongs to another training"):
        fit_score(system, samples, checkpoint=path, resume=True, **options | {"seed": 4})
    path.write_bytes(b"nonsense")
    with pytest.raises(StoreError, match="is damaged"):
        fit_score(system, samples, checkpoint=path, resume=True, **options)


def test_a_short_training_is_judged_by_few_states(few, monkeypatch):
    from pyness.score import fit

    system, samples = few
    judged = []
    monkeypatch.setattr(fit._Trainer, "run", lambda self, *_: judged.append(len(self.judged)))
    options = SHORT | SMALL["attention"] | {"arch": "attention", "loss": "implicit"}
    for steps in (10, 120, 4000):
        fit_score(system, samples, **options | {"steps": steps})
    assert judged == [1, 3, 8]  # of 2 states a batch and 20 looks a quarter of 1, 12 and 400; and all that are held out


@pytest.mark.parametrize("residual", [0.0, 10.0])
def test_accumulated_gradients_are_those_of_one_large_batch(monkeypatch, residual):
    from pyness.score import fit

    system = get("aoup-harmonic")
    samples = gaussian(system, 400)
    options = {"steps": 3, "width": 16, "depth": 2, "residual": residual, "progress": False}
    gradients, batches = [], []
    draw = fit._Trainer._batch

    def noted(model, size):
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))

    def kept(self, part):
        batches.append(draw(self, part))
        return batches[-1]

    def third(self, part):
        """A third of what the large batch of this step was."""
        states, known = batches[self.step]
        return states.chunk(3)[part], {name: value.chunk(3)[part] for name, value in known.items()}

    monkeypatch.setattr(fit, "average_gradients", noted)
    monkeypatch.setattr(fit._Trainer, "_batch", kept)
    large = fit_score(system, samples, batch=48, **options)
    monkeypatch.setattr(fit._Trainer, "_batch", third)
    pieces = fit_score(system, samples, batch=16, accumulate=3, **options)
    for whole, summed in zip(gradients[:3], gradients[3:], strict=True):
        # single precision: the same terms added up in another order
        assert (whole - summed).norm() < 2e-6 * whole.norm()
    for a, b in zip(large.network.state_dict().values(), pieces.network.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("arch", "parts"), [("dense", 3), ("dense", 40), ("contacts", 2)])
def test_no_part_of_a_step_is_drawn_twice(few, monkeypatch, arch, parts):
    from pyness.score import fit

    seen, draw = [], fit._Trainer._batch

    def kept(self, part):
        seen.append(draw(self, part))
        return seen[-1]

    monkeypatch.setattr(fit._Trainer, "_batch", kept)
    if arch == "contacts":  # of eight states in batches of two
        fit_score(*few, **SHORT | SMALL[arch] | {"loss": "implicit", "steps": 2, "accumulate": parts})
    else:
        system, sizes = get("aoup-harmonic"), {"steps": 2, "batch": 8, "width": 4, "depth": 1}
        fit_score(system, gaussian(system, 2000), accumulate=parts, **sizes, progress=False)
    assert len({tuple(states.flatten().tolist()) for states, _ in seen}) == len(seen) == 2 * parts


@pytest.mark.parametrize("arch", ["contacts", "attention"])
def test_half_precision_keeps_full_weights(few, arch):
    system, samples = few
    half = fit_score(system, samples, **SHORT, **SMALL[arch], arch=arch, precision="bfloat16")
    full = fit_score(system, samples, **SHORT, **SMALL[arch], arch=arch)
    changed = False
    for a, b in zip(half.network.state_dict().values(), full.network.state_dict().values(), strict=True):
        assert a.dtype == b.dtype
        assert torch.isfinite(a).all()
        changed |= not torch.equal(a, b)
    assert changed


def test_saved_scores_give_the_same_numbers_and_transfer(few, tmp_path):
    system, samples = few
    score = fit_score(system, samples, **SHORT, **SMALL["contacts"])
    score.save(tmp_path / "model.safetensors")
    loaded = Score.load(tmp_path / "model.safetensors")
    x = samples.states[0]
    torch.testing.assert_close(loaded.score(x), score.score(x), equal_nan=True, rtol=0, atol=0)
    assert torch.isnan(system.split(score.score(x))[0]).all()
    assert torch.isfinite(score.current_velocity(x)).all()
    report = score.report()
    assert report.to_dict() == score.report(samples).to_dict()
    with pytest.raises(InputError, match="no samples to report on; give the training samples, or fresh ones"):
        loaded.report()
    with pytest.raises(InputError, match="samples are a str"):
        score.report("samples.zarr")
    assert report.extra["epr_of"] == "activity"
    assert report.epr.value > 0
    assert report.extra["persistence_times"] == pytest.approx(25 * 1e-4)
    plan = {"walkers": 4, "burn_in": 0.0, "snapshots": 2, "spacing": 5.0, "progress": False}
    further = pyness.sample(system, engine="torch", start=samples, **plan)
    again = pyness.sample(system, engine="torch", start=further, **plan)
    assert (further.before, again.before) == (25.0, 35.0)
    assert score.report(again).extra["persistence_times"] == pytest.approx((again.times[-1].item() + 35) * 1e-4)
    faster = get("aoup-mips", n_particles=12, v0=0.05)
    assert pyness.sample(faster, engine="torch", start=samples, **plan).before == 0
    with pytest.raises(InputError, match="part is 'position' of 'aoup-mips', without noise of positions"):
        score.profile(samples, part="position")
    assert any("no noise of their own" in note for note in report.warnings)
    larger = get("aoup-mips", n_particles=40, packing=0.3)
    y = larger.draw_start("uniform", 2, torch.Generator().manual_seed(0), torch.float64)
    moved = Score.load(tmp_path / "model.safetensors", larger)
    assert moved.score(y).shape == y.shape
    local = moved.local(y)
    assert local.activity.shape == (2, 40)
    with pytest.raises(InputError, match="activity is 'ou' where it was trained and 'rotation' here"):
        Score.load(tmp_path / "model.safetensors", get("abp", n_particles=12, eps=0.0))
    with pytest.raises(InputError, match="transfer the score"):
        score.score(y)
    (tmp_path / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(StoreError, match="is damaged"):
        Score.load(tmp_path / "model.safetensors")


def test_a_dense_network_of_no_size_is_refused():
    system = get("aoup-harmonic")
    for options in ({"width": 0}, {"depth": 0}, {"depth": -1}, {"width": 8.0}):
        ((name, value),) = options.items()
        with pytest.raises(InputError, match=f"{name} is {value}; give a whole number of at least 1"):
            fit_score(system, gaussian(system, 20), **options)
    with pytest.raises(InputError, match="gradient is 1; give True or False"):
        fit_score(system, gaussian(system, 20), gradient=1)


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({"loss": "denoising", "perturb": "g"}, "alpha = 0.1 of activities: "),
        ({"loss": "denoising", "perturb": "xg"}, "alpha = 0.1 of all coordinates: "),
        ({"loss": "dynamics"}, "by the noise of a step alpha = 0.1: biased"),
    ],
)
def test_reports_say_what_alpha_hides(few, options, note):
    score = fit_score(*few, **SHORT | SMALL["contacts"] | {"alpha": 0.1, "steps": 1} | options)
    assert any(note in warning for warning in score.report(few[1]).warnings)


def own_particles(count, **more):
    options = {
        "pair_force": lambda r, *labels: 1 - r,
        "cutoff": 1.0,
        "box": Box([0.0] * 2, [6.0] * 2, "periodic"),
    } | more
    return ParticleSystem("mine", count, 2, OrnsteinUhlenbeckActivity(0.1, 1.0), **options)


def drawn(system):
    states = system.draw_start("uniform", 12, torch.Generator().manual_seed(0), torch.float64)
    return pyness.Samples.from_states(system, states.reshape(4, 3, -1))


def test_attention_keeps_the_radius_that_it_was_trained_with(tmp_path):
    system = own_particles(16)
    options = SHORT | SMALL["attention"] | {"arch": "attention", "loss": "implicit", "steps": 2}
    score = fit_score(system, drawn(system), **options)
    assert score.metadata["network"]["radius"] == score.network.radius == 1.25
    score.save(path := tmp_path / "model.safetensors")
    assert score.transferred(own_particles(40)).network.radius == 1.25
    assert Score.load(path, own_particles(16)).network.radius == 1.25
    side = own_particles(16, box=Box([0.0] * 2, [2.2] * 2, "periodic"))
    with pytest.raises(InputError, match=r"radius is 1\.25 and half the box 1\.1"):
        score.transferred(side)
    for other, what in (
        (own_particles(16, cutoff=0.8, pair_force=lambda r: (0.8 - r).clamp_min(0)), "cutoff is 1.0"),
        (own_particles(16, pair_force=lambda r: 5 * (1 - r)), "pair force at some distances is"),
    ):
        for use in (score.transferred, lambda one: Score.load(path, one)):
            with pytest.raises(InputError, match=what):
                use(other)
    with pytest.raises(InputError, match="system is 'aoup-mips'; give a System"):
        Score.load(path, "aoup-mips")
    for other in ("aoup-mips", 7):
        with pytest.raises(InputError, match=f"a score of 'mine' on {other!r}; only particle systems"):
            score.transferred(other)
    with pytest.raises(InputError, match=r"x is \(4, 3, 64\); give a tensor \(n, 64\)"):
        score.local(drawn(system).states)


def test_contacts_are_refused_for_what_they_are_and_not_for_their_loss():
    system = get("abp", n_particles=12)
    with pytest.raises(InputError, match=r"'contacts' for 'abp', which has noise of positions.*take 'attention'"):
        fit_score(system, drawn(system), arch="contacts", **SHORT)


def test_a_checkpoint_is_of_as_many_processes(few, tmp_path, monkeypatch):
    from pyness.score import fit

    system, samples = few
    path = tmp_path / "checkpoint.pt"
    fit_score(system, samples, checkpoint=path, **SHORT, **SMALL["contacts"])
    monkeypatch.setattr(fit, "rank_and_size", lambda device: (0, 2))
    with pytest.raises(StoreError, match=r"belongs to another training.*number of processes"):
        fit_score(system, samples, checkpoint=path, resume=True, **SHORT, **SMALL["contacts"])


def test_what_a_network_has_not_learnt_is_not_asked_of_it(tmp_path):
    system = own_particles(16)
    options = SHORT | SMALL["attention"] | {"arch": "attention", "loss": "implicit", "steps": 2}
    score = fit_score(system, drawn(system), **options)
    still = ParticleSystem("mine", 16, 2, OrnsteinUhlenbeckActivity(0.0, 1.0), box=system.box)
    for other, message in (
        (own_particles(16, box=Box([0.0] * 2, [6.0] * 2, "open")), "a box with open sides is False"),
        (own_particles(16, species=[0] * 16), "species is None"),
        (own_particles(16, external=lambda x: torch.ones_like(x)), "whose external force is no gradient"),
        (still, "self-propulsion without such noise is True"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            score.transferred(other)
        assert "\n" not in str(caught.value)
    path = tmp_path / "model.safetensors"
    score.save(path)
    many = own_particles(40)
    x = many.draw_start("uniform", 2, torch.Generator().manual_seed(1), torch.float64)
    torch.testing.assert_close(
        Score.load(path, many).score(x), score.transferred(many).score(x), equal_nan=True, rtol=0, atol=0
    )
    with pytest.raises(StoreError, match="not registered; pass system="):
        Score.load(path)
    with pytest.raises(StoreError, match="not registered; pass it as system=, not 'double-well'"):
        Score.load(path, get("double-well"))


def test_particles_of_other_species_are_refused_on_every_way(tmp_path):
    def mixture(labels):
        return own_particles(len(labels), species=labels, pair_force=lambda r, a, b: (1.0 + (a == b)) * (1 - r))

    system = mixture([0, 1] * 8)
    drawn = system.draw_start("uniform", 12, torch.Generator().manual_seed(0), torch.float64).reshape(4, 3, -1)
    options = SHORT | SMALL["attention"] | {"arch": "attention", "loss": "implicit", "steps": 2}
    score = fit_score(system, pyness.Samples.from_states(system, drawn), **options)
    score.save(path := tmp_path / "model.safetensors")
    for labels in ([0, 2], [1, 1], [0, 0], [0, 1, 2, 0], None):
        for times in (8, 10):  # as many particles as it was trained with, and others
            other = own_particles(2 * times) if labels is None else mixture((labels * times)[: 2 * times])
            found = None if labels is None else sorted(set(labels))
            expected = f"species is [0, 1] where it was trained and {found!r} here; train a score for it"
            for use in (score.transferred, lambda one: Score.load(path, one)):
                with pytest.raises(InputError) as caught:
                    use(other)
                assert str(caught.value) == expected
    halves = mixture([0] * 8 + [1] * 8)
    samples = pyness.Samples.from_states(halves, drawn)
    with pytest.raises(InputError, match="samples are of other species than those of system 'mine'; give"):
        score.report(samples)
    samples.save(tmp_path / "samples.zarr")
    with pytest.raises(StoreError, match="samples of other species than those of 'mine'; give the system they"):
        pyness.Samples.load(tmp_path / "samples.zarr", system)
    # in another order, and as many of each as one likes, they are the same species
    x = drawn[:, 0]
    order = torch.arange(16).reshape(8, 2).mT.flatten()
    sorted_x = torch.cat([part[:, order].flatten(-2) for part in system.split(x)], -1)
    for moved in (score.transferred(halves), Score.load(path, halves)):
        for found, own in zip(system.split(moved.score(sorted_x)), system.split(score.score(x)), strict=True):
            torch.testing.assert_close(found, own[:, order], equal_nan=True)
    many = mixture([0] * 3 + [1] * 21)
    y = many.draw_start("uniform", 2, torch.Generator().manual_seed(1), torch.float64)
    assert score.transferred(many).score(y).shape == y.shape


def test_the_score_of_a_velocity_is_learnt_where_the_position_has_no_noise():
    # an oscillator in equilibrium, where s_v = -v / T with T = 1 / 2
    system = System(
        "underdamped", 2, lambda x: torch.stack([x[..., 1], -2 * x[..., 0] - x[..., 1]], -1), [0.0, 0.5],
        variables=["x", "v"],
    )  # fmt: skip
    score = fit_score(system, gaussian(system, 8000), steps=150, batch=256, width=16, progress=False)
    fresh = gaussian(system, 4000, seed=3)
    x = fresh.states[:, 0]
    assert torch.isnan(score.score(x)[:, 0]).all()
    off = score.score(x)[:, 1] + 2 * x[:, 1]
    true = (0.5 * off.square()).mean().item()
    assert true < 0.02 * 1.0  # of E|s_v|_D^2 = -div F
    report = score.report(fresh)
    assert abs(report.gradient_error.value - true) < 4 * report.gradient_error.stderr
    assert abs(report.epr.value - 2.0) < 4 * report.epr.stderr + 1e-9  # k / gamma, and no entropy production
    assert report.extra["epr_of"] == "coordinates with noise"
    assert any("x has no noise: the EPR is that of the others" in note for note in report.warnings)
    with pytest.raises(InputError, match="which has coordinates without noise; leave it out"):
        fit_score(system, fresh, residual=1.0, progress=False)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"loss": "denoising"}, InputError, "alpha is None"),
        ({"loss": "denoising", "alpha": -1.0}, InputError, "alpha is -1.0"),
        ({"residual": 1.0}, InputError, "residual is 1.0 for 'aoup-mips', which has coordinates without noise"),
        ({"alpha": 0.1}, InputError, "give loss='denoising'"),
        ({"loss": "guess"}, UnknownNameError, "unknown loss"),
        ({"paths": 0}, InputError, "paths is 0"),
        ({"loss": "implicit", "paths": 9}, InputError, "paths is 9 for loss 'implicit'"),
        ({"rounds": 0}, InputError, "rounds is 0"),
        *(
            ({name: 0}, InputError, f"{name} is 0; give a whole number of at least 1")
            for name in ("steps", "batch", "accumulate", "probes", "hidden", "width", "order")
        ),
        ({"steps": True}, InputError, "steps is True"),
        ({"learning_rate": 0.0}, InputError, "learning_rate is 0.0; give a number greater than 0"),
        ({"learning_rate": float("nan")}, InputError, "learning_rate is nan"),
        ({"clip": "1"}, InputError, "clip is '1'"),
        ({"warm_up": 1.0}, InputError, "warm_up is 1.0; give a number of at least 0 and less than 1"),
        ({"width": 2.5}, InputError, "width is 2.5; give a whole number of at least 1"),
        ({"width": -8}, InputError, "width is -8"),
        ({"loss": "denoising", "alpha": "0.1"}, InputError, "alpha is '0.1'"),
        *(
            ({"arch": "attention", name: value}, InputError, f"{name} is {value}")
            for name, value in (("channels", 0), ("hidden", -3), ("width", 2.5), ("radius", -1.0), ("equivariant", 1))
        ),
        *(
            (
                {"arch": "local-transformer", "loss": "implicit", name: value},
                InputError,
                f"{name} is {value}; give a whole",
            )
            for name, value in (("neighbours", 0), ("neighbours", 2.5), ("heads", 0), ("blocks", -1), ("width", -8))
        ),
        ({"arch": "local-transformer", "neighbours": 12}, InputError, "12 neighbours of 12 particles"),
        ({"held_out": 1.0}, InputError, "held_out is 1.0"),
        ({"learning_rate": -1.0}, InputError, "learning_rate is -1.0"),
        ({"perturb": "x"}, InputError, "give 'g' or 'xg'"),
        ({"perturb": "xg", "loss": "implicit"}, InputError, "perturb is 'xg' for loss 'implicit', which moves nothing"),
        ({"precision": "int8"}, InputError, "precision is 'int8'"),
        ({"seed": -1}, InputError, "seed is -1"),
        ({"arch": ["contacts"]}, UnknownNameError, "unknown arch"),
        ({"loss": ["paths"]}, UnknownNameError, "unknown loss"),
        ({"device": "abacus"}, InputError, "device 'abacus' cannot be used"),
        ({"log": "/nowhere/log.jsonl"}, StoreError, "cannot write"),
    ],
)
def test_wrong_options_are_refused(few, options, kind, message):
    with pytest.raises(kind) as caught:
        fit_score(*few, **SHORT | options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_paths_interrupted_on_the_way_go_on_bit_for_bit(few, tmp_path, monkeypatch):
    from pyness.score import labels, paths

    system, samples = few
    monkeypatch.setattr(paths, "LENGTH", 3.0)
    monkeypatch.setattr(labels, "TOGETHER", 3 * samples.dim)
    options = SHORT | SMALL["contacts"] | {"paths": 11}
    whole = fit_score(system, samples, **options)
    assert whole.metadata["options"]["loss"] == "paths"
    follow, path = labels.follow, tmp_path / "checkpoint.pt"
    calls = []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return follow(*arguments)

    monkeypatch.setattr(labels, "follow", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit_score(system, samples, checkpoint=path, **options)
    resumed = fit_score(system, samples, checkpoint=path, resume=True, **options)
    # eight states are followed eleven times in parts of three: two before the interruption, two after it
    assert len(calls) == 3 + 2
    for a, b in zip(whole.network.state_dict().values(), resumed.network.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_all_paths_are_learnt_from_however_few_batches_are_kept_ready(few, monkeypatch):
    from pyness.score import fit, paths

    system, samples = few
    monkeypatch.setattr(paths, "LENGTH", 3.0)
    options = SHORT | SMALL["contacts"] | {"paths": 8}
    whole = fit_score(system, samples, **options)
    monkeypatch.setattr(fit, "BUNDLED", 1)
    again = fit_score(system, samples, **options)
    for a, b in zip(whole.network.state_dict().values(), again.network.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_learnt_score_from_paths():
    system = get("aoup-harmonic", n_particles=1, spring=0.0, trap=1.0, v0=0.3, gamma=0.05, eps=0.0)
    samples = gaussian(system, 4000)
    score = fit_score(system, samples, loss="paths", steps=150, batch=256, width=16, progress=False)
    fresh = gaussian(system, 2000, seed=3).states[:, 0]
    truth = system.truth.score(fresh)[:, 1]
    error = (score.score(fresh)[:, 1] - truth).square().mean() / truth.square().mean()
    assert error < 0.01
    with pytest.raises(InputError, match="loss is 'paths' for 'aoup-harmonic', whose noise"):
        fit_score(get("aoup-harmonic"), gaussian(get("aoup-harmonic"), 20), loss="paths")
    still = get("aoup-mips", n_particles=4, packing=0.05)
    corners = torch.tensor([2.0, 2.0, 2.0, 9.0, 9.0, 2.0, 9.0, 9.0, *[0.1] * 8]).expand(2, 1, 16)
    with pytest.raises(InputError, match="the samples feel no force"):
        fit_score(still, pyness.Samples.from_states(still, corners.contiguous()), loss="paths")


def test_wrong_samples_are_refused(few):
    system, samples = few
    with pytest.raises(InputError, match="samples have 48 coordinates"):
        fit_score(get("aoup-mips", n_particles=20), samples)
    mips = get("aoup-mips", n_particles=60)
    wider = get("aoup-mips", n_particles=60, packing=0.3)
    states = wider.draw_start("uniform", 2, torch.Generator().manual_seed(0))
    with pytest.raises(InputError, match=r"samples are of a box 25\.\d+ x 25\.\d+, system 'aoup-mips' has 19\."):
        fit_score(mips, pyness.Samples.from_states(wider, states))
    plain = get("limit-cycle")
    walled = pyness.Samples.from_states(plain, plain.domain.uniform(10, torch.Generator().manual_seed(0)))
    with pytest.raises(InputError, match="reflecting walls"):
        fit_score(plain, walled)
    with pytest.raises(InputError, match="at least two"):
        fit_score(system, samples.select([0]))
    with pytest.raises(TrainingError, match="the loss is"):
        fit_score(system, samples, **SHORT, learning_rate=1e30, clip=1e30)
