"""``JuliaEngine``: blocks of walkers carried by the solvers of DifferentialEquations.jl, over Julia's threads."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from pyness.errors import SolverError
from pyness.sampling.engines import Block, BlockResult, Job, Tick
from pyness.sampling.engines.julia.model import Model, matrix_literal
from pyness.sampling.engines.julia.runtime import start
from pyness.sampling.engines.julia.session import Code, Session, literal
from pyness.sampling.limit import Limit
from pyness.sampling.scale import fluctuation_scale
from pyness.sampling.stats import Failure, Stats
from pyness.sampling.walls import Walls

__all__ = ["JuliaEngine"]

#: Seconds that one call of Julia is meant to take: Ctrl-C and the progress bar wait for it.
PATIENCE = 0.5
#: The error Newton's iteration may leave at a fixed step, in units of each coordinate's fluctuation scale. Solvers stop
#: at a hundredth of it.
NEWTON = 1e-2
#: Steps of a run from which on it pays to compile a solver for its system alone (EM: 47 ns a step then become 35).
LONG = 500_000_000
_KINDS = {"open": 0, "reflect": 1, "periodic": 2}


class JuliaEngine:
    """See ``pyness.sampling.engines.Engine``.

    Julia computes in double precision whatever the dtype of the states, and writes them into torch's memory. A walker's
    noise depends on its block's seed and its number alone, so it does not matter how a block is cut into calls.

    Raises:
        JuliaError: no Julia, or it cannot do what is needed.
        TranslationError: a drift or diffusion that has no translation, or one that disagrees with torch.
        SolverError: a device that this engine does not have.
    """

    name = "julia"

    def __init__(self, job: Job) -> None:
        self._job = job
        self._session = self._open()
        self._model = self._make_model(exact=job.solver.name == "EM" and bool(job.solver.options.get("split")))
        self._algorithm = self._algorithm_code()
        self._options = self._plan_options()
        self._pace = 4 * self._session.threads

    def _open(self) -> Session:
        plan = self._job.plan
        if torch.device(plan.device).type != "cpu":
            raise SolverError(f"engine 'julia' on device {plan.device!r}", "take device='cpu', or engine='torch'")
        return start(embedded=self._job.solver.native is not None)

    def _make_model(self, *, exact: bool) -> Model:
        return Model(self._job.system, self._session, exact=exact)

    def _algorithm_code(self) -> Code:
        solver = self._job.solver
        if solver.native is not None:
            return self._session.hold(solver.native)
        return Code(f"PyNESS.algorithm({literal(solver.julia())}; patient={literal(not solver.adaptive)})")

    def _plan_options(self) -> dict[str, Any]:
        job, plan, domain = self._job, self._job.plan, self._job.system.domain
        tolerance = job.tolerance if job.tolerance is not None else NEWTON * fluctuation_scale(job.system)
        dtmax = job.solver.options.get("dtmax", plan.spacing)
        first = plan.dt or min(dtmax, 1e-3 * plan.spacing)
        walls = (*domain.linear(torch.float64), domain.innermost(torch.float64)) if domain.walls else ()
        return {
            "low": self._shared(domain.low),
            "high": self._shared(domain.high),
            "kinds": self._shared([_KINDS[kind] for kind in domain.boundary], torch.int64),
            **({"walls": tuple(self._shared(part) for part in walls)} if walls else {}),
            "burn_in": plan.burn_in,
            "spacing": plan.spacing,
            "adaptive": job.solver.adaptive,
            "dt": first,
            "burn_in_dt": plan.burn_in_dt or first,
            "dtmax": float(dtmax),
            "tolerance": self._shared(tolerance),
            "delta": job.solver["delta"] if "delta" in job.solver.algorithm.options else None,
            "rotation": None if self._model.rotation is None else matrix_literal(self._model.rotation),
            # decided by the plan and not by the clock: compiled differently, rounding may differ
            "specialised": not job.solver.adaptive
            and plan.walkers * (plan.burn_in / (plan.burn_in_dt or first) + plan.elapsed / first) > LONG,
        }

    def _shared(self, values: Any, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        """A number to each coordinate where Julia sees them: in the text of a request many would be slow to read."""
        values = torch.as_tensor(values, dtype=dtype)
        return self._session.empty(tuple(values.shape), dtype).copy_(values)

    def describe(self) -> dict[str, Any]:
        """Versions; not the threads, which change nothing."""
        return {"julia": self._session.julia, **self._session.call("PyNESS.versions")}

    def empty(self, shape: Sequence[int]) -> torch.Tensor:
        return self._session.empty(tuple(shape), self._job.plan.torch_dtype)

    def chunk(self) -> int:
        return 1

    def run(self, blocks: Sequence[Block], tick: Tick, stop: Limit) -> Iterator[BlockResult]:
        for block in blocks:
            # Julia writes into contiguous memory, and a round may have some of the snapshots only
            whole = block.out.is_contiguous()
            mine = block if whole else replace(block, out=self.empty(block.out.shape))
            result = self._carry(mine, tick, stop)
            if result is None:
                return
            if not whole:
                block.out.copy_(mine.out)
            yield result

    def _carry(self, block: Block, tick: Tick, stop: Limit) -> BlockResult | None:
        start = self._session.empty(tuple(block.start.shape), torch.float64).copy_(block.start)
        taken = None if block.steps is None else self._session.empty(tuple(block.steps.shape), block.steps.dtype)
        parts, failures, walls = [], [], [self._no_walls()]
        first = 0
        while first < block.size:
            if stop.is_set():
                return None
            last = min(block.size, first + self._pace)
            clock = time.perf_counter()
            report = self._call(block, start, taken, first, last, stop)
            spent = time.perf_counter() - clock
            stop.spend(report["evaluations"])
            if report["cut"]:
                return None
            parts.append(self._stats(report))
            failures += [Failure(w, t, tuple(x), why) for w, t, x, why in report["failures"]]
            if report["folds"]:
                walls.append(self._walls(report["folds"]))
            tick((last - first) / block.size)
            # towards the patience, but not by more than a factor: the first call also compiles
            self._pace = int(max(1, (last - first) * min(4.0, max(0.25, PATIENCE / max(spent, 1e-3)))))
            first = last
        if taken is not None:
            block.steps.copy_(taken)
        stats = Stats.total(parts)
        stats.time = self._elapsed(block.size, failures)
        return BlockResult(block.index, Walls.join(walls), stats, failures)

    def _call(
        self, block: Block, start: torch.Tensor, taken: torch.Tensor | None, first: int, last: int, stop: Limit
    ) -> dict[str, Any]:
        return self._session.call(
            "PyNESS.sample!",
            block.out[first:last],
            start[first:last],
            self._model.name,
            self._algorithm,
            *self._model.arguments,
            seed=block.seed,
            first=first,
            lengths=None if taken is None else taken[first:last],
            seconds=stop.seconds,
            most=stop.evaluations,
            **self._options,
        )

    def _stats(self, report: dict[str, Any]) -> Stats:
        return Stats(
            accepted=report["accepted"],
            rejected=report["rejected"],
            evaluations=report["evaluations"],
            wall_hits=report["folds"],
            shortest=report["shortest"],
            longest=report["longest"],
            histogram=report["histogram"] if self._options["adaptive"] else [],
        )

    def _elapsed(self, walkers: int, failures: Sequence[Failure]) -> float:
        plan = self._job.plan
        return (walkers - len(failures)) * (plan.burn_in + plan.elapsed) + sum(failure.time for failure in failures)

    def _walls(self, count: int) -> Walls:
        """The records of the last call, fetched into tensors of their own."""
        dim, dtype = self._job.system.dim, self._job.plan.torch_dtype
        walker, face = (self._session.empty((count,), torch.int64) for _ in range(2))
        position = self._session.empty((count, dim), dtype)
        displacement = self._session.empty((count,), dtype)
        self._session.call("PyNESS.folds!", walker, face, position, displacement)
        return Walls(walker, face, position, displacement, self._job.plan.elapsed)

    def _no_walls(self) -> Walls:
        return Walls.none(self._job.system.dim, self._job.plan.elapsed, self._job.plan.torch_dtype)

    def close(self) -> None:
        """Nothing: the session serves the next run."""
