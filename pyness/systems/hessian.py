"""The Hessian of ``U`` as a sparse matrix, for many products at places with one list of pairs."""

from __future__ import annotations

import warnings

import torch

from pyness.systems.neighbours import Pairs
from pyness.systems.particles import ParticleSystem

__all__ = ["Hessians"]


class Hessians:
    """Forces and Hessians at positions ``(n, N, d)`` whose interacting pairs are among those given."""

    def __init__(self, system: ParticleSystem, states: int, pairs: Pairs) -> None:
        self._system, self._pairs = system, pairs
        d = system.space_dim
        rows = states * system.n_particles
        # blocks are symmetric, and of a pair the same for both: each value is worked out once, and put where it belongs
        self._entries = [(a, b) for a in range(d) for b in range(a, d)]
        where = torch.zeros(d, d, dtype=torch.long)
        for k, (a, b) in enumerate(self._entries):
            where[a, b] = where[b, a] = k
        each = torch.arange(rows, device=pairs.i.device)
        number = torch.arange(len(pairs), device=each.device)
        axis, where = torch.arange(d, device=each.device), where.to(each.device)
        row, column, source = [], [], []
        first = len(self._entries) * rows
        for i, j, begin, item in (
            (each, each, 0, each),
            (pairs.i, pairs.j, first, number),
            (pairs.j, pairs.i, first, number),
        ):
            shape = (len(i), d, d)
            row.append((d * i[:, None, None] + axis[:, None]).expand(shape).flatten())
            column.append((d * j[:, None, None] + axis).expand(shape).flatten())
            source.append((begin + where * len(item) + item[:, None, None]).flatten())
        row, column, source = (torch.cat(parts) for parts in (row, column, source))
        order = torch.argsort(row * (rows * d) + column)
        self._columns, self._source = column[order], source[order]
        self._begin = torch.nn.functional.pad(torch.bincount(row, minlength=rows * d).cumsum(0), (1, 0))

    def at(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``-grad U: (n, N, d)`` and ``H: (n N d, n N d)``, sparse, at ``x: (n, N, d)``."""
        system, pairs, d = self._system, self._pairs, self._system.space_dim
        none = Pairs(pairs.i[:0], pairs.j[:0])
        force, own = torch.zeros_like(x), x.new_zeros(len(self._entries), x[..., 0].numel())
        if system.trap or system.external is not None:
            force, block = system.forces(x, none), system.own_curvature(x, none).reshape(-1, d, d)
            own = torch.stack([block[:, a, b] for a, b in self._entries])
        off = []
        if len(pairs):
            r, unit = system.distances(x, pairs)
            # backwards, not forwards as the system's own: a path takes this at each step, and a fifth less time
            with torch.enable_grad():
                r.requires_grad_()
                f = system.radial(r, pairs)
                (slope,) = torch.autograd.grad(f.sum(), r)
            r, f = r.detach(), f.detach()
            pushed = [
                x.new_zeros(own.shape[1]).index_add(0, pairs.i, f * e).index_add(0, pairs.j, -f * e) for e in unit
            ]
            force = force + torch.stack(pushed, dim=-1).reshape(x.shape)
            across = f / r
            stretch = slope - across
            for a, b in self._entries:
                each = stretch * unit[a] * unit[b]
                off.append(each + across if a == b else each)
            own = torch.stack(
                [v.index_add(0, pairs.i, -u).index_add(0, pairs.j, -u) for v, u in zip(own, off, strict=True)]
            )
        values = torch.cat([own.flatten(), *off]).index_select(0, self._source)
        size = x.numel()
        with warnings.catch_warnings():
            # torch says that sparse matrices are in a beta state
            warnings.simplefilter("ignore")
            return force, torch.sparse_csr_tensor(self._begin, self._columns, values, (size, size))
