"""``fit_landscape``: from samples to a landscape."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from pyness.errors import InputError, StoreError, TrainingError
from pyness.estimators.score_free import check_samples, fisher_per_walker
from pyness.landscape import clouds
from pyness.landscape.features import Features
from pyness.landscape.landscape import Landscape
from pyness.landscape.newton import Problem, State, convex_start, epr_share
from pyness.landscape.objective import Anchors, Contrast, EntropyProduction, Residual, Walls
from pyness.sampling import Samples
from pyness.systems import System

__all__ = ["fit_landscape"]

EPR_STATES = 20_000
CLOUD = 20_000
TOP = 25.0
FLOOR = 30.0


def fit_landscape(
    system: System,
    samples: Samples,
    seed: int = 0,
    *,
    features: int = 600,
    steps: int = 16,
    transient: int = 6,
    points: int = 10_000,
    contrast: int = 50_000,
    widening: float = 4.0,
    held_out: float = 0.5,
    device: str = "cpu",
    checkpoint: str | Path | None = None,
    log: str | Path | None = None,
    resume: bool = False,
    progress: bool = False,
) -> Landscape:
    """Learn the potential landscape of ``system`` from ``samples`` of its steady state.

    EPR loss on the samples, contrast with a known density (which fixes the depths of basins), HJB residual on widened
    states, no flux through reflecting walls; solved by a Gauss-Newton method, see ``pyness.landscape.newton``. In low
    dimension (up to about four) this is far more accurate than gradient descent on a deep network.

    Args:
        samples: at least a few thousand walkers; half of them (``held_out``) are kept for the report.
        seed: of everything random in the training.
        features: units of the network.
        steps: Gauss-Newton steps at the most; fewer are taken once nothing changes.
        transient: implicit steps before that.
        points: states at which the residual is taken.
        contrast: samples, and reference points, of the contrast.
        widening: noise of the widened states, in units of the system's.
        held_out: fraction of walkers that training does not see.
        device: where to compute.
        checkpoint: file that training goes on from with ``resume=True``, bit for bit.
        log: JSON-lines file, one record per step.
        progress: show a progress bar on standard error.

    Raises:
        InputError: options out of range, samples of another dimension.
        StoreError: a checkpoint that is damaged or of another training.
        TrainingError: the potential became non-finite.
    """
    options = {
        "features": features, "steps": steps, "transient": transient, "points": points, "contrast": contrast,
        "widening": widening, "held_out": held_out,
    }  # fmt: skip
    _check(system, samples, seed, options)
    training = samples.split(held_out, seed=seed)[1]
    metadata = {"options": options, "seed": seed, "samples": samples.fingerprint}
    state = _resume(checkpoint, metadata) if resume else None
    with tqdm(total=transient + steps + 1, desc="training", disable=not progress, unit="step") as bar:
        network, problem, start = _assemble(system, training.to(device), seed, options)
        bar.update(1)
        if state is None:
            state = State(coefficients=start)
            _truncate(log)
        else:
            state.coefficients = state.coefficients.to(device)
            bar.update(state.step)
        after = _recorder(
            problem, network, system, samples.split(held_out, seed=seed)[0], metadata, checkpoint, log, bar
        )
        state = problem.run(state, transient, steps, after)
    learnt = network.folded(state.coefficients)
    states = training.states.reshape(-1, system.dim).to(device).double()
    lowest = min(learnt.value(part).sum(1).min().item() for part in states.split(8192))
    return Landscape(system, learnt, lowest, metadata)


def _check(system: System, samples: Samples, seed: int, options: dict[str, Any]) -> None:
    check_samples(system, samples)
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InputError(f"seed is {seed!r}", "give a whole number")
    for name in ("features", "points", "contrast", "steps"):
        if isinstance(options[name], bool) or not isinstance(options[name], int) or options[name] < 1:
            raise InputError(f"{name} is {options[name]!r}", "give a whole number of at least 1")
    if isinstance(options["transient"], bool) or not isinstance(options["transient"], int) or options["transient"] < 0:
        raise InputError(f"transient is {options['transient']!r}", "give a whole number of at least 0")
    if not options["widening"] > 1:
        raise InputError(f"widening is {options['widening']!r}", "give a number above 1")
    if not 0 < options["held_out"] < 1:
        raise InputError(f"held_out is {options['held_out']!r}", "give a fraction between 0 and 1")
    if not system.diffusion.invertible:
        raise InputError(
            f"system {system.name!r} has coordinates without noise", "learn its score instead: pyness.fit_score"
        )
    if samples.walkers < 4:
        raise InputError(f"{samples.walkers} walkers", "give some thousands of independent walkers")


def _assemble(
    system: System, training: Samples, seed: int, options: dict[str, Any]
) -> tuple[Features, Problem, torch.Tensor]:
    """The network, the problem and the convex start, all from the seed."""
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
    cloud = clouds.widened(system, training, options["widening"], max(CLOUD, 2 * many), rate, seed)
    cloud = cloud.to(states)
    own = states[torch.randperm(len(states), generator=generator)[:few]]
    basis = Features.draw(system, torch.cat([cloud[:many], own]), options["features"], generator)
    wide = clouds.Reference(system, cloud, generator)
    start = convex_start(
        EntropyProduction.assemble(basis, system, cloud, rate),
        epr_share(_squared_drift(system, cloud), rate, basis.count, len(cloud)),
        Contrast(basis, cloud, wide.draw(len(cloud), generator), wide.log_density, options["widening"]),
    )
    rough = basis.folded(start)

    def height(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([rough.value(part).sum(1) for part in x.split(8192)])

    base = torch.quantile(height(own), 0.01).item()
    even = clouds.flattened(height(cloud), base, options["widening"], TOP, many, generator)
    points = torch.cat([cloud[even], own])
    low, high = points.min(0).values, points.max(0).values
    far = clouds.anchors(system, cloud, states.std(0).clamp_min(1e-12), 3000, generator)
    held = basis.value(far)
    reference = clouds.Reference(system, states, generator)
    problem = Problem(
        epr=EntropyProduction.assemble(basis, system, states[:EPR_STATES], rate),
        contrast=Contrast(
            basis,
            states[: options["contrast"]],
            reference.draw(options["contrast"], generator),
            reference.log_density,
        ),
        residual=Residual.assemble(basis, system, points, rate),
        walls=Walls.assemble(basis, system, *clouds.wall_points(system, low, high, 400, generator), rate),
        anchors=Anchors(held[:, :-1], base + FLOOR - held[:, -1]),
        rate=rate,
        top=TOP,
        lowest=slice(len(even), None),
        epr_share=epr_share(_squared_drift(system, states[:EPR_STATES]), rate, basis.count, EPR_STATES),
    )
    return basis, problem, start


def _squared_drift(system: System, states: torch.Tensor) -> float:
    """``E|F_v|^2`` in the norm of ``D^{-1}``."""
    drift = system.modified_drift(states)
    return (drift * system.diffusion.solve(states, drift)).sum(-1).mean().item()


def _recorder(
    problem: Problem,
    network: Features,
    system: System,
    held_out: Samples,
    metadata: dict[str, Any],
    checkpoint: str | Path | None,
    log: str | Path | None,
    bar: tqdm,
) -> Callable[[State, dict[str, float]], None]:
    """What happens after each step: the certificate on a part of the held-out walkers, log, checkpoint, progress."""
    judged = held_out.states[:2000, -1].double().to(problem.epr.gram.device)
    residual = Residual.assemble(network, system, judged, problem.rate)
    inner = system.domain.reflecting == ()

    def after(state: State, parts: dict[str, float]) -> None:
        record = {"step": state.step, **parts}
        if inner:
            # minus the mean residual is the gradient error (landscapes.md, 3.3); walls add terms that the report has
            record["gradient_error"] = -residual.residual(state.coefficients).mean().item() / problem.rate
        else:
            record["gradient_error"] = abs(residual.residual(state.coefficients).mean().item()) / problem.rate
        if log is not None:
            with Path(log).open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        if checkpoint is not None:
            _write(checkpoint, state, metadata)
        bar.set_postfix(hjb=f"{parts['hjb']:.1e}", refresh=False)
        bar.update(1)

    return after


def _truncate(log: str | Path | None) -> None:
    if log is not None:
        Path(log).write_text("", encoding="utf-8")


def _write(checkpoint: str | Path, state: State, metadata: dict[str, Any]) -> None:
    path = Path(checkpoint)
    part = path.with_name(path.name + ".part")
    content = {
        "coefficients": state.coefficients.cpu(), "step": state.step, "done": state.done,
        "residual_weight": state.residual_weight,
        "training": json.dumps(metadata, sort_keys=True),
    }  # fmt: skip
    try:
        torch.save(content, part)
        os.replace(part, path)
    except (OSError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        raise StoreError(f"cannot write {path}: {error}", "make room or give another path") from error


def _resume(checkpoint: str | Path | None, metadata: dict[str, Any]) -> State | None:
    """The state in a checkpoint; None where there is none yet."""
    if checkpoint is None:
        raise InputError("resume without a checkpoint", "give checkpoint=PATH")
    path = Path(checkpoint)
    if not path.exists():
        return None
    try:
        content = torch.load(path, weights_only=True)
        training = content["training"]
        state = State(**{name: content[name] for name in ("step", "residual_weight", "coefficients", "done")})
    except Exception as error:
        raise StoreError(f"{path} is damaged or no checkpoint of pyness", "remove it to train anew") from error
    if training != json.dumps(metadata, sort_keys=True):
        raise StoreError(f"{path} belongs to another training", "give its options, seed and samples, or remove it")
    return state
