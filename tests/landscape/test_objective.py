"""The terms of the objective: against direct averages, automatic differentiation, and their known minima."""

from __future__ import annotations

import pytest
import torch

import pyness
from pyness.estimators import certify
from pyness.landscape import clouds, objective
from pyness.landscape.network import Network
from pyness.landscape.newton import epr_share
from pyness.landscape.objective import Anchors, Contrast, EntropyProduction, Residual, Ridge, Walls
from pyness.landscape.tangent import value_rows
from pyness.systems.derivatives import value_and_divergence
from tests.estimators.exact import gaussian_states

SYSTEM = pyness.systems.get("ornstein-uhlenbeck", A=[[1.0, 0.8], [-0.6, 1.5]], D=[[0.5, 0.1], [0.1, 0.4]])
RATE = 2.5


def _true(network: Network, states: torch.Tensor) -> Network:
    """The exact potential, which the monomials hold."""
    rows = value_rows(network, network.places(states), outer=True)
    rows = torch.cat([rows, torch.ones(len(rows), 1, dtype=rows.dtype)], dim=1)
    theta = network.parameters
    theta[network.outer] = torch.linalg.lstsq(rows, SYSTEM.truth.potential(states)[:, None]).solution[:-1, 0]
    return network.with_parameters(theta)


@pytest.fixture(scope="module")
def setting():
    generator = torch.Generator().manual_seed(0)
    states = gaussian_states(SYSTEM, 4000, 1)
    truth = _true(Network.draw(SYSTEM, states, 8, generator), states)
    noise = torch.randn(truth.parameters.shape, generator=generator, dtype=torch.float64)
    return states, truth, truth.with_parameters(truth.parameters + 0.2 * noise)


def _gradient(network: Network):
    return torch.func.vmap(torch.func.grad(lambda z: network.value(network.places(z[None])).sum()))


def _gauss_newton(function, network: Network) -> torch.Tensor:
    """``2 E[J J^T]`` of residuals ``function(network): (n,)``, by automatic differentiation."""
    rows = torch.func.jacrev(lambda theta: function(network.with_parameters(theta)))(network.parameters)
    return 2 * rows.mT @ rows / len(rows)


def _close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10 * expected.abs().max().item())


def test_entropy_production_loss_is_the_average(setting):
    states, _, network = setting
    loss = EntropyProduction(network, SYSTEM, states, RATE)
    gradient = _gradient(network)(states)
    noisy = SYSTEM.diffusion.apply(states, gradient)
    expected = (gradient * noisy + 2 * SYSTEM.drift(states) * gradient).sum(-1).mean() / RATE
    assert loss.loss(network).item() == pytest.approx(expected.item(), rel=1e-9)
    # quadratic in the output weights: there the Gauss-Newton matrix is the Hessian
    theta, outer = network.parameters, network.outer

    def along(weights: torch.Tensor) -> torch.Tensor:
        return loss.loss(network.with_parameters(torch.cat([weights, theta[outer.stop :]])))

    _close(loss.hessian(network, outer=True), torch.func.hessian(along)(theta[outer]))
    _close(loss.hessian(network)[outer, outer], loss.hessian(network, outer=True))


def test_residual_is_that_of_hamilton_jacobi(setting):
    states, _, network = setting
    x, gradient = states[:300], _gradient(network)
    found = Residual(network, SYSTEM, x, RATE)
    flux, bend = value_and_divergence(lambda y: SYSTEM.diffusion.apply(y, gradient(y)), x)
    drift, div = value_and_divergence(SYSTEM.modified_drift, x)
    _close(found.residual(network), div + bend - (drift * gradient(x)).sum(-1) - (flux * gradient(x)).sum(-1))
    found.fade = torch.linspace(0, 1, 300, dtype=torch.float64)
    weighted = found.fade * found.weight
    assert found.loss(network).item() == pytest.approx((weighted * found.residual(network)).square().mean().item())
    _close(found.hessian(network), _gauss_newton(lambda other: weighted * found.residual(other), network))


def test_residual_vanishes_at_the_truth_and_its_mean_is_minus_the_gradient_error(setting):
    states, truth, network = setting
    found = Residual(network, SYSTEM, states, RATE)
    assert found.residual(truth).abs().max() < 1e-5

    def velocity(x: torch.Tensor) -> torch.Tensor:
        return SYSTEM.drift(x) + SYSTEM.diffusion.apply(x, network.gradient(network.places(x)))

    certificate = certify(SYSTEM, pyness.Samples.from_states(SYSTEM, states), velocity)
    # up to what the confinement beyond the hull adds to the mean
    assert found.residual(network).mean().item() == pytest.approx(-certificate.gap.value, rel=1e-8)


def _contrast(network: Network, count: int, widening: float = 1.0) -> Contrast:
    generator = torch.Generator().manual_seed(2)
    x = gaussian_states(SYSTEM, count, 3) * widening**0.5
    reference = clouds.Reference(SYSTEM, x, generator)
    return Contrast(network, x, reference.draw(count, generator), reference.log_density, widening)


