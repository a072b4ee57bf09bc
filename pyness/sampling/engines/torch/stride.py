"""A stride: a few fixed steps of a whole block, with the noise of all of them drawn at once."""

from __future__ import annotations

from typing import Protocol

import torch

from pyness.sampling.engines.torch.brownian import area
from pyness.sampling.engines.torch.domain import Domain
from pyness.sampling.engines.torch.methods import Method

__all__ = ["LENGTH", "EagerStride", "Stride"]

#: Steps of a stride: enough to spread the calls, few enough to stay in the cache.
LENGTH = 8


class Stride(Protocol):
    """Steps one block. Made once per block, since it owns the buffers and the generator."""

    def __call__(self, x: torch.Tensor, count: int, h: torch.Tensor) -> tuple[torch.Tensor, int]:
        """``x: (rows, d)`` after ``count <= LENGTH`` steps of length ``h``, and the drift evaluations they took."""
        ...

    def folded(self) -> tuple[torch.Tensor, torch.Tensor]:
        """``(n, d)`` unfolded states of the last call, all those outside the walls among them, and their rows."""
        ...


class EagerStride:
    """Operation by operation."""

    def __init__(self, x: torch.Tensor, method: Method, domain: Domain, generator: torch.Generator) -> None:
        self._method, self._domain, self._generator = method, domain, generator
        self._normals = torch.empty(LENGTH, 1 + method.needs_area, *x.shape, dtype=x.dtype, device=x.device)
        self._rows = torch.arange(x.shape[0], device=x.device).repeat(LENGTH)
        self._count = 0

    def __call__(self, x: torch.Tensor, count: int, h: torch.Tensor) -> tuple[torch.Tensor, int]:
        normals = self._normals[:count].normal_(generator=self._generator)
        w = normals[:, 0].mul_(torch.sqrt(h))
        a = area(h, normals[:, 1]) if self._method.needs_area else None
        evaluations = 0
        for k in range(count):
            x, y, used = self._step(x, h, w[k], a[k] if a is not None else None)
            # the noise is used up: its place keeps the state before it was folded
            w[k] = y
            evaluations += used
        self._count = count
        return x, evaluations

    def _step(
        self, x: torch.Tensor, h: torch.Tensor, w: torch.Tensor, a: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, int]:
        """The state after a step, the same before it was folded, and the drift evaluations it took."""
        y, _, used = self._method(x, h, w, a)
        return self._domain.restore(y), y, used

    def folded(self) -> tuple[torch.Tensor, torch.Tensor]:
        y = self._normals[: self._count, 0].flatten(0, 1)
        return y, self._rows[: y.shape[0]]
