"""A run from equations to report, in a directory that can be interrupted anywhere and gone on with.

``run.toml`` says everything the run will do and is written first; ``report.json`` is written last, so a directory is
finished exactly when it has one. In between each stage leaves what the next one, or a resumed run, needs.
"""

from __future__ import annotations

import json
import logging
import platform
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyness
from pyness.config import RunConfig, learner
from pyness.errors import InterruptedRun, StoreError
from pyness.files import strict, write_whole

__all__ = ["against_score", "against_truth", "execute", "interrupted", "read_report"]

log = logging.getLogger("pyness")

RUN, SAMPLES, MODEL, CHECKPOINT = "run.toml", "samples.zarr", "model.safetensors", "checkpoint.pt"
LOG, REPORT, SECONDS = "log.jsonl", "report.json", "seconds.json"
RETRY = "free space or mend permissions, then resume"


def execute(
    config: RunConfig, out: str | Path, *, resume: bool = False, overwrite: bool = False, progress: bool = True
) -> dict[str, Any]:
    """Sample, train, report and draw into the directory ``out``; returns what ``report.json`` holds.

    Args:
        config: the run; what it leaves open is resolved first, and written down.
        out: an absent or empty directory, unless ``resume`` or ``overwrite``.
        resume: go on with the run in ``out``, whether empty, interrupted or finished; it must be the same run.
        overwrite: remove the run in ``out`` (and nothing else) first.
        progress: show progress bars on standard error, where that is a terminal.

    Raises:
        InputError, SolverError: settings that make no sense; nothing is written then.
        StoreError: ``out`` holds something else, another run, or cannot be written.
        SamplingError, TrainingError: the stage failed.
        InterruptedRun: Ctrl-C.
    """
    out = Path(out)
    config = _claim(config, out, resume, overwrite)
    if (out / REPORT).exists():
        log.info("%s is finished; this is its report", out)
        return read_report(out)
    system, seconds = config.build(), _Clock(out / SECONDS)
    samples = pyness.sample(
        system, config.solver, config.engine, seed=config.seed, store=out / SAMPLES, resume=True, progress=progress,
        **config.sampling,
    )  # fmt: skip
    seconds.spent["sampling"] = samples.stats["seconds"]
    with seconds.of("training"):
        learnt = learner(config.system)(
            system, samples, seed=config.seed, checkpoint=out / CHECKPOINT, log=out / LOG, resume=True,
            progress=progress, **config.training,
        )  # fmt: skip
        learnt.save(out / MODEL)
    log.info("trained; now the certificate, the bounds and the comparison with what is known")
    with seconds.of("report"):
        report = learnt.report(samples)
        of_score = isinstance(learnt.system, pyness.systems.ParticleSystem)
        shown = learnt.reduced(samples) if hasattr(learnt, "reduced") else samples
        truth, error, reference = (against_score if of_score else against_truth)(system, learnt, samples)
    with seconds.of("figures"):
        _draw(out, learnt, shown, report, reference)
    result = {
        **report.to_dict(),
        "system": config.system,
        "parameters": dict(config.parameters),
        "engine": config.engine,
        "solver": config.solver,
        "seed": config.seed,
        "sampling": dict(samples.stats),
        "seconds": seconds.spent,
        "versions": {**samples.metadata["versions"], "platform": platform.platform()},
    }
    if truth:
        result["truth"] = truth
    if error:
        result["score_error" if of_score else "potential_error"] = error
    write_whole({out / REPORT: json.dumps(strict(result), indent=2) + "\n"}, RETRY)
    seconds.forget()
    return read_report(out)


