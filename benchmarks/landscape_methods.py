"""Methods of a landscape against each other, small noise, many dimensions, reduced coordinates.

    python benchmarks/landscape_methods.py methods            # enhanced, epr, hjb, flow on the same samples
    python benchmarks/landscape_methods.py cold               # falling noise: alone, or from the one before
    python benchmarks/landscape_methods.py mixture            # 12 dimensions, exact samples
    python benchmarks/landscape_methods.py reduced            # two of the 12, against what is known of them

One line a fit; ``--walkers``, ``--units``, ``--steps`` and ``--points`` make it smaller.
"""

from __future__ import annotations

import argparse
import time

import torch

import pyness
from pyness.estimators import potential_error
from pyness.landscape import METHODS

COLD = (0.1, 0.05, 0.02, 0.01)


def fitted(label: str, system: pyness.System, samples: pyness.Samples, fresh: pyness.Samples | None = None, **options):
    """Fit, print one line, return the landscape."""
    begun = time.process_time()
    landscape = pyness.fit_landscape(system, samples, progress=False, **options)
    seconds = time.process_time() - begun
    report = landscape.report(fresh or samples)
    known = ""
    if system.truth.epr is not None:
        known = f" of {system.truth.epr:.4g} ({100 * (report.epr.value / system.truth.epr - 1):+.2f} %)"
    line = f"{label:<22} EPR {report.epr}{known}  gradient error {report.gradient_error}"
    if report.apparent_epr is not None:
        line += f"  apparent {report.apparent_epr}"
    elif system.truth.potential is not None:
        grid = system.evaluation is not None
        points = system.evaluation.nodes() if grid else (fresh or samples).states[:, -1].double()
        weights = None if grid else torch.ones(len(points))
        U = system.truth.potential(points)
        error = potential_error(landscape.potential(points), U, system.potential_scale, weights=weights)
        line += f"  rRMSE {error.rrmse:.4f} (weighted {error.rrmse_weighted:.4f})"
    print(f"{line}  CPU seconds {seconds:.0f}", flush=True)
    return landscape


def methods(walkers: int, options: dict) -> None:
    system = pyness.systems.get("double-well")
    samples = pyness.sample(system, engine="torch", walkers=walkers, progress=False)
    for method, own in METHODS.items():
        fitted(method, system, samples, method=method, **{k: v for k, v in options.items() if k in (*own, "seed")})


def cold(walkers: int, options: dict) -> None:
    before, last = None, None
    for D in COLD:
        system = pyness.systems.get("double-well", D=D)
        samples = pyness.sample(system, engine="torch", walkers=walkers, progress=False)
        alone = fitted(f"D = {D}, alone", system, samples, **options)
        before = alone if before is None else fitted(f"D = {D}, from {last}", system, samples, start=before, **options)
        last = D


def _mixture(walkers: int) -> tuple[pyness.System, pyness.Samples, pyness.Samples]:
    system = pyness.systems.get("gaussian-mixture-12d")
    drawn = [system.truth.draw(8 * walkers, torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    return system, *(pyness.Samples.from_states(system, x.reshape(walkers, 8, system.dim)) for x in drawn)


def mixture(walkers: int, options: dict) -> None:
    system, samples, fresh = _mixture(walkers)
    landscape = fitted("12-D mixture", system, samples, fresh, **options)
    for k, basin in enumerate(landscape.basins(fresh).basins):
        print(f"  basin {k + 1}: {basin.population} of the samples, minimum {basin.height} above the lowest")


def reduced(walkers: int, options: dict) -> None:
    system, samples, fresh = _mixture(walkers)
    fitted("two of 12 coordinates", system, samples, fresh, reduce=["x1", "x2"], **options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cases = {"methods": methods, "cold": cold, "mixture": mixture, "reduced": reduced}
    parser.add_argument("case", choices=cases)
    parser.add_argument("--walkers", type=int, default=10_000)
    for option in ("units", "steps", "points", "contrast", "seed"):
        parser.add_argument(f"--{option}", type=int)
    given = vars(parser.parse_args())
    case, walkers = cases[given.pop("case")], given.pop("walkers")
    case(walkers, {name: value for name, value in given.items() if value is not None})


if __name__ == "__main__":
    main()
