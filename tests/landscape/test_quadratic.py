"""The nearest quadratic potential: no better one by its own loss, and that of a linear system is its potential."""

from __future__ import annotations

import pytest
import torch

import pyness
from pyness.landscape.network import Network
from pyness.landscape.objective import EntropyProduction
from pyness.landscape.quadratic import nearest_quadratic
from tests.estimators.exact import gaussian_states


def _drift(x: torch.Tensor) -> torch.Tensor:
    return torch.tanh(2 * x.roll(1, -1)) - x + 0.3 * x.roll(2, -1) - 0.1 * x**3


@pytest.mark.parametrize("diffusion", [0.4, [0.1, 0.3, 0.2, 0.6, 0.5]], ids=["scalar", "diagonal"])
def test_slope_of_the_loss_vanishes(diffusion):
    system = pyness.System("nonlinear", 5, _drift, diffusion, pyness.Box([-3] * 5, [3] * 5))
    generator = torch.Generator().manual_seed(0)
    states = 0.3 + torch.randn(4000, 5, generator=generator, dtype=torch.float64)
    network = nearest_quadratic(Network.draw(system, states, 4, generator), system, states, system.drift(states))
    epr = EntropyProduction(network, system, states, 1.0)
    parameters = network.parameters.requires_grad_()
    (slope,) = torch.autograd.grad(epr.loss(network.with_parameters(parameters)), parameters)
    units = len(network.tensors["output"])
    quadratic = slope[units : units + len(network.tensors["quadratic"])]
    assert quadratic.abs().max() < 1e-9 * epr.drift.square().sum(1).mean()


def test_linear_system():
    system = pyness.systems.get("ornstein-uhlenbeck")
    states = gaussian_states(system, 200_000, 1)
    network = Network.draw(system, states, 4, torch.Generator().manual_seed(0))
    network = nearest_quadratic(network, system, states, system.drift(states))
    exact = torch.func.vmap(torch.func.grad(system.truth.potential))(states[:100]) / system.potential_scale
    off = (network.gradient(network.places(states[:100])) - exact).square().mean() / exact.square().mean()
    # a relative error of 1 / sqrt(n) for each of some ten weights
    assert off < 10 * 10 / len(states)
