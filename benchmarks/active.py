"""Active matter against what is known exactly: entropy production, its activity part, and the error of the score.

    python benchmarks/active.py [--only harmonic,ring,...] [--scale 0.25] [--engine julia]

``--scale`` multiplies walkers and training steps: 1 is the size of the figures one would publish from two cores, small
values check that everything runs. Every line says what the truth is and how far the estimate is in standard errors.
"""

from __future__ import annotations

import argparse
import math
import time
from functools import partial

import torch

import pyness
from pyness.estimators import Estimate
from pyness.estimators.averages import volume_per_walker
from pyness.estimators.control import controlled
from pyness.estimators.identities import identities as identities_of
from pyness.estimators.identities import names
from pyness.estimators.score_certificate import ScoreWithTerms
from pyness.estimators.score_free import fisher_per_walker
from pyness.estimators.stationarity import family
from pyness.sampling.engines.torch import compiled
from pyness.score.shift import shift_with_terms
from pyness.systems import ParticleSystem

ENGINE = "torch"


def line(what: str, estimate: Estimate | dict, truth: float | None = None) -> None:
    value, stderr = (estimate["value"], estimate["stderr"]) if isinstance(estimate, dict) else (
        estimate.value, estimate.stderr
    )  # fmt: skip
    known = "" if truth is None else f"  truth {truth:.5g}  {(value - truth) / stderr:+.2f} standard errors"
    print(f"  {what:<28} {value:.5g} ± {stderr:.2g}{known}", flush=True)


def harmonic(scale: float) -> None:
    """One and two coupled trapped particles: closed form."""
    for particles, spring in ((1, 0.0), (2, 1.3)):
        _harmonic(particles, spring, max(200, int(scale * 20_000)), max(50, int(scale * 1000)))


def harmonic64(scale: float) -> None:
    """64 of them, each pair with a spring: closed form."""
    _harmonic(64, 0.05, max(200, int(scale * 400)), max(50, int(scale * 300)))


def _harmonic(particles: int, spring: float, walkers: int, steps: int) -> None:
    system = pyness.systems.get("aoup-harmonic", n_particles=particles, spring=spring)
    samples = pyness.sample(system, engine=ENGINE, walkers=walkers)
    x, g = system.split(samples.states.double().flatten(0, 1))
    power = system.activity.speed / system.noise * (g * system.forces(x)).sum((-1, -2))
    free = particles * system.activity.speed**2 / system.noise
    score = pyness.fit_score(system, samples, steps=steps)
    report = score.report(samples)
    x = samples.split(0.5, seed=0)[0].states[:200, -1].double()
    truth, D = system.truth.score(x), system.diffusion.value
    error = ((D * (score.score(x) - truth) ** 2).sum() / (D * truth**2).sum()).sqrt().item()
    print(f"harmonic, {particles} particles: score off by {error:.4f} in weighted L2")
    line("EPR, identity I6", Estimate.over_walkers((free + power).unflatten(0, samples.states.shape[:2])),
         system.truth.epr)  # fmt: skip
    line("EPR, control variates", report.epr, system.truth.epr)
    line("activity part, lower bound", report.extra["parts"]["activity"]["lower"], system.truth.activity_epr)


def ring(scale: float) -> None:
    """Two particles on a ring: finite volumes."""
    system = pyness.systems.get("aoup-ring")
    samples = pyness.sample(system, engine=ENGINE, walkers=max(500, int(scale * 10_000)))
    score = pyness.fit_score(system, samples, steps=max(100, int(scale * 1000)))
    report = score.report(samples)
    print("ring")
    line("EPR", report.epr, system.truth.epr)
    line("activity part, lower bound", report.extra["parts"]["activity"]["lower"], system.truth.activity_epr)
    line("activity part, as learnt", report.extra["parts"]["activity"]["naive"], system.truth.activity_epr)
    line("score error", report.gradient_error)
    maps(score)


def maps(score: pyness.Score) -> None:
    """Density times local entropy production, learnt, against the grid: share of it that lies elsewhere."""
    grid = pyness.grid.steady_state(score.system, (512, 200), low=(0.0, -5.5), high=(16.0, 5.5))
    p, local = torch.from_numpy(grid.density).flatten(), score.local(grid.mesh.points().reshape(-1, 2))
    v = torch.from_numpy(grid.velocity).reshape(-1, 2).nan_to_num()
    for name, column, found in (("position", 0, local.position), ("activity", 1, local.activity)):
        known = p * v[:, column] ** 2 / score.system.diffusion.value[column]
        wrong = (p * found[:, 0] - known).abs().sum() / known.sum()
        print(f"  map, {name}: {0.5 * wrong:.4f} of it elsewhere than on the grid, "
              f"which has {known.sum() * grid.mesh.volume:.5f} in all", flush=True)  # fmt: skip


