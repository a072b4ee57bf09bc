"""The points a landscape is trained on besides the samples: widened states, a known density, walls, anchors."""

from __future__ import annotations

import dataclasses
import logging
import math

import torch

from pyness import solvers
from pyness.errors import SamplingError, SolverError, TrainingError
from pyness.sampling import Samples, sample
from pyness.solvers import Solver
from pyness.systems import Box, System

__all__ = ["BEYOND", "Reference", "anchors", "flattened", "wall_points", "widened"]

#: Solvers where a system recommends none of the torch engine; steps of a fixed length, and of the burn-in at the least.
DEFAULT, STIFF, STEPS, COARSEST = "SOSRA", "ImplicitEM", 2000, 20
CENTERS = 200
BANDWIDTHS = (0.15, 0.6)
FAR = 0.3
#: States are next to a wall within this fraction of how far they spread.
NEXT = 0.1
#: States this many times higher than ``top`` are out of reach: no residual is taken there.
BEYOND = 1.3


def widened(system: System, samples: Samples, factor: float, count: int, rate: float, seed: int) -> torch.Tensor:
    """``(count, d)`` float64 states of the same dynamics at ``factor`` times the noise, ``F_v`` as it is.

    Started from the samples and run for ten times the inverse Fisher rate, so that they reach up the flanks of the
    landscape and across its ridges, where samples of the steady state are too rare to train on. Where a walker that
    leaves the box has failed, these are reflected: wider noise would lose them.

    Raises:
        TrainingError: too many of them blow up.
    """
    time = 10.0 / rate
    noisy = system.with_noise(factor, modified=True)
    box = noisy.domain
    kinds = ["reflect" if kind == "refuse" else kind for kind in box.boundary]
    noisy.domain = Box(box.low, box.high, kinds, box.walls)
    solver, steps = _solver(system, noisy, time)
    generator = torch.Generator().manual_seed(seed)
    states = samples.states.reshape(-1, system.dim).cpu()
    start = states[torch.randint(0, len(states), (count,), generator=generator)]
    logging.getLogger("pyness").debug("widening %d states at %g times the noise by %s", count, factor, solver)
    try:
        cloud = sample(
            noisy, solver, "torch", walkers=count, burn_in=0.9 * time, snapshots=1, spacing=0.1 * time,
            start=start, seed=seed, dtype="float64", progress=False, **steps,
        )  # fmt: skip
    except SamplingError as error:
        raise TrainingError(
            f"states at {factor:g} times the noise, which the training makes by {solver}, went astray: {error.problem}",
            "give a smaller widening, or a system with a finer solver",
        ) from error
    return cloud.states[:, 0].double()


def _solver(system: System, noisy: System, time: float) -> tuple[Solver, dict[str, float]]:
    """The recommended solver and its steps, for a run of ``time``; one of the torch engine where that has it not."""
    solver, plan = solvers.parse(system.solver or DEFAULT), system.plan
    solver = dataclasses.replace(solver, engine=None, label="")
    dt = solver["dt"] or plan.get("dt")
    try:
        solvers.check(solver, noisy, "torch", dt=dt)
    except SolverError:
        if solver.algorithm.stiff:
            return solvers.parse(STIFF), {}
        return (solvers.parse(DEFAULT), {}) if noisy.diffusion.additive else (solvers.parse("EM"), {"dt": time / STEPS})
    names = ("rtol", "atol", "dt")
    steps = {name: plan[name] for name in names if name in plan and name not in solver.options}
    if not solver.adaptive and "burn_in_dt" in plan:
        steps["burn_in_dt"] = max(dt, min(plan["burn_in_dt"], time / COARSEST))
    return solver, steps


def flattened(
    potential: torch.Tensor, base: float, factor: float, top: float, count: int, generator: torch.Generator
) -> torch.Tensor:
    """Indices of ``count`` widened states picked evenly in space up to ``top`` above ``base``.

    The states have density ``exp(-potential / factor)``, so the inverse of that, capped, evens them out.
    """
    height = (potential - base).clamp(0, top)
    weight = torch.exp(height / factor) * (potential - base < BEYOND * top)
    if int((weight > 0).sum()) < count:
        weight = weight + 1e-12
    return torch.multinomial(weight, count, generator=generator)


