"""Landscapes of all systems against what is known of them, planar ones also against gradient descent as published.

    python benchmarks/landscapes.py double-well toggle-switch limit-cycle --seeds 0 1 2 3 4
    python benchmarks/landscapes.py cell-cycle-3d gaussian-mixture-12d lorenz toggle-switch-langevin --seeds 0 1 2 3 4
    python benchmarks/landscapes.py cell-cycle-8d stem-cell-52d
    python benchmarks/landscapes.py cell-cycle-8d --samples runs/cell-cycle-8d/samples.zarr --seeds 1 2 3 4
    python benchmarks/landscapes.py double-well --adam 5000

One line a run: errors on the published metric, the offset between basins, the entropy production rate against the
truth, the certificate, shares of basins, and seconds of sampling, training and report. With ``--samples`` nothing is
drawn, and the seeds are those of the training alone: which walkers it learns from, its points, its units. ``--adam``
trains the network of the EPR-Net paper (three hidden layers of 20, tanh) on the same samples for that many steps: EPR
loss plus HJB residual on states at wider noise, Adam with a one-cycle rate.
"""

from __future__ import annotations

import argparse
import math
import time
from itertools import pairwise

import torch

import pyness
from pyness.landscape.clouds import widened
from pyness.run import against_truth

BATCH, RATE = 1024, 5e-3


def errors(error: dict) -> str:
    line = ""
    if error:
        line += f"  rRMSE {error['rrmse']:.4f} on {error['points_are']}  weighted {error['rrmse_weighted']:.4f}"
    if error.get("basin_offset") is not None:
        line += f"  offset {error['basin_offset']:.3f} D"
    return line


def run(system: pyness.System, seed: int, store: str | None, options: dict[str, int]) -> pyness.Samples:
    clock = [time.perf_counter()]
    samples = pyness.Samples.load(store) if store else pyness.sample(system, engine="torch", seed=seed)
    clock.append(time.perf_counter())
    landscape = pyness.fit_landscape(system, samples, seed=seed, **options)
    clock.append(time.perf_counter())
    report = landscape.report(samples)
    clock.append(time.perf_counter())
    _, error, _ = against_truth(system, landscape, samples)
    line = f"{system.name:<14} seed {seed}{errors(error)}  EPR {report.epr}"
    if system.truth.epr is not None:
        apart = report.epr.value - system.truth.epr
        spread = math.hypot(report.epr.stderr, system.truth.epr_error)
        line += f" of {system.truth.epr:.4g} ({100 * apart / system.truth.epr:+.2f} %, z {apart / spread:+.1f})"
    shares = [pyness.Estimate(**basin["population"]) for basin in report.extra.get("basins", ())]
    line += f"  score-free {report.epr_score_free}  gradient error {report.gradient_error}"
    line += f"  basins {', '.join(map(str, shares))}" if len(shares) > 1 else ""
    line += f"  stationarity {'passed' if report.stationarity.passed else 'FAILED'}"
    line += f"  failed {samples.stats.get('failed_walkers', 0)} of {samples.walkers}"
    print(line + "  seconds " + " ".join(f"{b - a:.0f}" for a, b in pairwise(clock)), flush=True)
    return samples


def adam(system: pyness.System, samples: pyness.Samples, seed: int, steps: int) -> None:
    D = system.diffusion.scalar
    states = samples.states.reshape(-1, system.dim).double()
    rate = pyness.estimators.fisher_information(system, samples).value
    cloud = widened(system, samples, 2.0, 20_000, rate, seed).float()
    states = states.float()
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        sizes = [system.dim, 20, 20, 20]
        layers = [m for a, b in pairwise(sizes) for m in (torch.nn.Linear(a, b), torch.nn.Tanh())]
        network = torch.nn.Sequential(*layers, torch.nn.Linear(20, 1))
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    start = time.perf_counter()
    for _ in range(steps):
        x = states[torch.randint(0, len(states), (BATCH,), generator=generator)].requires_grad_()
        slope = torch.autograd.grad(network(x).sum(), x, create_graph=True)[0]
        loss = (system.drift(x) + slope).square().sum(-1).mean()
        y = cloud[torch.randint(0, len(cloud), (BATCH,), generator=generator)].requires_grad_()
        slope = torch.autograd.grad(network(y).sum(), y, create_graph=True)[0]
        laplacian = sum(
            torch.autograd.grad(slope[:, i].sum(), y, create_graph=True)[0][:, i] for i in range(system.dim)
        )
        drift, div = system.drift(y.detach()), system.drift_divergence(y.detach())
        residual = D * (laplacian + div) - (drift * slope).sum(-1) - slope.square().sum(-1)
        loss = loss + residual.square().mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        schedule.step()
    seconds = time.perf_counter() - start
    learnt = Published(network.requires_grad_(False))
    _, error, _ = against_truth(system, learnt, samples)
    print(f"{system.name:<14} seed {seed}{errors(error)}  Adam, {steps} steps, {seconds:.0f} s", flush=True)


class Published:
    """The potential of a network of the paper."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.network = network

    def potential(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x.float()).squeeze(-1).double()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="+")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--samples", metavar="STORE", help="of one system, drawn before")
    parser.add_argument("--adam", type=int, metavar="STEPS")
    for name in ("units", "steps", "points"):
        parser.add_argument(f"--{name}", type=int, help="of fit_landscape, its default if not said")
    options = parser.parse_args()
    chosen = {name: vars(options)[name] for name in ("units", "steps", "points") if vars(options)[name]}
    for name in options.systems:
        system = pyness.systems.get(name)
        for seed in options.seeds:
            samples = run(system, seed, options.samples, chosen)
            if options.adam:
                adam(system, samples, seed, options.adam)


if __name__ == "__main__":
    main()
