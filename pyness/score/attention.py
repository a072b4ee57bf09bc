"""The default particle network: attention over neighbours within a smooth cutoff, exact in its symmetries.

Vectors (activities, forces, velocities, directions to neighbours) are combined with coefficients that depend on
invariants only, so the score turns and reflects with the configuration; it depends on differences of positions, on sums
over neighbours that fade out smoothly, and on nothing that numbers the particles. What a particle learns of its
neighbours does not contain its own activity, so ``div_{g_i} s_{g_i}`` is exact with one derivative of the readout per
component, for all particles at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from pyness.errors import InputError
from pyness.sampling import Samples
from pyness.score.probing import position_terms
from pyness.score.shift import shift_with_terms
from pyness.systems import ParticleSystem
from pyness.systems.neighbours import Pairs, all_pairs, close_pairs

__all__ = ["AttentionScore"]

RADIAL, KINDS, TENSORS = 16, 6, 4
#: Reach of the network where no radius is given, in cutoffs of the pair force: about a dozen neighbours.
REACH = 1.25
#: Reach of what is told by distance where particles see all others.
FAR = 6.0


@dataclass(frozen=True)
class Context:
    """What the readout of each particle gets besides its own activity; rows are the particles of all configurations.

    Attributes:
        invariants: ``(rows, hidden)``.
        vectors: ``(rows, channels, d)``, sums over neighbours, and own vectors without the own activity.
        tensors: ``(rows, n, d, d)``, matrices that act on the own activity.
    """

    invariants: torch.Tensor
    vectors: torch.Tensor
    tensors: torch.Tensor


class AttentionScore(nn.Module):
    """``s = shift + m`` with ``m`` from attention over the particles within ``radius``.

    Args:
        radius: reach of the network; at most half the box. Every particle sees every other where the system has no
            cutoff and none is given.
        channels: vector channels of each kind of message.
        hidden, width: of the messages and of the readout.
        equivariant: exact under rotations and reflections; otherwise only under translations and permutations.

    Raises:
        InputError: a radius larger than half the box.
    """

    #: Names of the sizes of what is returned.
    units = ("score_x", "score_g")
    #: Direction to a neighbour closer than this fades out, so that it has a derivative where particles touch.
    core = 0.1

    def __init__(
        self,
        system: ParticleSystem,
        shift: str,
        radius: float | None = None,
        channels: int = 8,
        hidden: int = 48,
        width: int = 96,
        equivariant: bool = True,
    ) -> None:
        super().__init__()
        self.system, self.shift, self.equivariant = system, shift, equivariant
        self.channels, self.radius = channels, self.reach(system, radius)
        # without translational noise the score is made of the curvature of U along the velocity
        self.curved = system.noise == 0 and system.activity.name == "ou" and system.activity.speed > 0
        self.placed = None in system.periods
        d, self.heads = system.space_dim, KINDS * channels
        for name in ("force", "speed", "turn", "place", "laplacian", *self.units):
            self.register_buffer(name, torch.ones(()))
        labels = 0 if system.species is None else int(system.species.max()) + 1
        self.species = nn.Embedding(labels, hidden) if labels else None
        self.near = nn.Sequential(nn.Linear(RADIAL, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.node = nn.Sequential(nn.Linear(hidden + 3, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())
        self.receive, self.send = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden, bias=False)
        self.edge_in = nn.Linear(RADIAL, hidden, bias=False)
        self.edge_out = nn.Linear(hidden, 2 * (self.heads + TENSORS))
        self.key = nn.Linear(hidden, self.heads + TENSORS, bias=False)
        self.query = nn.Linear(hidden, self.heads + TENSORS, bias=False)
        own = 3 + TENSORS + self.curved + self.placed
        mixed = 4 * channels
        self.mix = nn.Parameter(torch.randn(2, self.heads + own, mixed) / (self.heads + own) ** 0.5)
        scalars = hidden + mixed + (0 if equivariant else mixed * d)
        self.read = nn.Sequential(nn.Linear(scalars, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.weigh = nn.Linear(width, self.outputs(mixed))
        nn.init.zeros_(self.weigh.weight)
        nn.init.zeros_(self.weigh.bias)

    def outputs(self, mixed: int) -> int:
        """Numbers that the readout of a particle ends in, by how many vectors it has mixed."""
        return 2 * (mixed + (0 if self.equivariant else self.system.space_dim))

    @staticmethod
    def reach(system: ParticleSystem, radius: float | None) -> float | None:
        """How far particles see each other in ``system``, where it is not given; None where all do."""
        half = min((period / 2 for period in system.periods if period is not None), default=float("inf"))
        if radius is None:
            if system.cutoff is None:
                return None if half == float("inf") else min(half, 2.0)
            return min(REACH * system.cutoff, half)
        if not 0 < radius <= half:
            raise InputError(
                f"radius is {radius!r} and half the box {half:g}", "give a radius between 0 and half of it"
            )
        return radius

    def calibrate(self, samples: Samples) -> None:
        """Take scales from samples: sizes of forces, velocities, curvatures and of the score."""
        system = self.system
        flat = samples.states.reshape(-1, samples.dim)
        states = flat[:: max(1, flat.numel() // 400_000)].double()
        x, g = system.split(states)
        pairs = self._pairs(x)
        force = system.forces(x, pairs)
        velocity = force + system.activity.push(g)
        laplacian = system.laplacian(x, pairs)

        def size(v: torch.Tensor) -> torch.Tensor:
            return v.square().mean().sqrt().clamp_min(1e-9).float()

        self.force.copy_(size(force))
        self.speed.copy_(size(velocity))
        self.turn.copy_(size(system.curvature(x, velocity, pairs)) if self.curved else torch.ones(()))
        self.place.copy_(size(x))
        self.laplacian.copy_(size(laplacian))
        self._scale(states, laplacian)

    def _scale(self, states: torch.Tensor, laplacian: torch.Tensor) -> None:
        """Take the ``units`` from ``states: (n, dim)`` and ``lap_i U`` there."""
        # E[lap U] bounds eps E[s_x^2], and without translational noise it sets E[s_g^2]
        mean = laplacian.mean().clamp_min(1e-9).float() / self.system.space_dim
        if self.system.noise > 0:
            self.score_x.copy_((mean / self.system.noise).sqrt())
        else:
            self.score_g.copy_((1 + mean / self.system.activity.rate).sqrt())

    def _pairs(self, x: torch.Tensor) -> Pairs:
        x = x.detach()
        if self.radius is None:
            return all_pairs(x.shape[0], x.shape[1], x.device)
        return close_pairs(x, self.system.periods, max(self.radius, self.system.cutoff or 0.0))

    def _heading(self, g: torch.Tensor) -> torch.Tensor:
        """The activity as a vector of about unit size, ``(..., d)``."""
        return g if self.system.activity.name == "ou" else torch.cat([torch.cos(g), torch.sin(g)], dim=-1)

    def context(self, states: torch.Tensor, pairs: Pairs) -> Context:
        """Everything but the own activity, at ``states: (n, dim)`` in double precision."""
        system, d = self.system, self.system.space_dim
        x, g = system.split(states)
        # differences of positions are formed in double precision: without translational noise the score varies over
        # far less than single precision resolves in a large box
        force = system.forces(x, pairs)
        velocity = force + system.activity.push(g)
        kind = self.force.dtype

        def row(v: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
            return (v.reshape(-1, d) / scale).to(kind)

        u = row(self._heading(g), self.force.new_ones(()))
        f, w = row(force, self.force), row(velocity, self.speed)
        r, unit = system.distances(x, pairs)
        soft = (r / torch.sqrt(r * r + self.core**2)).to(kind)
        e = torch.stack([c.to(kind) * soft for c in unit], dim=-1)
        r = r.to(kind)
        i, j = torch.cat([pairs.i, pairs.j]), torch.cat([pairs.j, pairs.i])
        e, fade, radial = torch.cat([e, -e]), self._fade(r), self._radial(r)
        fade, radial = torch.cat([fade, fade]).unsqueeze(-1), torch.cat([radial, radial])
        rows = len(u)
        h = self._invariants(x, pairs, f, radial, fade, i, rows)
        hidden = self.edge_in(radial) + self.receive(h).index_select(0, i) + self.send(h).index_select(0, j)
        logit, value = self.edge_out(nn.functional.silu(hidden)).chunk(2, dim=-1)
        match = self.query(h).index_select(0, i) * self.key(h).index_select(0, j)
        # bounded, so that no exponential overflows; the 1 in the sum lets a particle attend to nobody
        weight = fade * torch.exp(4 * torch.tanh((logit + match) / 4))
        total = 1 + torch.zeros(rows, weight.shape[-1], dtype=kind, device=x.device).index_add(0, i, weight)
        weight = weight * value / total.index_select(0, i)
        c = self.channels
        shared, tensor = weight[:, : self.heads].unflatten(-1, (KINDS, c)), weight[:, self.heads :]
        u_j, f_j, w_j = (v.index_select(0, j) for v in (u, f, w))
        kinds = [u_j, f_j, w_j, e, e * (e * u_j).sum(-1, True), e * (e * w_j).sum(-1, True)]
        message = torch.cat([shared[:, k].unsqueeze(-1) * v.unsqueeze(1) for k, v in enumerate(kinds)], dim=1)
        gathered = torch.zeros(rows, self.heads * d, dtype=kind, device=x.device).index_add(0, i, message.flatten(1))
        dyad = (tensor.unsqueeze(-1) * (e.unsqueeze(-1) * e.unsqueeze(-2)).flatten(1).unsqueeze(1)).flatten(1)
        tensors = torch.zeros(rows, TENSORS * d * d, dtype=kind, device=x.device).index_add(0, i, dyad)
        vectors, tensors = [gathered.unflatten(-1, (self.heads, d)), f.unsqueeze(1)], tensors.unflatten(-1, (-1, d, d))
        if self.placed:
            vectors.append(row(x, self.place).unsqueeze(1))
        if self.curved:
            own = (system.own_curvature(x, pairs) * system.activity.speed / self.turn).reshape(-1, d, d).to(kind)
            turned = row(system.curvature(x, velocity, pairs), self.turn)
            vectors.append((turned - (own @ u.unsqueeze(-1)).squeeze(-1)).unsqueeze(1))
            tensors = torch.cat([tensors, own.unsqueeze(1)], dim=1)
        return Context(h, torch.cat(vectors, dim=1), tensors)

    def _invariants(
        self, x: torch.Tensor, pairs: Pairs, f: torch.Tensor, radial: torch.Tensor, fade: torch.Tensor, i: torch.Tensor,
        rows: int,
    ) -> torch.Tensor:  # fmt: skip
        near = (fade * self.near(radial)).to(fade)
        crowd = torch.zeros(rows, near.shape[-1], dtype=fade.dtype, device=x.device).index_add(0, i, near)
        laplacian = (self._laplacian(x, pairs).reshape(-1, 1) / self.laplacian).to(fade)
        place = 0 * laplacian
        if self.placed:
            place = (x.reshape(-1, x.shape[-1]) / self.place).to(fade).square().sum(-1, True)
        if self.species is not None:
            crowd = crowd + self.species(self.system.species.to(x.device)).repeat(len(x), 1)
        return self.node(torch.cat([crowd, laplacian, torch.log1p(f.square().sum(-1, True)), place], dim=-1))

    def _laplacian(self, x: torch.Tensor, pairs: Pairs) -> torch.Tensor:
        return self.system.laplacian(x, pairs)

    def _fade(self, r: torch.Tensor) -> torch.Tensor:
        """1 at contact, 0 with two derivatives at the radius and beyond."""
        if self.radius is None:
            return torch.full_like(r, 1 / max(1, self.system.n_particles - 1))
        return (1 - (r / self.radius) ** 2).clamp_min(0) ** 3

    def _radial(self, r: torch.Tensor) -> torch.Tensor:
        reach = self.radius or FAR
        centers = torch.linspace(0, reach, RADIAL, dtype=r.dtype, device=r.device)
        return torch.exp(-0.5 * ((r.unsqueeze(-1) - centers) * (RADIAL / reach)).square())

    def mixed(self, g: torch.Tensor, context: Context) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Vectors ``(rows, mixed, d)`` of each particle, their products with others ``(rows, mixed)``, and what does
        not change as the configuration is turned, ``(rows, scalars)``, for own activities ``g: (rows, components)``.
        """
        u = self._heading(g)
        force = context.vectors[:, self.heads]
        w = (self.force * force + self.system.activity.speed * u) / self.speed
        acted = (context.tensors @ u[:, None, :, None]).squeeze(-1)
        rest = context.vectors
        if self.curved:
            # the curvature's own part joins the part that the neighbours make
            rest = torch.cat([rest[:, :-1], rest[:, -1:] + acted[:, -1:]], dim=1)
            acted = acted[:, :-1]
        vectors = torch.cat([rest, u.unsqueeze(1), w.unsqueeze(1), acted], dim=1)
        y, z = (torch.einsum("rcd,cm->rmd", vectors, mix) for mix in self.mix)
        dots = (y * z).sum(-1)
        scalars = [context.invariants, dots * torch.rsqrt(1 + dots.abs())]
        if not self.equivariant:
            scalars.append(y.flatten(1))
        return y, dots, torch.cat(scalars, dim=-1)

    def readout(self, g: torch.Tensor, context: Context) -> tuple[torch.Tensor, torch.Tensor]:
        """``m_x: (rows, d)`` and ``m_g: (rows, components)`` for own activities ``g: (rows, components)``."""
        y, _, scalars = self.mixed(g, context)
        parts = self.weigh(self.read(scalars)).chunk(2, dim=-1)
        m_x, m_g = ((part[:, : y.shape[1], None] * y).sum(1) for part in parts)
        if not self.equivariant:
            m_x, m_g = m_x + parts[0][:, y.shape[1] :], m_g + parts[1][:, y.shape[1] :]
        if self.system.activity.name != "ou":
            # the component along the direction in which the heading turns
            u = self._heading(g)
            m_g = m_g[:, 1:] * u[:, :1] - m_g[:, :1] * u[:, 1:]
        return self.score_x * m_x, self.score_g * m_g

    def correction(self, states: torch.Tensor, pairs: Pairs) -> torch.Tensor:
        """``m: (n, dim)`` at ``states: (n, dim)`` in double precision, 0 where a coordinate has no noise."""
        x, g = self.system.split(states)
        return self._flat(*self.readout(self._rows(g), self.context(states, pairs)), x, g)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """The score ``(n, dim)`` at ``states: (n, dim)``, 0 where a coordinate has no noise."""
        states = states.double()
        pairs = self._pairs(self.system.split(states)[0])
        m = self.correction(states, pairs)
        known, _ = shift_with_terms(self.system, self.shift, states, pairs)
        return known.to(m) + m

    def _rows(self, g: torch.Tensor) -> torch.Tensor:
        return g.reshape(-1, g.shape[-1]).to(self.force)

    def _flat(self, m_x: torch.Tensor, m_g: torch.Tensor, x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        m_x = m_x if self.system.noise > 0 else torch.zeros_like(m_x)
        return self.system.join(m_x.reshape(x.shape), m_g.reshape(g.shape))

    def with_terms(
        self, states: torch.Tensor, generator: torch.Generator | None = None, probes: int = 1
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The score and ``d_i (D s)_i``: exact for activities, for positions unbiased with random ``probes``."""
        system = self.system
        states = states.double()
        x, g = system.split(states)
        pairs = self._pairs(x)
        known, terms = shift_with_terms(system, self.shift, states, pairs)
        context, own = self.context(states, pairs), self._rows(g)
        slopes = []
        for axis in range(own.shape[1]):
            direction = torch.zeros_like(own)
            direction[:, axis] = 1.0
            (m_x, m_g), (_, slope) = torch.func.jvp(lambda a: self.readout(a, context), (own,), (direction,))
            slopes.append(slope[:, axis])
        t_g = system.activity.rate * torch.stack(slopes, dim=-1).reshape(g.shape)
        t_x = torch.zeros(x.shape, dtype=t_g.dtype, device=x.device)
        if system.noise > 0:

            def positions_to_score(y: torch.Tensor) -> torch.Tensor:
                moved = system.join(y, g)
                return self.readout(own, self.context(moved, pairs))[0].reshape(y.shape)

            t_x = system.noise * position_terms(positions_to_score, x, generator, probes).to(t_g)
        m = self._flat(m_x, m_g, x, g)
        return known.to(m) + m, terms.to(m) + system.join(t_x, t_g)