@pytest.mark.parametrize("widening", [1.0, 4.0])
def test_contrast_is_stationary_at_the_truth(setting, widening):
    """The slope there is an average of independent terms of mean zero: within 4.5 of its standard errors."""
    wide = gaussian_states(SYSTEM, 4000, 1) * widening**0.5
    truth = _true(Network.draw(SYSTEM, wide, 8, torch.Generator().manual_seed(0)), wide)
    contrast, outer = _contrast(truth, 40_000, widening), truth.outer

    def scores(network: Network) -> torch.Tensor:
        """Slope by each output weight in its standard errors."""
        slope, variance = 0.0, 0.0
        logits = zip((contrast.samples, contrast.reference), contrast.logits(network), (1.0, 0.0), strict=True)
        for at, logit, label in logits:
            terms = -value_rows(network, at, outer=True) / widening * (torch.sigmoid(logit) - label)[:, None]
            slope, variance = slope + terms.mean(0), variance + terms.var(0) / len(terms)
        return slope / variance.sqrt()

    assert scores(truth).abs().max() < 4.5
    away = truth.parameters
    largest = torch.argmax(away[outer].abs())
    away[largest] *= 1.2
    assert scores(truth.with_parameters(away)).abs().max() > 9


def test_contrast_slope_and_hessian(setting, monkeypatch):
    _, _, network = setting
    monkeypatch.setattr(objective, "HESSIAN_ROWS", 1000)
    contrast, theta, outer = _contrast(network, 1000), network.parameters, network.outer
    u, v = contrast.logits(network)
    # the constant is at its optimum
    assert (torch.sigmoid(v).mean() - torch.sigmoid(-u).mean()).abs() < 1e-12
    slope = torch.func.grad(lambda weights: contrast.loss(network.with_parameters(weights)))(theta)
    for i in (0, outer.stop - 1, outer.stop, len(theta) - 1):
        step = torch.zeros_like(theta)
        step[i] = 1e-5
        up, down = (contrast.loss(network.with_parameters(theta + sign * step)) for sign in (1, -1))
        assert slope[i].item() == pytest.approx((up - down).item() / 2e-5, rel=1e-4, abs=1e-7)
    # convex in the output weights, with the constant following: differences of the slope
    hessian = contrast.hessian(network, outer=True)
    assert torch.linalg.eigvalsh(hessian).min() > -1e-12
    for i in (0, outer.stop - 1):
        step = torch.zeros_like(theta)
        step[i] = 1e-4
        up, down = (
            torch.func.grad(lambda weights: contrast.loss(network.with_parameters(weights)))(theta + sign * step)
            for sign in (1, -1)
        )
        torch.testing.assert_close(hessian[i], ((up - down) / 2e-4)[outer], rtol=1e-4, atol=1e-6)


def test_walls_are_the_normal_velocity():
    system = pyness.System(
        "channel", 2, lambda x: torch.stack([x[..., 1] - x[..., 0], -x[..., 1]], -1), [0.3, 0.7],
        pyness.Box([-1, -1], [1, 1], ["open", "reflect"]),
    )  # fmt: skip
    generator = torch.Generator().manual_seed(5)
    cloud = system.domain.uniform(1000, generator, dtype=torch.float64)
    network = Network.draw(system, cloud, 8, generator)
    noise = torch.randn(network.parameters.shape, generator=generator, dtype=torch.float64)
    network = network.with_parameters(network.parameters + noise)
    points, normals = clouds.wall_points(system, cloud, 40, generator)
    walls = Walls(network, system, points, normals, RATE)
    outflow = (normals * (system.drift(points) + system.diffusion.apply(points, _gradient(network)(points)))).sum(-1)
    # at both walls the drift along the normal is -1 outwards
    weight = (1 / (1 / 0.7 + RATE) / 0.7) ** 0.5
    torch.testing.assert_close(walls.misfit(network), weight * outflow, rtol=1e-8, atol=1e-8)
    walls.fade = torch.linspace(0, 1, len(points), dtype=torch.float64)
    _close(walls.hessian(network), _gauss_newton(lambda other: walls.fade * walls.misfit(other), network))


def test_anchors_only_pull_up(setting):
    states, _, network = setting
    anchors = Anchors(network, states[:100], states[100:200])
    anchors.floor = 0.5
    value, zero = (network.value(network.places(x)) for x in (states[:100], states[100:200]))
    below = (value - zero.mean() - 0.5).clamp_max(0)
    assert 0 < int((below < 0).sum()) < 100
    torch.testing.assert_close(anchors.misfit(network), below)
    _close(anchors.hessian(network), _gauss_newton(anchors.misfit, network))
    # a potential has no constant of its own
    shifted = network.tensors | {"bias": torch.cat([network.tensors["bias"][:-1], torch.tensor([50.0]).double()])}
    shifted = Network(shifted, SYSTEM)
    more = Network(shifted.tensors | {"output": shifted.tensors["output"] + torch.eye(8)[-1].double() * 3}, SYSTEM)
    torch.testing.assert_close(anchors.misfit(more), anchors.misfit(shifted))
    anchors.keep(below >= 0)
    assert len(anchors.at) == int((below >= 0).sum())
    assert anchors.misfit(network).abs().max() == 0


def test_ridge_is_half_the_square_of_the_output_weights(setting):
    network = setting[2]
    expected = network.tensors["output"].square().sum() + network.tensors["quadratic"].square().sum()
    assert Ridge().loss(network).item() == pytest.approx(0.5 * expected.item())
    assert torch.equal(Ridge().hessian(network, outer=True), torch.eye(network.outer.stop, dtype=torch.float64))
    assert Ridge().hessian(network).sum().item() == network.outer.stop


def test_share_of_the_entropy_production_loss():
    assert epr_share(1.0, 1.0, 0, 1000, 2) == 1.0
    assert epr_share(5.0, 1.0, 100, 10_000, 2) == pytest.approx(1 / 6)
