"""The embedded engine: EM, SOSRA, EulerHeun and ImplicitEM in torch, batched over walkers, on CPU and GPU."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from pyness.sampling.engines import Block, BlockResult, Job, Tick
from pyness.sampling.engines.torch.adaptive import run_adaptive
from pyness.sampling.engines.torch.domain import Domain
from pyness.sampling.engines.torch.fixed import run_fixed
from pyness.sampling.engines.torch.methods import METHODS

__all__ = ["TorchEngine"]


class TorchEngine:
    """See ``pyness.sampling.engines.Engine``. Blocks run in as many threads as torch uses for itself."""

    name = "torch"

    def __init__(self, job: Job) -> None:
        self._job = job
        plan = job.plan
        self._domain = Domain(job.system.domain, plan.torch_dtype, plan.device)
        own = {"theta": job.solver["theta"]} if "theta" in job.solver.algorithm.options else {}
        self._method = METHODS[job.solver.name](job.system, self._domain, plan.torch_dtype, plan.device, **own)
        self._threads = torch.get_num_threads() if torch.device(plan.device).type == "cpu" else 1

    def describe(self) -> dict[str, Any]:
        return {"torch": torch.__version__, "compiled": False}

    def empty(self, shape: Sequence[int]) -> torch.Tensor:
        return torch.empty(tuple(shape), dtype=self._job.plan.torch_dtype, device=self._job.plan.device)

    def chunk(self) -> int:
        return self._threads

    def run(self, blocks: Sequence[Block], tick: Tick, stop: threading.Event) -> Iterator[BlockResult]:
        def carry(block: Block) -> BlockResult | None:
            loop = run_adaptive if self._job.solver.adaptive else run_fixed
            with torch.no_grad():
                return loop(self._job, block, self._method, self._domain, tick, stop)

        # the pool's threads belong to this call alone, so setting their number of threads changes nobody else's
        pool = ThreadPoolExecutor(self._threads, "pyness", lambda: torch.set_num_threads(1))
        try:
            for future in [pool.submit(carry, block) for block in blocks]:
                result = future.result()
                if result is not None:
                    yield result
        except BaseException:
            stop.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def close(self) -> None:
        """Nothing outlives a call."""
