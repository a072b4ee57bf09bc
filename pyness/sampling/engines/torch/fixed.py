"""The loop of a fixed step: all walkers of a block move together."""

from __future__ import annotations

import math
import threading

import torch

from pyness.sampling.engines import Block, BlockResult, Job, Tick
from pyness.sampling.engines.torch.brownian import area
from pyness.sampling.engines.torch.domain import Domain
from pyness.sampling.engines.torch.methods import Method
from pyness.sampling.engines.torch.record import Ledger, padded_start
from pyness.sampling.stats import Stats

__all__ = ["run_fixed", "segments"]

# steps whose noise is drawn at once: enough to spread the calls, few enough to stay in the cache
STRIDE = 8


def segments(job: Job) -> list[tuple[int, float, bool]]:
    """``(steps, step, recorded)`` of the burn-in and of each snapshot; every segment ends exactly on its time."""
    plan = job.plan
    burn_in = [(plan.burn_in, plan.dt)]
    if plan.burn_in_dt is not None:
        burn_in = [((1 - plan.FINE) * plan.burn_in, plan.burn_in_dt), (plan.FINE * plan.burn_in, plan.dt)]
    out = [(*_divide(duration, dt), False) for duration, dt in burn_in if duration > 0]
    return out + [(*_divide(plan.spacing, plan.dt), True)] * plan.snapshots


def _divide(duration: float, dt: float) -> tuple[int, float]:
    # a duration that is a multiple of dt up to rounding takes no extra step
    steps = max(1, math.ceil(duration / dt * (1 - 1e-9)))
    return steps, duration / steps


def run_fixed(
    job: Job, block: Block, method: Method, domain: Domain, tick: Tick, stop: threading.Event
) -> BlockResult | None:
    """Carry a block through the plan; None if stopped."""
    plan, dim = job.plan, job.system.dim
    generator = torch.Generator(block.start.device).manual_seed(block.seed)
    ledger = Ledger(block, domain, plan.elapsed)
    x = padded_start(block, job.padded)
    home = x.clone()
    normals = torch.empty(STRIDE, 1 + method.needs_area, *x.shape, dtype=x.dtype, device=x.device)
    rows = torch.arange(x.shape[0], device=x.device).repeat(STRIDE)
    dead = torch.zeros(x.shape[0], dtype=torch.bool, device=x.device)
    parts = segments(job)
    total = sum(steps for steps, _, _ in parts)
    time, snapshot, untold, evaluations = 0.0, 0, 0, 0
    for steps, step, recorded in parts:
        h = torch.tensor(step, dtype=x.dtype, device=x.device)
        for first in range(0, steps, STRIDE):
            if stop.is_set():
                return None
            count = min(STRIDE, steps - first)
            before = x
            drawn = normals[:count].normal_(generator=generator)
            x, used = _stride(x, drawn, h, method, domain)
            evaluations += used
            if recorded and domain.walled:
                ledger.fold(drawn[:, 0].reshape(-1, dim), rows[: count * x.shape[0]])
            if not bool(torch.isfinite(x.sum())):
                broken = ~torch.isfinite(x).all(-1)
                for row in torch.nonzero(broken & ~dead).flatten().tolist():
                    ledger.fail(row, time + first * step, before[row], "not finite")
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


def _stride(
    x: torch.Tensor, normals: torch.Tensor, h: torch.Tensor, method: Method, domain: Domain
) -> tuple[torch.Tensor, int]:
    """Several steps; the noise of each is overwritten by the state before it was folded."""
    w = normals[:, 0].mul_(torch.sqrt(h))
    a = area(h, normals[:, 1]) if method.needs_area else None
    evaluations = 0
    for k in range(normals.shape[0]):
        y, _, used = method(x, h, w[k], a[k] if a is not None else None)
        evaluations += used
        x = domain.restore(y)
        w[k] = y
    return x, evaluations


def _stats(parts: list[tuple[int, float, bool]], walkers: int, evaluations: int) -> Stats:
    steps = sum(n for n, _, _ in parts)
    return Stats(
        accepted=steps * walkers,
        evaluations=evaluations * walkers,
        shortest=min(h for _, h, _ in parts),
        longest=max(h for _, h, _ in parts),
        time=sum(n * h for n, h, _ in parts) * walkers,
    )
