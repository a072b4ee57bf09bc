"""The loop of an adaptive step: each walker has its own time and its own step."""

from __future__ import annotations

import torch

from pyness.sampling.engines import Block, BlockResult, Job, Tick
from pyness.sampling.engines.torch.brownian import Futures, area
from pyness.sampling.engines.torch.domain import Domain
from pyness.sampling.engines.torch.methods import Method
from pyness.sampling.engines.torch.record import REFUSED, Ledger, padded_start
from pyness.sampling.limit import Limit
from pyness.sampling.stats import BINS_PER_DECADE, FIRST_DECADE, HISTOGRAM_BINS, Stats

__all__ = ["run_adaptive"]

# The error estimate is a random number: following it with its full exponent makes the steps as random and rejects
# three times as many. Measured on three systems, half the exponent and slow growth cost the fewest evaluations.
SAFETY = 0.85
GROWTH, SHRINKAGE = 1.25, 0.2
# far below the tolerance, as after a cautious first step, growth may be faster
FAR_BELOW, FAST_GROWTH = 1e-2, 2.0
# iterations between looks at the clock, the stop signal and the number of walkers still under way
LOOK = 16


def run_adaptive(job: Job, block: Block, method: Method, domain: Domain, tick: Tick, stop: Limit) -> BlockResult | None:
    """Carry a block through the plan; None if stopped."""
    return _AdaptiveRun(job, block, method, domain).run(tick, stop)


