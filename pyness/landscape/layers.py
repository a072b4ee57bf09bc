"""Thin layers at reflecting sides that the drift presses on.

Where the drift points into a wall, ``F_n > 0``, the density piles up within ``D / F_n`` of it, far thinner than what
states elsewhere resolve; what is in such a layer feeds the flank it flows out to. The network gets an input
``exp(-s / w)`` of the distance ``s`` to each of these walls, and the residual points within the layer.
"""

from __future__ import annotations

import math

import torch

from pyness.systems import System

__all__ = ["find", "within"]

#: Where the drift is looked at, and how deep points are placed: a fraction of the box's width.
NEAR, DEEP = 0.1, 0.05
#: The width of a layer in units of ``D / F_n``; one that is not thinner than this fraction of the box is none.
WIDTH, THIN = 3.0, 0.02
FEW = 10


def find(system: System, states: torch.Tensor) -> torch.Tensor:
    """The layers that ``states: (n, d)`` come near: ``(k, 4)`` of coordinate, position, inward sign and width ``w``."""
    found = []
    for axis in system.domain.reflecting:
        across = system.domain.width[axis]
        for inwards, position in ((1.0, system.domain.low[axis]), (-1.0, system.domain.high[axis])):
            x = states[(states[:, axis] - position).abs() < NEAR * across].clone()
            if len(x) < FEW:
                continue
            x[:, axis] = position
            normal = torch.zeros_like(x)
            normal[:, axis] = -inwards
            D = (normal * system.diffusion.apply(x, normal)).sum(1)
            pressure = (system.modified_drift(x) * normal).sum(1) / D
            pressure = pressure[pressure > 0]
            if len(pressure) >= FEW and (width := WIDTH / torch.quantile(pressure, 0.75).item()) < THIN * across:
                found.append([axis, position, inwards, width])
    return torch.tensor(found, dtype=states.dtype, device=states.device).reshape(-1, 4)


def within(
    system: System, layers: torch.Tensor, states: torch.Tensor, count: int, generator: torch.Generator
) -> torch.Tensor:
    """``(k count, d)`` points: states near each layer moved into it, evenly in the logarithm of their depth."""
    points = [states[:0]]
    for axis, position, inwards, width in layers.tolist():
        axis, deep = int(axis), DEEP * system.domain.width[int(axis)]
        near = states[(states[:, axis] - position).abs() < deep]
        if not len(near):
            continue
        x = near[torch.randint(0, len(near), (count,), generator=generator)].clone()
        even = torch.rand(count, generator=generator, dtype=torch.float64).to(x)
        x[:, axis] = position + inwards * width * torch.expm1(even * math.log1p(deep / width))
        points.append(x)
    return torch.cat(points)
