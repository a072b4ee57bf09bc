"""Active matter against what is known exactly: entropy production, its activity part, and the error of the score.

    python benchmarks/active.py [--only harmonic,ring,null,trap,mips,speed,transfer] [--scale 0.25]

``--scale`` multiplies walkers and training steps: 1 is the size of the figures one would publish from two cores, small
values check that everything runs. Every line says what the truth is and how far the estimate is in standard errors.
"""

from __future__ import annotations

import argparse
import math
import time

import torch

import pyness
from pyness.estimators import Estimate
from pyness.estimators.score_free import fisher_per_walker, score_free_per_walker


def line(what: str, estimate: Estimate | dict, truth: float | None = None) -> None:
    value, stderr = (estimate["value"], estimate["stderr"]) if isinstance(estimate, dict) else (
        estimate.value, estimate.stderr
    )  # fmt: skip
    known = "" if truth is None else f"  truth {truth:.5g}  {(value - truth) / stderr:+.2f} standard errors"
    print(f"  {what:<28} {value:.5g} ± {stderr:.2g}{known}", flush=True)


def harmonic(scale: float) -> None:
    """One, two coupled and 64 trapped particles: closed form."""
    for particles, spring in ((1, 0.0), (2, 1.3), (64, 0.05)):
        system = pyness.systems.get("aoup-harmonic", n_particles=particles, spring=spring)
        walkers = max(200, int(scale * (10_000 if particles < 64 else 1000)))
        samples = pyness.sample(system, engine="torch", walkers=walkers)
        score = pyness.fit_score(system, samples, steps=max(50, int(scale * 600)))
        report = score.report(samples)
        x = samples.states[:200, -1].double()
        truth, D = system.truth.score(x), system.diffusion.value
        error = ((D * (score.score(x) - truth) ** 2).sum() / (D * truth**2).sum()).sqrt().item()
        print(f"harmonic, {particles} particles: score off by {error:.4f} in weighted L2")
        line("EPR", report.epr, system.truth.epr)
        line("activity part, lower bound", report.extra["parts"]["activity"]["lower"], system.truth.activity_epr)


def ring(scale: float) -> None:
    """Two particles on a ring: finite volumes."""
    system = pyness.systems.get("aoup-ring")
    samples = pyness.sample(system, engine="torch", walkers=max(500, int(scale * 10_000)))
    score = pyness.fit_score(system, samples, steps=max(100, int(scale * 1000)))
    report = score.report(samples)
    print("ring")
    line("EPR", report.epr, system.truth.epr)
    line("activity part, lower bound", report.extra["parts"]["activity"]["lower"], system.truth.activity_epr)
    line("activity part, as learnt", report.extra["parts"]["activity"]["naive"], system.truth.activity_epr)
    line("score error", report.gradient_error)


def null(scale: float) -> None:
    """64 repelling particles in a trap without drive: the current is zero."""
    _trap(0.0, scale)


def trap(scale: float) -> None:
    """The same with drive: the curve of the entropy production, identities only."""
    for v0 in (0.1, 0.2, 0.3, 0.4):
        _trap(v0, scale)


def _trap(v0: float, scale: float) -> None:
    system = pyness.systems.get("aoup-trap-64", v0=v0)
    samples = pyness.sample(system, engine="torch", walkers=max(16, int(scale * 256)))
    found = pyness.stationarity(system, samples)
    print(f"trap, v0 = {v0}: {found}")
    line("EPR", Estimate.over_walkers(score_free_per_walker(system, samples)), 0.0 if v0 == 0 else None)
    x, g = system.split(samples.states.double().flatten(0, 1))
    if v0:
        sixth = v0 / system.noise * (g * (system.forces(x) + v0 * g)).sum((-1, -2))
        line("EPR, identity I6", Estimate.over_walkers(sixth.unflatten(0, samples.states.shape[:2])))
    line("-E[div F]", Estimate.over_walkers(fisher_per_walker(system, samples)))


def mips(scale: float) -> None:
    """Phase separation: the exact mean of the activity part, and how much of it a score resolves."""
    for particles, known in ((256, 0.512), (1024, 0.574)):
        system = pyness.systems.get("aoup-mips", n_particles=particles)
        samples = pyness.sample(system, engine="torch", walkers=max(4, int(scale * 4096 / particles)))
        score = pyness.fit_score(system, samples, held_out=0.25, steps=max(50, int(scale * 800)))
        print(f"phase separation, {particles} particles")
        resolved(score.report(samples), particles, known)
        score.save(f"mips-{particles}.safetensors")


def resolved(report: pyness.Report, particles: int, known: float | None = None) -> None:
    """The exact activity part per particle, what of it is learnt, and the certificate."""
    line("E[lap_i U]", {k: v / particles for k, v in report.epr.to_dict().items()}, known)
    for what, key in (("learnt, as it stands", "naive"), ("learnt, lower bound", "lower")):
        line(what, {k: v / particles for k, v in report.extra["parts"]["activity"][key].items()})
    line("error against the current", report.extra["error_against_current"])
    line("defect", report.defect)


def transfer(scale: float) -> None:
    """The network of ``mips`` at other packing fractions and 8 times the particles, each with its certificate."""
    for particles, packing in ((256, 0.3), (256, 0.7), (2048, 0.5)):
        system = pyness.systems.get("aoup-mips", n_particles=particles, packing=packing)
        samples = pyness.sample(system, engine="torch", walkers=2, burn_in=max(50.0, scale * 1e4), snapshots=4)
        report = pyness.Score.load("mips-256.safetensors", system).report(samples)
        print(f"transfer to {particles} particles, packing {packing}")
        resolved(report, particles)


def speed(scale: float) -> None:
    """Steps per second of the phase-separating system, after the clustered start has relaxed for a while."""
    for particles in (1024, 4096, 16_384, 32_768):
        system = pyness.systems.get("aoup-mips", n_particles=particles)
        steps = max(50, int(scale * 2_000_000 / particles))
        begin = time.perf_counter()
        samples = pyness.sample(
            system, engine="torch", walkers=1, burn_in=0.1 * steps, snapshots=1, spacing=0.1 * steps, start="uniform"
        )
        rate = samples.stats["steps_accepted"] / samples.stats["seconds"]
        print(f"{particles} particles: {rate:.0f} steps/s, {rate * particles / 1e6:.2f} million particle-steps/s, "
              f"N log N law {rate * particles * math.log(particles) / 1e6:.1f} ({time.perf_counter() - begin:.0f} s)",
              flush=True)  # fmt: skip


CASES = {f.__name__: f for f in (harmonic, ring, null, trap, mips, transfer, speed)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for name in arguments.only.split(","):
        begin = time.perf_counter()
        CASES[name](arguments.scale)
        print(f"  ({name}: {time.perf_counter() - begin:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
