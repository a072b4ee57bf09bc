"""Which integrator, on evidence: the same system sampled with each of a list, judged by bias and by cost."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyness
from pyness import solvers as catalogue
from pyness.compare.budget import Budget
from pyness.compare.comparison import Comparison, disagreement
from pyness.compare.convergence import Convergence, converge
from pyness.compare.directory import RESULT, Directory
from pyness.compare.judge import Candidate, Judgement, Verdict, choose, hidden, judge
from pyness.compare.reference import Reference, known
from pyness.compare.runs import Task, candidate, full_name, of_samples
from pyness.errors import InputError, InterruptedRun, LimitError, PynessError, SolverError, UnknownNameError
from pyness.files import write_whole
from pyness.sampling import Resolved, Samples, resolve, sample
from pyness.sampling.identity import equations
from pyness.sampling.portions import start_kind
from pyness.systems import System

__all__ = ["Comparison", "adaptive_solvers", "compare_solvers"]

log = logging.getLogger("pyness")

#: Walkers of each integrator and seed where neither they nor a budget are given.
WALKERS = 1000
#: Walkers below which errors mean nothing.
FEWEST = 8
#: What is left to ``pyness.sample``; steps and tolerances belong to each solver.
PLAN = ("burn_in", "snapshots", "spacing", "start", "dtype", "device", "max_failed", "chunk")
#: Walkers that find out what an adaptive integrator costs.
PROBE = 4
#: Probability below which seeds that differ are worth a warning.
CHANCE = 1e-3


def compare_solvers(
    system: System,
    solvers: Sequence[Any] = (),
    *,
    samples: Mapping[str, Samples] | None = None,
    engine: str = "auto",
    budget: float | None = None,
    seconds: float | None = None,
    seeds: int | Sequence[int] = 3,
    walkers: int | None = None,
    reference: bool = True,
    train: bool | Mapping[str, Any] = False,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    **plan: Any,
) -> Comparison:
    """Sample ``system`` with each integrator and say which ones give the right steady state, and at what cost.

    An integrator is flagged where its bias is detectable at the budget: ``E[L g]`` away from 0 over a family of test
    functions (needs no reference), averages (moments, mean squared drift, entropy production rate) away from what is
    known, or time spent in the wrong places of a known density. What is known comes from closed forms and, for
    d <= 3, from the grid; averages of which nothing is known are compared with those of the most careful integrator
    that passes. Errors are standard errors over independent walkers of all seeds.

    Args:
        system: what to sample.
        solvers: names such as ``"EM:dt=1e-2"``, ``"julia:SOSRI"``, ``"torch:EM:dt=1e-3"``; engines may be mixed.
        samples: what somebody else made, by a label, to be judged beside them.
        engine: ``"auto"``, ``"torch"`` or ``"julia"``, for those that name none.
        budget: drift evaluations that each integrator may spend on each seed, burn-in included.
        seconds: the same in seconds of sampling; with neither, each gets ``walkers``.
        seeds: how many, or which.
        walkers: 1000 of each seed if not given.
        reference: whether to use what is known of the steady state.
        train: also train a landscape (of particles: a score) on the samples of each integrator and seed; True, or
            options of ``fit_landscape`` (``fit_score``).
        out: a directory that keeps each part as it is done, and ``comparison.json``, ``.txt`` and ``.png``.
        resume: go on with the comparison in ``out``: its integrators and those listed; what failed is tried again.
        overwrite: replace the comparison in ``out``.
        progress: show progress bars on standard error, where that is a terminal.
        **plan: ``burn_in``, ``snapshots``, ``spacing``, ``start``, ``dtype``, ``device``, ``max_failed``, ``chunk`` of
            ``pyness.sample``.

    Raises:
        InputError, SolverError, UnknownNameError: a solver listed twice or that does not fit, a wrong budget or plan.
        StoreError: ``out`` is something else, or a comparison of another system or with other settings.
        InterruptedRun: Ctrl-C; with ``out`` what was done is kept.

    Example:
        >>> found = pyness.compare_solvers(pyness.systems.get("limit-cycle"), ["EM:dt=0.1", "EulerHeun:dt=0.005"])
        >>> found.flagged("EM:dt=0.1")
        True
    """
    if not isinstance(system, System):
        raise InputError(f"system is {system!r}", "give a System, for example pyness.systems.get('double-well')")
    if out is None and (resume or overwrite):
        raise InputError("resume or overwrite without a directory", "give out=DIR")
    if resume and overwrite:
        raise InputError("both resume and overwrite", "give one of them")
    for key in plan:
        if key not in PLAN:
            raise UnknownNameError.of("keyword of compare_solvers:", key, PLAN)
    seeds = _seeds(seeds)
    limit = Budget(WALKERS if walkers is None else walkers, budget, seconds)
    if walkers is not None and (budget or seconds):
        raise InputError("walkers and a budget", "give one of them: a budget is turned into walkers")
    given = dict(samples or {})
    chosen = _chosen(system, solvers, engine, limit, plan)
    if limit.walkers < FEWEST:
        raise InputError(f"walkers is {walkers}", f"give at least {FEWEST}: errors come from the spread between them")
    if isinstance(solvers, str) or not (solvers or given or resume):
        raise InputError(f"solvers are {solvers!r}", 'list them, as in ["EM:dt=1e-2", "SOSRA"]')
    for label in given:
        if label in chosen:
            raise InputError(f"samples {label!r} have the label of a solver", "give them another")
    training = None if train is False else dict(train) if isinstance(train, Mapping) else {}
    settings = {
        "system": system.to_dict(), "equations": equations(system), "plan": _common(system, plan),
        "budget": limit.to_dict(), "seeds": list(seeds), "training": training,
        "versions": {"pyness": pyness.__version__, "python": platform.python_version()},
    }  # fmt: skip
    directory = None if out is None else Directory(out, settings, resume, overwrite)
    if directory is not None:
        chosen = _with_earlier(system, chosen, directory, limit, plan)
    task = Task(
        system, known(system) if reference else Reference(""), limit, seeds, plan, training, directory, progress
    )
    try:
        found = [candidate(task, label, how) for label, how in chosen.items()]
    except KeyboardInterrupt as interrupt:
        if out is None:
            raise InterruptedRun("interrupted: nothing is kept without a directory", "give out=DIR") from interrupt
        raise InterruptedRun(f"interrupted; {out} keeps what is done", "run it again with resume") from interrupt
    found += [of_samples(task, label, each) for label, each in given.items()]
    result = _concluded(system, found, task, settings)
    if directory is not None:
        write_whole({
            directory.path / f"{RESULT}.json": result.json(), directory.path / f"{RESULT}.txt": f"{result}\n",
        })  # fmt: skip
        if not result.failed:
            result.figure(directory.path / f"{RESULT}.png")
    return result


def adaptive_solvers(system: System, engine: str = "auto") -> list[str]:
    """Names of all adaptive methods that fit ``system`` and that ``engine`` has (``"auto"``: that any at hand has).

    Raises:
        SolverError: there is none.
        UnknownNameError: no such engine.
    """
    names = []
    for name, algorithm in catalogue.ALGORITHMS.items():
        if not algorithm.adaptive:
            continue
        try:
            chosen = resolve(system, name, engine, burn_in=1.0, spacing=1.0)
        except SolverError:
            continue
        if chosen.engine == "torch" or engine == "julia" or _julia_is_ready():
            names.append(name)
    if not names:
        raise SolverError(f"no adaptive method of engine {engine!r} fits {system.name!r}", "list solvers by name")
    return names


def _julia_is_ready() -> bool:
    from pyness.sampling.engines.julia import ready

    return ready()


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        if seeds < 1:
            raise InputError(f"seeds is {seeds}", "give how many, at least 1, or which")
        return tuple(range(seeds))
    listed = tuple(seeds) if isinstance(seeds, Iterable) and not isinstance(seeds, str) else ()
    whole = all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in listed)
    if not listed or not whole or len(set(listed)) < len(listed):
        raise InputError(f"seeds is {seeds!r}", "give how many, or distinct whole numbers of at least 0")
    return listed


def _chosen(
    system: System, specs: Sequence[Any], engine: str, limit: Budget, plan: Mapping[str, Any]
) -> dict[str, Resolved]:
    """What each integrator will do, by its label; refused at the door if anything is wrong with one of them."""
    chosen: dict[str, Resolved] = {}
    same: dict[tuple, str] = {}
    for spec in () if isinstance(specs, str) else specs:
        solver = catalogue.parse(spec)
        times = {key: value for key, value in plan.items() if key not in ("start", "chunk")}
        how = resolve(system, solver, engine, walkers=limit.walkers, **times)
        key = (how.engine, how.solver.name, tuple(sorted(how.solver.options.items())))
        if key in same or solver.label in chosen:
            other = same.get(key, solver.label)
            raise SolverError(f"solver {solver.label!r} is listed twice (as {other!r})", "list it once")
        same[key] = solver.label
        chosen[solver.label] = how
    if limit.evaluations is not None:
        for label, how in chosen.items():
            limit.refuse_less_than(label, _to_first_save(system, how, plan, limit.evaluations))
    return chosen


def _to_first_save(system: System, how: Resolved, plan: Mapping[str, Any], budget: float) -> float:
    """About how many drift evaluations take one walker to its first snapshot (a part of them, if beyond the budget)."""
    duration, spacing = how.plan.burn_in + how.plan.spacing, how.plan.spacing
    if not how.solver.adaptive:
        coarse = how.plan.burn_in_dt or how.plan.dt
        return how.plan.burn_in / coarse + spacing / how.plan.dt
    try:
        short = {**plan, "burn_in": 0.0, "snapshots": 1, "spacing": spacing}
        log.info("%s: trying what it costs", how.solver.label)
        most = PROBE * budget
        tried = sample(
            system, how.solver, how.engine, walkers=PROBE, progress=False, max_evaluations=most, **short
        )  # fmt: skip
    except LimitError:
        return budget * duration / spacing
    except (PynessError, ArithmeticError, RuntimeError):
        # whatever is wrong with it shows again when it is its turn
        return 0.0
    return tried.stats["drift_evaluations"] / PROBE * duration / spacing


def _with_earlier(
    system: System, chosen: dict[str, Resolved], directory: Directory, limit: Budget, plan: Mapping[str, Any]
) -> dict[str, Resolved]:
    """The integrators that the directory has already, then the others; all of them are noted there."""
    earlier = [spec for label, spec in directory.listed() if label not in chosen]
    before = _chosen(system, [catalogue.parse(spec) for spec in earlier], "auto", limit, plan)
    labels = {spec: label for label, spec in directory.listed()}
    merged = {labels[spec]: how for spec, how in before.items()} | chosen
    directory.list([(label, full_name(how)) for label, how in merged.items()])
    return merged


def _common(system: System, plan: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the plan that is the same for all integrators."""
    names = ("burn_in", "snapshots", "spacing", "dtype", "device", "max_failed")
    common = {name: plan.get(name, system.plan.get(name)) for name in names}
    start = plan.get("start")
    return common | {"start": start_kind(system, start) if start is None or isinstance(start, str) else "given"}