def read_report(out: str | Path) -> dict[str, Any]:
    """What ``report.json`` of a run directory holds.

    Raises:
        StoreError: no such directory, an unfinished run, or a damaged file.
    """
    out = Path(out)
    path = out / REPORT
    if not out.is_dir():
        raise StoreError(f"{out} is no directory", "give the directory of a run")
    if not path.exists():
        remedy = f"finish it: pyness run {out / RUN} --out {out} --resume" if (out / RUN).exists() else "give another"
        raise StoreError(f"{out} has no {REPORT}", remedy)
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        report["system"], report["epr"]["value"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged or no report of pyness", "remove it and resume the run") from error
    return report


def interrupted(out: str | Path) -> InterruptedRun:
    """What to say after Ctrl-C: how the run in ``out`` is gone on with."""
    out = Path(out)
    if not (out / RUN).exists():
        return InterruptedRun("interrupted before anything was written", "run it again")
    command = shlex.join(["pyness", "run", str(out / RUN), "--out", str(out), "--resume"])
    return InterruptedRun(f"interrupted; {out} keeps what is done", f"go on with: {command}")


def _claim(config: RunConfig, out: Path, resume: bool, overwrite: bool) -> RunConfig:
    """The resolved run, with ``out`` ready for it and holding its ``run.toml``."""
    if out.exists() and not out.is_dir():
        raise StoreError(f"{out} is a file", "give a directory")
    left = [entry for entry in out.iterdir() if entry.suffix != ".part"] if out.exists() else []
    if left and not (resume or overwrite):
        raise StoreError(f"{out} is not empty", "give another directory, --resume to go on, --overwrite to replace")
    if left and not (out / RUN).exists():
        raise StoreError(f"{out} is not empty and has no {RUN}, so it is no run of pyness", "give another directory")
    if left and resume:
        return _same_run(config, RunConfig.read(out / RUN), out)
    config = config.resolved()
    if left:
        _remove_run(out)
    out.mkdir(parents=True, exist_ok=True)
    heading = f"# pyness {pyness.__version__}: `pyness run` with this file repeats the run\n"
    write_whole({out / RUN: heading + config.to_toml()}, RETRY)
    return config


def _same_run(asked: RunConfig, there: RunConfig, out: Path) -> RunConfig:
    if asked.system != there.system:
        raise StoreError(f"{out} is a run of {there.system!r}, not of {asked.system!r}", "give another directory")
    different = there.differences(asked.under(there).resolved())
    if different:
        raise StoreError(
            f"{out} is another run, with (there, here) {', '.join(different)}",
            "leave these settings out to go on with it, or give another directory",
        )
    return there


def _remove_run(out: Path) -> None:
    from pyness.sampling.store import Store

    if (out / SAMPLES).exists():
        Store.discard(out / SAMPLES)
    # run.toml goes last, so that an interrupted removal can be repeated
    mine = [
        out / REPORT,
        *out.glob("*.png"),
        *out.glob(f"{Path(MODEL).stem}.*"),
        out / CHECKPOINT,
        out / LOG,
        out / SECONDS,
        out / RUN,
    ]
    for path in mine:
        path.unlink(missing_ok=True)


def against_truth(system: Any, landscape: Any, samples: Any) -> tuple[dict, dict, Any]:
    """What is known exactly, how far the potential is from it, and the grid solution where there is one.

    Args:
        landscape: something with ``potential(x)``.
        samples: where to compare, for a system without a published grid and without exact samples.
    """
    import torch

    from pyness.estimators.metrics import basins, potential_error
    from pyness.grid import steady_state

    known = {"epr": system.truth.epr, "epr_error": system.truth.epr_error, "source": system.truth.source}
    exact, reference = system.truth.potential, None
    if exact is None and system.truth.grid:
        log.info("solving %s on %s cells for comparison", system.name, "x".join(map(str, system.truth.grid)))
        solution = steady_state(system, shape=system.truth.grid, refine=system.truth.grid_refined, progress=True)
        exact, reference = solution.interpolate, solution.landscape
        if known["epr"] is None:
            cells = "x".join(map(str, system.truth.grid))
            known = {"epr": solution.epr, "epr_error": solution.epr_error, "source": f"finite volume, {cells} cells"}
    truth = known if known["epr"] is not None else {}
    if exact is None:
        return truth, {}, None
    if hasattr(landscape, "reduced"):
        # a reduced potential is none of the full coordinates; its certificate is in the report
        return truth, {}, None
    scale = system.potential_scale
    if system.evaluation is None:
        drawn = system.truth.draw
        points = samples.states[:, -1].double() if drawn is None else drawn(10_000, torch.Generator().manual_seed(0))
        compared = potential_error(
            landscape.potential(points), exact(points), scale, weights=points.new_ones(len(points))
        )
        return truth, compared.to_dict() | {"points_are": "samples" if drawn is None else "exact samples"}, reference
    nodes = system.evaluation.nodes()
    learnt, true = landscape.potential(nodes), exact(nodes)
    error = potential_error(learnt, true, scale, cap=system.evaluation.cap).to_dict() | {"points_are": "grid"}
    wells = [basin for basin in basins(learnt, true, scale) if basin.free_energy_true < system.evaluation.cap * scale]
    if len(wells) > 1:
        off = [(well.free_energy - well.free_energy_true) / scale for well in wells]
        error["basin_offset"] = max(off) - min(off)
    return truth, error, reference


def against_score(system: Any, score: Any, samples: Any) -> tuple[dict, dict, None]:
    """What is known exactly of particles, and how far the score is from it in the norm of ``D``, squared."""
    truth = {"epr": system.truth.epr, "epr_error": system.truth.epr_error, "source": system.truth.source}
    if truth["epr"] is None:
        truth = {}
    if system.truth.activity_epr is not None:
        truth["activity_epr"] = system.truth.activity_epr
    if system.truth.score is None:
        return truth, {}, None
    x = samples.states[:2000, -1].double()
    exact, D = system.truth.score(x), system.diffusion(x)
    off = (D * (score.score(x).nan_to_num() - exact).square())[:, D > 0].sum()
    size = (D * exact.square())[:, D > 0].sum()
    return truth, {"relative_square": (off / size).item()}, None


def _draw(out: Path, learnt: Any, samples: Any, report: Any, reference: Any) -> None:
    from pyness import plots

    if isinstance(learnt.system, pyness.systems.ParticleSystem):
        plots.active_overview(learnt, samples, report, out / "overview.png")
    else:
        plots.overview(learnt, samples, report, out / "overview.png", truth=reference)
    records = [json.loads(line) for line in (out / LOG).read_text(encoding="utf-8").splitlines()]
    if records:
        # with walls the gradient error is known to the report only; near the end it is as small as its sampling error
        # and may come out negative
        error = "score error" if isinstance(learnt.system, pyness.systems.ParticleSystem) else "gradient error"
        labels = {"gradient_error": error, "hjb": "HJB residual", "walls": "flux through walls"}
        curves = {label: [abs(r[key]) for r in records] for key, label in labels.items() if key in records[0]}
        if curves:  # a flow has a likelihood alone
            axes = plots.training([r["step"] for r in records], curves)
            axes.figure.savefig(out / "training.png")
    histogram = samples.stats["step"].get("histogram")
    if histogram:
        axes = plots.step_histogram(histogram["edges"], histogram["counts"])
        axes.figure.savefig(out / "steps.png")


class _Clock:
    """Seconds per stage, over all the processes that worked on a run; a note keeps them until there is a report."""

    def __init__(self, note: Path) -> None:
        self._note = note
        self.spent: dict[str, float] = {}
        with suppress(OSError, ValueError, TypeError):
            self.spent = {str(stage): float(time) for stage, time in dict(json.loads(note.read_text())).items()}

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.spent[stage] = self.spent.get(stage, 0.0) + time.perf_counter() - begun
            # a full disk is for the stage itself to report
            with suppress(StoreError):
                write_whole({self._note: json.dumps(self.spent)})

    def forget(self) -> None:
        self._note.unlink(missing_ok=True)
