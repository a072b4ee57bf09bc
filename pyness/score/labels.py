"""States at the ends of short paths, each with a target for its score: what ``loss="paths"`` learns from."""

from __future__ import annotations

from collections.abc import Callable

import torch
from tqdm import tqdm

from pyness.errors import TrainingError
from pyness.sampling import Samples
from pyness.score.paths import course_for, follow
from pyness.systems import ParticleSystem

__all__ = ["Labels"]

#: Numbers of states that are followed together.
TOGETHER = 1 << 13


class Labels:
    """Paths from ``count`` of the states of samples, one part after the other; each part depends on its number alone.

    Attributes:
        states, targets: of the parts so far, ``(n, dim)`` in double and in single precision.
    """

    def __init__(
        self, system: ParticleSystem, samples: Samples, count: int, seed: int, rank: int = 0, size: int = 1
    ) -> None:
        self._system, self._seed, self._rank = system, seed, rank
        self._course = course_for(system, samples)
        flat = samples.states.reshape(-1, samples.dim)
        order = torch.randperm(len(flat), generator=torch.Generator().manual_seed(seed))
        # where fewer states are stored than wanted they are followed again, by other noise
        order = order.repeat(-(-count // len(order)))[:count][rank::size]
        self._starts = flat[order].split(max(1, TOGETHER // samples.dim))
        self._parts: list[tuple[torch.Tensor, torch.Tensor]] = []

    @property
    def states(self) -> torch.Tensor:
        return torch.cat([states for states, _ in self._parts])

    @property
    def targets(self) -> torch.Tensor:
        return torch.cat([targets for _, targets in self._parts])

    def make(self, kept: Callable[[], None], progress: bool) -> None:
        """Follow the paths that are left; ``kept`` is called now and then.

        Raises:
            TrainingError: a path that is not finite.
        """
        done, total = len(self._parts), len(self._starts)
        for part in tqdm(range(done, total), initial=done, total=total, desc="paths", disable=not progress or None):
            seed = (self._seed * 1_000_003 + part) * 1009 + self._rank
            generator = torch.Generator().manual_seed(seed % (1 << 63))
            states, targets = follow(self._system, self._starts[part], generator, self._course)
            if not bool(torch.isfinite(targets).all()):
                raise TrainingError(
                    f"a path of steps of {self._course.step:.3g} blew up",
                    "give more states, which know stiffer contacts",
                )
            self._parts.append((states, targets.float()))
            if (part + 1) % max(1, total // 20) == 0:
                kept()

    def content(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return self._parts

    def restore(self, content: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        self._parts = list(content)
