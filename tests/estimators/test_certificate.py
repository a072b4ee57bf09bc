"""Score-free value, bounds, midpoint and certificate against the exact values of `landscapes.md`, section 3.6."""

from __future__ import annotations

import pytest
import torch

import pyness
from pyness.errors import InputError, SystemDefinitionError
from pyness.estimators import Estimate, certify, fisher_information, score_free_epr
from pyness.systems.derivatives import value_and_divergence
from tests.estimators.exact import CASES

COUNT = 100_000


@pytest.fixture(scope="module", params=list(CASES))
def case(request):
    return CASES[request.param]()


@pytest.fixture(scope="module")
def samples(case):
    return case.samples(COUNT, seed=1)


def _agrees(found: Estimate, exact: float) -> bool:
    return abs(found.value - exact) < 4 * found.stderr


def test_score_free(case, samples):
    found = score_free_epr(case.system, samples)
    assert _agrees(found, case.epr)
    # standard deviations of the integrand in the table: 4.52, 14.8, 15.7
    assert 0.01 < found.stderr < 0.06


def test_wrong_potential(case, samples):
    """The midpoint is the entropy production all the same; the bounds miss it by the gradient error on either side."""
    found = certify(case.system, samples, case.wrong)
    assert _agrees(found.midpoint, case.epr)
    assert _agrees(found.upper, case.upper)
    assert _agrees(found.lower, case.lower)
    assert _agrees(found.gap, case.gap)
    assert found.lower.value < found.midpoint.value < found.upper.value
    assert found.upper.value - found.midpoint.value == pytest.approx(found.gap.value, rel=1e-12)
    assert found.midpoint.value - found.lower.value == pytest.approx(found.gap.value, rel=1e-12)
    fisher = fisher_information(case.system, samples)
    assert found.relative.value == pytest.approx(found.gap.value / fisher.value, rel=1e-12)
    # the potential as a control variate takes noise out even where it is wrong
    assert found.midpoint.stderr < score_free_epr(case.system, samples).stderr


def test_true_potential(case, samples):
    """Midpoint, upper and lower bound agree state by state, since div v = v . grad Phi."""
    found = certify(case.system, samples, case.truth)
    assert _agrees(found.midpoint, case.epr)
    for gap in (found.gap, found.relative):
        assert abs(gap.value) < 1e-12
        assert gap.stderr < 1e-12
    assert found.upper.value == pytest.approx(found.lower.value, rel=1e-12)


def test_given_divergence_is_taken(case):
    few = case.samples(500, seed=2)
    plain = certify(case.system, few, case.wrong)
    assert certify(case.system, few, case.wrong, lambda x: value_and_divergence(case.wrong, x)) == plain
    shifted = certify(
        case.system, few, case.wrong, lambda x: (case.wrong(x), value_and_divergence(case.wrong, x)[1] + 1)
    )
    assert shifted.midpoint.value == pytest.approx(plain.midpoint.value + 1, rel=1e-12)
    assert shifted.upper == plain.upper


def test_fisher_information_of_a_gaussian():
    """``E|grad log p|_D^2 = tr(D S^-1) = tr A``."""
    case = CASES["ornstein-uhlenbeck"]()
    found = fisher_information(case.system, case.samples(100, seed=3))
    assert found.value == pytest.approx(1.0 + 1.5 + 0.7, rel=1e-12)
    assert found.stderr < 1e-12


def test_modified_drift_and_not_the_drift():
    """With F in place of F_v the value of (c) would be off by -0.0523 (4e6 samples of the physics page)."""
    case = CASES["state-dependent"]()
    samples = case.samples(COUNT, seed=4)

    def integrand(field):
        x = samples.states[:, 0]
        value, div = value_and_divergence(field, x)
        return (value * case.system.diffusion.solve(x, value)).sum(-1) + div

    right = integrand(case.system.modified_drift)
    assert score_free_epr(case.system, samples).value == pytest.approx(right.mean().item(), rel=1e-12)
    shift = Estimate.over_walkers(integrand(case.system.drift) - right)
    assert shift.stderr < 0.002
    # the page states its value to +-0.0002
    assert abs(shift.value + 0.0523) < 4 * shift.stderr + 0.0008


def test_single_precision_samples_lose_nothing():
    case = CASES["double-well"]()
    samples = case.samples(2000, seed=5)
    found = certify(case.system, samples.to(dtype=torch.float32), case.wrong)
    assert found.midpoint.value == pytest.approx(certify(case.system, samples, case.wrong).midpoint.value, rel=1e-5)


def test_snapshots_of_one_walker_are_not_independent():
    """Ten copies of each walker add nothing to the certainty."""
    case = CASES["ornstein-uhlenbeck"]()
    states = case.draw(2000, 6)
    once = score_free_epr(case.system, pyness.Samples.from_states(case.system, states))
    copies = pyness.Samples.from_states(case.system, states[:, None].repeat(1, 10, 1))
    again = score_free_epr(case.system, copies)
    assert again.value == pytest.approx(once.value, rel=1e-12)
    assert again.stderr == pytest.approx(once.stderr, rel=1e-12)


def test_refusals():
    wells, gaussian = CASES["double-well"](), CASES["ornstein-uhlenbeck"]()
    samples = wells.samples(10, seed=0)
    calls = (
        lambda s: score_free_epr(gaussian.system, s),
        lambda s: fisher_information(gaussian.system, s),
        lambda s: certify(gaussian.system, s, gaussian.truth),
        lambda s: pyness.stationarity(gaussian.system, s),
    )
    for call in calls:
        with pytest.raises(InputError, match=r"samples have 2 coordinates.*has 3"):
            call(samples)
        with pytest.raises(InputError, match="samples are a Tensor"):
            call(samples.states)


def test_direction_without_noise_is_refused():
    system = pyness.System("inertia", 2, lambda x: torch.stack([x[..., 1], -x[..., 0] - x[..., 1]], -1), [0.0, 1.0])
    samples = pyness.Samples.from_states(system, torch.zeros(4, 2))
    with pytest.raises(SystemDefinitionError, match="without noise"):
        score_free_epr(system, samples)
