"""The twelve-dimensional mixture: density, score, weights and entropy production by other routes; refusals."""

from __future__ import annotations

import math

import pytest
import torch

import pyness
from pyness.errors import SystemDefinitionError
from pyness.systems.gaussian_mixture import MEANS, VARIANCES, rotation_matrix

NAME = "gaussian-mixture-12d"


@pytest.fixture(scope="module")
def system():
    return pyness.systems.get(NAME)


def exact(system, n=20_000, seed=5):
    return system.truth.draw(n, torch.Generator().manual_seed(seed))


def log_density(x, weights=(0.4, 0.6)):
    one, logs = torch.eye(12, dtype=torch.float64), torch.tensor(weights, dtype=torch.float64).log()
    means = [torch.tensor(mean, dtype=torch.float64) for mean in MEANS]
    laws = [torch.distributions.MultivariateNormal(m, s * one) for m, s in zip(means, VARIANCES, strict=True)]
    return torch.logsumexp(torch.stack([law.log_prob(x) for law in laws]) + logs[:, None], 0)


def test_potential_score_and_drift_are_those_of_the_density(system):
    x = exact(system, 50) + 0.1
    gap = system.truth.potential(x) + 0.1 * log_density(x)
    assert torch.allclose(gap, gap[:1].expand_as(gap), atol=1e-12)
    score = torch.func.grad(lambda y: log_density(y).sum())(x)
    assert torch.allclose(system.truth.score(x), score, atol=1e-10)
    turned = torch.eye(12).double() - rotation_matrix()
    assert torch.allclose(system.drift(x), 0.1 * score @ turned.mT, atol=1e-10)


def test_the_rotation_is_fixed_and_antisymmetric():
    A = rotation_matrix()
    assert torch.equal(A, -A.mT)
    assert A.norm().item() == pytest.approx(2.078303, abs=1e-6)
    assert A[0, 1].item() == pytest.approx((2 * 0.6180339887498949 % 1 - 13 * 0.6180339887498949 % 1) / 2)


@pytest.mark.parametrize("weights", [(0.4, 0.6), (0.9, 0.1)])
def test_entropy_production_is_that_of_exact_samples(weights):
    system = pyness.systems.get(NAME, D=0.3, weights=weights)
    x = exact(system)
    v = -0.3 * system.truth.score(x) @ rotation_matrix().mT
    local = v.square().sum(-1) / 0.3
    assert system.truth.epr == pytest.approx(local.mean().item(), abs=5 * local.std().item() / math.sqrt(len(x)))
    # what the components would produce apart: sum of w |A|_F^2 D / s
    apart = 0.3 * rotation_matrix().square().sum().item() * sum(
        w / s for w, s in zip(weights, VARIANCES, strict=True)
    )  # fmt: skip
    assert system.truth.epr == pytest.approx(apart, rel=5e-3)


def test_draws_have_the_weights_and_means(system):
    x = exact(system)
    first = (x - torch.tensor(MEANS[0])).norm(dim=-1) < (x - torch.tensor(MEANS[1])).norm(dim=-1)
    assert first.double().mean().item() == pytest.approx(0.4, abs=5 * math.sqrt(0.24 / len(x)) + 1e-3)
    assert torch.allclose(x[first].mean(0), torch.tensor(MEANS[0]).double(), atol=0.02)


def test_equilibrium_without_rotation_and_a_matrix_of_ones_own(system):
    still = pyness.systems.get(NAME, rotation=0.0)
    assert still.truth.epr == 0
    x = exact(system, 10)
    assert torch.allclose(still.drift(x), 0.1 * system.truth.score(x))
    own = pyness.systems.get(NAME, rotation=(2 * rotation_matrix()).tolist())
    assert own.truth.epr == pytest.approx(pyness.systems.get(NAME, rotation=2.0).truth.epr)
    assert own.truth.epr == pytest.approx(4 * system.truth.epr)


def test_started_from_the_law_it_keeps_it(system):
    """In half a relaxation time nothing moves: means, stationarity and score-free entropy production."""
    start = exact(system, 2000).float()
    samples = pyness.sample(
        system, engine="torch", start=start, walkers=2000, burn_in=0.5, burn_in_dt=0.01, snapshots=4, spacing=0.5,
        progress=False,
    )  # fmt: skip
    assert pyness.stationarity(system, samples).passed
    epr = pyness.score_free_epr(system, samples)
    assert abs(epr.value - system.truth.epr) < 5 * epr.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weights": (0.4, 0.5)}, "sum to 0.9"),
        ({"weights": (0.4, 0.6 + 1e-8)}, r"sum to 1\.00000001; give weights that sum to 1 within 1e-9"),
        ({"weights": (math.nan, 0.5)}, "two positive numbers"),
        ({"weights": ("a", "b")}, "two positive numbers"),
        ({"weights": (1.4, -0.4)}, "two positive numbers"),
        ({"weights": (1.0,)}, "two positive numbers"),
        ({"weights": 1.0}, "two positive numbers"),
        ({"rotation": [[0.0, 1.0], [-1.0, 0.0]]}, r"shape \(2, 2\)"),
        ({"rotation": torch.eye(12).tolist()}, "not antisymmetric"),
        ({"D": -0.1}, "negative"),
    ],
)
def test_refusals(change, words):
    with pytest.raises(SystemDefinitionError, match=words) as caught:
        pyness.systems.get(NAME, **change)
    assert "\n" not in str(caught.value)
