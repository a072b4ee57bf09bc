"""Strides as one compiled loop over walkers.

An eager step of a small system is a score of passes over memory. Here a stride is traced, every coordinate becomes a
row of its own, so that the passes fuse whatever the drift does along its last dimension, and torch's inductor makes
one vectorised loop of them. The noise is drawn by ``normal_`` outside, which is faster than inside the loop.
"""

from __future__ import annotations

import logging
import shutil
import threading
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from pyness.sampling.engines import Job
from pyness.sampling.engines.torch.brownian import area
from pyness.sampling.engines.torch.domain import Domain
from pyness.sampling.engines.torch.methods import Method
from pyness.sampling.engines.torch.stride import LENGTH, EagerStride
from pyness.systems import System

__all__ = ["CompiledStride", "Kernel", "compiled_once", "compiled_stride", "pays"]

#: Walker-steps, of particles those of each of them, from which on faster steps repay the seconds that compiling takes.
WORTHWHILE = 100_000_000
MAX_DIM = 12

#: Takes the step, the state ``(d, rows)`` and the noise ``(LENGTH * channels * d, rows)``; returns the new state, how
#: far each row was moved by folds ``(rows,)``, and the unfolded states ``(LENGTH * d, rows)``.
Kernel = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor, torch.Tensor]]

aten = torch.ops.aten
# tracing and compiling use global state of torch
_ONE_AT_A_TIME = threading.Lock()
_KERNELS: weakref.WeakKeyDictionary[System, dict[tuple, tuple[Callable, int] | None]] = weakref.WeakKeyDictionary()
log = logging.getLogger("pyness")


def pays(job: Job, steps: int) -> bool:
    """Whether to compile for so many walker-steps.

    Decided by the size of the job and the presence of a compiler, never by the clock: it changes the last bits.
    """
    system, domain = job.system, job.system.domain
    if system.interacts:
        steps *= system.n_particles
    # how often a step is mirrored at linear walls depends on the state, and those refused are told apart one by one
    fits = (system.interacts or system.dim <= MAX_DIM) and not domain.axes("refuse") and not domain.walls
    fixed = not job.solver.adaptive and job.solver.name != "ImplicitEM"
    on_cpu = torch.device(job.plan.device).type == "cpu"
    return on_cpu and fits and fixed and steps >= WORTHWHILE and shutil.which("g++") is not None


def compiled_once(job: Job, make: Callable[[], tuple[Callable, int] | None]) -> tuple[Callable, int] | None:
    """What ``make`` returns, remembered for each system, solver and shape of a block."""
    key = (job.solver.name, job.solver.options.get("split", False), job.padded, job.plan.dtype)
    with _ONE_AT_A_TIME:
        known = _KERNELS.setdefault(job.system, {})
        if key not in known:
            known[key] = make()
        return known[key]


class CompiledStride:
    """Full strides by the kernel, what is left over eagerly."""

    def __init__(
        self,
        kernel: Kernel,
        evaluations: int,
        x: torch.Tensor,
        method: Method,
        domain: Domain,
        generator: torch.Generator,
    ) -> None:
        self._kernel, self._evaluations, self._generator = kernel, evaluations, generator
        self._eager = EagerStride(x, method, domain, generator)
        channels = (1 + method.needs_area) * x.shape[1]
        self._noise = torch.empty(LENGTH * channels, x.shape[0], dtype=x.dtype)
        self._dim = x.shape[1]
        self._last: tuple[torch.Tensor, torch.Tensor] | None = None

    def __call__(self, x: torch.Tensor, count: int, h: torch.Tensor) -> tuple[torch.Tensor, int]:
        if count < LENGTH:
            self._last = None
            return self._eager(x, count, h)
        self._noise.normal_(generator=self._generator)
        x, touched, y = self._kernel(h, x.T.contiguous(), self._noise)
        self._last = (touched, y)
        return x.T, self._evaluations

    def folded(self) -> tuple[torch.Tensor, torch.Tensor]:
        if self._last is None:
            return self._eager.folded()
        touched, y = self._last
        rows = torch.nonzero(touched).flatten()
        y = y[:, rows].reshape(LENGTH, self._dim, -1).transpose(1, 2).flatten(0, 1)
        return y, rows.repeat(LENGTH)


