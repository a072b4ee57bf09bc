"""What both loops keep of a block while it runs: folds, failures, counts."""

from __future__ import annotations

import torch

from pyness.sampling.engines import Block, BlockResult
from pyness.sampling.engines.torch.domain import Domain
from pyness.sampling.stats import Failure, Stats
from pyness.sampling.walls import Walls

__all__ = ["REFUSED", "Ledger", "padded_start"]

#: Why a walker failed that left through a side that refuses.
REFUSED = "left the domain at a side that refuses"
# crossings that are worked out together
MANY = 20_000


def padded_start(block: Block, rows: int) -> torch.Tensor:
    """``(rows, d)``: the start states, repeated to fill the block."""
    return block.start[torch.arange(rows, device=block.start.device) % block.size].clone()


class Ledger:
    """Collects the folds and failures of one block; padding rows are dropped when it is closed."""

    def __init__(self, block: Block, domain: Domain, elapsed: float) -> None:
        self._block = block
        self._domain = domain
        self._parts = [Walls.none(block.start.shape[1], elapsed, block.start.dtype, block.start.device)]
        self._elapsed = elapsed
        self._crossed: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._waiting = 0
        self.failures: list[Failure] = []

    def fold(self, y: torch.Tensor, row: torch.Tensor) -> None:
        """Enter the folds of the unfolded points ``y: (n, d)`` of rows ``row: (n,)``."""
        crossed = self._domain.crossings(y, row)
        self._crossed.append(crossed)
        self._waiting += crossed[1].numel()
        if self._waiting >= MANY:
            self._work_out()

    def _work_out(self) -> None:
        """Make records of the crossings that wait: many at once, since each step has few."""
        if self._waiting:
            folds = self._domain.folds(*(torch.cat(column) for column in zip(*self._crossed, strict=True)))
            self._parts.append(Walls(folds.row, folds.face, folds.position, folds.displacement, self._elapsed))
        self._crossed.clear()
        self._waiting = 0

    def fail(self, row: int, time: float, state: torch.Tensor, reason: str) -> None:
        """Enter a walker that blew up (padding rows leave no trace)."""
        if row < self._block.size:
            self.failures.append(Failure(row, time, tuple(state.double().tolist()), reason))

    def close(self, stats: Stats) -> BlockResult:
        """The result, with the folds of padding and of failed walkers left out."""
        self._work_out()
        walls = Walls.join(self._parts)
        dropped = torch.zeros(int(walls.walker.max()) + 1 if len(walls) else 0, dtype=torch.bool)
        dropped[self._block.size :] = True
        for failure in self.failures:
            dropped[failure.walker : failure.walker + 1] = True
        keep = ~dropped.to(walls.walker.device)[walls.walker]
        walls = Walls(
            walls.walker[keep], walls.face[keep], walls.position[keep], walls.displacement[keep], self._elapsed
        )
        # one order whatever the order of discovery: by walker, and in time for each
        order = torch.argsort(walls.walker, stable=True)
        walls = Walls(
            walls.walker[order], walls.face[order], walls.position[order], walls.displacement[order], self._elapsed
        )
        stats.clipped = int(self._domain.clipping(walls.face).sum())
        stats.wall_hits = len(walls) - stats.clipped
        return BlockResult(self._block.index, walls, stats, self.failures)
