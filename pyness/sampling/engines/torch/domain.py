"""The domain as the steps see it: folding, wrapping, and the records of folds."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pyness.systems import Box

__all__ = ["Domain", "Folds"]


@dataclass(frozen=True)
class Folds:
    """Folds of one group of steps: ``(n,)`` row, ``(n,)`` face, ``(n, d)`` position, ``(n,)`` displacement."""

    row: torch.Tensor
    face: torch.Tensor
    position: torch.Tensor
    displacement: torch.Tensor


class Domain:
    """A ``Box`` with its corners as tensors.

    Args:
        box: the domain.
        dtype, device: of the states.
    """

    def __init__(self, box: Box, dtype: torch.dtype, device: str) -> None:
        self.low = torch.tensor(box.low, dtype=dtype, device=device)
        self.high = torch.tensor(box.high, dtype=dtype, device=device)
        self.width = self.high - self.low
        kinds = box.boundary
        self.walled = "reflect" in kinds
        self.wrapped = "periodic" in kinds
        self.open = not (self.walled or self.wrapped)
        everywhere = torch.full_like(self.low, torch.inf)
        reflect = torch.tensor([k == "reflect" for k in kinds], device=device)
        periodic = torch.tensor([k == "periodic" for k in kinds], device=device)
        # an infinite corner stands for "no wall here", so that one formula serves mixed boxes
        self._wall_low = torch.where(reflect, self.low, -everywhere)
        self._wall_high = torch.where(reflect, self.high, everywhere)
        self._seam_low = torch.where(periodic, self.low, -everywhere)
        self._seam_high = torch.where(periodic, self.high, everywhere)

    def outside(self, y: torch.Tensor) -> torch.Tensor:
        """``(..., d)`` bool: beyond a reflecting wall."""
        return (y < self._wall_low) | (y > self._wall_high)

    def restore(self, y: torch.Tensor) -> torch.Tensor:
        """``y: (..., d)`` folded at the walls, however far it went, and wrapped round the periodic sides.

        Folding is the triangular wave of period twice the width. What lies inside is returned bit for bit.
        """
        x = y
        if self.walled:
            reach = y - self.low
            wave = self.low + (reach - 2 * self.width * torch.round(reach / (2 * self.width))).abs()
            x = torch.where(self.outside(y), wave, x)
        if self.wrapped:
            turned = y - self.width * torch.floor((y - self.low) / self.width)
            x = torch.where((y < self._seam_low) | (y >= self._seam_high), turned, x)
        return x

    def nearest(self, y: torch.Tensor) -> torch.Tensor:
        """The point of the domain nearest to ``y``: clamped at the walls, wrapped round the periodic sides.

        Stages of a step may reach beyond a wall, where a drift need not be defined; it is evaluated here.
        """
        if self.open:
            return y
        x = torch.clamp(y, self._wall_low, self._wall_high) if self.walled else y
        return self.restore(x) if self.wrapped else x

    def folds(self, y: torch.Tensor, row: torch.Tensor) -> Folds:
        """The folds of the points ``y: (n, d)``, of which ``row: (n,)`` says whose they are.

        A step that bounces to and fro is one record at the wall it crossed first, with the whole way it was moved.
        """
        which, axis = torch.nonzero(self.outside(y) & torch.isfinite(y), as_tuple=True)
        beyond = y[which, axis]
        low, high = self.low[axis], self.high[axis]
        side = (beyond > high).to(torch.int64)
        position = self.nearest(self.restore(y)[which])
        position[torch.arange(axis.numel(), device=axis.device), axis] = torch.where(side == 1, high, low)
        displacement = torch.zeros_like(beyond)
        overshoot = torch.clamp(low - beyond, min=0) + torch.clamp(beyond - high, min=0)
        while bool((overshoot > 0).any()):
            # after a bounce, what is left of an overshoot beyond the opposite wall is the overshoot less a width
            displacement = displacement + 2 * overshoot
            overshoot = torch.clamp(overshoot - (high - low), min=0)
        return Folds(row[which], 2 * axis + side, position, displacement)