def compiled_stride(job: Job, method: Method, domain: Domain) -> tuple[Kernel, int] | None:
    """The kernel of a job and the drift evaluations of its stride; made once for each system, method and shape.

    None where the drift cannot be traced or the compiler fails: then eager strides do the same work.
    """
    x = torch.zeros(job.padded, job.system.dim, dtype=job.plan.torch_dtype) + domain.low
    return compiled_once(job, lambda: _compile(method, domain, x))


def _compile(method: Method, domain: Domain, x: torch.Tensor) -> tuple[Kernel, int] | None:
    """For blocks of the shape of ``x: (rows, d)``."""
    import torch._inductor
    from torch.fx.experimental.proxy_tensor import make_fx

    channels, dim = 1 + method.needs_area, x.shape[1]
    evaluations = 0

    def stride(h: torch.Tensor, x: torch.Tensor, normals: torch.Tensor) -> tuple[torch.Tensor, ...]:
        nonlocal evaluations
        evaluations = 0
        state = torch.stack(x.unbind(0), dim=-1)
        noise = [torch.stack(normals[i : i + dim].unbind(0), dim=-1) for i in range(0, len(normals), dim)]
        touched, unfolded = None, []
        for k in range(0, len(noise), channels):
            a = area(h, noise[k + 1]) if method.needs_area else None
            y, _, used = method(state, h, torch.sqrt(h) * noise[k], a)
            evaluations += used
            state = domain.restore(y)
            unfolded += y.unbind(-1)
            moved = sum((y - state).abs().unbind(-1)) if domain.walled else torch.zeros_like(x[0])
            touched = moved if touched is None else touched + moved
        return torch.stack(state.unbind(-1)), touched, torch.stack(unfolded)

    normals = torch.zeros(LENGTH * channels * dim, x.shape[0], dtype=x.dtype)
    inputs = [torch.tensor(1e-3, dtype=x.dtype), x.T.contiguous(), normals]
    try:
        with torch.no_grad():
            graph = make_fx(stride)(*inputs)
            by_row = make_fx(lambda *values: _ByRow(graph).run(*values))(*inputs)
            kernel = torch._inductor.compile(by_row, inputs, options={"cpp.threads": 1})
            kernel(*inputs)
    except Exception as error:
        log.warning("steps are not compiled (%s)", (str(error).splitlines() or [type(error).__name__])[0])
        return None
    return kernel, evaluations


class _Rows(list):
    """A tensor ``(rows, d)`` as its ``d`` columns."""

    def whole(self) -> torch.Tensor:
        return torch.stack(tuple(self), dim=-1)


class _ByRow(fx.Interpreter):
    """Runs a graph with every ``(rows, d)`` tensor that was stacked from columns kept as those columns.

    Pointwise operations go column by column, selections pick one; whatever else there is gets the tensor itself.
    """

    def call_function(self, target: Any, args: tuple, kwargs: dict) -> Any:
        if target is aten.stack.default and _last(args[1] if len(args) > 1 else 0, args[0][0].ndim):
            return _Rows(args[0])
        width = next((len(a) for a in args if isinstance(a, _Rows)), None)
        if width is None:
            return super().call_function(target, _wholes(args), kwargs)
        if torch.Tag.pointwise in getattr(target, "tags", ()) and all(_fits(a, width) for a in args):
            return _Rows(target(*(_column(a, i) for a in args), **kwargs) for i in range(width))
        if target is aten.select.int and _last(args[1], 1):
            return args[0][args[2]]
        if target is aten.unbind.int and len(args) > 1 and _last(args[1], 1):
            return list(args[0])
        if target is aten.flip.default and len(args[1]) == 1 and _last(args[1][0], 1):
            return _Rows(reversed(args[0]))
        return super().call_function(target, _wholes(args), kwargs)


def _last(dim: int, ndim: int) -> bool:
    return dim in (-1, ndim)


def _fits(value: Any, width: int) -> bool:
    """Whether a pointwise operation can take this argument column by column."""
    if isinstance(value, torch.Tensor):
        return value.ndim == 0 or value.shape[-1] in (1, width)
    return not isinstance(value, (list, tuple)) or (isinstance(value, _Rows) and len(value) == width)


def _column(value: Any, index: int) -> Any:
    if isinstance(value, _Rows):
        return value[index]
    if isinstance(value, torch.Tensor) and value.ndim:
        return value[..., index if value.shape[-1] > 1 else 0]
    return value


def _wholes(value: Any) -> Any:
    if isinstance(value, _Rows):
        return value.whole()
    return type(value)(_wholes(v) for v in value) if isinstance(value, (list, tuple)) else value
