"""Neighbour lists that are kept while particles move little (Verlet, Phys. Rev. 159, 98, 1967)."""

from __future__ import annotations

import math
from typing import Any

import torch

from pyness.systems import ParticleSystem
from pyness.systems.neighbours import Pairs, all_pairs, close_pairs, minimum_image

__all__ = ["Followed", "moved"]

#: The skin as a share of the cutoff. Wider lists last longer and cost more a step.
SKIN = 0.2


class Followed:
    """A particle system whose drift keeps its list of pairs between calls; it belongs to one block.

    The list holds all pairs nearer than the cutoff and a skin, and is renewed as soon as any particle has moved half
    of the skin since it was made, so no pair within the cutoff is ever missing. In all else it is the system.
    """

    def __init__(self, system: ParticleSystem) -> None:
        self._system = system
        self._pairs: Pairs | None = None
        self._home: torch.Tensor | None = None
        room = [period / 2 - system.cutoff for period in system.periods if period is not None and system.cutoff]
        self._skin = min([SKIN * (system.cutoff or 0.0), *room])
        self.renewals = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._system, name)

    def drift(self, states: torch.Tensor) -> torch.Tensor:
        """``F`` at ``states: (rows, dim)``."""
        system = self._system
        return system.drift_with(states, self.pairs(system.split(states)[0]) if system.interacts else None)

    def pairs(self, x: torch.Tensor) -> Pairs:
        """All pairs nearer than the cutoff, and some more, at ``x: (rows, N, d)``."""
        return self._pairs if self.holds(x) else self.renew(x)

    def renew(self, x: torch.Tensor) -> Pairs:
        """The same, searched for again."""
        system = self._system
        if system.cutoff is None:
            self._pairs, self._home = all_pairs(len(x), system.n_particles, x.device), x.contiguous()
            return self._pairs
        # a walker that blew up is found by the loop; its particles must not break the search
        self._home = torch.nan_to_num(x.detach(), 0.0, 0.0, 0.0).contiguous()
        self._pairs = close_pairs(self._home, system.periods, system.cutoff + self._skin)
        self.renewals += 1
        return self._pairs

    @property
    def latest(self) -> tuple[Pairs, torch.Tensor] | None:
        """The list that was made last and the positions ``(rows, N, d)`` it was made at."""
        return None if self._home is None else (self._pairs, self._home)

    @property
    def room(self) -> float:
        """How far a particle may be from where the list was made."""
        return math.inf if self._system.cutoff is None else 0.5 * self._skin

    def holds(self, x: torch.Tensor) -> bool:
        """Whether the list that was made last has all pairs of ``x: (rows, N, d)``."""
        if self._home is None or self._home.shape != x.shape:
            return False
        # so written, a walker that blew up counts as moved: its NaN must not keep the list of its whole block
        return self._system.cutoff is None or bool(moved(x, self._home, self._system.periods) < self.room)


def moved(x: torch.Tensor, home: torch.Tensor, periods: tuple[float | None, ...]) -> torch.Tensor:
    """The largest distance between a particle of ``x`` and of ``home: (..., d)``, a number."""
    square = 0.0
    for a, b, period in zip(x.unbind(-1), home.unbind(-1), periods, strict=True):
        square = square + minimum_image(a - b, period).square()
    return square.amax().sqrt()
