"""The network's closed forms against automatic differentiation, on every kind of boundary and diffusion."""

from __future__ import annotations

import pytest
import torch

import pyness
from pyness.landscape.mixture import Mixture
from pyness.landscape.network import Network
from pyness.landscape.tangent import gradient_rows, value_rows
from pyness.landscape.warp import BINS, measure, warp
from pyness.systems.derivatives import value_and_divergence
from tests.estimators.exact import gaussian_states
from tests.landscape.rows import check_rows

BOX = pyness.Box([-1.0, 0.5, -2.0], [2.0, 1.5, 3.0], ["reflect", "periodic", "open"])
MATRIX = [[0.5, 0.0, 0.0], [0.0, 0.4, -0.2], [0.0, -0.2, 0.6]]
DIFFUSIONS = {
    "scalar": 0.3,
    "diagonal": [0.2, 0.5, 0.9],
    "matrix": MATRIX,
    "diagonal of the state": lambda x: 0.3 + 0.1 * torch.sin(x) ** 2,
    "matrix of the state": lambda x: torch.tensor(MATRIX).to(x) * (1 + 0.1 * x[..., 2:, None] ** 2),
}


def _drift(x: torch.Tensor) -> torch.Tensor:
    angle = 2 * torch.pi * x[..., 1]
    return torch.stack([torch.cos(angle) - x[..., 0], torch.sin(angle + x[..., 2]), x[..., 0] - x[..., 2]], dim=-1)


def _drawn(diffusion, count: int = 12) -> tuple[pyness.System, Network, torch.Generator]:
    """A network with a layer at a wall, whose weights are all at random around where they were drawn."""
    system = pyness.System("test", 3, _drift, diffusion, BOX)
    generator = torch.Generator().manual_seed(0)
    cloud = BOX.uniform(2000, generator, dtype=torch.float64)
    layer = torch.tensor([[0, 2.0, -1.0, 0.3]], dtype=torch.float64)
    network = Network.draw(system, cloud, count, generator, layers=layer).with_layer_units(cloud, 4, generator)
    noise = torch.randn(network.parameters.shape, generator=generator, dtype=torch.float64)
    return system, network.with_parameters(network.parameters + 0.5 * noise), generator


def _points(generator: torch.Generator) -> torch.Tensor:
    """Inside the hull, and beyond it along the open coordinate, where the confinement rises."""
    x = BOX.uniform(60, generator, dtype=torch.float64)
    x[:20, 2] = torch.linspace(-4, 5, 20)
    return x


@pytest.mark.parametrize("kind", list(DIFFUSIONS))
def test_derivatives(kind):
    system, network, generator = _drawn(DIFFUSIONS[kind])
    x = _points(generator)
    at = network.places(x)

    def gradient(y: torch.Tensor) -> torch.Tensor:
        return torch.func.vmap(torch.func.grad(lambda z: network.value(network.places(z[None])).sum()))(y)

    found, curvature = network.gradient_and_curvature(system, at)
    _, expected = value_and_divergence(lambda y: system.diffusion.apply(y, gradient(y)), x)
    torch.testing.assert_close(found, gradient(x), rtol=1e-9, atol=1e-10)
    assert torch.equal(network.gradient(at), found)
    torch.testing.assert_close(curvature, expected, rtol=1e-9, atol=1e-10 * expected.abs().max().item())


@pytest.mark.parametrize("kind", list(DIFFUSIONS))
def test_tangents(kind):
    """Rows of value, gradient and residual against automatic differentiation by every weight."""
    system, network, generator = _drawn(DIFFUSIONS[kind])
    at = network.places(_points(generator))
    check_rows(system, network, at)
    for axis in range(3):
        rows = gradient_rows(network, at, axis)
        torch.testing.assert_close(gradient_rows(network, at, axis, outer=True), rows[:, network.outer])
    torch.testing.assert_close(value_rows(network, at, outer=True), value_rows(network, at)[:, network.outer])


@pytest.mark.parametrize("diffusion", [0.3, MATRIX], ids=["scalar", "matrix"])
def test_mixture_has_a_weight(diffusion):
    """Rows of a network that has a mixture of Gaussians as one of its functions."""
    system = pyness.System("test", 3, lambda x: torch.sin(x.flip(-1)) - x, diffusion, pyness.Box([-2] * 3, [2] * 3))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 3, generator=generator, dtype=torch.float64)
    means = torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.5, 0.0]], dtype=torch.float64)
    factors = torch.eye(3, dtype=torch.float64).expand(2, 3, 3) * torch.tensor([0.5, 0.8])[:, None, None]
    base = Mixture(torch.tensor([0.4, 0.6], dtype=torch.float64), means, factors)
    network = Network.draw(system, x, 5, generator, base)
    assert network.tensors["known"].tolist() == [1.0]
    theta = network.parameters + 0.3 * torch.randn(network.parameters.shape, generator=generator, dtype=torch.float64)
    network, at = network.with_parameters(theta), network.places(x[:40])
    check_rows(system, network, at)
    slope = torch.func.vmap(torch.func.grad(lambda z: network.value(network.places(z[None], 0)).sum()))(at.x)
    torch.testing.assert_close(network.gradient(at), slope, rtol=1e-9, atol=1e-10)


