"""Linear walls as the steps see them: mirroring at them, and the nearest point within them."""

from __future__ import annotations

from collections.abc import Callable

import torch

from pyness.systems import Box

__all__ = ["LinearWalls"]

#: Mirrorings of one step. Each brings a point nearer to every inner point of a convex domain, so that few are needed;
#: what a sharp corner leaves after so many is moved to the nearest point within.
BOUNCES = 64
#: Feet of perpendiculars tried in turn; two meet the common case of one wall and the sides of the box.
FEET = 4

#: Folding by the box of points of which the indices are given too.
Fold = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
#: Told of mirrorings: indices of the points, the wall of each, the points before, and their overshoots.
Note = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], None]


class LinearWalls:
    """The walls ``normals @ x <= offsets`` of a box.

    Args:
        box: the domain.
        dtype, device: of the states.
    """

    def __init__(self, box: Box, dtype: torch.dtype, device: str) -> None:
        self.normals, self.offsets = box.linear(dtype, device)
        self._inner = box.innermost(dtype).to(device)
        self._depth = -self.beyond(self._inner)

    def beyond(self, y: torch.Tensor) -> torch.Tensor:
        """``(..., walls)``: how far ``y: (..., d)`` lies beyond each wall, negative within."""
        return y @ self.normals.mT - self.offsets

    def outside(self, y: torch.Tensor) -> torch.Tensor:
        """``(...,)`` bool: beyond a wall."""
        return (self.beyond(y) > 0).any(-1)

    def bounced(self, y: torch.Tensor, fold: Fold, note: Note | None = None) -> torch.Tensor:
        """``y: (n, d)`` mirrored at the wall it is furthest beyond and folded by the box, in turn until it is within.

        Args:
            fold: what the box does to points, ``(m,)`` indices and ``(m, d)`` to ``(m, d)``.
            note: told of each mirroring.
        """
        x = y.clone()
        index = torch.arange(len(y), device=y.device)
        for _ in range(BOUNCES):
            overshoot, wall = self.beyond(x[index]).max(-1)
            going = overshoot > 0
            index, overshoot, wall = index[going], overshoot[going], wall[going]
            if not index.numel():
                return x
            before = x[index]
            if note is not None:
                note(index, wall, before, overshoot)
            x[index] = fold(index, before - 2 * overshoot.unsqueeze(-1) * self.normals[wall])
        return self.projected(x)

    def projected(self, y: torch.Tensor, fold: Callable[[torch.Tensor], torch.Tensor] = lambda y: y) -> torch.Tensor:
        """``y: (..., d)``, which is within the box, moved within: behind one wall alone to the nearest point.

        The feet of perpendiculars in turn, ``fold`` keeping them in the box; what a corner still leaves beyond a wall
        is drawn towards an inner point of the domain until it is within all of them.
        """
        x = y
        for _ in range(FEET):
            overshoot, wall = self.beyond(x).max(-1)
            out = (overshoot > 0).unsqueeze(-1)
            if not bool(out.any()):
                return x
            x = fold(torch.where(out, x - overshoot.unsqueeze(-1) * self.normals[wall], x))
        excess = self.beyond(x).clamp_min(0)
        share = (excess / (excess + self._depth)).amax(-1, keepdim=True)
        return x + share * (self._inner - x)
