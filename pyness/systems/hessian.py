"""The Hessian of ``U`` as a sparse matrix, for many products at places with one list of pairs."""

from __future__ import annotations

import warnings

import torch

from pyness.systems.neighbours import Pairs
from pyness.systems.particles import ParticleSystem

__all__ = ["Hessians"]


class Hessians:
    """Forces and Hessians at positions ``(n, N, d)`` whose interacting pairs are among those given.

    Args:
        core: pairs nearer than this push across their direction as if they were so far apart.
    """

    def __init__(self, system: ParticleSystem, states: int, pairs: Pairs, core: float = 0.0) -> None:
        self._system, self._pairs, self._core = system, pairs, core
        d = system.space_dim
        rows = states * system.n_particles
        # blocks are symmetric, and of a pair the same for both: each value is worked out once, and put where it belongs
        self._entries = [(a, b) for a in range(d) for b in range(a, d)]
        which = torch.zeros(d, d, dtype=torch.long, device=pairs.i.device)
        for k, (a, b) in enumerate(self._entries):
            which[a, b] = which[b, a] = k
        each = torch.arange(rows, device=which.device)
        number = rows + torch.arange(len(pairs), device=which.device)
        i, j = torch.cat([each, pairs.i, pairs.j]), torch.cat([each, pairs.j, pairs.i])
        order = torch.argsort(i)
        i, j, item = i[order], j[order], torch.cat([each, number, number])[order]
        held = torch.bincount(i, minlength=rows)
        first = held.cumsum(0) - held
        # the d rows of a particle follow each other, in each of them the blocks of its neighbours
        axis = torch.arange(d, device=which.device)
        place = d * (torch.arange(len(i), device=which.device) + (d - 1) * first[i])
        place = place[:, None, None] + (d * held[i])[:, None, None] * axis[:, None] + axis
        # products with shorter indices are a third faster
        self._columns = torch.empty(place.numel(), dtype=torch.int32, device=which.device)
        self._columns[place] = (d * j[:, None, None] + axis).int().expand(place.shape)
        self._source = torch.empty(place.numel(), dtype=torch.long, device=which.device)
        self._source[place] = which * (rows + len(pairs)) + item[:, None, None]
        begin = (d * held).repeat_interleave(d).cumsum(0)
        self._begin = torch.nn.functional.pad(begin, (1, 0)).int()

    def at(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``-grad U: (n, N, d)`` and ``H: (n N d, n N d)``, sparse, at ``x: (n, N, d)``."""
        system, pairs, d = self._system, self._pairs, self._system.space_dim
        none = Pairs(pairs.i[:0], pairs.j[:0])
        force, own = torch.zeros_like(x), x.new_zeros(len(self._entries), x[..., 0].numel())
        if system.trap or system.external is not None:
            force, block = system.forces(x, none), system.own_curvature(x, none).reshape(-1, d, d)
            own = torch.stack([block[:, a, b] for a, b in self._entries])
        values = own
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
            across = f / r.clamp_min(self._core)
            stretch = slope - across
            off = []
            for a, b in self._entries:
                each = stretch * unit[a] * unit[b]
                off.append(each + across if a == b else each)
            own = [v.index_add(0, pairs.i, -u).index_add(0, pairs.j, -u) for v, u in zip(own, off, strict=True)]
            values = torch.cat([v for entry in zip(own, off, strict=True) for v in entry])
        values = values.flatten().index_select(0, self._source)
        size = x.numel()
        with warnings.catch_warnings():
            # torch says that sparse matrices are in a beta state
            warnings.simplefilter("ignore")
            return force, torch.sparse_csr_tensor(self._begin, self._columns, values, (size, size))
