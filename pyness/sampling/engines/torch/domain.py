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

    def crossings(self, y: torch.Tensor, row: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Of the points ``y: (n, d)`` of rows ``row: (n,)`` those beyond a wall, once for each: points, axes, rows."""
        which, axis = torch.nonzero(self.outside(y), as_tuple=True)
        return y[which], axis, row[which]

    def folds(self, y: torch.Tensor, axis: torch.Tensor, row: torch.Tensor) -> Folds:
        """The folds that belong to crossings.

        A step that bounces to and fro is one record at the wall it crossed first, with the whole way it was moved:
        of an overshoot ``o`` in a box of width ``w``, ``2 (o + (o - w) + (o - 2 w) + ...)`` while positive.
        """
        finite = torch.isfinite(y).all(-1)
        y, axis, row = y[finite], axis[finite], row[finite]
        beyond = y.gather(1, axis.unsqueeze(1)).squeeze(1)
        low, high = self.low[axis], self.high[axis]
        side = beyond > high
        wall = torch.where(side, high, low)
        overshoot, width = (beyond - wall).abs(), high - low
        bounces = torch.floor(overshoot / width)
        displacement = 2 * (bounces + 1) * (overshoot - 0.5 * bounces * width)
        position = self.nearest(self.restore(y)).scatter(1, axis.unsqueeze(1), wall.unsqueeze(1))
        return Folds(row, 2 * axis + side.to(torch.int64), position, displacement)
