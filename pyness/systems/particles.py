"""``ParticleSystem``: interacting active particles, a ``System`` wherever one is asked for.

Conventions of active_matter.md, sections 1 and 2: state ``(x, g)`` flat, all positions first, then all activities.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from pyness.errors import InputError, SystemDefinitionError
from pyness.systems.activity import Activity
from pyness.systems.box import Box
from pyness.systems.neighbours import Pairs, all_pairs, close_pairs, minimum_image
from pyness.systems.particle_checks import (
    STARTS,
    check_box,
    check_forces,
    check_numbers,
    check_parts,
    conservative,
    labels_of,
)
from pyness.systems.system import System
from pyness.systems.truth import Truth

__all__ = ["ParticleSystem"]

#: Two particles nearer than this share of the cutoff are at one place as far as single precision can tell.
COINCIDENT = 1e-6

Radial = Callable[..., torch.Tensor]


class ParticleSystem(System):
    """``dx_i = [sum_j f(r_ij) e_ij - A x_i + F_ext(x_i) + u(g_i)] dt + sqrt(2 eps) dW``, with its activity ``g``.

    ``e_ij`` points from ``j`` to ``i``; ``f > 0`` repels; ``u`` is the velocity that the activity gives
    (active_matter.md, section 2).

    Args:
        name: what the system is called.
        n_particles, space_dim: ``N`` and ``d``.
        activity: an ``OrnsteinUhlenbeckActivity`` or a ``RotatingActivity``.
        noise: ``eps``, translational diffusion; 0 leaves the positions without noise of their own.
        pair_force: ``f``, a torch function of the distance ``(pairs,)``; with ``species``, of distance and the labels
            ``(pairs,)`` of both.
        cutoff: distance from which ``f`` is taken as 0, to which it must have fallen; None where every pair interacts.
        trap: ``A``, stiffness of a harmonic trap about the origin of an open box.
        external: a force on each particle, ``(..., d) -> (..., d)``, of the box's period; a gradient or not (a tilt
            that drives particles round a ring).
        box: a ``Box`` of ``d`` coordinates, periodic or open; where it is open it is only where particles start.
        species: ``(N,)`` whole numbers of at least 0.
        start: ``"uniform"`` or ``"clustered"``, what ``sample`` begins with unless told.
        parameters, solver, plan, truth, source: as for ``System``.

    Attributes:
        conservative: whether forces are minus the gradient of an energy ``U``; what is derived from ``U`` alone, the
            score of equilibrium before all, exists only then. In names and formulas ``-lap U`` is the divergence of
            the forces, and its Hessian minus their Jacobian, for others too.

    Raises:
        SystemDefinitionError: no particle, numbers out of range, a cutoff larger than half the box, a reflecting box,
            a trap in a periodic one, functions that do not fit, a pair force that jumps at its cutoff.
    """

    def __init__(
        self,
        name: str,
        n_particles: int,
        space_dim: int,
        activity: Activity,
        noise: float = 0.0,
        *,
        pair_force: Radial | None = None,
        cutoff: float | None = None,
        trap: float = 0.0,
        external: Callable[[torch.Tensor], torch.Tensor] | None = None,
        box: Box | None = None,
        species: Sequence[int] | None = None,
        start: str = "uniform",
        parameters: Mapping[str, Any] | None = None,
        solver: str | None = None,
        plan: Mapping[str, Any] | None = None,
        truth: Truth | None = None,
        source: str = "",
    ) -> None:
        check_parts(activity, box)
        check_numbers(n_particles=n_particles, space_dim=space_dim, noise=noise, trap=trap, cutoff=cutoff)
        self.n_particles, self.space_dim = n_particles, space_dim
        self.activity, self.noise, self.trap = activity, float(noise), float(trap)
        self.pair_force, self.cutoff, self.external = pair_force, cutoff, external
        self.box = box or Box([-1.0] * space_dim, [1.0] * space_dim, "open")
        self.species = None if species is None else labels_of(species, n_particles)
        self.start = start
        check_box(self)
        self.activity_dim = activity.components(space_dim)
        domain = Box(
            list(self.box.low) * n_particles + [activity.low] * (n_particles * self.activity_dim),
            list(self.box.high) * n_particles + [activity.high] * (n_particles * self.activity_dim),
            list(self.box.boundary) * n_particles + [activity.boundary] * (n_particles * self.activity_dim),
        )
        diffusion = torch.cat(
            [
                torch.full((n_particles * space_dim,), self.noise, dtype=torch.float64),
                torch.full((n_particles * self.activity_dim,), activity.rate, dtype=torch.float64),
            ]
        )
        super().__init__(
            name, diffusion.numel(), self._flat_drift, diffusion, domain, self._coordinates(), parameters=parameters,
            solver=solver, plan=plan, truth=truth, source=source,
        )  # fmt: skip

    def _coordinates(self) -> list[str]:
        space = self.axes
        own = [f"g{space[k]}" for k in range(self.activity_dim)] if self.activity.name == "ou" else ["theta"]
        if self.space_dim == 1:
            own = ["g"]
        if self.n_particles == 1:
            return [*space, *own]
        return [f"{c}{i + 1}" for names in (space, own) for i in range(self.n_particles) for c in names]

    def _validate(self) -> None:
        """The forces at a few random configurations; what ``System`` asks of a free drift holds by construction."""
        x, g = self.split(self.draw_start("uniform", 2, torch.Generator().manual_seed(0), torch.float64))
        check_forces(self, x)
        drift = self.drift(self.join(x, g))
        if not bool(torch.isfinite(drift).all()):
            raise SystemDefinitionError("the drift is not finite at a random configuration", "mend the forces")
        self.conservative = self.external is None or conservative(self.external, self.box)

    @property
    def interacts(self) -> bool:
        """Whether particles act on each other."""
        return self.pair_force is not None and self.n_particles > 1

    # states ---------------------------------------------------------------------------------------------------------

    @property
    def periods(self) -> tuple[float | None, ...]:
        """Period of each coordinate, None where it is open."""
        kinds = zip(self.box.boundary, self.box.width, strict=True)
        return tuple(width if kind == "periodic" else None for kind, width in kinds)

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the ``d`` coordinates of space."""
        return tuple("xyz"[: self.space_dim]) if self.space_dim <= 3 else tuple(f"x{k}_" for k in range(self.space_dim))

    @property
    def volume(self) -> float | None:
        """Of the periodic box; None in open space."""
        if None in self.periods:
            return None
        return float(torch.tensor(self.box.width, dtype=torch.float64).prod())

    def split(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions ``(..., N, d)`` and activities ``(..., N, components)``, views of ``states: (..., dim)``."""
        cut = self.n_particles * self.space_dim
        x = states[..., :cut].unflatten(-1, (self.n_particles, self.space_dim))
        return x, states[..., cut:].unflatten(-1, (self.n_particles, self.activity_dim))

    def join(self, x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        """The flat state ``(..., dim)`` of positions and activities."""
        return torch.cat([x.flatten(-2), g.flatten(-2)], dim=-1)

    def draw_start(
        self, kind: str, count: int, generator: torch.Generator | None = None, dtype: torch.dtype | None = None
    ) -> torch.Tensor:
        """``(count, dim)`` start states: positions uniform over the box or in one blob, activities stationary.

        ``"clustered"`` is a Gaussian of a quarter of the box's width, wrapped round, which seeds a dense phase. Discs
        overlap in either.

        Raises:
            InputError: another kind.
        """
        if kind not in STARTS:
            raise InputError(f"start is {kind!r}", f"give {' or '.join(map(repr, STARTS))}")
        dtype = dtype or torch.get_default_dtype()
        shape = (count, self.n_particles, self.space_dim)
        low = torch.tensor(self.box.low, dtype=dtype)
        width = torch.tensor(self.box.width, dtype=dtype)
        if kind == "uniform":
            unit = torch.rand(shape, generator=generator, dtype=dtype)
        else:
            unit = 0.5 + 0.25 * torch.randn(shape, generator=generator, dtype=dtype)
            periodic = torch.tensor([p is not None for p in self.periods])
            unit = torch.where(periodic, unit - torch.floor(unit), unit)
        g = self.activity.draw((count, self.n_particles, self.activity_dim), generator, dtype)
        return self.join(low + width * unit, g)

    def check_states(self, x: Any) -> torch.Tensor:
        """As ``System.check_states``; two particles at one place are refused too.

        Raises:
            InputError: another number of particles, NaN, a position outside the box, coincident particles.
        """
        states = torch.as_tensor(x) if not isinstance(x, torch.Tensor) else x
        if states.ndim >= 1 and states.shape[-1] != self.dim:
            each = self.space_dim + self.activity_dim
            count = f"{states.shape[-1] / each:g} particles"
            raise InputError(
                f"states have shape {tuple(states.shape)}, which is {count}, but system {self.name!r} has "
                f"{self.n_particles} ({self.dim} coordinates)",
                "give states of this system, or a system of that many particles",
            )
        states = super().check_states(states)
        if self.n_particles > 1 and self.cutoff is not None:
            flat = self.split(states.reshape(-1, self.dim))[0]
            for part in flat.split(max(1, (1 << 18) // self.n_particles)):
                apart = self.nearest(part.double())
                if apart < COINCIDENT * self.cutoff:
                    raise InputError(f"two particles are {apart:.3g} apart", "start them at different places")
        return states

    # forces ---------------------------------------------------------------------------------------------------------

    def pairs(self, x: torch.Tensor) -> Pairs:
        """The interacting pairs of configurations ``x: (batch, N, d)``."""
        x = x.detach()
        if self.cutoff is None:
            return all_pairs(x.shape[0], self.n_particles, x.device)
        return close_pairs(x, self.periods, self.cutoff)

    def nearest(self, x: torch.Tensor) -> float:
        """Distance of the two particles nearest to each other in ``x: (batch, N, d)``; infinite beyond the cutoff."""
        r = self.distances(x, self.pairs(x))[0]
        return r.min().item() if len(r) else math.inf

    def distances(self, x: torch.Tensor, pairs: Pairs) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Distance ``(pairs,)`` and the ``d`` components of the unit vector from ``j`` to ``i``.

        Particles at one place have distance 0, unit vector 0, and finite derivatives.
        """
        parts, square = [], 0.0
        for column, period in zip(x.reshape(-1, self.space_dim).unbind(-1), self.periods, strict=True):
            column = column.contiguous()
            d = minimum_image(column.index_select(0, pairs.i) - column.index_select(0, pairs.j), period)
            parts.append(d)
            square = square + d * d
        r = torch.sqrt(square.clamp_min(1e-30))
        return r, [d / r for d in parts]

    def radial(self, r: torch.Tensor, pairs: Pairs | None = None) -> torch.Tensor:
        """``f`` at the distances of ``pairs``, 0 beyond the cutoff."""
        if self.species is None:
            f = self.pair_force(r)
        else:
            label = self.species.to(r.device)
            i, j = (0, 0) if pairs is None else (pairs.i % self.n_particles, pairs.j % self.n_particles)
            f = self.pair_force(r, label[i], label[j])
        return f if self.cutoff is None else torch.where(r < self.cutoff, f, 0.0)

    def pair_forces(self, r: torch.Tensor) -> torch.Tensor:
        """``f`` at the distances ``r: (n,)`` for each two species, ``(couples, n)``."""
        if self.species is None:
            return self.pair_force(r).unsqueeze(0)
        labels = self.species.unique()
        couples = itertools.product(labels, labels)
        return torch.stack([self.pair_force(r, a.expand(len(r)), b.expand(len(r))) for a, b in couples])

    def _radial_slope(self, r: torch.Tensor, pairs: Pairs) -> tuple[torch.Tensor, torch.Tensor]:
        """``f`` and ``f'``."""
        return torch.func.jvp(lambda s: self.radial(s, pairs), (r,), (torch.ones_like(r),))

    def _gathered(self, x: torch.Tensor, pairs: Pairs, columns: list[torch.Tensor]) -> torch.Tensor:
        """Antisymmetric pair values, ``d`` columns ``(pairs,)``, summed onto the particles of ``x``."""
        zero = torch.zeros(x.shape[0] * self.n_particles, dtype=x.dtype, device=x.device)
        summed = [zero.scatter_add(0, pairs.i, c).scatter_add(0, pairs.j, -c) for c in columns]
        return torch.stack(summed, dim=-1).reshape(x.shape)

    def forces(self, x: torch.Tensor, pairs: Pairs | None = None) -> torch.Tensor:
        """Pair forces, trap and external force on ``x: (batch, N, d)``, ``(batch, N, d)``: ``-grad U`` if conservative.

        Args:
            pairs: all pairs nearer than the cutoff, and maybe others; searched for if not given.
        """
        total = None
        if self.interacts:
            pairs = self.pairs(x) if pairs is None else pairs
            r, unit = self.distances(x, pairs)
            f = self.radial(r, pairs)
            total = self._gathered(x, pairs, [f * e for e in unit])
        if self.trap:
            total = -self.trap * x if total is None else total - self.trap * x
        if self.external is not None:
            force = self.external(x)
            total = force if total is None else total + force
        return torch.zeros_like(x) if total is None else total

    def laplacian(self, x: torch.Tensor, pairs: Pairs | None = None) -> torch.Tensor:
        """``lap_i U``, the Laplacian over the position of each particle of ``x: (batch, N, d)``, ``(batch, N)``.

        Each neighbour gives ``-f'(r) - (d - 1) f(r) / r`` (active_matter.md, section 2).
        """
        total = torch.full(x.shape[:-1], self.trap * self.space_dim, dtype=x.dtype, device=x.device)
        if self.interacts:
            pairs = self.pairs(x) if pairs is None else pairs
            r, _ = self.distances(x, pairs)
            f, slope = self._radial_slope(r, pairs)
            each = -slope - (self.space_dim - 1) * f / r
            zero = torch.zeros(x.shape[0] * self.n_particles, dtype=x.dtype, device=x.device)
            total = total + zero.scatter_add(0, pairs.i, each).scatter_add(0, pairs.j, each).reshape(total.shape)
        if self.external is not None:
            for axis in range(self.space_dim):
                direction = torch.zeros_like(x)
                direction[..., axis] = 1.0
                total = total - torch.func.jvp(self.external, (x,), (direction,))[1][..., axis]
        return total

    def curvature(self, x: torch.Tensor, u: torch.Tensor, pairs: Pairs | None = None) -> torch.Tensor:
        """The Hessian of ``U`` times ``u``: both ``(batch, N, d)``, as the result."""
        total = self.trap * u
        if self.interacts:
            pairs = self.pairs(x) if pairs is None else pairs
            r, unit = self.distances(x, pairs)
            f, slope = self._radial_slope(r, pairs)
            columns = [c.contiguous() for c in u.reshape(-1, self.space_dim).unbind(-1)]
            du = [c.index_select(0, pairs.i) - c.index_select(0, pairs.j) for c in columns]
            along = sum(e * d for e, d in zip(unit, du, strict=True))
            across = f / r
            stretch = (slope - across) * along
            total = total - self._gathered(x, pairs, [stretch * e + across * d for e, d in zip(unit, du, strict=True)])
        if self.external is not None:
            total = total - torch.func.jvp(self.external, (x,), (u,))[1]
        return total

    def own_curvature(self, x: torch.Tensor, pairs: Pairs | None = None) -> torch.Tensor:
        """``d^2 U / dx_i dx_i`` of each particle of ``x: (batch, N, d)``, ``(batch, N, d, d)``."""
        d = self.space_dim
        total = self.trap * torch.eye(d, dtype=x.dtype, device=x.device).expand(*x.shape, d)
        if self.interacts:
            pairs = self.pairs(x) if pairs is None else pairs
            r, unit = self.distances(x, pairs)
            f, slope = self._radial_slope(r, pairs)
            zero = torch.zeros(x.shape[0] * self.n_particles, dtype=x.dtype, device=x.device)
            entries = []
            for a in range(d):
                for b in range(d):
                    each = (f / r - slope) * unit[a] * unit[b] - (f / r if a == b else 0.0)
                    entries.append(zero.scatter_add(0, pairs.i, each).scatter_add(0, pairs.j, each))
            total = total + torch.stack(entries, dim=-1).reshape(*x.shape, d)
        if self.external is not None:
            for axis in range(d):
                direction = torch.zeros_like(x)
                direction[..., axis] = 1.0
                column = torch.func.jvp(self.external, (x,), (direction,))[1]
                total = total - torch.stack([column if b == axis else 0 * column for b in range(d)], dim=-1)
        return total

    # what a System answers ------------------------------------------------------------------------------------------

    def _flat_drift(self, states: torch.Tensor) -> torch.Tensor:
        return self.drift_with(states, None)

    def drift_with(self, states: torch.Tensor, pairs: Pairs | None) -> torch.Tensor:
        """``F`` at ``states: (..., dim)``, with pairs found elsewhere."""
        x, g = self.split(states.reshape(-1, self.dim))
        return self.join(self.forces(x, pairs) + self.activity.push(g), self.activity.drift(g)).reshape(states.shape)

    def drift_divergence(self, x: torch.Tensor) -> torch.Tensor:
        """``div F = -lap U + N div_{g_i} F_g``, ``(...,)``, in closed form."""
        positions = self.split(x.reshape(-1, self.dim))[0]
        own = self.n_particles * self.activity.divergence(self.activity_dim)
        return (own - self.laplacian(positions).sum(-1)).reshape(x.shape[:-1])

    def drift_and_divergence(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``F: (..., dim)`` and ``div F: (...,)``; the neighbours are searched for once."""
        states = x.reshape(-1, self.dim)
        positions = self.split(states)[0]
        pairs = self.pairs(positions) if self.interacts else None
        own = self.n_particles * self.activity.divergence(self.activity_dim)
        div = own - self.laplacian(positions, pairs).sum(-1)
        return self.drift_with(states, pairs).reshape(x.shape), div.reshape(x.shape[:-1])

    @property
    def fluctuation_scale(self) -> torch.Tensor:
        """``(dim,)``: how far noise moves a coordinate before the drift answers; what tolerances are relative to.

        1 for the activity. For a position the persistence length, at most a tenth of the cutoff: the scale on which
        a pair force changes.
        """
        length = self.activity.speed / self.activity.rate + (self.noise / self.activity.rate) ** 0.5
        if self.cutoff is not None:
            length = min(length, 0.1 * self.cutoff)
        own = self.n_particles * self.activity_dim
        return torch.cat(
            [torch.full((self.dim - own,), length, dtype=torch.float64), torch.ones(own, dtype=torch.float64)]
        )

    def to_dict(self) -> dict[str, Any]:
        """What files record; the coordinates follow from the number of particles."""
        return {
            "name": self.name,
            "dim": self.dim,
            "particles": self.n_particles,
            "space_dim": self.space_dim,
            "activity": {"kind": self.activity.name, "speed": self.activity.speed, "rate": self.activity.rate},
            "noise": self.noise,
            "trap": self.trap,
            "cutoff": self.cutoff,
            "pair_force": self._told_forces(),
            "species": None if self.species is None else self.species.tolist(),
            "parameters": self.parameters,
            "domain": self.box.to_dict(),
            "source": self.source,
        }

    def _told_forces(self) -> list[float] | None:
        """The pair force at a few distances, for each two species: what tells functions apart in files."""
        if self.pair_force is None:
            return None
        r = (self.cutoff or 1.0) * torch.tensor([0.25, 0.5, 0.75, 0.95], dtype=torch.float64)
        return [float(f"{f:.6g}") for f in self.pair_forces(r).flatten().tolist()]
