"""Landscapes of all systems against what is known of them and against what is wanted, in one table.

    python benchmarks/landscapes.py                                        # all, seeds 0 to 4: a night
    python benchmarks/landscapes.py cell-cycle-3d lorenz --seeds 0
    python benchmarks/landscapes.py number-noise diagonal-noise matrix-noise
    python benchmarks/landscapes.py cell-cycle-8d --samples runs/cell-cycle-8d/samples.zarr --seeds 1 2 3 4
    python benchmarks/landscapes.py double-well --adam 5000

A row a run: error of the potential on the published metric, entropy production against the truth, the certificate,
shares of basins, stationarity, failed walkers, seconds of sampling, training and report; in brackets what is wanted of
the system, and whether it was met. The last three systems are built from their density, for a ``D(x)`` that is a
number, a diagonal and a matrix; their walkers start from exact states. With ``--samples`` nothing is drawn, the seconds
of sampling are those of the file, and the seeds are those of the training alone: which walkers it learns from, its
points, its units. ``--adam`` trains the network of the EPR-Net paper (three hidden layers of 20, tanh) on the same
samples for that many steps: EPR loss plus HJB residual on states at wider noise, Adam with a one-cycle rate.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from itertools import pairwise

import torch

import pyness
from pyness.landscape.clouds import widened
from pyness.run import against_truth

BATCH, RATE = 1024, 5e-3
COLUMNS = ("system", "seed", "rRMSE", "EPR", "gradient error", "basins", "stationarity", "failed", "seconds")

#: What is wanted: largest rRMSE, distance of the EPR from the truth and its error bar (relative), gradient error,
#: distance of the EPR from that without a network (combined standard errors), failed walkers, minutes of sampling and
#: training; shares of basins and how far they may be off.
WANTED = {
    "double-well": {"rrmse": 0.01, "bar": 0.004},
    "toggle-switch": {"rrmse": 0.02, "apart": 0.05},
    "limit-cycle": {"rrmse": 0.03, "apart": 0.01},
    "gaussian-mixture-12d": {"rrmse": 0.03, "apart": 0.01, "shares": ((0.4, 0.6), 0.02)},
    "lorenz": {"apart": 0.03},
    "cell-cycle-3d": {"rrmse": 0.05, "apart": 0.02},
    "cell-cycle-8d": {"bar": 0.05, "gradient": 0.1, "failed": 0, "minutes": 20},
    "stem-cell-52d": {"agree": 2.0, "gradient": 0.1, "minutes": 20},
    "toggle-switch-langevin": {},
    "number-noise": {"apart": 0.02},
    "diagonal-noise": {"apart": 0.02},
    "matrix-noise": {"apart": 0.02},
}


def well(x: torch.Tensor) -> torch.Tensor:
    a, b = x[..., 0] - 1.5, x[..., 1] - 1.5
    return 10 * ((a * a - 1) ** 2 + 0.5 * b * b)


def matrix(x: torch.Tensor) -> torch.Tensor:
    a, b = x[..., 0] - 1.5, x[..., 1] - 1.5
    across = 0.03 * torch.sin(a) * torch.cos(b)
    rows = [0.1 + 0.05 * torch.tanh(a), across, across, 0.1 + 0.04 * b * b / (1 + b * b)]
    return torch.stack(rows, dim=-1).unflatten(-1, (2, 2))


def turning(x: torch.Tensor) -> torch.Tensor:
    a = 0.05 + 0.02 * torch.sin(x[..., 0] + x[..., 1])
    nothing = torch.zeros_like(a)
    return torch.stack([nothing, a, -a, nothing], dim=-1).unflatten(-1, (2, 2))


NOISES = {
    "number-noise": lambda x: 0.1 + 0.05 * torch.tanh(x[..., :1] - 1.5),
    "diagonal-noise": lambda x: torch.stack(
        [0.1 + 0.05 * torch.sin(x[..., 1]), 0.1 + 0.04 * torch.cos(x[..., 0])], dim=-1
    ),
    "matrix-noise": matrix,
}


def system_of(name: str) -> pyness.System:
    """The system, with the grid's potential as its truth where the grid is what it is held against, solved once."""
    if name in NOISES:
        return pyness.systems.from_potential(
            name, 2, well, NOISES[name], turning, pyness.Box([-1.0, -1.5], [4.0, 4.5], "open"), solver="EM:dt=0.01",
            plan={"walkers": 20_000, "burn_in": 3.0, "snapshots": 20, "spacing": 0.5},
            evaluation=pyness.systems.get("double-well").evaluation,
        )  # fmt: skip
    system = pyness.systems.get(name)
    known = system.truth
    if known.potential is None and known.grid:
        solution = pyness.grid.steady_state(system, shape=known.grid, refine=known.grid_refined, progress=True)
        epr = {} if known.epr is not None else {"epr": solution.epr, "epr_error": solution.epr_error}
        system.truth = dataclasses.replace(known, potential=solution.interpolate, **epr)
    return system


