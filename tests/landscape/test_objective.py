"""The terms of the objective: against direct averages, finite differences, and their known minima."""

from __future__ import annotations

import pytest
import torch

import pyness
from pyness.estimators import certify
from pyness.landscape import clouds
from pyness.landscape.features import Features
from pyness.landscape.newton import epr_share
from pyness.landscape.objective import Anchors, Contrast, EntropyProduction, Residual, Walls
from pyness.systems.derivatives import value_and_divergence
from tests.estimators.exact import gaussian_states

SYSTEM = pyness.systems.get("ornstein-uhlenbeck", A=[[1.0, 0.8], [-0.6, 1.5]], D=[[0.5, 0.1], [0.1, 0.4]])
RATE = 2.5


@pytest.fixture(scope="module")
def setting():
    generator = torch.Generator().manual_seed(0)
    states = gaussian_states(SYSTEM, 4000, 1)
    features = Features.draw(SYSTEM, states, 20, generator)
    # the true coefficients: quadratics are among the basis functions
    target = SYSTEM.truth.potential(states)
    basis = features.value(states)
    truth = torch.linalg.lstsq(basis[:, :-1], (target - target.mean())[:, None]).solution[:, 0]
    k = truth + 0.3 * torch.randn(features.count, generator=generator, dtype=torch.float64)
    return features, states, truth, k


def _gradient(features: Features, k: torch.Tensor):
    network = features.folded(k)
    return torch.func.vmap(torch.func.grad(lambda z: network.value(z[None]).sum()))


def _slope(value, k: torch.Tensor, step: float = 1e-4) -> torch.Tensor:
    shifts = step * torch.eye(len(k), dtype=k.dtype)
    return torch.stack([(value(k + s) - value(k - s)) / (2 * step) for s in shifts])


def test_entropy_production_loss_is_the_average(setting):
    features, states, _, k = setting
    loss = EntropyProduction.assemble(features, SYSTEM, states, RATE)

    def direct(k: torch.Tensor) -> torch.Tensor:
        gradient = _gradient(features, k)(states)
        noisy = SYSTEM.diffusion.apply(states, gradient)
        return (gradient * noisy + 2 * SYSTEM.drift(states) * gradient).sum(-1).mean() / RATE

    zero = torch.zeros_like(k)
    assert (loss.value(k) - loss.value(zero)).item() == pytest.approx((direct(k) - direct(zero)).item(), rel=1e-9)
    torch.testing.assert_close(loss.slope(k), _slope(loss.value, k), rtol=1e-6, atol=1e-6)


def test_residual_is_that_of_hamilton_jacobi(setting):
    features, states, _, k = setting
    x, gradient = states[:300], _gradient(features, k)
    found = Residual.assemble(features, SYSTEM, x, RATE)
    flux, bend = value_and_divergence(lambda y: SYSTEM.diffusion.apply(y, gradient(y)), x)
    drift, div = value_and_divergence(SYSTEM.modified_drift, x)
    expected = div + bend - (drift * gradient(x)).sum(-1) - (flux * gradient(x)).sum(-1)
    torch.testing.assert_close(found.residual(k), expected, rtol=1e-8, atol=1e-8 * expected.abs().max().item())
    # quadratic in the coefficients, so that central differences are exact
    torch.testing.assert_close(
        found.jacobian(k), _slope(found.residual, k, 0.1).mT, rtol=1e-7, atol=1e-8 * expected.abs().max().item()
    )
    torch.testing.assert_close(found.potential(k), features.folded(k).value(x).sum(1))


def test_residual_vanishes_at_the_truth_and_its_mean_is_minus_the_gradient_error(setting):
    features, states, truth, k = setting
    found = Residual.assemble(features, SYSTEM, states, RATE)
    assert found.residual(truth).abs().max() < 1e-5
    network = features.folded(k)

    def velocity(x: torch.Tensor) -> torch.Tensor:
        return SYSTEM.drift(x) + network.evaluate(SYSTEM, x).noise_gradient.sum(-1)

    certificate = certify(SYSTEM, pyness.Samples.from_states(SYSTEM, states), velocity)
    assert found.residual(k).mean().item() == pytest.approx(-certificate.gap.value, rel=1e-8)


