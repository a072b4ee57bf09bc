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
        each = torch.arange(rows, device=pairs.i.device)
        # blocks on the diagonal, of each pair and of each pair turned round, entry by entry, and their places by row
        own, other = torch.cat([each, pairs.i, pairs.j]), torch.cat([each, pairs.j, pairs.i])
        axis = torch.arange(d, device=own.device)
        row = (d * own[:, None, None] + axis[:, None]).expand(-1, d, d).flatten()
        column = (d * other[:, None, None] + axis).expand(-1, d, d).flatten()
        self._order = torch.argsort(row * (rows * d) + column)
        self._columns = column[self._order]
        self._begin = torch.nn.functional.pad(torch.bincount(row, minlength=rows * d).cumsum(0), (1, 0))

    def at(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``-grad U: (n, N, d)`` and ``H: (n N d, n N d)``, sparse, at ``x: (n, N, d)``."""
        system, pairs, d = self._system, self._pairs, self._system.space_dim
        none = Pairs(pairs.i[:0], pairs.j[:0])
        if system.trap or system.external is not None:
            force, own = system.forces(x, none), system.own_curvature(x, none).reshape(-1, d, d)
        else:
            force, own = torch.zeros_like(x), x.new_zeros(x[..., 0].numel(), d, d)
        off = own[:0]
        if len(pairs):
            r, unit = system.distances(x, pairs)
            # backwards, not forwards as the system's own: a path takes this at each step, and a fifth less time
            with torch.enable_grad():
                r.requires_grad_()
                f = system.radial(r, pairs)
                (slope,) = torch.autograd.grad(f.sum(), r)
            r, f, e = r.detach(), f.detach(), torch.stack(unit, dim=-1)
            push = f.unsqueeze(-1) * e
            flat = force.reshape(-1, d).index_add(0, pairs.i, push).index_add(0, pairs.j, -push)
            force = flat.reshape(x.shape)
            across = f / r
            off = (slope - across)[:, None, None] * (e.unsqueeze(-1) * e.unsqueeze(-2))
            off = off + across[:, None, None] * torch.eye(d, dtype=x.dtype, device=x.device)
            own = own.index_add(0, pairs.i, -off).index_add(0, pairs.j, -off)
        values = torch.cat([own, off, off]).flatten()[self._order]
        size = x.numel()
        with warnings.catch_warnings():
            # torch says that sparse matrices are in a beta state
            warnings.simplefilter("ignore")
            return force, torch.sparse_csr_tensor(self._begin, self._columns, values, (size, size))