class Reference:
    """A broad density ``q`` that is known: Gaussians of two widths around some of the samples.

    Periodic coordinates count by their shortest distance. Where walls cut it off, ``q`` is normalised up to a constant,
    which the contrast fits anyway.
    """

    def __init__(self, system: System, states: torch.Tensor, generator: torch.Generator) -> None:
        self.domain = system.domain
        chosen = torch.randint(0, len(states), (CENTERS,), generator=generator)
        self.centers = states[chosen]
        scale = states.std(0).clamp_min(1e-12)
        width = torch.tensor(self.domain.width, dtype=scale.dtype, device=scale.device)
        for axis in self.domain.periodic:
            scale[axis] = min(scale[axis].item(), width[axis].item() / (8 * max(BANDWIDTHS)))
        self.widths = torch.stack([scale * b for b in BANDWIDTHS])
        self.period = width

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """About ``count`` points inside the domain (those beyond a wall are left out)."""
        center = self.centers[torch.randint(0, CENTERS, (count,), generator=generator)]
        width = self.widths[torch.randint(0, len(self.widths), (count,), generator=generator)]
        x = center + width * torch.randn(center.shape, generator=generator, dtype=center.dtype)
        for axis in self.domain.periodic:
            low = self.domain.low[axis]
            x[:, axis] = low + torch.remainder(x[:, axis] - low, self.domain.width[axis])
        return x[self.domain.contains(x)]

    def log_density(self, x: torch.Tensor) -> torch.Tensor:
        """``log q`` at ``x: (n, d)``, ``(n,)``."""
        return torch.cat([self._log_density(part) for part in x.split(8192)])

    def _log_density(self, x: torch.Tensor) -> torch.Tensor:
        around = list(self.domain.periodic)
        across = [axis for axis in range(x.shape[1]) if axis not in around]
        wrapped = x[:, None, around] - self.centers[:, around]
        wrapped = wrapped - self.period[around] * torch.round(wrapped / self.period[around])
        parts = []
        for width in self.widths:
            normal = torch.log(width).sum() + 0.5 * x.shape[1] * math.log(2 * math.pi)
            square = torch.cdist(x[:, across] / width[across], self.centers[:, across] / width[across]).square()
            square = square + (wrapped / width[around]).square().sum(-1)
            parts.append(torch.logsumexp(-0.5 * square, dim=1) - normal)
        return torch.logsumexp(torch.stack(parts), dim=0) - math.log(CENTERS * len(parts))


def wall_points(
    system: System, states: torch.Tensor, per_wall: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """States next to each reflecting wall moved onto it, and the outward normals, ``(n, d)`` each."""
    domain = system.domain
    sides = {  # offsets of the faces, numbered as in fold records
        2 * axis + high: end
        for axis in domain.reflecting
        for high, end in enumerate((-domain.low[axis], domain.high[axis]))
    }
    offsets = sides | dict(enumerate(domain.linear()[1].tolist(), start=2 * system.dim))
    outward = domain.normals().to(states)
    points, normals = [states[:0]], [states[:0]]
    for face, offset in offsets.items():
        normal = outward[face]
        distance = offset - states @ normal
        near = torch.nonzero(distance < NEXT * (distance.max() - distance.min()))[:, 0]
        if not len(near):
            continue
        chosen = near[torch.randint(0, len(near), (per_wall,), generator=generator)]
        x = states[chosen] + distance[chosen, None] * normal
        # across the corner with a linear wall
        x = x[domain.contains(x)]
        points.append(x)
        normals.append(normal.expand(x.shape))
    return torch.cat(points), torch.cat(normals)


def anchors(
    system: System, cloud: torch.Tensor, scale: torch.Tensor, count: int, generator: torch.Generator
) -> torch.Tensor:
    """Points far from every state, where the potential is only kept high."""
    low, high = cloud.min(0).values, cloud.max(0).values
    margin = 0.1 * (high - low)
    low, high = low - margin, high + margin
    for axis, kind in enumerate(system.domain.boundary):
        if kind != "open":
            low[axis], high[axis] = system.domain.low[axis], system.domain.high[axis]
    if system.dim <= 3:
        x = low + (high - low) * torch.rand(count, system.dim, generator=generator, dtype=torch.float64)
    else:
        # a box is mostly corners in many dimensions: push states outwards instead
        center = cloud.mean(0)
        stretch = 1.3 + torch.rand(count, 1, generator=generator, dtype=torch.float64)
        x = center + stretch * (cloud[torch.randint(0, len(cloud), (count,), generator=generator)] - center)
        x = x[system.domain.contains(x)]
    near = cloud[torch.randperm(len(cloud), generator=generator)[:20_000]]
    distance = torch.cat([torch.cdist(part / scale, near / scale).min(1).values for part in x.split(2048)])
    return x[distance > FAR * math.sqrt(system.dim / 2)]