def null(scale: float) -> None:
    """64 repelling particles in a trap without drive: the current is zero."""
    _trap(0.0, scale)


def trap(scale: float) -> None:
    """The same with drive: the curve of the entropy production, by identities without a score."""
    for v0 in (0.1, 0.2, 0.3, 0.4):
        _trap(v0, scale)


def identities(scale: float) -> None:
    """A learnt score of the trap without drive and with it, and the identities that need one."""
    for v0 in (0.0, 0.1, 0.2, 0.3, 0.4):
        learnt(*_trap(v0, scale), scale)


def _trap(v0: float, scale: float) -> tuple[ParticleSystem, pyness.Samples]:
    system = pyness.systems.get("aoup-trap-64", v0=v0)
    # five relaxation times of the trap to begin with
    samples = pyness.sample(
        system, engine=ENGINE, walkers=max(16, int(scale * 64)), burn_in=100.0, snapshots=50, spacing=1.0
    )
    found = pyness.stationarity(system, samples)
    print(f"trap, v0 = {v0}: {found}")
    x, g = system.split(samples.states.double().flatten(0, 1))
    force, eps = system.forces(x), system.noise
    work, bend = (g * force).sum((-1, -2)), system.laplacian(x).sum(-1)

    def mean(integrand: torch.Tensor) -> Estimate:
        return Estimate.over_walkers(integrand.unflatten(0, samples.states.shape[:2]))

    # N d is known, so the part of free particles need not be sampled
    free = 2 * system.n_particles * v0**2 / eps
    line("EPR, score-free", mean((force + v0 * g).square().sum((-1, -2)) / eps - bend), 0.0 if v0 == 0 else None)
    if v0:
        line("EPR, identity I6", mean(free + v0 / eps * work))
    line("balance of U", mean(force.square().sum((-1, -2)) + v0 * work - eps * bend), 0.0)
    line("-E[div F]", Estimate.over_walkers(fisher_per_walker(system, samples)))
    return system, samples


def learnt(system: ParticleSystem, samples: pyness.Samples, scale: float) -> None:
    """What learnt scores say: the parts, and the identities with a score in them (active_matter.md, 4).

    Each half of the walkers is judged by the score learnt from the other half: what a score owes to the chance of its
    walkers it then owes, to first order, with either sign once, so that of the plain means it cancels. Of any score I4,
    I5 and I7 measure how far it is from one of least squares, and I1, I2, I3, I8 its error and its defect besides.
    """
    halves = samples.split(0.5, seed=0)
    values, controls = [], []
    for judged, training in (halves, halves[::-1]):
        # a single walker is left out of the training
        score = pyness.fit_score(system, training, held_out=1e-6, steps=max(30, int(scale * 800)))
        values.append(volume_per_walker(judged, partial(_judged, system, _sized(score, training))))
        controls.append(volume_per_walker(judged, lambda x, own=judged: family(system, own).generator(system, x)))
    steps = score.metadata["options"]["steps"]
    print(f"  learnt scores of either half, {steps} steps; the certificate with control variates")
    still = 0.0 if system.activity.speed == 0 else None
    columns = torch.cat(values).unbind(-1)
    for (name, truth), column in zip(
        [("error of the score", 0.0), ("defect C", 0.0), ("positions, lower", still), ("positions, as learnt", still),
         ("activities, lower", still), ("activities, as learnt", still)], columns[:6], strict=True,
    ):  # fmt: skip
        line(name, controlled(column, torch.cat(controls)), truth)
    for name, column in zip(names(system), columns[6:], strict=True):
        line(name, Estimate.over_walkers(column), 0.0)