def _concluded(system: System, found: list[Candidate], task: Task, settings: dict[str, Any]) -> Comparison:
    judgements, standard = judge(found, task.reference)
    spent = f"{task.budget}, {'seeds' if len(task.seeds) > 1 else 'seed'} {', '.join(map(str, task.seeds))}"
    unit = "seconds" if task.budget.seconds is not None else "evaluations"
    each = f"each of {len(task.seeds)} seeds" if len(task.seeds) > 1 else "one seed"
    verdict = choose(found, judgements, f"{task.budget} for {each}", unit)
    plain = {**settings, "parameters": dict(system.parameters), "spent": spent}
    del plain["system"], plain["equations"]
    return Comparison(
        system=system.name,
        settings=plain,
        candidates=tuple(found),
        judgements=judgements,
        reference=task.reference,
        standard=standard,
        convergence=_ladders(found),
        verdict=verdict,
        warnings=tuple(_warnings(found, judgements, verdict, task.reference, standard)),
    )


def _ladders(found: Sequence[Candidate]) -> dict[str, tuple[Convergence, ...]]:
    """For each method that is there with several steps or tolerances, how its averages converge."""
    methods: dict[tuple[str, str, str], list[Candidate]] = {}
    for each in found:
        if each.measurement is not None and each.knob is not None:
            methods.setdefault(each.method, []).append(each)
    ladders = {}
    for (engine, name, knob), members in methods.items():
        steps = [each.knob[1] for each in members]
        if len(set(steps)) < 2 or len(set(steps)) < len(steps):
            continue
        nominal = catalogue.parse(name).algorithm.weak_order if knob == "dt" else None
        quantities = members[0].measurement.quantities
        title = f"{engine}:{name}"
        ladders[f"{title} in {knob}" if title in ladders else title] = tuple(
            converge(quantity, knob, steps, [each.measurement.quantities[quantity] for each in members], nominal)
            for quantity in quantities
        )
    return ladders


