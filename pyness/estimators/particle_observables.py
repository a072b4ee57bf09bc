"""Test functions for many particles: averages over particles, whose number does not grow with the system."""

from __future__ import annotations

import math

import torch

from pyness.systems import ParticleSystem

__all__ = ["ParticleObservables"]


class ParticleObservables:
    """Permutation-invariant test functions ``g_k`` with the action of the generator in closed form.

    Of the activity its square (a heading: its cosine); in a periodic box the first density modes and their squares,
    which see clusters; in open space ``|x|^2``, that of the centre of mass, and ``x . g``; the number of contacts
    ``sum_ij (1 - r^2/c^2)^3`` within the cutoff; and, of conservative forces, the energy ``U``, whose generator needs
    the forces only.

    Attributes:
        names: of the functions, the energy last; ``values`` leaves it out, since only its derivatives are known.
    """

    def __init__(self, system: ParticleSystem) -> None:
        self.system = system
        ou = system.activity.name == "ou"
        self.names = ["|g|^2" if ou else "cos(theta)"]
        for axis, period in enumerate(system.periods):
            if period is not None:
                name = system.axes[axis]
                self.names += [f"cos({name})", f"sin({name})", f"|density mode {name}|^2"]
        self.open = [axis for axis, period in enumerate(system.periods) if period is None]
        if self.open:
            self.names += ["|x|^2", "|centre|^2"] + (["x.g"] if ou else [])
        self.contacts = system.cutoff is not None and system.interacts
        if self.contacts:
            self.names.append("contacts")
        if system.conservative:
            self.names.append("energy")

    def __len__(self) -> int:
        return len(self.names)

    def values(self, states: torch.Tensor) -> torch.Tensor:
        """``(n, k)`` at ``states: (n, dim)``, without the energy."""
        return self._evaluate(states, values=True)

    def linear(self, states: torch.Tensor) -> torch.Tensor:
        """``(n, 0)``: no coordinate of a single particle is among the functions."""
        return states[:, :0]

    def generator(self, system: ParticleSystem, states: torch.Tensor) -> torch.Tensor:
        """``(n, k)``: ``L g`` at ``states: (n, dim)``."""
        return self._evaluate(states, values=False)

    def _evaluate(self, states: torch.Tensor, values: bool) -> torch.Tensor:
        system, eps = self.system, self.system.noise
        x, g = system.split(states)
        n = system.n_particles
        pairs = system.pairs(x) if system.interacts else None
        force = None if values else system.forces(x, pairs)
        drift = None if values else force + system.activity.push(g)
        columns = [self._activity(g, values)]
        for axis, period in enumerate(system.periods):
            if period is not None:
                columns += self._modes(x[..., axis], None if values else drift[..., axis], period, values)
        if self.open:
            y, z = x[..., self.open], None if values else drift[..., self.open]
            columns += self._spread(y, z, g[..., self.open] if system.activity.name == "ou" else None, values)
        if self.contacts:
            columns.append(self._contacts(x, drift, pairs, values))
        if not values and system.conservative:
            energy = -(force * drift).sum((-1, -2)) + eps * system.laplacian(x, pairs).sum(-1)
            columns.append(energy / n)
        return torch.stack(columns, dim=-1)

    def _activity(self, g: torch.Tensor, values: bool) -> torch.Tensor:
        rate = self.system.activity.rate
        if self.system.activity.name != "ou":
            return torch.cos(g).mean((-1, -2)) * (1 if values else -rate)
        square = g.square().sum(-1).mean(-1)
        return square if values else 2 * rate * (g.shape[-1] - square)

    def _modes(self, x: torch.Tensor, drift: torch.Tensor | None, period: float, values: bool) -> list[torch.Tensor]:
        k, n, eps = 2 * math.pi / period, self.system.n_particles, self.system.noise
        c, s = torch.cos(k * x), torch.sin(k * x)
        C, S = c.sum(-1), s.sum(-1)
        if values:
            return [C / n, S / n, (C * C + S * S) / n]
        plain = [
            (-k * s * drift - eps * k * k * c).sum(-1) / n,
            (k * c * drift - eps * k * k * s).sum(-1) / n,
        ]
        slope = (2 * k / n) * (S.unsqueeze(-1) * c - C.unsqueeze(-1) * s)
        square = (slope * drift).sum(-1) + eps * (2 * k * k / n) * (n - C * C - S * S)
        return [*plain, square]

    def _spread(
        self, x: torch.Tensor, drift: torch.Tensor | None, g: torch.Tensor | None, values: bool
    ) -> list[torch.Tensor]:
        d, n, eps = x.shape[-1], self.system.n_particles, self.system.noise
        middle = x.mean(-2)
        if values:
            out = [x.square().sum(-1).mean(-1), middle.square().sum(-1)]
            return out if g is None else [*out, (x * g).sum(-1).mean(-1)]
        out = [
            2 * (x * drift).sum(-1).mean(-1) + 2 * eps * d,
            2 * (middle * drift.mean(-2)).sum(-1) + 2 * eps * d / n,
        ]
        return out if g is None else [*out, ((drift - self.system.activity.rate * x) * g).sum(-1).mean(-1)]

    def _contacts(self, x: torch.Tensor, drift: torch.Tensor | None, pairs, values: bool) -> torch.Tensor:
        system = self.system
        c, d, n = system.cutoff, system.space_dim, system.n_particles
        r, unit = system.distances(x, pairs)
        room = (1 - (r / c) ** 2).clamp_min(0)
        if values:
            each = room**3
        else:
            slope, bend = -6 * r / c**2 * room**2, -6 / c**2 * room**2 + 24 * r**2 / c**4 * room
            columns = drift.reshape(-1, d).unbind(-1)
            along = sum(e * (v[pairs.i] - v[pairs.j]) for e, v in zip(unit, columns, strict=True))
            each = slope * along + 2 * system.noise * (bend + (d - 1) * slope / r)
        return torch.zeros(len(x), dtype=x.dtype, device=x.device).index_add_(0, pairs.i // n, each) / n
