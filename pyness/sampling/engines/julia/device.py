"""``DeviceEngine``: blocks of walkers carried by kernels, one device thread to each walker or each particle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch

from pyness.errors import JuliaError, SolverError
from pyness.sampling.engines import Block, BlockResult, Job, Tick
from pyness.sampling.engines.julia.engine import JuliaEngine
from pyness.sampling.engines.julia.model import Model
from pyness.sampling.engines.julia.runtime import start
from pyness.sampling.engines.julia.session import Code, Session, literal
from pyness.sampling.engines.julia.translator import LARGEST_STATIC
from pyness.sampling.limit import Limit
from pyness.sampling.stats import Failure
from pyness.systems import ParticleSystem

__all__ = ["DeviceEngine"]

#: What carries the walkers: DiffEqGPU's kernels at a fixed step, PyNESS.jl's own with steps of each walker's own, and
#: DiffEqGPU's batch as one state for the others.
_FUNCTIONS = {
    "GPUEM": "PyNESS.sample_ensemble!",
    "GPUSIEA": "PyNESS.sample_ensemble!",
    "SOSRA": "PyNESS.sample_kernel!",
}
_LOCKSTEP = "PyNESS.sample_lockstep!"
_PARTICLES = "PyNESS.sample_particles!"
_PACKAGES = {"cpu": ("KernelAbstractions", "DiffEqGPU"), "cuda": ("KernelAbstractions", "DiffEqGPU", "CUDA")}


class DeviceEngine(JuliaEngine):
    """See ``pyness.sampling.engines.Engine``: the solvers that ``pyness.solvers`` lists under ``julia-gpu``.

    Kernels compute in the dtype of the states, on the plan's device: on ``"cuda"``, in this process, into torch's
    memory; on ``"cpu"`` they run in KernelAbstractions' threads, which is a way to try them and not to be fast. A block
    is one call: Ctrl-C and the progress bar wait for it.

    Raises:
        JuliaError: no Julia, a package the device needs is missing, or the device does not work there.
        TranslationError: as ``JuliaEngine``.
        SolverError: a device that Julia has no kernels for, more coordinates than they take, or reflecting walls with a
            solver that knows none.
    """

    name = "julia-gpu"

    def __init__(self, job: Job) -> None:
        if job.system.dim > LARGEST_STATIC and not isinstance(job.system, ParticleSystem):
            raise SolverError(
                f"the {job.system.dim} coordinates of {job.system.name!r} on engine 'julia-gpu', whose kernels take "
                f"{LARGEST_STATIC}",
                "take engine='torch', or engine='julia' with device='cpu'",
            )
        super().__init__(job)
        name = job.solver.name
        self._function = _PARTICLES if self._model.particles else _FUNCTIONS.get(name, _LOCKSTEP)
        self._refuse_particles()
        if self._function != "PyNESS.sample_kernel!" and "reflect" in job.system.domain.boundary:
            raise SolverError(
                f"solver {name!r} on engine 'julia-gpu' and the reflecting sides of {job.system.name!r}",
                "take SOSRA, whose kernel knows walls, or engine='julia'",
            )

    def _refuse_particles(self) -> None:
        """Particles that do not interact, but are too many for a thread to a walker; others are refused at the door."""
        system, solver = self._job.system, self._job.solver
        if not self._model.particles or solver.native is not None:
            return
        if "julia-gpu" not in solver.algorithm.particles or solver.adaptive:
            raise SolverError(
                f"solver {solver.label!r} on engine 'julia-gpu' and the {system.dim} coordinates of {system.name!r}",
                "take EM:dt=1e-2 or SOSRA:adaptive=false,dt=1e-2, or engine='julia' with device='cpu'",
            )

    def _open(self) -> Session:
        device = torch.device(self._job.plan.device).type
        if device not in _PACKAGES:
            raise SolverError(f"engine 'julia' on device {device!r}", f"it has {', '.join(_PACKAGES)}")
        session = start(embedded=device == "cuda" or self._job.solver.native is not None)
        found = session.installation
        missing = [name for name in _PACKAGES[device] if name not in found.packages()]
        if missing:
            raise JuliaError(
                f"Julia project {found.project!r} lacks {', '.join(missing)}, which kernels need",
                f"run {found.exe} --project={found.project} -e 'using Pkg; Pkg.add({json.dumps(missing)})'",
            )
        session.include(f"using {', '.join(_PACKAGES[device])}")
        session.call("PyNESS.backend", device)
        self._device = Code(f"PyNESS.backend({literal(device)})")
        return session

    def _make_model(self, *, exact: bool) -> Model:
        # what knows EM is the kernel of particles
        return Model(self._job.system, self._session, exact=exact, particles=self._job.solver.name == "EM")

    def _algorithm_code(self) -> Code:
        solver = self._job.solver
        if solver.native is None and solver.name in ("GPUEM", "GPUSIEA"):
            return Code(f"DiffEqGPU.{solver.name}()")
        return super()._algorithm_code()

    def empty(self, shape: Sequence[int]) -> torch.Tensor:
        plan = self._job.plan
        if plan.device.startswith("cpu"):
            return super().empty(shape)
        return torch.empty(tuple(shape), dtype=plan.torch_dtype, device=plan.device)

    def _carry(self, block: Block, tick: Tick, stop: Limit) -> BlockResult | None:
        if stop.is_set():
            return None
        start = self.empty(block.start.shape).copy_(block.start)
        report = self._session.call(
            self._function,
            block.out,
            start,
            self._model.name,
            self._algorithm,
            *self._model.arguments,
            device=self._device,
            seed=block.seed,
            first=0,
            seconds=stop.seconds,
            most=stop.evaluations,
            **self._options,
        )
        stop.spend(report["evaluations"])
        if report.get("cut"):
            return None
        failures = [Failure(w, t, tuple(x), why) for w, t, x, why in report["failures"]]
        walls = self._walls(report["folds"]) if report["folds"] else self._no_walls()
        stats = self._stats(report)
        stats.time = self._elapsed(block.size, failures)
        tick(1.0)
        return BlockResult(block.index, walls.to(block.out.device), stats, failures)

    def describe(self) -> dict[str, Any]:
        """Versions."""
        packages = self._session.installation.packages()
        return {**super().describe(), **{n: packages[n] for n in _PACKAGES["cuda"] if n in packages}}
