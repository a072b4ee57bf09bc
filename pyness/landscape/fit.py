"""``fit_landscape``: from samples to a landscape."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from pyness.checkpoint import read_checkpoint, write_checkpoint
from pyness.errors import InputError, TrainingError
from pyness.estimators.score_free import check_samples, fisher_per_walker
from pyness.landscape import clouds
from pyness.landscape.landscape import Landscape
from pyness.landscape.network import Network
from pyness.landscape.newton import PATIENCE, SHARP, SMOOTH, Evidence, Problem, State, convex_start, epr_share
from pyness.landscape.objective import Anchors, Contrast, EntropyProduction, Residual, Walls
from pyness.sampling import Samples
from pyness.systems import System

__all__ = ["check_options", "fit_landscape"]

EPR_STATES = 20_000
CLOUD = 20_000
TOP = 25.0
ANCHORS = 3_000
STATE = tuple(field.name for field in fields(State))


def fit_landscape(
    system: System,
    samples: Samples,
    seed: int = 0,
    *,
    units: int = 100,
    steps: int = 40,
    points: int = 10_000,
    contrast: int = 40_000,
    widening: float = 4.0,
    held_out: float = 0.5,
    device: str = "cpu",
    checkpoint: str | Path | None = None,
    log: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Landscape:
    """Learn the potential landscape of ``system`` from ``samples`` of its steady state.

    EPR loss on the samples, contrast with a known density (which fixes the depths of basins), HJB residual on widened
    states, no flux through reflecting walls; solved by a Levenberg-Marquardt method, see ``pyness.landscape.newton``.
    In low dimension (up to about four) this is far more accurate than gradient descent on a deep network.

    Args:
        samples: at least a few thousand walkers; half of them (``held_out``) are kept for the report.
        seed: of everything random in the training.
        units: tanh units of the network.
        steps: Levenberg-Marquardt steps at the most; fewer are taken once nothing changes.
        points: states at which the residual is taken.
        contrast: samples, and reference points, of the contrast.
        widening: noise of the widened states, in units of the system's.
        held_out: fraction of walkers that training does not see.
        device: where to compute.
        checkpoint: file that training goes on from with ``resume=True``, bit for bit.
        log: JSON-lines file, one record per step.
        progress: show a progress bar on standard error, where that is a terminal.

    Raises:
        InputError: options out of range, samples of another dimension.
        StoreError: a checkpoint that is damaged or of another training.
        TrainingError: the potential became non-finite.
    """
    options = {
        "units": units, "steps": steps, "points": points, "contrast": contrast, "widening": widening,
        "held_out": held_out,
    }  # fmt: skip
    check_options(seed, options)
    _check(system, samples)
    training = samples.split(held_out, seed=seed)[1]
    metadata = {"options": options, "seed": seed, "samples": samples.fingerprint}
    stored = read_checkpoint(checkpoint, metadata, STATE) if resume else None
    state = State(**stored) if stored else None
    with tqdm(total=steps + 1, desc="training", disable=None if progress else True, unit="step") as bar:
        network, problem = _assemble(system, training.to(device), seed, options)
        bar.update(1)
        if state is None:
            state = State(parameters=network.parameters)
            _truncate(log)
        else:
            state.parameters = state.parameters.to(device)
            bar.update(state.step)
        after = _recorder(
            problem, network, system, samples.split(held_out, seed=seed)[0], metadata, checkpoint, log, bar
        )
        network = problem.run(network, state, steps, after)
    states = training.states.reshape(-1, system.dim).to(device).double()
    lowest = min(network.value(network.places(part)).min().item() for part in states.split(8192))
    return Landscape(system, network, lowest, metadata)


def check_options(seed: int, options: dict[str, Any]) -> None:
    """Refuse options of ``fit_landscape`` that are out of range, those that are given, before anything is sampled.

    Raises:
        InputError: names the option.
    """
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InputError(f"seed is {seed!r}", "give a whole number")
    for name in {"units", "points", "contrast", "steps"} & options.keys():
        if isinstance(options[name], bool) or not isinstance(options[name], int) or options[name] < 1:
            raise InputError(f"{name} is {options[name]!r}", "give a whole number of at least 1")
    if not options.get("widening", 2) > 1:
        raise InputError(f"widening is {options['widening']!r}", "give a number above 1")
    if not 0 < options.get("held_out", 0.5) < 1:
        raise InputError(f"held_out is {options['held_out']!r}", "give a fraction between 0 and 1")


def _check(system: System, samples: Samples) -> None:
    check_samples(system, samples)
    if not system.diffusion.invertible:
        raise InputError(
            f"system {system.name!r} has coordinates without noise", "learn its score instead: pyness.fit_score"
        )
    if samples.walkers < 4:
        raise InputError(f"{samples.walkers} walkers", "give some thousands of independent walkers")


def _assemble(system: System, training: Samples, seed: int, options: dict[str, Any]) -> tuple[Network, Problem]:
    """The network at its convex start and the problem, both from the seed."""
    generator = torch.Generator().manual_seed(seed)
    states = training.states.reshape(-1, system.dim).double()
    states = states[torch.randperm(len(states), generator=generator)]
    rate = fisher_per_walker(system, training).mean().item()
    if not rate > 0:
        raise TrainingError(
            f"E|grad log p|^2 comes out as {rate:.3g} from the samples", "they are not of a steady state of this system"
        )
    few = options["points"] * 2 // 5
    many = options["points"] - few
    wider = 2 * options["widening"]
    cloud = clouds.widened(system, training, options["widening"], CLOUD, rate, seed).to(states)
    edge = clouds.widened(system, training, wider, max(CLOUD, 3 * many), rate, seed + 1).to(states)
    own = states[torch.randperm(len(states), generator=generator)[:few]]
    network = Network.draw(system, torch.cat([cloud[:many], edge[: many // 2], own]), options["units"], generator)
    wide = _evidence(network, system, cloud, len(cloud), rate, options["widening"], generator)
    rough = convex_start(network, wide, SHARP)
    height = rough.value(network.places(edge))
    base = torch.quantile(rough.value(network.places(own)), 0.01).item()
    network = convex_start(rough, wide, SMOOTH)
    even = clouds.flattened(height, base, wider, TOP, many, generator)
    points = torch.cat([edge[even], own])
    wall_points, normals = clouds.wall_points(system, points.min(0).values, points.max(0).values, 400, generator)
    far = clouds.anchors(system, edge, states.std(0).clamp_min(1e-12), ANCHORS, generator)
    beyond = edge[height > base + clouds.BEYOND * TOP][:ANCHORS]
    # states that the start puts well beyond reach keep the residual off branches that come in from there
    outside = torch.cat([far, beyond])
    problem = Problem(
        evidence=_evidence(network, system, states, options["contrast"], rate, 1.0, generator),
        residual=Residual(network, system, points, rate),
        walls=Walls(network, system, wall_points, normals, rate) if len(wall_points) else None,
        anchors=Anchors(network, outside, own[:500]) if len(outside) else None,
        rate=rate,
        top=TOP,
        lowest=slice(len(points) - len(own), None),
    )
    return network, problem


def _evidence(
    network: Network,
    system: System,
    states: torch.Tensor,
    contrast: int,
    rate: float,
    widening: float,
    generator: torch.Generator,
) -> Evidence:
    """What ``states: (n, d)`` of ``widening`` times the noise say of the potential."""
    reference = clouds.Reference(system, states, generator)
    drawn, few = reference.draw(contrast, generator), states[:EPR_STATES]
    epr = EntropyProduction(network, system, few, rate)
    # E|F_v|^2 in the norm of D^{-1}
    squared = (epr.drift * system.diffusion.solve(few, epr.drift)).sum(-1).mean().item()
    return Evidence(
        epr,
        epr_share(squared, rate, len(network.parameters), len(few)),
        Contrast(network, states[:contrast], drawn, reference.log_density, widening),
    )


def _recorder(
    problem: Problem,
    network: Network,
    system: System,
    held_out: Samples,
    metadata: dict[str, Any],
    checkpoint: str | Path | None,
    log: str | Path | None,
    bar: tqdm,
) -> Callable[[State, Network, dict[str, float]], None]:
    """What happens after each step: the certificate on a part of the held-out walkers, log, checkpoint, progress."""
    residual = None
    if not system.domain.reflecting:
        judged = held_out.states[:2000, -1].double().to(problem.residual.drift)
        residual = Residual(network, system, judged, problem.rate)

    def after(state: State, network: Network, parts: dict[str, float]) -> None:
        record = {"step": state.step, **parts}
        if residual is not None:
            # minus the mean residual is the gradient error (landscapes.md, 3.3); walls add terms: see the report
            record["gradient_error"] = -residual.residual(network).mean().item() / problem.rate
        if log is not None:
            with Path(log).open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        if checkpoint is not None:
            stored = {name: getattr(state, name) for name in STATE} | {"parameters": state.parameters.cpu()}
            write_checkpoint(checkpoint, stored, metadata)
        bar.set_postfix(hjb=f"{parts['hjb']:.1e}", refresh=False)
        bar.update(1)
        if state.settled >= PATIENCE:
            bar.total = bar.n

    return after


def _truncate(log: str | Path | None) -> None:
    if log is not None:
        Path(log).write_text("", encoding="utf-8")
