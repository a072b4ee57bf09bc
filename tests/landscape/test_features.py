"""The network's closed forms against automatic differentiation, on every kind of boundary and diffusion."""

from __future__ import annotations

import pytest
import torch

import pyness
from pyness.landscape.features import Features
from pyness.landscape.warp import BINS, measure, warp
from pyness.systems.derivatives import value_and_divergence
from tests.estimators.exact import gaussian_states

BOX = pyness.Box([-1.0, 0.5, -2.0], [2.0, 1.5, 3.0], ["reflect", "periodic", "open"])
MATRIX = [[0.5, 0.1, 0.0], [0.1, 0.4, -0.2], [0.0, -0.2, 0.6]]
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


def _drawn(diffusion, count: int = 60) -> tuple[pyness.System, Features, torch.Generator]:
    system = pyness.System("test", 3, _drift, diffusion, BOX)
    generator = torch.Generator().manual_seed(0)
    cloud = BOX.uniform(2000, generator, dtype=torch.float64)
    return system, Features.draw(system, cloud, count, generator), generator


def _points(generator: torch.Generator) -> torch.Tensor:
    """Inside the hull, and beyond it along the open coordinate, where the confinement rises."""
    x = BOX.uniform(60, generator, dtype=torch.float64)
    x[:20, 2] = torch.linspace(-4, 5, 20)
    return x


@pytest.mark.parametrize("kind", list(DIFFUSIONS))
def test_derivatives(kind):
    system, features, generator = _drawn(DIFFUSIONS[kind])
    coefficients = torch.randn(features.count, generator=generator, dtype=torch.float64)
    network, x = features.folded(coefficients), _points(generator)

    def gradient(y: torch.Tensor) -> torch.Tensor:
        return torch.func.vmap(torch.func.grad(lambda z: network.value(z[None]).sum()))(y)

    found = network.evaluate(system, x)
    flux, curvature = value_and_divergence(lambda y: system.diffusion.apply(y, gradient(y)), x)
    torch.testing.assert_close(found.value, network.value(x), rtol=1e-10, atol=1e-9)
    for part, expected in (
        (found.gradient.sum(-1), gradient(x)),
        (found.noise_gradient.sum(-1), flux),
        (found.curvature.sum(-1), curvature),
    ):
        torch.testing.assert_close(part, expected, rtol=1e-8, atol=1e-9 * expected.abs().max().item())


@pytest.mark.parametrize("kind", ["scalar", "matrix of the state"])
def test_folded_network_is_the_combination(kind):
    system, features, generator = _drawn(DIFFUSIONS[kind])
    k = torch.randn(features.count, generator=generator, dtype=torch.float64)
    x = _points(generator)
    whole, folded = features.evaluate(system, x), features.folded(k).evaluate(system, x)
    assert features.folded(k).count == 1
    for name in ("value", "gradient", "noise_gradient", "curvature"):
        many, one = getattr(whole, name), getattr(folded, name)
        assert many.shape[-1] == features.count + 1
        torch.testing.assert_close(many[..., :-1] @ k, one[..., 0], rtol=1e-9, atol=1e-9 * one.abs().max().item())
        assert torch.equal(many[..., -1], one[..., -1])


def test_periodic_and_orthonormal():
    _, features, generator = _drawn(0.3)
    x = BOX.uniform(50, generator, dtype=torch.float64)
    around = x + torch.tensor([0.0, 1.0, 0.0]).double()
    torch.testing.assert_close(features.value(x), features.value(around), rtol=1e-7, atol=1e-6)
    # over the very points it was drawn on
    cloud = BOX.uniform(2000, torch.Generator().manual_seed(0), dtype=torch.float64)
    basis = features.value(cloud)[:, :-1]
    gram = basis.mT @ basis / len(cloud)
    strong = torch.eye(features.count, dtype=torch.float64)
    assert (gram - strong).abs().max() < 1e-2
    assert basis.mean(0).abs().max() < 1e-4


def test_confinement_only_beyond_the_hull_of_open_coordinates():
    _, features, generator = _drawn(0.3)
    inside = BOX.uniform(200, generator, dtype=torch.float64)
    assert torch.equal(features.value(inside)[:, -1], torch.zeros(200, dtype=torch.float64))
    beyond = inside.clone()
    beyond[:, 2] = torch.linspace(4, 40, 200)
    rise = features.value(beyond)[:, -1]
    assert bool((rise[1:] > rise[:-1]).all())
    assert rise[-1] > 1000


@pytest.mark.parametrize(
    "diffusion", [0.5, [[0.5, 0.2, 0.0], [0.2, 0.4, 0.1], [0.0, 0.1, 0.6]]], ids=["scalar", "matrix"]
)
def test_gaussian_potentials_are_exact(diffusion):
    """With the quadratic monomials the potential of an Ornstein-Uhlenbeck process is in the span, gradient and all."""
    system = pyness.systems.get("ornstein-uhlenbeck", D=diffusion)
    states = gaussian_states(system, 3000, 1)
    features = Features.draw(system, states, 30, torch.Generator().manual_seed(2))
    basis = features.evaluate(system, states)
    target = system.truth.potential(states) / system.potential_scale
    k = torch.linalg.lstsq(basis.value[:, :-1], (target - target.mean())[:, None]).solution[:, 0]
    velocity = system.drift(states) + basis.noise_gradient[..., :-1] @ k
    # div v - v . grad Phi = 0 is the steady state
    gradient = basis.gradient[..., :-1] @ k
    divergence = -torch.tensor(system.parameters["A"]).trace() + basis.curvature[:, :-1] @ k
    assert (divergence - (velocity * gradient).sum(-1)).abs().max() < 1e-5


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
    assert first[1] > 5 * first[0]