def drawn(system: pyness.System, seed: int, walkers: int | None, engine: str) -> pyness.Samples:
    if system.name not in NOISES:
        return pyness.sample(system, engine=engine, seed=seed, walkers=walkers)
    count, box = walkers or system.plan["walkers"], system.domain
    generator = torch.Generator().manual_seed(1000 + seed)
    x = box.uniform(100 * count, generator, dtype=torch.float64)
    exact = x[torch.rand(len(x), generator=generator, dtype=torch.float64) < torch.exp(-well(x))][:count]
    # the recommended step serves the clouds of the training; at 0.01 the entropy production is 7 % off
    return pyness.sample(system, "EM:dt=0.001", engine, walkers=len(exact), start=exact, seed=seed, dtype="float64")


def cell(text: str, wanted: str = "", met: bool = True) -> str:
    return f"{text} ({wanted}: {'met' if met else 'MISSED'})" if wanted else text


def run(
    system: pyness.System, seed: int, drawing: argparse.Namespace, options: dict[str, int]
) -> tuple[pyness.Samples, dict[str, str]]:
    """The samples and a row of the table."""
    wanted, clock = WANTED.get(system.name, {}), [time.perf_counter()]
    store = drawing.samples
    samples = pyness.Samples.load(store) if store else drawn(system, seed, drawing.walkers, drawing.engine)
    clock.append(time.perf_counter())
    landscape = pyness.fit_landscape(system, samples, seed=seed, **options)
    clock.append(time.perf_counter())
    report = landscape.report(samples)
    clock.append(time.perf_counter())
    _, error, _ = against_truth(system, landscape, samples)
    seconds = [b - a for a, b in pairwise(clock)]
    if store:
        seconds[0] = samples.stats.get("seconds", math.nan)
    row = {"system": system.name, "seed": str(seed), "rRMSE": potential_cell(error, wanted)}
    row["EPR"] = epr_cell(system, report, wanted)
    row["gradient error"] = str(report.gradient_error)
    if "gradient" in wanted:
        bound = wanted["gradient"]
        row["gradient error"] = cell(row["gradient error"], f"<= {bound}", report.gradient_error.value <= bound)
    row["basins"] = basins_cell(report, wanted)
    test = report.stationarity
    row["stationarity"] = f"{test.max_z:.1f} of {test.threshold:.1f}"
    row["stationarity"] = cell(row["stationarity"], "passed", test.passed)
    failed = samples.stats.get("failed_walkers", 0)
    row["failed"] = f"{failed} of {samples.walkers + failed}"
    if "failed" in wanted:
        row["failed"] = cell(row["failed"], f"{wanted['failed']}", failed <= wanted["failed"])
    row["seconds"] = " + ".join(f"{s:.0f}" for s in seconds)
    if "minutes" in wanted:
        spent = (seconds[0] + seconds[1]) / 60
        row["seconds"] = cell(row["seconds"], f"first two <= {wanted['minutes']} min", spent <= wanted["minutes"])
    return samples, row