def _sized(score: pyness.Score, training: pyness.Samples) -> ScoreWithTerms:
    """The score with its known and its learnt part, in either block, by those multiples that are best on all states
    it has learnt from: the last few batches leave their sizes off by what a batch is off."""
    system = score.system
    D = torch.tensor([system.noise, system.activity.rate], dtype=torch.float64)

    def parts(states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = score.with_terms(states)
        known = shift_with_terms(system, score.metadata["shift"], states, system.pairs(system.split(states)[0]))
        pairs = (torch.stack([k, f - k], dim=1) for f, k in zip(found, known, strict=True))
        return tuple(pair.unflatten(-1, (2, -1)) for pair in pairs)

    def moments(states: torch.Tensor) -> torch.Tensor:
        s, terms = parts(states)
        return torch.cat([torch.einsum("nabk,ncbk,b->nbac", s, s, D).flatten(1), terms.sum(-1).mT.flatten(1)], dim=1)

    mean = volume_per_walker(training, moments).mean(0)
    gram, flux = mean[:8].reshape(2, 2, 2), mean[8:].reshape(2, 2, 1)
    size = -(torch.linalg.pinv(gram, rtol=1e-6) @ flux)[..., 0].mT
    print("  sizes of the known and the learnt part:", *(f"{v:.4f}" for v in size.mT.flatten().tolist()))
    return lambda states: tuple((size.unsqueeze(-1) * part).sum(1).flatten(1) for part in parts(states))


def _judged(system: ParticleSystem, score: ScoreWithTerms, states: torch.Tensor) -> torch.Tensor:
    """What is averaged, ``(n, 14)``: error, defect, both parts bounded and as learnt, and the identities."""
    (s, terms), (drift, divergence) = score(states), system.drift_and_divergence(states)
    (s_x, s_g), (t_x, t_g) = system.split(s), system.split(terms)
    g, (F_x, F_g) = system.split(states)[1], system.split(drift)
    eps, gamma, total = system.noise, system.activity.rate, 2 * system.n_particles
    v_x, v_g = F_x - eps * s_x, -gamma * (g + s_g)

    def over(field: torch.Tensor) -> torch.Tensor:
        return field.sum((-1, -2))

    bend = -gamma * total - divergence
    div_x, div_g = -bend - over(t_x), -gamma * total - over(t_g)
    flux = over(t_x) + over(t_g)
    part, naive = over(v_g.square()) / gamma, over(v_x.square()) / eps
    error = eps * over(s_x.square()) + gamma * over(s_g.square()) + 2 * flux + bend + gamma * total
    defect = over(F_x * s_x) + over(F_g * s_g) + flux
    lower_x = 2 * (over(F_x * v_x) / eps + div_x) - naive
    lower_g = 2 * (over(F_g * v_g) / gamma + div_g) - part
    vanishing = identities_of(system, drift, divergence, s, terms)
    return torch.stack([error, defect, lower_x, naive, lower_g, part, *vanishing], dim=-1)


def mips(scale: float) -> None:
    """Phase separation: the exact mean of the activity part, and how much of it a score resolves."""
    for particles, known in ((256, 0.512), (1024, 0.574)):
        system = pyness.systems.get("aoup-mips", n_particles=particles)
        samples = pyness.sample(system, engine=ENGINE, walkers=max(4, int(scale * 4096 / particles)))
        score = pyness.fit_score(system, samples, held_out=0.25, steps=max(50, int(scale * 1000)))
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
        samples = pyness.sample(
            system, engine=ENGINE, walkers=2, burn_in=max(50.0, scale * 1e4), snapshots=4,
            spacing=max(20.0, scale * 1e3),
        )  # fmt: skip
        report = pyness.Score.load("mips-256.safetensors", system).report(samples)
        print(f"transfer to {particles} particles, packing {packing}")
        resolved(report, particles)


def speed(scale: float) -> None:
    """Steps per second of the phase-separating system, once the overlaps of a uniform start have ended."""
    for particles in (1024, 4096, 16_384, 32_768):
        system = pyness.systems.get("aoup-mips", n_particles=particles)
        steps, rates = max(50, int(scale * 2_000_000 / particles)), {}
        start = pyness.sample(system, engine=ENGINE, walkers=1, burn_in=0, snapshots=1, spacing=40, start="uniform")
        for how, least in (("eager", math.inf), ("compiled", 0)) if ENGINE == "torch" else ((ENGINE, 0),):
            compiled.WORTHWHILE = least
            rates[how] = rate = max(_rate(system, start, steps) for _ in range(3))
            faster = f", {rate / rates['eager']:.2f} times eager" if how == "compiled" else ""
            print(f"{particles} particles, {how}: {rate:.0f} steps/s, {rate * particles / 1e6:.2f} million "
                  f"particle-steps/s, N log N law {rate * particles * math.log(particles) / 1e6:.1f}{faster}",
                  flush=True)  # fmt: skip


def _rate(system: ParticleSystem, start: pyness.Samples, steps: int) -> float:
    samples = pyness.sample(system, engine=ENGINE, walkers=1, burn_in=0, snapshots=1, spacing=0.1 * steps, start=start)
    return samples.stats["steps_accepted"] / samples.stats["seconds"]


CASES = {f.__name__: f for f in (harmonic, harmonic64, ring, null, trap, identities, mips, transfer, speed)}


def main() -> None:
    global ENGINE
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--engine", default=ENGINE, choices=("torch", "julia"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    ENGINE = arguments.engine
    for name in arguments.only.split(","):
        begin = time.perf_counter()
        CASES[name](arguments.scale)
        print(f"  ({name}: {time.perf_counter() - begin:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
