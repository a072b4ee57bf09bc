"""The published score network against the default ones: forward pass and training step, and held-out error at N = 256.

    python benchmarks/score.py [--particles 4096] [--neighbours 64] [--threads 2] [--repeats 3] [--train SECONDS]

Both are evaluated on the same snapshot of particles, in turns, after a first call that is not counted. The published
network needs so much memory that its snapshot is taken in parts (``--part``); its time is that of one part times their
number. ``--train`` lets both, narrowed alike, learn from the same samples of 256 particles for so many seconds of
processor time and prints their loss and their error on held-out walkers.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch

import pyness
from pyness.estimators import Estimate
from pyness.estimators.score_free import fisher_information
from pyness.score.losses import denoising
from pyness.score.networks import build
from pyness.systems import ParticleSystem


def parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def seconds(work: Callable[[], None], repeats: int) -> float:
    work()
    spent = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        spent.append(time.perf_counter() - begin)
    return statistics.median(spent)


def step(network: torch.nn.Module, states: torch.Tensor) -> None:
    """Denoising, the published loss: two forward passes and one backward pass."""
    z = 0.01 * torch.randn(states.shape, generator=torch.Generator().manual_seed(0), dtype=states.dtype)
    loss = sum((network(states + sign * z).square()).mean() for sign in (1, -1))
    loss.backward()
    network.zero_grad(set_to_none=True)


def spread(system: ParticleSystem, generator: torch.Generator) -> torch.Tensor:
    """One snapshot in which particles touch but hardly overlap: a square lattice, shaken."""
    side = math.ceil(math.sqrt(system.n_particles))
    grid = torch.cartesian_prod(torch.arange(side), torch.arange(side))[: system.n_particles].double()
    shake = 0.2 * torch.rand(grid.shape, generator=generator, dtype=torch.float64)
    g = system.activity.draw((1, *grid.shape), generator, torch.float64)
    return system.join((system.box.width[0] / side * (grid + shake)).unsqueeze(0), g)


def timed(system: ParticleSystem, description: dict, states: torch.Tensor, repeats: int, share: float) -> None:
    network = build(system, description, "equilibrium")

    def forward() -> None:
        with torch.no_grad():
            network(states)

    ahead, back = seconds(forward, repeats) * share, seconds(lambda: step(network, states), repeats) * share
    name = description["arch"]
    print(f"{name:>18} {parameters(network):>10,} parameters  forward {ahead:8.3f} s  step {back:8.3f} s", flush=True)


def train(budget: float, neighbours: int) -> None:
    """Both networks at width 32 on samples of 256 particles."""
    system = pyness.systems.get("aoup-mips", n_particles=256)
    samples = pyness.sample(system, engine="torch", walkers=16, burn_in=2000.0, snapshots=100, spacing=50.0)
    compare(system, samples, budget, neighbours)


def compare(system: ParticleSystem, samples: pyness.Samples, budget: float, neighbours: int) -> None:
    """Equal data, equal processor time, the published loss; then that loss and the error on walkers held out."""
    options = {"batch": 512, "loss": "denoising", "alpha": 0.003, "progress": False}
    held = samples.split(0.5, seed=0)[0]
    held = replace(held, states=held.states[:, ::20].contiguous(), times=held.times[::20])
    for description in (
        {"arch": "local-transformer", "neighbours": neighbours, "width": 32},
        {"arch": "contacts", "hidden": 8, "width": 32},
    ):

        def fitted(steps: int, description: dict = description) -> tuple[pyness.Score, float]:
            begin = time.process_time()
            score = pyness.fit_score(system, samples, steps=steps, **description, **options)
            return score, time.process_time() - begin

        # what a training begins with is in both, so what they differ by is 20 steps and the looks at what they gave
        first, second = (fitted(steps)[1] for steps in (20, 40))
        each = (second - first) / 20
        score, spent = fitted(steps := max(40, round((budget - first) / each) + 20))
        error = score.report(held).extra["error_against_current"]
        loss = Estimate.over_walkers(held_out(score, held))
        print(f"{description['arch']:>18} {parameters(score.network):,} parameters, {steps} steps of {each:.3f} s, "
              f"{spent:.0f} s with all around them: held-out loss {loss.value:.4f} ± {loss.stderr:.4f}, error against "
              f"the current {error['value']:.4f} ± {error['stderr']:.4f}", flush=True)  # fmt: skip


def held_out(score: pyness.Score, samples: pyness.Samples) -> torch.Tensor:
    """The denoising loss ``(walkers, snapshots)`` in units of ``-E[div F]``, by the same noise for every network."""
    system, generator = score.system, torch.Generator().manual_seed(1)
    mask = torch.arange(system.dim) >= system.n_particles * system.space_dim
    with torch.no_grad():
        parts = [
            denoising(score.network, system, part, generator, alpha=score.metadata["options"]["alpha"], mask=mask)
            for part in samples.states.flatten(0, 1).split(8)
        ]
    return torch.cat(parts).reshape(samples.states.shape[:2]) / fisher_information(system, samples).value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--particles", type=int, default=4096)
    parser.add_argument("--neighbours", type=int, default=64)
    parser.add_argument("--part", type=int, default=512, help="particles of a part of the published network")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--train", type=float, default=0.0, metavar="SECONDS")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    system = pyness.systems.get("aoup-mips", n_particles=arguments.particles)
    generator = torch.Generator().manual_seed(0)
    states = spread(system, generator)
    print(f"{arguments.particles} particles, {arguments.threads} threads")
    for arch in ("contacts", "attention"):
        timed(system, {"arch": arch}, states, arguments.repeats, 1.0)
    part = min(arguments.part, arguments.particles)
    few = pyness.systems.get("aoup-mips", n_particles=part)
    some = spread(few, generator)
    description = {"arch": "local-transformer", "neighbours": arguments.neighbours}
    timed(few, description, some, arguments.repeats, arguments.particles / part)
    if arguments.train:
        train(arguments.train, arguments.neighbours)


if __name__ == "__main__":
    main()
