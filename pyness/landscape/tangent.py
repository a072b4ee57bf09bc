"""How value, gradient and stationarity residual of a network change with each of its weights, in closed form.

These are the rows of Gauss-Newton matrices. Columns come in the order of ``Network.parameters``; the leading block is
that of the output weights (``Network.outer``), which alone is returned with ``outer=True``.
"""

from __future__ import annotations

import torch

from pyness.landscape.metric import Metric, own_diffusion, stretch
from pyness.landscape.network import Inputs, Network, Places, known_curvature
from pyness.systems import System

__all__ = ["gradient_rows", "residual_rows", "value_rows"]


def value_rows(network: Network, at: Places, outer: bool = False) -> torch.Tensor:
    """``d Phi / d theta``, ``(n, P)``."""
    t, z = network.activations(at), at.plain.value
    a, b = _pairs(z)
    parts = [t, z, z[:, a] * z[:, b], at.known.value]
    if not outer:
        slope = (1 - t * t) * network.tensors["output"]
        parts += [slope, *_by_input(slope, at.units)]
    return torch.cat(parts, dim=1)


def gradient_rows(network: Network, at: Places, axis: int, outer: bool = False) -> torch.Tensor:
    """``d (d Phi / d x_axis) / d theta``, ``(n, P)``."""
    t, weights, c = network.activations(at), network.tensors["weights"], network.tensors["output"]
    slope, own = 1 - t * t, at.units.along(axis)
    along = own @ weights
    z, dz = at.plain.value, at.plain.along(axis)
    a, b = _pairs(z)
    parts = [slope * along, dz, dz[:, a] * z[:, b] + z[:, a] * dz[:, b], at.known.first[:, :, axis]]
    if not outer:
        bend = -2 * t * slope * c * along
        turned = [(slope * c) * own[:, e, None] for e in range(len(weights))]
        parts += [bend, *(one + two for one, two in zip(_by_input(bend, at.units), turned, strict=True))]
    return torch.cat(parts, dim=1)


def residual_rows(network: Network, system: System, at: Places, along: torch.Tensor) -> torch.Tensor:
    """``d R / d theta``, ``(n, P)``, with ``along = F_v + 2 D grad Phi``, ``(n, d)``."""
    t, weights, c = network.activations(at), network.tensors["weights"], network.tensors["output"]
    D = own_diffusion(system, at.x)
    if not system.diffusion.constant:
        along = along - system.diffusion.divergence(at.x)
    slope = 1 - t * t
    bend = -2 * t * slope
    metric, push = Metric.between(at.units, D), _push(at.units, D, along)
    square, pushed = metric.form(weights), push @ weights
    z, metric_z, push_z = at.plain.value, Metric.between(at.plain, D), _push(at.plain, D, along)
    a, b = _pairs(z)
    pairs = 2 * metric_z.pairs(a, b) + push_z[:, a] * z[:, b] + z[:, a] * push_z[:, b]
    core = (slope * (6 * t * t - 2) * square + bend * pushed) * c
    bend, slope_c = bend * c, slope * c
    by_weight = [
        one + 2 * bend * metric.along(e, weights) + slope_c * push[:, e, None]
        for e, one in enumerate(_by_input(core, at.units))
    ]
    known = known_curvature(at, D) - torch.einsum("nmd,nd->nm", at.known.first, along)
    return torch.cat([-2 * t * slope * square + slope * pushed, push_z, pairs, known, core, *by_weight], dim=1)


def _push(inputs: Inputs, D: torch.Tensor, along: torch.Tensor) -> torch.Tensor:
    """What multiplies first derivatives by an input in ``D : grad grad - along . grad``, ``(n, e)``."""
    return inputs.collected(stretch(D)[:, inputs.axis] * inputs.second - along[:, inputs.axis] * inputs.first)


def _by_input(slope: torch.Tensor, inputs: Inputs) -> list[torch.Tensor]:
    return [slope * column[:, None] for column in inputs.value.unbind(1)]


def _pairs(z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.triu_indices(z.shape[1], z.shape[1], device=z.device).unbind(0)
