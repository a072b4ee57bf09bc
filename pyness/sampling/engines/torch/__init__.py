"""The embedded engine: EM, SOSRA, EulerHeun and ImplicitEM in torch, batched over walkers, on CPU and GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from pyness.sampling.engines import Block, BlockResult, Job, Tick
from pyness.sampling.engines.torch.adaptive import run_adaptive
from pyness.sampling.engines.torch.compiled import CompiledStride, Kernel, compiled_stride, pays
from pyness.sampling.engines.torch.compiled_pairs import PairKernel, PairStride, pair_kernel
from pyness.sampling.engines.torch.domain import Domain
from pyness.sampling.engines.torch.fixed import run_fixed, segments
from pyness.sampling.engines.torch.methods import METHODS, Method
from pyness.sampling.engines.torch.stride import EagerStride, Stride
from pyness.sampling.limit import Limit
from pyness.systems.verlet import Followed

__all__ = ["TorchEngine"]


class TorchEngine:
    """See ``pyness.sampling.engines.Engine``. Blocks run in as many threads as torch uses for itself."""

    name = "torch"

    def __init__(self, job: Job) -> None:
        self._job = job
        plan = job.plan
        self._domain = Domain(job.system.domain, plan.torch_dtype, plan.device)
        self._method = self._make_method(job.system)
        self._compiled = self._compile()
        self._threads = torch.get_num_threads() if torch.device(plan.device).type == "cpu" else 1

    def _make_method(self, system: Any) -> Method:
        solver, plan = self._job.solver, self._job.plan
        own = {"theta": solver["theta"]} if "theta" in solver.algorithm.options else {}
        if solver.options.get("split"):
            own["split"] = True
        return METHODS[solver.name](system, self._domain, plan.torch_dtype, plan.device, **own)

    def _compile(self) -> tuple[Kernel | PairKernel, int] | None:
        job = self._job
        if job.solver.adaptive:
            return None
        steps = sum(steps for steps, _, _ in segments(job))
        if not pays(job, steps * job.plan.walkers):
            return None
        if job.system.interacts:
            return pair_kernel(job, self._make_method, self._domain)
        return compiled_stride(job, self._method, self._domain)

    def _own_method(self) -> Method:
        """The method of one block: that of interacting particles keeps their neighbours from step to step."""
        system = self._job.system
        return self._make_method(Followed(system)) if system.interacts else self._method

    def _stride(self, x: torch.Tensor, generator: torch.Generator) -> Stride:
        if self._compiled is None:
            return EagerStride(x, self._own_method(), self._domain, generator)
        if self._job.system.interacts:
            followed = Followed(self._job.system)
            return PairStride(*self._compiled, followed, x, self._make_method(followed), self._domain, generator)
        return CompiledStride(*self._compiled, x, self._method, self._domain, generator)

    def describe(self) -> dict[str, Any]:
        """The bits of compiled and of eager steps differ."""
        return {"torch": torch.__version__, "compiled": self._compiled is not None}

    def empty(self, shape: Sequence[int]) -> torch.Tensor:
        return torch.empty(tuple(shape), dtype=self._job.plan.torch_dtype, device=self._job.plan.device)

    def chunk(self) -> int:
        return self._threads

    def run(self, blocks: Sequence[Block], tick: Tick, stop: Limit) -> Iterator[BlockResult]:
        def carry(block: Block) -> BlockResult | None:
            with torch.no_grad():
                if self._job.solver.adaptive:
                    return run_adaptive(self._job, block, self._own_method(), self._domain, tick, stop)
                return run_fixed(self._job, block, self._stride, self._domain, tick, stop)

        # one thread each: the blocks are the parallelism
        threads = torch.get_num_threads()
        pool = ThreadPoolExecutor(self._threads, "pyness", lambda: torch.set_num_threads(1))
        try:
            for future in [pool.submit(carry, block) for block in blocks]:
                result = future.result()
                if result is None:
                    return
                yield result
        except BaseException:
            stop.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
            # what a thread sets is also what threads born later begin with: give them back what it was
            torch.set_num_threads(threads)

    def close(self) -> None:
        """Nothing outlives a call."""
