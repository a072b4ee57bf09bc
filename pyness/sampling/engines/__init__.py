"""What an engine is: something that carries blocks of walkers through a plan.

``pyness.sample`` cuts the walkers into blocks of one fixed size, each with a seed of its own, and hands them to an
engine in order. What an engine returns for a block may depend on nothing but the system, the solver, the plan, the
block's number of walkers, its start states and its seed: then chunks, threads and interruptions change no bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from pyness.sampling.limit import Limit
from pyness.sampling.plan import Plan
from pyness.sampling.stats import Failure, Stats
from pyness.sampling.walls import Walls
from pyness.solvers import Solver
from pyness.systems import System

__all__ = ["Block", "BlockResult", "Engine", "Job", "Tick"]

#: Reports progress: called with the fraction of one block done since the last call; may be called from any thread.
Tick = Callable[[float], None]


@dataclass(frozen=True)
class Job:
    """What all blocks of a run share.

    Attributes:
        system: its drift, diffusion and domain.
        solver: the algorithm with its options, already checked against the system and the engine.
        plan: times and tolerances; ``dt``, ``rtol``, ``atol`` are the resolved ones (the solver's options included).
        tolerance: ``(d,)`` float64, the local error an adaptive method may make in each coordinate in one step:
            ``atol + rtol * scale`` (hand it on as an absolute tolerance, with a relative one of zero); None at a
            fixed step.
        padded: rows of a block when padded, the same for all blocks of the run; an engine that needs no padding may
            ignore it.
    """

    system: System
    solver: Solver
    plan: Plan
    tolerance: torch.Tensor | None
    padded: int


@dataclass(frozen=True)
class Block:
    """A group of walkers.

    Attributes:
        index: its number in the run.
        first: the number of its first walker.
        seed: its own seed, 63 bits, distinct between blocks and between runs of different seed.
        start: ``(size, d)`` start states, in the plan's dtype and on its device.
        out: ``(size, snapshots, d)``, a slice of the run's result, which the engine fills; not contiguous where a round
            has some of the snapshots only. Rows of walkers that failed may hold anything.
        steps: ``(size, snapshots)`` of NaN, a slice too, for an adaptive method to enter the step it was about to take
            at each snapshot; None at a fixed step. An engine that does not know it leaves it.
    """

    index: int
    first: int
    seed: int
    start: torch.Tensor
    out: torch.Tensor
    steps: torch.Tensor | None = None

    @property
    def size(self) -> int:
        return self.start.shape[0]


@dataclass
class BlockResult:
    """What came of a block.

    Attributes:
        index: which block.
        walls: the folds after the burn-in, walkers numbered from 0 within the block, failed ones left out; empty
            where the domain has no reflecting side.
        stats: the counts.
        failures: walkers that blew up, numbered within the block, times counted from the start of the burn-in.
    """

    index: int
    walls: Walls
    stats: Stats
    failures: list[Failure] = field(default_factory=list)


class Engine(Protocol):
    """An engine, opened for one job and closed after it.

    Class-level: ``name`` (as in ``engine=``). Construction validates and prepares (compiles, translates, starts a
    runtime) and raises a pyness error where it cannot.
    """

    name: str

    def __init__(self, job: Job) -> None: ...

    def describe(self) -> dict[str, Any]:
        """What the store records of the engine: versions, compiled or not, threads. Plain JSON values."""
        ...

    def empty(self, shape: Sequence[int]) -> torch.Tensor:
        """Memory for the run's result, in the plan's dtype and on its device, where the engine can fill it in place."""
        ...

    def run(self, blocks: Sequence[Block], tick: Tick, stop: Limit) -> Iterator[BlockResult]:
        """Carry the blocks through the plan, yielding each result as soon as it and all before it are done.

        When ``stop`` is set the engine drops what is unfinished and returns as soon as it can; what it evaluates it
        enters there (``stop.spend``) as it goes. ``KeyboardInterrupt`` may surface from here at any time; whatever was
        yielded before it is kept.
        """
        ...

    def chunk(self) -> int:
        """How many blocks to hand over at a time so that all processors are busy."""
        ...

    def close(self) -> None:
        """Give back what was taken."""
        ...
