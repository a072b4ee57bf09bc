"""Steps of interacting particles as one compiled kernel, over lists of pairs of any length.

Which particles interact changes from step to step, so a trace holds for one list only as far as its numbers go, not its
length. It takes the list as an argument, and how far the stages of the step are from where that list was made comes out
beside the state: the list is known to have held only afterwards.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch

from pyness.sampling.engines import Job
from pyness.sampling.engines.torch.compiled import compiled_once
from pyness.sampling.engines.torch.domain import Domain
from pyness.sampling.engines.torch.methods import Method
from pyness.sampling.engines.torch.stride import EagerStride
from pyness.systems import ParticleSystem
from pyness.systems.neighbours import Pairs
from pyness.systems.verlet import Followed, moved

__all__ = ["PairKernel", "PairStride", "pair_kernel"]

#: Takes the step, the state ``(rows, dim)``, the increments ``(rows, dim)`` and, where the method needs them, the
#: areas; then both ends of each pair and the positions ``(rows, N, d)`` at which they were listed. Returns the new
#: state, inside the box, and the largest distance of a particle in a stage from where it was listed.
PairKernel = Callable[..., tuple[torch.Tensor, torch.Tensor]]
#: Makes the method of a system.
MakeMethod = Callable[[ParticleSystem], Method]

#: A compiled kernel serves every length but 0 and 1.
SHORTEST = 2
log = logging.getLogger("pyness")


class PairStride(EagerStride):
    """Eager strides whose steps are the kernel's wherever one list of pairs holds for all stages of a step.

    Where it did not hold, the step is made again with a new list and the same noise, and operation by operation where
    the stages of a single step are too far apart for any list: no pair within the cutoff is ever missing.
    """

    def __init__(
        self,
        kernel: PairKernel,
        evaluations: int,
        followed: Followed,
        x: torch.Tensor,
        method: Method,
        domain: Domain,
        generator: torch.Generator,
    ) -> None:
        super().__init__(x, method, domain, generator)
        self._kernel, self._evaluations, self._followed = kernel, evaluations, followed

    def _step(
        self, x: torch.Tensor, h: torch.Tensor, w: torch.Tensor, a: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, int]:
        followed = self._followed
        for renew in (followed.latest is None, True):
            if renew:
                followed.renew(followed.split(x)[0])
            pairs, home = followed.latest
            if len(pairs) < SHORTEST:
                break
            y, far = self._kernel(h, x, w, *(() if a is None else (a,)), pairs.i, pairs.j, home)
            if far < followed.room:
                return y, y, self._evaluations
        return super()._step(x, h, w, a)


class _Listed:
    """A particle system whose pairs are given; it notes how far it is asked for a drift from where they were listed."""

    def __init__(self, system: ParticleSystem) -> None:
        self._system = system

    def __getattr__(self, name: str) -> object:
        return getattr(self._system, name)

    def hold(self, pairs: Pairs, home: torch.Tensor) -> None:
        self._pairs, self._home, self.far = pairs, home, []

    def drift(self, states: torch.Tensor) -> torch.Tensor:
        self.far.append(moved(self._system.split(states)[0], self._home, self._system.periods))
        return self._system.drift_with(states, self._pairs)


def pair_kernel(job: Job, make_method: MakeMethod, domain: Domain) -> tuple[PairKernel, int] | None:
    """The kernel of a step and its drift evaluations; made once for each system, solver and shape.

    None where the forces cannot be traced or the compiler fails: then eager steps do the same work.
    """
    return compiled_once(job, lambda: _compile(job, make_method, domain))


def _compile(job: Job, make_method: MakeMethod, domain: Domain) -> tuple[PairKernel, int] | None:
    from torch.fx.experimental.proxy_tensor import make_fx

    system = job.system
    listed = _Listed(system)
    method = make_method(listed)
    evaluations = 0

    def step(h: torch.Tensor, x: torch.Tensor, w: torch.Tensor, *rest: torch.Tensor) -> tuple[torch.Tensor, ...]:
        nonlocal evaluations
        *area, i, j, home = rest
        listed.hold(Pairs(i, j), home)
        y, _, evaluations = method(x, h, w, *(area or (None,)))
        return domain.restore(y), torch.stack(listed.far).amax()

    def arguments(pairs: int) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        x = system.draw_start("clustered", job.padded, generator, job.plan.torch_dtype)
        noise = [torch.zeros_like(x) for _ in range(1 + method.needs_area)]
        n = torch.arange(system.n_particles)
        i = torch.arange(pairs) % len(n)
        # beside each other, so that they do act, and by long steps
        home = system.split(x)[0]
        home[0] = torch.tensor(system.box.low).to(x)
        home[0, :, 0] += 0.3 * (system.cutoff or 1.0) * (n % 3)
        return [torch.ones((), dtype=x.dtype), x, *noise, i, (i + 1) % len(n), home.clone()]

    try:
        with torch.no_grad():
            inputs, others = arguments(8), arguments(13)
            graph = make_fx(step)(*inputs)
            for ends in inputs[-3:-1]:
                torch._dynamo.mark_dynamic(ends, 0)
            kernel = torch.compile(graph, fullgraph=True, options={"cpp.threads": 1})
            kernel(*inputs)
            if not torch.allclose(kernel(*others)[0], step(*others)[0], rtol=1e-5, atol=1e-6):
                raise ValueError("the pair force depends on the number of pairs")
    except Exception as error:
        log.warning("steps are not compiled (%s)", (str(error).splitlines() or [type(error).__name__])[0])
        return None
    return kernel, evaluations
