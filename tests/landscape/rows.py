"""Rows of a network, its derivatives by each weight, held against automatic differentiation."""

from __future__ import annotations

import torch

import pyness
from pyness.landscape.network import Network, Places
from pyness.landscape.tangent import gradient_rows, residual_rows, value_rows

__all__ = ["check_rows"]


def check_rows(system: pyness.System, network: Network, at: Places) -> None:
    """Those of value, gradient and residual."""
    drift = system.modified_drift(at.x)

    def residual(weights: torch.Tensor) -> torch.Tensor:
        gradient, curvature = network.with_parameters(weights).gradient_and_curvature(system, at)
        return curvature - ((drift + system.diffusion.apply(at.x, gradient)) * gradient).sum(-1)

    along = drift + 2 * system.diffusion.apply(at.x, network.gradient(at))
    cases = [
        (value_rows(network, at), lambda weights: network.with_parameters(weights).value(at)),
        (residual_rows(network, system, at, along), residual),
    ]
    for axis in range(system.dim):
        rows = gradient_rows(network, at, axis)
        cases.append((rows, lambda weights, i=axis: network.with_parameters(weights).gradient(at)[:, i]))
    for rows, function in cases:
        expected = torch.func.jacrev(function)(network.parameters)
        torch.testing.assert_close(rows, expected, rtol=1e-9, atol=1e-11 * expected.abs().max().item())
