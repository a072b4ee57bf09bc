"""``sample``: from a system to samples of its steady state."""

from __future__ import annotations

import dataclasses
import logging
import math
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

import pyness
from pyness.errors import InputError, InterruptedRun, LimitError, SamplingError
from pyness.sampling.engines import Block, BlockResult, Engine, Job
from pyness.sampling.identity import digest, entropy, equations, refuse_other_run
from pyness.sampling.limit import Limit
from pyness.sampling.plan import Plan
from pyness.sampling.portions import Round, block_rows, given_start, rounds, time_before
from pyness.sampling.resolve import resolve
from pyness.sampling.samples import Samples, assemble
from pyness.sampling.scale import tolerance
from pyness.sampling.stats import Stats
from pyness.sampling.store import Store, extent
from pyness.sampling.walls import Walls
from pyness.solvers import Solver
from pyness.systems import ParticleSystem, System

__all__ = ["sample"]

log = logging.getLogger("pyness")


def sample(
    system: System,
    solver: Any = None,
    engine: str = "auto",
    *,
    walkers: int | None = None,
    burn_in: float | None = None,
    snapshots: int | None = None,
    spacing: float | None = None,
    dt: float | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    burn_in_dt: float | None = None,
    start: str | torch.Tensor | Samples | None = None,
    seed: int = 0,
    dtype: str = "float32",
    device: str = "cpu",
    chunk: int | None = None,
    max_failed: float = 1e-3,
    max_seconds: float | None = None,
    max_evaluations: float | None = None,
    store: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> Samples:
    """Draw samples of the steady state: independent walkers, burnt in, then photographed at equal intervals.

    What is not given comes from ``system.plan`` and ``system.solver``. The same seed gives the same bits on one
    machine and version, whatever the chunk, the number of threads and the interruptions.

    Args:
        system: what to sample.
        solver: ``"NAME"`` or ``"NAME:option=value,..."`` (``pyness solvers``); the system's own if not given.
        engine: ``"torch"``, ``"julia"``, or ``"auto"``: Julia where it is ready, else torch. ``"julia-gpu"`` is what
            ``"julia"`` means on a device; with ``device="cpu"`` its kernels run on the CPU, to try them out.
        walkers, burn_in, snapshots, spacing: see ``Plan``; times in the system's unit.
        dt, rtol, atol, burn_in_dt: step or tolerances, see ``Plan``; the same as options of the solver.
        start: ``"uniform"`` over the box, a tensor ``(walkers, d)``, or samples, whose last snapshots are taken (again
            from the first where there are fewer); of a particle system ``"clustered"`` too. If not given, uniform or
            what the particle system recommends.
        seed: whole number, not negative. Noise depends on it and on the states of ``start``: going on from samples
            with their own seed does not meet their noise again.
        dtype, device: of the states, ``"float32"`` or ``"float64"``; any torch device.
        chunk: walkers under way at a time, which bounds the memory used beside the result.
        max_failed: fraction of walkers that may blow up; they are left out of the states, counted and listed.
        max_seconds, max_evaluations: when to give up: seconds of this call's sampling, and drift evaluations of all its
            walkers. An engine looks now and then, so a little more may be spent.
        store: path of a zarr store that is appended while the run goes on.
        resume: continue the run in ``store`` where it stands (an absent one is begun, a finished one returned).
        overwrite: replace what is in ``store``.
        progress: show a progress bar on standard error, where that is a terminal.

    Raises:
        InputError, SolverError, UnknownNameError: a value or a combination that makes no sense.
        StoreError: the store exists, is foreign or damaged, or cannot be written.
        LimitError: it takes more than ``max_seconds`` or ``max_evaluations``; a store keeps the blocks that are done.
        SamplingError: more than ``max_failed`` of the walkers blew up (the rest is in its ``samples``).
        InterruptedRun: Ctrl-C; with a store, what was done is in it and ``resume=True`` goes on.

    Example:
        >>> samples = pyness.sample(pyness.systems.get("double-well"), walkers=1000)
        >>> samples.states.shape
        torch.Size([1000, 40, 2])
    """
    if not isinstance(system, System):
        raise InputError(f"system is {system!r}", "give a System, for example pyness.systems.get('double-well')")
    given = {
        "walkers": walkers, "burn_in": burn_in, "snapshots": snapshots, "spacing": spacing,
        "dt": dt, "rtol": rtol, "atol": atol, "burn_in_dt": burn_in_dt,
    }  # fmt: skip
    rest = {"seed": seed, "dtype": dtype, "device": device, "max_failed": max_failed}
    chosen = resolve(system, solver, engine, **given, **rest)
    if chosen.note:
        tqdm.write(chosen.note, file=sys.stderr)
    stop = Limit(max_seconds, max_evaluations)
    run = _Run(system, chosen.solver, chosen.plan, _engine(chosen.engine), start, chunk, stop)
    return run.execute(store, resume, overwrite, progress)


def _engine(name: str) -> type[Engine]:
    if name.startswith("julia"):
        from pyness.sampling.engines.julia import DeviceEngine, JuliaEngine

        return DeviceEngine if name == "julia-gpu" else JuliaEngine
    from pyness.sampling.engines.torch import TorchEngine

    return TorchEngine


class _Run:
    """One call of ``sample``: the walkers in blocks, an engine, and maybe a store."""

    def __init__(
        self,
        system: System,
        solver: Solver,
        plan: Plan,
        factory: type[Engine],
        start: Any,
        chunk: int | None,
        stop: Limit,
    ) -> None:
        self.system, self.solver, self.plan, self.factory, self.stop = system, solver, plan, factory, stop
        if chunk is not None and (isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1):
            raise InputError(f"chunk is {chunk!r}", "give a number of walkers of at least 1")
        self.chunk = chunk
        self.rows = block_rows(system, plan)
        self.blocks = -(-plan.walkers // self.rows)
        self.rounds = rounds(system, plan, self.rows)
        self.total = self.blocks * len(self.rounds)
        self.start, self.before = given_start(system, plan, start), time_before(system, start)
        self.told_start = self.start if isinstance(self.start, str) else digest(self.start)
        self.entropy = entropy(plan.seed, self.told_start)

    def execute(self, path: str | Path | None, resume: bool, overwrite: bool, progress: bool) -> Samples:
        if path is None and (resume or overwrite):
            raise InputError("resume or overwrite without a store", "give store=PATH")
        if resume and overwrite:
            raise InputError("both resume and overwrite", "give one of them")
        adaptive = self.solver.adaptive
        limits = tolerance(self.system, self.plan.rtol or 0.0, self.plan.atol or 0.0) if adaptive else None
        engine = self._engine(0, limits)
        try:
            attributes = self._attributes(engine)
            store = self._open(path, attributes, resume, overwrite)
            states, steps, parts = self._result(engine, store, attributes)
            self.stop.begin()
            for turn in range(attributes["progress"]["blocks"] // self.blocks, len(self.rounds)):
                if turn:
                    engine.close()
                    engine = self._engine(turn, limits)
                self._fill(engine, turn, store, attributes, states, steps, parts, progress)
                if self._too_many_failed(attributes):
                    break
        finally:
            engine.close()
        return self._finish(states, steps, parts, attributes)

    def _engine(self, turn: int, limits: torch.Tensor | None) -> Engine:
        return self.factory(Job(self.system, self.solver, self.rounds[turn].plan, limits, self.rows))

    def _too_many_failed(self, attributes: Mapping[str, Any]) -> bool:
        return len(attributes["progress"]["failures"]) > self.plan.max_failed * self.plan.walkers

    def _attributes(self, engine: Engine) -> dict[str, Any]:
        plan = self.plan
        return {
            "system": self.system.to_dict(),
            "equations": equations(self.system),
            "solver": str(self.solver),
            "algorithm": self.solver.name,
            "options": dict(self.solver.options),
            "engine": {"name": engine.name, **engine.describe()},
            "plan": plan.to_dict(),
            "start": self.told_start,
            "before": self.before,
            "versions": {"pyness": pyness.__version__, "torch": torch.__version__, "python": platform.python_version()},
            "block": {
                "rows": self.rows,
                "total": self.total,
                "per_round": self.blocks,
                "snapshots": self.rounds[0].snapshots,
            },
            "times": plan.times,
            "elapsed": plan.elapsed,
            "progress": {"blocks": 0, "folds": 0, "counts": None, "failures": [], "seconds": 0.0},
        }

    def _open(self, path: str | Path | None, attributes: dict[str, Any], resume: bool, overwrite: bool) -> Store | None:
        if path is None:
            return None
        if resume and Path(path).exists():
            store = Store.reopen(path)
            refuse_other_run(store, attributes)
            attributes["progress"] = store.attributes["progress"]
            return store
        if overwrite:
            Store.discard(path)
        shape = (self.plan.walkers, self.plan.snapshots, self.system.dim)
        return Store.create(path, attributes, shape, self.rows, stepped=self.solver.adaptive)

    def _result(
        self, engine: Engine, store: Store | None, attributes: dict[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor | None, list[Walls]]:
        """States, steps and folds of the whole result, once, with what the store already has."""
        plan = self.plan
        states = engine.empty((plan.walkers, plan.snapshots, self.system.dim)).fill_(torch.nan)
        steps = None
        if self.solver.adaptive:
            steps = torch.full(states.shape[:2], torch.nan, dtype=plan.torch_dtype, device=plan.device)
        parts = [Walls.none(self.system.dim, plan.elapsed, plan.torch_dtype, plan.device)]
        if store is not None and attributes["progress"]["blocks"]:
            there = store.read_blocks()
            states[: there.states.shape[0]] = there.states
            if steps is not None and there.steps is not None:
                steps[: there.steps.shape[0]] = there.steps
            parts.append(there.walls.to(plan.device))
        return states, steps, parts

    def _blocks(self, states: torch.Tensor, steps: torch.Tensor | None, begin: int, turn: int = 0) -> Iterator[Block]:
        part = self.rounds[turn]
        for first in range(begin * self.rows, states.shape[0], self.rows):
            index, mine = first // self.rows, states[first : first + self.rows]
            # a round has seeds of its own, so that one that was cut off can be done again
            key = (index, turn) if turn else (index,)
            draws, noise = np.random.SeedSequence(self.entropy, spawn_key=key).generate_state(2, np.uint64)
            start = self._start_of(first, mine.shape[0], int(draws >> 1))
            if turn:
                last = mine[:, part.first - 1]
                # a walker that failed goes on from anywhere: it is left out of the result
                start = torch.where(torch.isfinite(last).all(-1, keepdim=True), last, start)
            now = slice(part.first, part.first + part.snapshots)
            taken = None if steps is None else steps[first : first + self.rows, now]
            yield Block(turn * self.blocks + index, first, int(noise >> 1), start, mine[:, now], taken)

    def _start_of(self, first: int, size: int, seed: int) -> torch.Tensor:
        plan = self.plan
        if isinstance(self.start, str):
            generator = torch.Generator().manual_seed(seed)
            if isinstance(self.system, ParticleSystem):
                states = self.system.draw_start(self.start, size, generator, plan.torch_dtype)
            else:
                states = self.system.domain.uniform(size, generator, dtype=plan.torch_dtype)
        else:
            states = self.start[torch.arange(first, first + size) % self.start.shape[0]]
        return states.to(dtype=plan.torch_dtype, device=plan.device)

    def _fill(
        self,
        engine: Engine,
        turn: int,
        store: Store | None,
        attributes: dict[str, Any],
        states: torch.Tensor,
        steps: torch.Tensor | None,
        parts: list[Walls],
        progress: bool,
    ) -> None:
        begin = attributes["progress"]["blocks"]
        at_a_time = engine.chunk() if self.chunk is None else max(1, self.chunk // self.rows)
        blocks = list(self._blocks(states, steps, begin - turn * self.blocks, turn))
        spent, clock = attributes["progress"]["seconds"], time.perf_counter()
        bar = tqdm(
            # a hair more than all, since fractions of blocks add up to 1 within rounding only
            total=self.total * (1 + 1e-6), initial=begin, desc=f"sampling {self.system.name}",
            disable=None if progress else True,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}",
        )  # fmt: skip
        done = float(begin)

        def tick(part: float) -> None:
            nonlocal done
            done += part
            bar.update(part)

        try:
            with bar:
                for i in range(0, len(blocks), at_a_time):
                    for result in engine.run(blocks[i : i + at_a_time], tick, self.stop):
                        block = blocks[result.index - begin]
                        seconds = spent + time.perf_counter() - clock
                        self._enter(block, result, self.rounds[turn], store, attributes, parts, seconds)
                    if self._too_many_failed(attributes):
                        return
                    if attributes["progress"]["blocks"] < begin + min(i + at_a_time, len(blocks)):
                        share = math.floor(1e3 * done / self.total) / 10
                        raise LimitError(
                            f"{self.solver}: stopped after {self.stop}, when {share:g} % was done",
                            "allow more, take fewer walkers, or a larger step or tolerance",
                        )
        except InterruptedRun:
            raise
        except KeyboardInterrupt as interrupt:
            done = store.attributes["progress"]["blocks"] if store else 0
            where = f"{store.path} has {done} of {self.total} blocks" if store else "nothing is kept without a store"
            raise InterruptedRun(
                f"interrupted: {where}",
                "run it again with resume=True" if store else "give store=PATH to keep what is done",
            ) from interrupt

    def _enter(
        self,
        block: Block,
        result: BlockResult,
        part: Round,
        store: Store | None,
        attributes: dict[str, Any],
        parts: list[Walls],
        seconds: float,
    ) -> None:
        first = block.first
        walls = result.walls.shifted(first)
        old = attributes["progress"]
        gone = {failure["walker"] for failure in old["failures"]}
        failures = [
            {**failure.to_dict(), "walker": failure.walker + first, "time": failure.time + part.begin}
            for failure in result.failures
            if failure.walker + first not in gone
        ]
        for walker in gone | {failure["walker"] for failure in failures}:
            if first <= walker < first + block.size:
                block.out[walker - first] = torch.nan
        counts = Stats.total([*([Stats(**old["counts"])] if old["counts"] else []), result.stats])
        attributes["progress"] = {
            "blocks": result.index + 1,
            "folds": old["folds"] + len(walls),
            "counts": dataclasses.asdict(counts),
            "failures": old["failures"] + failures,
            "seconds": seconds,
        }
        parts.append(walls)
        if store is not None:
            start = None if part.first else block.start
            store.append(first, start, block.out, walls, attributes["progress"], steps=block.steps, snapshot=part.first)

    def _finish(
        self, states: torch.Tensor, steps: torch.Tensor | None, parts: list[Walls], attributes: dict[str, Any]
    ) -> Samples:
        progress = attributes["progress"]
        done, snapshots = extent(attributes)
        start = torch.cat([block.start for block in self._blocks(states[:done], None, 0)])
        steps = None if steps is None else steps[:done, :snapshots]
        samples = assemble(states[:done, :snapshots], Walls.join(parts), start, steps, attributes, self.system)
        failed = len(progress["failures"])
        if failed > self.plan.max_failed * self.plan.walkers:
            first = min(progress["failures"], key=lambda failure: failure["time"])
            touching = apart = ""
            if self.system.interacts:
                state = torch.tensor([first["state"]], dtype=torch.float64)
                near = self.system.nearest(self.system.split(state)[0])
                touching = f" with two particles {near:.2g} apart" if math.isfinite(near) else ""
                apart = ", a start without overlaps" if touching else ""
            error = SamplingError(
                f"{failed} of {done} walkers blew up, the first at time {first['time']:.4g} "
                f"from {[round(v, 4) for v in first['state'][:8]]}{touching} ({first['reason']})",
                f"take a smaller dt or tolerance{apart}, or a solver for stiff systems (ImplicitEM)",
            )
            error.samples = samples
            raise error
        if failed:
            log.warning("%d of %d walkers blew up and are left out; see samples.failures", failed, done)
        return samples
