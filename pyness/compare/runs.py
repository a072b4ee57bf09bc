"""The sampling of a comparison: each integrator, seed and portion of the budget; a failure stops only its own."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyness
from pyness.compare.budget import Budget
from pyness.compare.directory import Directory
from pyness.compare.judge import Candidate
from pyness.compare.measure import Measurement, measure, pooled
from pyness.compare.reference import Reference
from pyness.errors import InterruptedRun, LimitError, PynessError, SamplingError, StoreError
from pyness.files import strict
from pyness.sampling import Resolved, Samples
from pyness.systems import ParticleSystem, System

__all__ = ["Task", "candidate", "full_name", "of_samples"]

log = logging.getLogger("pyness")

#: Part of a spacing that is sampled before the clock runs, so that no integrator is charged for its compilation.
GLIMPSE = 1e-3


@dataclass(frozen=True)
class Task:
    """What all integrators of a comparison share.

    Attributes:
        system: what is sampled.
        reference: what is known of it.
        budget: for each seed.
        seeds: whole numbers.
        plan: further keywords of ``pyness.sample``.
        training: options of ``fit_landscape`` where landscapes are trained on the samples, else None.
        directory: where parts are kept, or None.
        progress: whether to show progress bars.
        warm: names of the integrators of Julia that are compiled.
    """

    system: System
    reference: Reference
    budget: Budget
    seeds: tuple[int, ...]
    plan: Mapping[str, Any]
    training: Mapping[str, Any] | None
    directory: Directory | None
    progress: bool
    warm: set[str] = field(default_factory=set)


def full_name(chosen: Resolved) -> str:
    """Engine, algorithm and options, the same however they were typed."""
    return f"{chosen.engine}:{str(chosen.solver).removeprefix(chosen.engine + ':')}"


def candidate(task: Task, label: str, chosen: Resolved) -> Candidate:
    """Sample with one integrator, all seeds. What goes wrong is written into ``error``; only an interruption passes."""
    solver = chosen.solver
    name = next((n for n in ("dt", "rtol", "atol") if n in solver.options and (n == "dt") != solver.adaptive), None)
    if name is None:
        name = "rtol" if solver.adaptive else "dt"
    value = getattr(chosen.plan, name)
    common = {
        "label": label, "solver": full_name(chosen).partition(":")[2], "engine": chosen.engine,
        "adaptive": solver.adaptive, "knob": None if value is None else (name, float(value)),
    }  # fmt: skip
    seeds, trained = [], []
    try:
        for seed in task.seeds:
            parts, records = _one_seed(task, label, chosen, seed)
            seeds.append(pooled(parts))
            trained += records
    except (KeyboardInterrupt, StoreError):
        # an interruption and a full disk concern all of them
        raise
    except Exception as error:
        why = " ".join((str(error).strip() or type(error).__name__).split())
        log.warning("%s failed: %s", label, why)
        return Candidate(**common, error=why)
    epr = tuple(part.quantities["EPR"] for part in seeds if "EPR" in part.quantities)
    return Candidate(**common, measurement=pooled(seeds), seeds=epr, trained=tuple(trained))


def of_samples(task: Task, label: str, samples: Samples) -> Candidate:
    """Samples that somebody else made, judged like the others; what they cost is not known."""
    found = measure(task.system, samples, task.reference.cells)
    epr = (found.quantities["EPR"],) if "EPR" in found.quantities else ()
    return Candidate(label, measurement=found, seeds=epr)


def _one_seed(task: Task, label: str, chosen: Resolved, seed: int) -> tuple[list[Measurement], list[dict[str, Any]]]:
    folder = task.directory.of(full_name(chosen)) if task.directory else None
    done: list[Measurement] = []
    samples = None
    while walkers := task.budget.next(done, label):
        portion = len(done)
        record = folder and task.directory.read(folder / f"seed{seed}-{portion}.json")
        if record is None:
            log.info("%s, seed %d: %d walkers", label, seed, walkers)
            try:
                samples = _sample(task, chosen, seed, portion, walkers, folder)
            except LimitError as error:
                if not done:
                    raise SamplingError(
                        f"the first {walkers} walkers cost too much: {error.problem}", error.remedy
                    ) from error
                log.warning("%s, seed %d: %s; these walkers are left out", label, seed, error.problem)
                record = {"left_out": error.problem}
            else:
                record = measure(task.system, samples, task.reference.cells).to_dict()
            if folder:
                task.directory.write(folder / f"seed{seed}-{portion}.json", record)
        else:
            samples = None
        if "left_out" in record:
            break
        done.append(Measurement.from_dict(record))
    if task.training is None:
        return done, []
    record = folder and task.directory.read(folder / f"seed{seed}-trained.json")
    if record is None:
        if samples is None:
            samples = _sample(task, chosen, seed, len(done) - 1, done[-1].walkers, folder)
        log.info("%s, seed %d: training", label, seed)
        record = _train(task, samples, seed)
        if folder:
            task.directory.write(folder / f"seed{seed}-trained.json", record)
    return done, [record]


def _sample(task: Task, chosen: Resolved, seed: int, portion: int, walkers: int, folder: Path | None) -> Samples:
    _compile(task, chosen)
    keep = task.directory.store(folder, seed, portion) if folder else contextlib.nullcontext()
    with keep as store:
        return pyness.sample(
            task.system, chosen.solver, chosen.engine, walkers=walkers, seed=task.budget.seed(seed, portion),
            store=store, resume=store is not None, progress=task.progress, **task.budget.limits, **task.plan,
        )  # fmt: skip


def _compile(task: Task, chosen: Resolved) -> None:
    """Have Julia compile an integrator, once, so that seconds are those of sampling."""
    name = full_name(chosen)
    if not chosen.engine.startswith("julia") or name in task.warm:
        return
    task.warm.add(name)
    short = {"burn_in": 0.0, "snapshots": 1, "spacing": GLIMPSE * chosen.plan.spacing, "max_failed": 1.0}
    # what is wrong with it shows again when it is sampled with
    with contextlib.suppress(PynessError):
        pyness.sample(
            task.system, chosen.solver, chosen.engine, walkers=1, progress=False, **{**task.plan, **short}
        )  # fmt: skip


def _train(task: Task, samples: Samples, seed: int) -> dict[str, Any]:
    """What a landscape (of particles: a score) learnt from ``samples`` says; what went wrong is in ``error``."""
    from pyness.run import against_score, against_truth

    particles = isinstance(task.system, ParticleSystem)
    learn, against = (pyness.fit_score, against_score) if particles else (pyness.fit_landscape, against_truth)
    try:
        learnt = learn(task.system, samples, seed=seed, progress=task.progress, **task.training)
        report = learnt.report(samples)
        _, error, _ = against(task.system, learnt, samples)
    except InterruptedRun:
        raise
    except PynessError as problem:
        # the samples are judged all the same
        log.warning("seed %d: %s", seed, problem)
        return {"seed": seed, "error": str(problem)}
    names = ("epr", "epr_upper", "epr_lower", "gradient_error")
    record = {name: getattr(report, name).to_dict() for name in names} | {"seed": seed}
    return strict(record | ({"score_error" if particles else "potential_error": error} if error else {}))
