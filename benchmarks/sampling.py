"""Throughput of EM on the limit cycle, 10^4 walkers: the torch engine against a plain eager loop, side by side.

    python benchmarks/sampling.py [--threads 1] [--repeats 3] [--time 100]

Both run on the same cores in turns; the ratio is the median over the turns. A walker-step is one step of one walker.
Compiling the step is reported apart, since it is paid once.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from pyness import systems
from pyness.sampling import sample

WALKERS, DT = 10_000, 1e-3


def eager_loop(steps: int) -> float:
    """Walker-steps per second of what one would write in a notebook."""
    system = systems.get("limit-cycle")
    generator = torch.Generator().manual_seed(0)
    x = 8 * torch.rand(WALKERS, 2, generator=generator)
    amplitude = (2 * system.diffusion.scalar * DT) ** 0.5
    begin = time.perf_counter()
    with torch.no_grad():
        for _ in range(steps):
            x = x + DT * system.drift(x) + amplitude * torch.randn(x.shape, generator=generator)
            x = torch.where(x < 0, -x, x)
            x = torch.where(x > 8, 16 - x, x)
    return WALKERS * steps / (time.perf_counter() - begin)


def engine(system: systems.System, duration: float) -> tuple[float, float, bool]:
    """Walker-steps per second of the torch engine, seconds of preparation, and whether it compiled."""
    begin = time.perf_counter()
    samples = sample(
        system, "EM", "torch", walkers=WALKERS, burn_in=0.9 * duration, snapshots=10, spacing=0.01 * duration, dt=DT
    )
    stats = samples.stats
    preparation = time.perf_counter() - begin - stats["seconds"]
    return stats["steps_accepted"] / stats["seconds"], preparation, samples.metadata["engine"]["compiled"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--time", type=float, default=110.0, help="time units a run covers")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    system = systems.get("limit-cycle")
    eager_loop(200)
    ratios = []
    for turn in range(arguments.repeats):
        plain = eager_loop(5000)
        ours, preparation, compiled = engine(system, arguments.time)
        ratios.append(ours / plain)
        print(
            f"turn {turn + 1}: eager loop {plain:.3g}, pyness {ours:.3g} walker-steps/s "
            f"({'compiled' if compiled else 'eager'}, {preparation:.1f} s of preparation), ratio {ours / plain:.2f}",
            flush=True,
        )
    print(f"threads {arguments.threads}: median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