def _warnings(
    found: Sequence[Candidate],
    judgements: Mapping[str, Judgement],
    verdict: Verdict,
    reference: Reference,
    standard: str | None,
) -> Iterable[str]:
    if verdict.label is None:
        yield verdict.text
    elif not reference.quantities and standard in (None, verdict.label):
        yield "nothing is known of this steady state: the integrator chosen is judged by the stationarity test alone"
    else:
        best = next(each for each in found if each.label == verdict.label)
        seen = [each for each in found if each.measurement is not None and judgements[each.label].flagged]
        unseen = [each.label for each in seen if hidden(each, judgements[each.label], best, reference)]
        if unseen:
            few, biased = f"{best.measurement.walkers} walkers of {best.label} are few", ", ".join(unseen)
            yield f"{few}: with their errors the bias of {biased} would not have been seen either; spend more"
    notes: dict[str, list[tuple[str, str]]] = {}
    for each in found:
        if disagreement(each) < CHANCE:
            yield f"{each.label}: its seeds differ by more than their errors; burn in longer"
        for note in () if each.measurement is None else each.measurement.notes:
            notes.setdefault(note.partition(":")[0], []).append((each.label, note))
        failures = 0 if each.measurement is None else each.measurement.stats.get("failed_walkers", 0)
        if failures:
            yield f"{each.label}: {failures} walkers blew up and are left out"
    # all integrators of a slow system have the same to say
    for (label, note), *others in notes.values():
        yield f"{label}{f' and {len(others)} more' if others else ''}: {note}"
