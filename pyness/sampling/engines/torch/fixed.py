"""The loop of a fixed step: all walkers of a block move together."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from pyness.sampling.engines import Block, BlockResult, Job, Tick
from pyness.sampling.engines.torch.domain import Domain
from pyness.sampling.engines.torch.record import REFUSED, Ledger, padded_start
from pyness.sampling.engines.torch.stride import LENGTH, Stride
from pyness.sampling.limit import Limit
from pyness.sampling.stats import Stats

__all__ = ["MakeStride", "run_fixed", "segments"]

#: Makes the stride of a block from its states and its generator.
MakeStride = Callable[[torch.Tensor, torch.Generator], Stride]


def segments(job: Job) -> list[tuple[int, float, bool]]:
    """``(steps, step, recorded)`` of the burn-in and of each snapshot; every segment ends exactly on its time."""
    plan = job.plan
    burn_in = [(plan.burn_in, plan.dt)]
    if plan.burn_in_dt not in (None, plan.dt):
        burn_in = [((1 - plan.FINE) * plan.burn_in, plan.burn_in_dt), (plan.FINE * plan.burn_in, plan.dt)]
    out = [(*_divide(duration, dt), False) for duration, dt in burn_in if duration > 0]
    return out + [(*_divide(plan.spacing, plan.dt), True)] * plan.snapshots


def _divide(duration: float, dt: float) -> tuple[int, float]:
    # a duration that is a multiple of dt up to rounding takes no extra step
    steps = max(1, math.ceil(duration / dt * (1 - 1e-9)))
    return steps, duration / steps


def run_fixed(
    job: Job, block: Block, make_stride: MakeStride, domain: Domain, tick: Tick, stop: Limit
) -> BlockResult | None:
    """Carry a block through the plan; None if stopped."""
    plan = job.plan
    generator = torch.Generator(block.start.device).manual_seed(block.seed)
    ledger = Ledger(block, domain, plan.elapsed)
    x = padded_start(block, job.padded)
    home = x.clone()
    stride = make_stride(x, generator)
    dead = torch.zeros(x.shape[0], dtype=torch.bool, device=x.device)
    parts = segments(job)
    total = sum(steps for steps, _, _ in parts)
    time, snapshot, untold, evaluations = 0.0, 0, 0, 0
    for steps, step, recorded in parts:
        h = torch.tensor(step, dtype=x.dtype, device=x.device)
        for first in range(0, steps, LENGTH):
            if stop.is_set():
                return None
            count = min(LENGTH, steps - first)
            before = x
            x, used = stride(x, count, h)
            evaluations += used
            stop.spend(used * block.size)
            if recorded and domain.walled:
                ledger.fold(*stride.folded())
            if not bool(torch.isfinite(x.sum())):
                broken = ~torch.isfinite(x).all(-1)
                for row in torch.nonzero(broken & ~dead).flatten().tolist():
                    ledger.fail(row, time + first * step, before[row], _reason(stride, domain, row))
                dead |= broken
                x = torch.where(broken.unsqueeze(-1), home, x)
            untold += count
            if untold >= total // 100:
                tick(untold / total)
                untold = 0
        time += steps * step
        if recorded:
            block.out[:, snapshot] = x[: block.size]
            snapshot += 1
    tick(untold / total)
    return ledger.close(_stats(parts, block.size, evaluations))


def _reason(stride: Stride, domain: Domain, row: int) -> str:
    """Why a walker ended: through a side that refuses, or out of the numbers."""
    if not domain.refusing:
        return "not finite"
    y, rows = stride.folded()
    return REFUSED if bool(domain.refused(y[rows == row]).any()) else "not finite"


def _stats(parts: list[tuple[int, float, bool]], walkers: int, evaluations: int) -> Stats:
    steps = sum(n for n, _, _ in parts)
    return Stats(
        accepted=steps * walkers,
        evaluations=evaluations * walkers,
        shortest=min(h for _, h, _ in parts),
        longest=max(h for _, h, _ in parts),
        time=sum(n * h for n, h, _ in parts) * walkers,
    )
