"""``Walls``: where and how far walkers were folded back at reflecting walls."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

__all__ = ["Walls"]


@dataclass(frozen=True)
class Walls:
    """The fold records of a run, one row per fold, complete over ``elapsed``.

    The mean fold displacement per unit wall area and time is ``D p`` at the wall, so a surface integral such as
    ``surface int p f . nu`` is ``sum(displacement * (f . nu)(position)) / (D * elapsed * walkers)`` for scalar ``D``
    (`landscapes.md`, section 3.5: derived there). The outward normals ``nu`` are ``Box.normals()[face]``.

    Attributes:
        walker: ``(n,)`` int64, which walker (row of ``Samples.states``).
        face: ``(n,)`` int64, ``2 * axis`` for the low wall of an axis and ``2 * axis + 1`` for the high one, ``2 d +
            k`` for the linear wall ``k``.
        position: ``(n, d)``, the point on that wall.
        displacement: ``(n,)``, twice the overshoot; of a step that bounces several times, the sum; at a side that
            clips, the overshoot itself, whose mean is the same (walkers come back from there more often).
        elapsed: time over which each walker was observed.
    """

    walker: torch.Tensor
    face: torch.Tensor
    position: torch.Tensor
    displacement: torch.Tensor
    elapsed: float

    @classmethod
    def none(cls, dim: int, elapsed: float, dtype: torch.dtype, device: str = "cpu") -> Walls:
        """No fold at all."""
        index = torch.zeros(0, dtype=torch.int64, device=device)
        real = torch.zeros(0, dtype=dtype, device=device)
        return cls(index, index, real.reshape(0, dim), real, elapsed)

    @classmethod
    def join(cls, parts: Iterable[Walls]) -> Walls:
        """The records of several groups of walkers observed for the same time."""
        parts = list(parts)
        fields = ("walker", "face", "position", "displacement")
        return cls(*(torch.cat([getattr(p, name) for p in parts]) for name in fields), parts[0].elapsed)

    def __len__(self) -> int:
        return self.walker.numel()

    def select(self, walkers: torch.Tensor, total: int) -> Walls:
        """The records of the walkers numbered ``walkers`` (distinct, of ``total``), renumbered in that order."""
        number = torch.full((total,), -1, dtype=torch.int64, device=self.walker.device)
        number[walkers] = torch.arange(walkers.numel(), device=number.device)
        renumbered = number[self.walker]
        keep = renumbered >= 0
        return Walls(renumbered[keep], self.face[keep], self.position[keep], self.displacement[keep], self.elapsed)

    def shifted(self, offset: int) -> Walls:
        """The same records with ``offset`` added to every walker number."""
        return Walls(self.walker + offset, self.face, self.position, self.displacement, self.elapsed)

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> Walls:
        return Walls(
            self.walker.to(device=device),
            self.face.to(device=device),
            self.position.to(device=device, dtype=dtype),
            self.displacement.to(device=device, dtype=dtype),
            self.elapsed,
        )