def _contrast(features: Features, count: int, widening: float = 1.0) -> Contrast:
    generator = torch.Generator().manual_seed(2)
    x = gaussian_states(SYSTEM, count, 3) * widening**0.5
    reference = clouds.Reference(SYSTEM, x, generator)
    return Contrast(features, x, reference.draw(count, generator), reference.log_density, widening)


@pytest.mark.parametrize("widening", [1.0, 4.0])
def test_contrast_is_stationary_at_the_truth(setting, widening):
    """The slope there is an average of independent terms of mean zero: within 4.5 of its standard errors."""
    features, _, truth, _ = setting
    if widening != 1.0:
        # the same units, whitened over the wider cloud they are used on
        generator = torch.Generator().manual_seed(0)
        wide = gaussian_states(SYSTEM, 4000, 1) * 2
        features = Features.draw(SYSTEM, wide, 20, generator)
        target = SYSTEM.truth.potential(wide)
        truth = torch.linalg.lstsq(features.value(wide)[:, :-1], (target - target.mean())[:, None]).solution[:, 0]
    contrast = _contrast(features, 40_000, widening)
    _, slope = contrast.system(truth, 10)
    variance = 0.0
    for (matrix, _, is_sample), logit in zip(contrast.sides, contrast.logits(truth), strict=True):
        p = torch.sigmoid(logit)
        terms = matrix * (p - 1.0 if is_sample else p)[:, None]
        variance = variance + terms.var(0) / len(terms)
    # beyond the hull of the first states the confinement adds to the true potential: a handful of 4e4 states
    assert (slope.abs() / variance.sqrt()).max() < 4.5
    away = truth.clone()
    away[torch.argmax(truth.abs())] *= 1.2
    _, tilted = contrast.system(away, 10)
    assert (tilted.abs() / variance.sqrt()).max() > 9


def test_contrast_slope_and_hessian(setting):
    features, _, _, k = setting
    contrast = _contrast(features, 1000)
    hessian, slope = contrast.system(k, 1000)
    torch.testing.assert_close(slope, _slope(contrast.value, k), rtol=1e-5, atol=1e-7)
    differences = _slope(lambda j: contrast.system(j, 1000)[1], k)
    torch.testing.assert_close(hessian, differences, rtol=1e-4, atol=1e-6)
    assert torch.linalg.eigvalsh(hessian).min() > -1e-12
    u, v = contrast.logits(k)
    # the constant is at its optimum
    assert (torch.sigmoid(v).mean() - torch.sigmoid(-u).mean()).abs() < 1e-12


def test_walls_are_the_normal_velocity():
    system = pyness.System(
        "channel", 2, lambda x: torch.stack([x[..., 1] - x[..., 0], -x[..., 1]], -1), [0.3, 0.7],
        pyness.Box([-1, -1], [1, 1], ["open", "reflect"]),
    )  # fmt: skip
    generator = torch.Generator().manual_seed(5)
    cloud = system.domain.uniform(1000, generator, dtype=torch.float64)
    features = Features.draw(system, cloud, 20, generator)
    k = torch.randn(features.count, generator=generator, dtype=torch.float64)
    points, normals = clouds.wall_points(system, cloud.min(0).values, cloud.max(0).values, 40, generator)
    walls = Walls.assemble(features, system, points, normals, RATE)
    gradient = _gradient(features, k)(points)
    outflow = (normals * (system.drift(points) + system.diffusion.apply(points, gradient))).sum(-1)
    # at both walls the drift along the normal is -1 outwards
    weight = (1 / (1 / 0.7 + RATE) / 0.7) ** 0.5
    torch.testing.assert_close(walls.misfit(k), weight * outflow, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(walls.potential(k), features.folded(k).value(points).sum(1))
    none = Walls.assemble(features, system, points[:0], normals[:0], RATE)
    assert none.misfit(k).shape == none.potential(k).shape == (0,)


def test_anchors_only_pull_up():
    anchors = Anchors(torch.eye(3, dtype=torch.float64), torch.tensor([1.0, 2.0, 3.0]).double())
    found = anchors.misfit(torch.tensor([0.0, 5.0, 1.0]).double())
    assert torch.equal(found, torch.tensor([-1.0, 0.0, -2.0]).double())


def test_share_of_the_entropy_production_loss():
    assert epr_share(1.0, 1.0, 0, 1000) == 1.0
    assert epr_share(5.0, 1.0, 100, 10_000) == pytest.approx(1 / 6)
