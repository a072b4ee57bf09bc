"""Neighbour lists that are kept while particles move little (Verlet, Phys. Rev. 159, 98, 1967)."""

from __future__ import annotations

import math
from typing import Any

import torch

from pyness.systems import ParticleSystem
from pyness.systems.neighbours import Pairs, all_pairs, close_pairs, minimum_image

__all__ = ["Followed"]

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
        self._interacts = system.pair_force is not None and system.n_particles > 1
        room = [period / 2 - system.cutoff for period in system.periods if period is not None and system.cutoff]
        self._skin = min([SKIN * (system.cutoff or 0.0), *room])
        self.renewals = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._system, name)

    def drift(self, states: torch.Tensor) -> torch.Tensor:
        """``F`` at ``states: (rows, dim)``."""
        return self._system.drift_with(states, self.pairs(self._system.split(states)[0]) if self._interacts else None)

    def pairs(self, x: torch.Tensor) -> Pairs:
        """All pairs nearer than the cutoff, and some more, at ``x: (rows, N, d)``."""
        system = self._system
        if self.holds(x):
            return self._pairs
        if system.cutoff is None:
            self._pairs, self._home = all_pairs(len(x), system.n_particles, x.device), x
            return self._pairs
        # a walker that blew up is found by the loop; its particles must not break the search
        self._home = torch.nan_to_num(x.detach(), 0.0, 0.0, 0.0)
        self._pairs = close_pairs(self._home, system.periods, system.cutoff + self._skin)
        self.renewals += 1
        return self._pairs

    def holds(self, x: torch.Tensor) -> bool:
        """Whether the list that was made last has all pairs of ``x: (rows, N, d)``."""
        if self._home is None or self._home.shape != x.shape:
            return False
        return self._system.cutoff is None or not self._moved(x)

    def _moved(self, x: torch.Tensor) -> bool:
        """Whether some particle may have moved half the skin: a bound by its largest coordinate."""
        periods, d = self._system.periods, x - self._home
        if all(period == periods[0] for period in periods):
            d = minimum_image(d, periods[0])
        else:
            d = torch.stack([minimum_image(d[..., k], period) for k, period in enumerate(periods)], -1)
        # so written, a walker that blew up counts as moved: its NaN must not keep the list of its whole block
        return not bool(d.abs().amax() * math.sqrt(self._system.space_dim) < 0.5 * self._skin)