def potential_cell(error: dict, wanted: dict) -> str:
    if not error:
        return "-"
    text = f"{error['rrmse']:.4f} on {error['points_are']}"
    if "rrmse" in wanted:
        text = cell(text, f"<= {wanted['rrmse']}", error["rrmse"] <= wanted["rrmse"])
    return text if error.get("basin_offset") is None else f"{text}, offset {error['basin_offset']:.3f} D"


def epr_cell(system: pyness.System, report: pyness.Report, wanted: dict) -> str:
    text, epr, alone = str(report.epr), report.epr, report.epr_score_free
    if system.truth.epr is not None:
        off = epr.value / system.truth.epr - 1
        z = (epr.value - system.truth.epr) / math.hypot(epr.stderr, system.truth.epr_error)
        text += f" of {system.truth.epr:.4g}, {100 * off:+.2f} %, z {z:+.1f}"
        if "apart" in wanted:
            text = cell(text, f"within {100 * wanted['apart']:g} %", abs(off) <= wanted["apart"])
    if "bar" in wanted:
        text = cell(text, f"bar <= {100 * wanted['bar']:g} %", epr.stderr <= wanted["bar"] * epr.value)
    text += f", score-free {alone}"
    if "agree" in wanted:
        apart = abs(epr.value - alone.value) / math.hypot(epr.stderr, alone.stderr)
        text = cell(text, "agree", apart <= wanted["agree"])
    return text


def basins_cell(report: pyness.Report, wanted: dict) -> str:
    shares = sorted((pyness.Estimate(**b["population"]) for b in report.extra.get("basins", ())), key=lambda e: e.value)
    text = ", ".join(map(str, shares)) if len(shares) > 1 else "-"
    if "shares" in wanted:
        expected, within = wanted["shares"]
        off = [abs(e.value - share) for e, share in zip(shares, expected, strict=False)]
        met = len(shares) == len(expected) and max(off) <= within
        text = cell(text, f"{', '.join(map(str, expected))} within {within}", met)
    return text


def table(rows: list[dict[str, str]]) -> str:
    lines = [dict(zip(COLUMNS, COLUMNS, strict=True)), *rows]
    widths = {column: max(len(line[column]) for line in lines) for column in COLUMNS}
    return "\n".join("  ".join(line[c].ljust(widths[c]) for c in COLUMNS).rstrip() for line in lines)


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
    print(
        f"{system.name}  seed {seed}  Adam, {steps} steps, {seconds:.0f} s: rRMSE {potential_cell(error, {})}",
        flush=True,
    )


class Published:
    """The potential of a network of the paper."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.network = network

    def potential(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x.float()).squeeze(-1).double()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="*", default=list(WANTED), help="all if none is named")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--samples", metavar="STORE", help="of one system, drawn before")
    parser.add_argument("--walkers", type=int, help="fewer than recommended, to see that it runs")
    parser.add_argument("--engine", default="auto", help="of the sampling")
    parser.add_argument("--adam", type=int, metavar="STEPS")
    for name in ("units", "steps", "points", "contrast"):
        parser.add_argument(f"--{name}", type=int, help="of fit_landscape, its default if not said")
    options, rows = parser.parse_args(), []
    chosen = {name: vars(options)[name] for name in ("units", "steps", "points", "contrast") if vars(options)[name]}
    for name in options.systems:
        system = system_of(name)
        for seed in options.seeds:
            samples, row = run(system, seed, options, chosen)
            rows.append(row)
            print("  ".join(row.values()), flush=True)
            if options.adam:
                adam(system, samples, seed, options.adam)
    print(f"\n{table(rows)}")


if __name__ == "__main__":
    main()