class _AdaptiveRun:
    """The walkers of one block that are still under way, as parallel arrays of ``m`` rows.

    A walker that has reached a snapshot goes straight on to the next, so that the batch stays full; the arrays are
    compacted when half of them are done.
    """

    def __init__(self, job: Job, block: Block, method: Method, domain: Domain) -> None:
        self.job, self.block, self.method, self.domain = job, block, method, domain
        plan, device, dtype = job.plan, block.start.device, block.start.dtype
        self.generator = torch.Generator(device).manual_seed(block.seed)
        self.ledger = Ledger(block, domain, plan.elapsed)
        self.tolerance = job.tolerance.to(dtype=dtype, device=device)
        self.x = padded_start(block, job.padded)
        rows = self.x.shape[0]
        self.walker = torch.arange(rows, device=device)
        # the snapshot a walker is on its way to; -1 is the end of the burn-in
        self.goal = torch.full((rows,), -1 if plan.burn_in > 0 else 0, dtype=torch.int64, device=device)
        self.left = torch.full((rows,), plan.burn_in or plan.spacing, dtype=dtype, device=device)
        self.longest = job.solver["dtmax"] or plan.spacing
        first = plan.dt or min(self.longest, 1e-3 * plan.spacing)
        self.h = torch.full((rows,), first, dtype=dtype, device=device)
        self.futures = Futures(rows, job.system.dim, dtype, device)
        # counts of accepted and rejected steps, and the shortest and longest accepted one; rows are walkers
        self.accepted = torch.zeros(rows, dtype=torch.int64, device=device)
        self.rejected = torch.zeros(rows, dtype=torch.int64, device=device)
        self.evaluations = torch.zeros((), dtype=torch.int64, device=device)
        self.extremes = torch.tensor([torch.inf, 0.0], dtype=dtype, device=device)
        self.histogram = torch.zeros(HISTOGRAM_BINS, dtype=torch.int64, device=device)

    def run(self, tick: Tick, stop: Limit) -> BlockResult | None:
        told, spent = 0.0, 0
        while self.walker.numel():
            for _ in range(LOOK):
                self._step()
            evaluations = int(self.evaluations)
            stop.spend(evaluations - spent)
            spent = evaluations
            if stop.is_set():
                return None
            done = self._progress()
            tick(done - told)
            told = done
            self._compact()
        tick(1.0 - told)
        return self.ledger.close(self._stats())

    def _step(self) -> None:
        s, w, a = self._propose()
        column = s.unsqueeze(-1)
        y, error, used = self.method(self.x, column, w, a)
        ratio = (error.abs() / self.tolerance).amax(-1)
        good = (ratio <= 1) & torch.isfinite(y).all(-1)
        under_way = self.goal < self.job.plan.snapshots
        accepted, rejected = good & under_way, ~good & under_way
        self._count(s, accepted, rejected, used)
        factor = SAFETY * ratio.nan_to_num(nan=torch.inf).clamp_min(1e-12) ** (-0.5 / self.method.error_order)
        limit = torch.where(ratio < FAR_BELOW, FAST_GROWTH, GROWTH)
        grown = s * torch.minimum(factor.clamp_min(SHRINKAGE), limit)
        # a step cut short to meet a snapshot says little about the longest that would have passed
        grown = torch.where(good & (factor >= 1), torch.maximum(grown, self.h), grown)
        self.h = grown.clamp_max(self.longest)
        self._keep_noise(rejected, s, w, a)
        if self.domain.refusing:
            self._refuse(accepted, y)
        self._advance(accepted, y, s)

    def _refuse(self, accepted: torch.Tensor, y: torch.Tensor) -> None:
        """Enter walkers that have left through a side that refuses; they are carried along, since others go on."""
        for row in torch.nonzero(accepted & self.domain.refused(y)).flatten().tolist():
            self.ledger.fail(int(self.walker[row]), self._time(row), self.x[row], REFUSED)
            self.goal[row] = self.job.plan.snapshots
            accepted[row] = False
            self.futures.depth[row] = 0
            self.left[row] = self.job.plan.spacing

    def _propose(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Step, increment and area of every row: from the future that is known, else drawn."""
        known = torch.nonzero(self.futures.depth > 0).flatten()
        room = self.left
        if known.numel():
            room = room.clone()
            room[known] = self.futures.top(known)
        pieces = torch.ceil(room / self.h * (1 - 1e-4)).clamp_min(1)
        s = room / pieces
        normals = torch.randn(2, *self.x.shape, generator=self.generator, dtype=s.dtype, device=s.device)
        column = s.unsqueeze(-1)
        w, a = torch.sqrt(column) * normals[0], area(column, normals[1])
        if known.numel():
            third = torch.randn(
                known.numel(), self.x.shape[1], generator=self.generator, dtype=s.dtype, device=s.device
            )
            drawn = (normals[0, known], normals[1, known], third)
            w[known], a[known] = self.futures.take(known, s[known], pieces[known] == 1, drawn)
        return s, w, a

    def _count(self, s: torch.Tensor, accepted: torch.Tensor, rejected: torch.Tensor, used: int) -> None:
        real = self.walker < self.block.size
        self.evaluations += used * ((accepted | rejected) & real).sum()
        self.accepted.index_add_(0, self.walker, accepted.to(torch.int64))
        self.rejected.index_add_(0, self.walker, rejected.to(torch.int64))
        steps = s[accepted & real]
        if steps.numel():
            low, high = torch.aminmax(steps)
            self.extremes = torch.stack([torch.minimum(self.extremes[0], low), torch.maximum(self.extremes[1], high)])
            bins = ((torch.log10(steps) - FIRST_DECADE) * BINS_PER_DECADE).floor().clamp(0, HISTOGRAM_BINS - 1)
            self.histogram += torch.bincount(bins.to(torch.int64), minlength=HISTOGRAM_BINS)

    def _keep_noise(self, rejected: torch.Tensor, s: torch.Tensor, w: torch.Tensor, a: torch.Tensor) -> None:
        rows = torch.nonzero(rejected).flatten()
        if not rows.numel():
            return
        self.futures.push(rows, s[rows], w[rows], a[rows])
        # a step that the clock of the walker no longer resolves cannot be made smaller
        stuck = rows[s[rows] <= 8 * torch.finfo(s.dtype).eps * self.left[rows]]
        for row in stuck.tolist():
            time = self._time(row)
            self.ledger.fail(int(self.walker[row]), time, self.x[row], "no step is small enough")
            self.goal[row] = self.job.plan.snapshots
        self.futures.depth[stuck] = 0
        self.left[stuck] = self.job.plan.spacing

    def _time(self, row: int) -> float:
        plan, goal = self.job.plan, int(self.goal[row])
        return plan.burn_in + max(0, goal + 1) * plan.spacing - float(self.left[row])

    def _advance(self, accepted: torch.Tensor, y: torch.Tensor, s: torch.Tensor) -> None:
        plan = self.job.plan
        if self.domain.walled:
            folding = torch.nonzero(accepted & (self.goal >= 0) & self.domain.outside(y)).flatten()
            if folding.numel():
                self.ledger.fold(y[folding], self.walker[folding])
        self.x = torch.where(accepted.unsqueeze(-1), self.domain.restore(y), self.x)
        self.left = torch.where(accepted, self.left - s, self.left)
        # pieces of a bridged step add up to it only within rounding
        arrived = accepted & (self.left <= 4e-6 * s) & (self.futures.depth == 0)
        rows = torch.nonzero(arrived).flatten()
        if not rows.numel():
            return
        saved = rows[(self.goal[rows] >= 0) & (self.walker[rows] < self.block.size)]
        self.block.out[self.walker[saved], self.goal[saved]] = self.x[saved]
        if self.block.steps is not None:
            self.block.steps[self.walker[saved], self.goal[saved]] = self.h[saved]
        self.goal[rows] += 1
        self.left[rows] = plan.spacing

    def _progress(self) -> float:
        plan = self.job.plan
        total = plan.burn_in + plan.elapsed
        passed = plan.burn_in + (self.goal + 1).clamp_min(0) * plan.spacing - self.left
        passed = torch.where(self.goal >= plan.snapshots, torch.full_like(passed, total), passed)
        finished = self.job.padded - self.walker.numel()
        return (float(passed.double().sum()) / total + finished) / self.job.padded

    def _compact(self) -> None:
        under_way = self.goal < self.job.plan.snapshots
        count = int(under_way.sum())
        if 2 * count > under_way.numel():
            return
        rows = torch.nonzero(under_way).flatten()
        self.x, self.h, self.left = self.x[rows], self.h[rows], self.left[rows]
        self.goal, self.walker = self.goal[rows], self.walker[rows]
        self.futures.select(rows)

    def _stats(self) -> Stats:
        size = self.block.size
        accepted, rejected = int(self.accepted[:size].sum()), int(self.rejected[:size].sum())
        plan = self.job.plan
        return Stats(
            accepted=accepted,
            rejected=rejected,
            evaluations=int(self.evaluations),
            shortest=float(self.extremes[0]),
            longest=float(self.extremes[1]),
            time=(plan.burn_in + plan.elapsed) * (size - len(self.ledger.failures))
            + sum(f.time for f in self.ledger.failures),
            histogram=self.histogram.tolist(),
        )