def test_periodic():
    _, network, generator = _drawn(0.3)
    x = BOX.uniform(50, generator, dtype=torch.float64)
    around = x + torch.tensor([0.0, 1.0, 0.0]).double()
    torch.testing.assert_close(network.value(network.places(x)), network.value(network.places(around)))


def test_confinement_only_beyond_the_hull_of_open_coordinates():
    _, network, generator = _drawn(0.3)
    inside = BOX.uniform(200, generator, dtype=torch.float64)
    assert torch.equal(network.places(inside).fixed, torch.zeros(200, dtype=torch.float64))
    beyond = inside.clone()
    beyond[:, 2] = torch.linspace(4, 40, 200)
    rise = network.places(beyond).fixed
    assert bool((rise[1:] > rise[:-1]).all())
    assert rise[-1] > 1000


@pytest.mark.parametrize(
    "diffusion", [0.5, [[0.5, 0.2, 0.0], [0.2, 0.4, 0.1], [0.0, 0.1, 0.6]]], ids=["scalar", "matrix"]
)
def test_gaussian_potentials_are_exact(diffusion):
    """With the quadratic monomials the potential of an Ornstein-Uhlenbeck process is in reach, gradient and all."""
    system = pyness.systems.get("ornstein-uhlenbeck", D=diffusion)
    states = gaussian_states(system, 3000, 1)
    network = Network.draw(system, states, 30, torch.Generator().manual_seed(2))
    at = network.places(states)
    target = system.truth.potential(states) / system.potential_scale
    rows = value_rows(network, at, outer=True)
    constant = torch.ones(len(rows), 1, dtype=torch.float64)
    solved = torch.linalg.lstsq(torch.cat([rows, constant], 1), target[:, None]).solution[:-1, 0]
    theta = network.parameters
    theta[network.outer] = solved
    gradient, curvature = network.with_parameters(theta).gradient_and_curvature(system, at)
    drift, div = value_and_divergence(system.drift, states)
    velocity = drift + system.diffusion.apply(states, gradient)
    # div v - v . grad Phi = 0 is the steady state
    residual = div + curvature - (velocity * gradient).sum(-1)
    assert residual.abs().max() < 1e-5 * div.abs().max()


def test_same_generator_same_units():
    one, two = _drawn(0.3)[1], _drawn(0.3)[1]
    assert all(torch.equal(one.tensors[name], two.tensors[name]) for name in one.tensors)


def test_warp_derivatives():
    shares = torch.rand(BINS, generator=torch.Generator().manual_seed(3), dtype=torch.float64) ** 4
    shares /= shares.sum()
    z = torch.linspace(-1.3, 1.3, 301, dtype=torch.float64)
    u, first, second = warp(z, shares)
    slope = torch.func.vmap(torch.func.grad(lambda y: warp(y[None], shares)[0][0]))
    bend = torch.func.vmap(torch.func.grad(lambda y: warp(y[None], shares)[1][0]))
    torch.testing.assert_close(first, slope(z), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(second, bend(z), rtol=1e-8, atol=1e-8)
    # two derivatives are continuous across the knots
    knots = torch.linspace(-1, 1, BINS + 1, dtype=torch.float64)
    for below, above in zip(warp(knots - 1e-9, shares), warp(knots + 1e-9, shares), strict=True):
        torch.testing.assert_close(below, above, rtol=1e-5, atol=1e-4)
    assert bool((u[1:] > u[:-1]).all())


def test_warp_gives_room_to_a_thin_layer():
    """A drift that switches within 0.02 of a side of length 2 takes most of the coordinate's units there."""
    system = pyness.System("layer", 1, lambda x: -torch.tanh(100 * x), 0.1, pyness.Box([-1], [1], "open"))
    cloud = system.domain.uniform(20_000, torch.Generator().manual_seed(4), dtype=torch.float64)
    shares = measure(system, cloud, torch.zeros(1).double(), torch.ones(1).double())
    assert shares.shape == (1, BINS)
    assert shares.sum().item() == pytest.approx(1.0)
    u, first, _ = warp(torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64), shares[0])
    torch.testing.assert_close(u, torch.tensor([-1.0, 0.0, 1.0]).double(), rtol=0, atol=0.05)
    assert first[1] > 4 * first[0]
