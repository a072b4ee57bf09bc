"""The domain as the steps see it: folding, wrapping, and the records of folds."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pyness.sampling.engines.torch.linear_walls import LinearWalls
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
        kinds = self._kinds = box.boundary
        self.linear = LinearWalls(box, dtype, device) if box.walls else None
        self._linear_count = len(box.walls)
        self._boxed = bool(box.reflecting)
        self.walled = box.walled
        self.wrapped = "periodic" in kinds
        self.refusing = "refuse" in kinds
        self.open = not (self.walled or self.wrapped or self.refusing)
        everywhere = torch.full_like(self.low, torch.inf)
        reflect = torch.tensor([k in ("reflect", "clip") for k in kinds], device=device)
        refuse = torch.tensor([k == "refuse" for k in kinds], device=device)
        self._clip = torch.tensor([k == "clip" for k in kinds], device=device)
        periodic = torch.tensor([k == "periodic" for k in kinds], device=device)
        # an infinite corner stands for "no wall here", so that one formula serves mixed boxes
        self._wall_low = torch.where(reflect, self.low, -everywhere)
        self._wall_high = torch.where(reflect, self.high, everywhere)
        self._seam_low = torch.where(periodic, self.low, -everywhere)
        self._seam_high = torch.where(periodic, self.high, everywhere)
        self._limit_low = torch.where(refuse, self.low, -everywhere)
        self._limit_high = torch.where(refuse, self.high, everywhere)

    def outside(self, y: torch.Tensor) -> torch.Tensor:
        """``(...,)`` bool: beyond a reflecting wall."""
        out = self._beyond_sides(y).any(-1)
        return out if self.linear is None else out | self.linear.outside(y)

    def _beyond_sides(self, y: torch.Tensor) -> torch.Tensor:
        """``(..., d)`` bool: beyond a reflecting side of the box."""
        return (y < self._wall_low) | (y > self._wall_high)

    def restore(self, y: torch.Tensor) -> torch.Tensor:
        """``y: (..., d)`` folded at the walls, however far it went, and wrapped round the periodic sides.

        What lies inside is returned bit for bit; what left through a side that refuses is NaN.
        """
        x = self._restored_box(y)
        if self.linear is None:
            return x
        out = self.linear.outside(x)
        if not bool(out.any()):
            return x
        return x.masked_scatter(
            out.unsqueeze(-1), self.linear.bounced(x[out], lambda _, points: self._restored_box(points))
        )

    def _restored_box(self, y: torch.Tensor) -> torch.Tensor:
        """The same for the sides of the box alone: folding is the triangular wave of period twice the width."""
        x = y
        if self._boxed:
            reach = y - self.low
            wave = self.low + (reach - 2 * self.width * torch.round(reach / (2 * self.width))).abs()
            if "clip" in self._kinds:
                wave = torch.where(self._clip, torch.clamp(y, self._wall_low, self._wall_high), wave)
            x = torch.where(self._beyond_sides(y), wave, x)
        if self.refusing:
            x = torch.where((y < self._limit_low) | (y > self._limit_high), torch.nan, x)
        if self.wrapped:
            turned = y - self.width * torch.floor((y - self.low) / self.width)
            x = torch.where((y < self._seam_low) | (y >= self._seam_high), turned, x)
        return x

    def clipping(self, face: torch.Tensor) -> torch.Tensor:
        """``(n,)`` bool: whether the faces are sides that clip."""
        return torch.cat([self._clip.repeat_interleave(2), self._clip.new_zeros(self._linear_count)])[face]

    def refused(self, y: torch.Tensor) -> torch.Tensor:
        """``(...,)`` bool: gone through a side that refuses."""
        return ((y < self._limit_low) | (y > self._limit_high)).any(-1)

    def nearest(self, y: torch.Tensor) -> torch.Tensor:
        """The point of the domain nearest to ``y``: clamped at the walls, wrapped round the periodic sides.

        Stages of a step may reach beyond a wall, where a drift need not be defined; it is evaluated here.
        """
        if self.open:
            return y
        x = self._clamped(y)
        return x if self.linear is None else self.linear.projected(x, self._clamped)

    def _clamped(self, y: torch.Tensor) -> torch.Tensor:
        x = torch.clamp(y, self._wall_low, self._wall_high) if self._boxed else y
        x = torch.clamp(x, self._limit_low, self._limit_high) if self.refusing else x
        return self._restored_box(x) if self.wrapped else x

    def crossings(self, y: torch.Tensor, row: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the points ``y: (n, d)`` of rows ``row: (n,)`` those beyond a wall: points, rows."""
        out = torch.nonzero(self.outside(y)).flatten()
        return y[out], row[out]

    def folds(self, y: torch.Tensor, row: torch.Tensor) -> Folds:
        """The folds that ``restore`` makes of the points ``y: (n, d)`` of rows ``row: (n,)``, in their order."""
        finite = torch.isfinite(y).all(-1)
        y, row = y[finite], row[finite]
        if self.linear is None:
            return self._side_folds(y, row, self.restore(y))
        parts: list[Folds] = []

        def fold(index: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
            inner = self._restored_box(points)
            parts.append(self._side_folds(points, index, inner))
            return inner

        def mirror(index: torch.Tensor, wall: torch.Tensor, before: torch.Tensor, overshoot: torch.Tensor) -> None:
            foot = before - overshoot.unsqueeze(-1) * self.linear.normals[wall]
            parts.append(Folds(index, 2 * len(self.low) + wall, self.nearest(foot), 2 * overshoot))

        self.linear.bounced(fold(torch.arange(len(y), device=y.device), y), fold, mirror)
        columns = zip(*((p.row, p.face, p.position, p.displacement) for p in parts), strict=True)
        joined = [torch.cat(column) for column in columns]
        order = torch.argsort(joined[0], stable=True)
        which, face, position, displacement = (column[order] for column in joined)
        return Folds(row[which], face, position, displacement)

    def _side_folds(self, y: torch.Tensor, row: torch.Tensor, end: torch.Tensor) -> Folds:
        """The folds at sides of the box of points ``y`` that end up at ``end``.

        A step that bounces to and fro is one record at the wall it crossed first, with the whole way it was moved:
        of an overshoot ``o`` in a box of width ``w``, ``2 (o + (o - w) + (o - 2 w) + ...)`` while positive.
        """
        which, axis = torch.nonzero(self._beyond_sides(y), as_tuple=True)
        y, row, end = y[which], row[which], end[which]
        beyond = y.gather(1, axis.unsqueeze(1)).squeeze(1)
        low, high = self.low[axis], self.high[axis]
        side = beyond > high
        wall = torch.where(side, high, low)
        overshoot, width = (beyond - wall).abs(), high - low
        bounces = torch.floor(overshoot / width)
        displacement = 2 * (bounces + 1) * (overshoot - 0.5 * bounces * width)
        displacement = torch.where(self._clip[axis], overshoot, displacement)
        position = self.nearest(end).scatter(1, axis.unsqueeze(1), wall.unsqueeze(1))
        if self.linear is not None:
            position = self.nearest(position)
        return Folds(row, 2 * axis + side.to(torch.int64), position, displacement)
