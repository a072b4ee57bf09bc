"""The default network of particles whose positions have no noise: each contact against its own noise-free future.

Without translational noise the score of the activities is narrow: a contact of stiffness ``k`` that is pushed out of
balance by the noise of the activities answers at the rate ``k``, so at given positions its velocity scatters by
``v0 sqrt(gamma / k)`` only (active_matter.md, 11.2 at ``eps = 0``) about the velocity with which the slow sliding of
its particles makes it open or close. What tells the two apart is that the first decays and the second goes on: in the
derivatives in time of the noise-free motion, higher orders of which weigh fast decay more. So each contact gets those
derivatives, of its distance and of both particles, in units of what its noise would make, and returns a score along
the direction of the contact and along its sliding. Contacts of one particle decay together: with the matrix ``S`` of
their rates, derivative ``k`` of the velocities of all contacts is ``(-S)^k`` times what decays, and
``(-1)^k (S + s)^{-k}`` of it, given as well, is that again where rates exceed ``s``. First rounds of the same tell each
particle what its contacts are like, and their contacts in turn.

No derivative knows which collisions were on the way. Scores by likeliest pasts (``pyness.score.pasts``) do, and take
eight times as long as all the rest; where asked for they are most of what is returned, in shares that contacts decide.

Permutations, translations, the seams of the box, rotations and reflections are exact, and a contact fades out smoothly
with its stiffness.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from pyness.errors import InputError
from pyness.sampling import Samples
from pyness.score.pasts import FIELDS, Pasts
from pyness.score.probing import few, signs_like
from pyness.score.shift import shift_with_terms
from pyness.systems import ParticleSystem
from pyness.systems.jets import Jets, noise_free_jets
from pyness.systems.neighbours import Pairs, close_pairs

__all__ = ["ContactScore", "Prepared", "check_suits", "suits"]

#: Contacts softer than this share of the mean stiffness are left out; up to four times it they fade in.
SOFT = 0.03
#: Rates of decay that are told from slower motion, in units of the mean stiffness, and the highest one there is.
SLOW, FASTEST = (0.9, 2.0), 20.0
SWEEPS = 12
#: Sliding slower than this share of the active speed has no direction.
STILL = 0.02
#: How far aside derivatives of pasts look: nearer, rounding is seen, which conjugate gradients raise where no past was
#: found; what it leaves out is of second order.
ASIDE = 3e-4


@dataclass(frozen=True)
class _Contacts:
    """Contacts seen from either side, one row each; ``i`` is the particle that looks.

    Attributes:
        features: ``(rows, k)``, unchanged by rotations and reflections.
        along, across: ``(rows, d)``: from ``j`` to ``i``, and the direction in which ``i`` slides past ``j``.
        size: ``(rows,)``: the score that a contact of this stiffness makes, faded.
        fields: ``(n N, f, d)``: ``g + s_g`` of each particle by pasts.
    """

    i: torch.Tensor
    j: torch.Tensor
    features: torch.Tensor
    along: torch.Tensor
    across: torch.Tensor
    size: torch.Tensor
    fields: torch.Tensor


@dataclass(frozen=True)
class Prepared:
    """States made ready: their contacts, what directions ``signs`` change of them, and the known part of the score."""

    contacts: _Contacts
    signs: list[torch.Tensor]
    slopes: list[tuple[torch.Tensor, ...]]
    known: torch.Tensor
    terms: torch.Tensor


def suits(system: ParticleSystem) -> bool:
    """Whether the network is meant for the system: driven contacts, and nothing else that makes a score narrow."""
    return (
        system.noise == 0 and system.activity.name == "ou" and system.activity.speed > 0 and system.interacts
        and system.cutoff is not None and not system.trap and system.external is None
    )  # fmt: skip


def check_suits(system: ParticleSystem) -> None:
    """Refuse a system that the network is not meant for.

    Raises:
        InputError: with what is.
    """
    if not suits(system):
        raise InputError(
            f"'contacts' for {system.name!r}, which has noise of positions, a trap or no driven contacts",
            "take 'attention'",
        )


class ContactScore(nn.Module):
    """``s_g = shift + m`` with ``m`` a sum over the contacts of each particle.

    Args:
        order: of the derivatives in time.
        hidden, width: of what particles tell each other, and of the layers.
        rounds: how often they do.
        pasts: whether ``m`` is that of likeliest pasts besides, in learnt shares.

    Raises:
        InputError: positions with noise, a heading instead of a velocity, a trap, no contacts.
    """

    def __init__(
        self,
        system: ParticleSystem,
        shift: str,
        order: int = 5,
        hidden: int = 24,
        width: int = 160,
        rounds: int = 3,
        pasts: bool = False,
    ) -> None:
        super().__init__()
        check_suits(system)
        if not 1 <= order <= 8:
            raise InputError(f"order is {order!r}", "give a number of derivatives from 1 to 8")
        if rounds < 1:
            raise InputError(f"rounds is {rounds!r}", "give a whole number of at least 1")
        self.system, self.shift, self.order, self.hidden = system, shift, order, hidden
        fields = FIELDS if pasts else 0
        inputs = 9 + 5 * order + len(SLOW) * max(0, order - 2) + 6 * fields
        self.register_buffer("stiffness", torch.ones(()))
        self.register_buffer("center", torch.zeros(inputs))
        self.register_buffer("spread", torch.ones(inputs))
        labels = 0 if system.species is None else int(system.species.max()) + 1
        self.species = nn.Embedding(labels, hidden) if labels else None
        # what a particle hears: invariants and vectors along and across its contacts
        known = [inputs] + [inputs + 6 * hidden] * rounds
        self.hear = nn.ModuleList(
            nn.Sequential(nn.Linear(k, width), nn.SiLU(), nn.Linear(width, 3 * hidden)) for k in known[:-1]
        )
        self.read = nn.Sequential(
            nn.Linear(known[-1], width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2 + fields)
        )
        self.shares = nn.Parameter(torch.full((fields,), 1 / fields)) if pasts else None
        nn.init.zeros_(self.read[-1].weight)
        nn.init.zeros_(self.read[-1].bias)

    def calibrate(self, samples: Samples) -> None:
        """Take the stiffness of a typical contact and the spread of the features from samples."""
        system = self.system
        flat = samples.states.reshape(-1, samples.dim)
        x, g = system.split(flat[:: max(1, flat.numel() // 100_000)].double())
        pairs = self._pairs(x)
        stiff = _stiffness(noise_free_jets(system, x, g, pairs, 1))
        self.stiffness.copy_((stiff.square().sum() / stiff.sum().clamp_min(1e-30)).clamp_min(1e-6))
        features = self._contacts(g, x, pairs, self._fields(x, g, [])[0]).features
        if len(features) > 1:
            self.center.copy_(features.mean(0))
            self.spread.copy_(features.std(0).clamp_min(1e-3))

    def _pairs(self, x: torch.Tensor) -> Pairs:
        return close_pairs(x.detach(), self.system.periods, self.system.cutoff)

    def _fields(
        self, x: torch.Tensor, g: torch.Tensor, signs: list[torch.Tensor]
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """By pasts at ``x, g``, ``(n N, f, d)``, and what directions ``signs`` of ``g`` change of it.

        A past is thousands of products, whose derivatives would take three times as long as two more pasts.
        """
        if self.shares is None:
            none = x.new_zeros(x[..., 0].numel(), 0, x.shape[-1])
            return none, [none for _ in signs]
        pasts = Pasts(self.system, self.stiffness.item())
        at = [torch.stack(pasts.scores(x, a), dim=-2).flatten(0, 1) for a in _aside(g, signs)]
        slopes = [(ahead - behind) / (2 * ASIDE) for ahead, behind in zip(at[::2], at[1::2], strict=False)]
        # between those on both sides lies what is there, to second order in the difference
        return sum(at) / len(at), slopes

    def _contacts(self, g: torch.Tensor, x: torch.Tensor, pairs: Pairs, fields: torch.Tensor) -> _Contacts:
        """In double precision up to the features: contacts vary over far less than single precision resolves."""
        system, d = self.system, self.system.space_dim
        speed, rate = system.activity.speed, system.activity.rate
        jets = noise_free_jets(system, x, g, pairs, self.order)
        stiff = _stiffness(jets)
        floor = SOFT * self.stiffness.double()
        rows = torch.nonzero(stiff.detach() > floor).flatten()
        both = rows.repeat(2)
        i = torch.cat([pairs.i[rows], pairs.j[rows]])
        j = torch.cat([pairs.j[rows], pairs.i[rows]])
        stiff, force = stiff[both], jets.force[both]
        along = torch.cat([jets.unit[rows], -jets.unit[rows]])
        motion = [v.reshape(-1, d) for v in jets.motion]
        apart = motion[0][i] - motion[0][j]
        slide = apart - along * (apart * along).sum(-1, keepdim=True)
        across = slide / torch.sqrt(slide.square().sum(-1, keepdim=True) + (STILL * speed) ** 2)
        around = torch.zeros(len(motion[0]), dtype=x.dtype, device=x.device).index_add(0, i, stiff)
        typical = self.stiffness.double()
        columns = [torch.log(stiff / typical), stiff / typical, force / speed, around[i] / typical, around[j] / typical]
        columns += [(motion[0][side] * e).sum(-1) / speed for side in (i, j) for e in (along, across)]
        # what the noise of the activities makes of a pair that is alone: scatter of its velocity, rate of its decay
        scatter = speed * torch.sqrt(rate / stiff)
        for k in range(self.order):
            unit = scatter * (2 * stiff) ** k
            columns.append(torch.asinh(jets.approach[k][both] / unit))
            columns += [torch.asinh((motion[k][side] * e).sum(-1) / unit) for side in (i, j) for e in (along, across)]
        if self.order > 2:
            columns += [torch.asinh(v).repeat(2) for v in self._decaying(jets, pairs, rows)]
        unit = torch.sqrt(stiff / rate)
        for field in fields.unbind(1):
            for v in (field[i] - field[j], field[i], field[j]):
                columns += [torch.asinh((v * e).sum(-1) / unit) for e in (along, across)]
        kind = self.center.dtype
        rise = ((stiff / floor - 1) / 3).clamp(0, 1)
        size = unit * rise * rise * (3 - 2 * rise)
        features = torch.stack(columns, dim=-1).to(kind)
        return _Contacts(i, j, features, along.to(kind), across.to(kind), size.to(kind), fields.to(kind))

    def _decaying(self, jets: Jets, pairs: Pairs, rows: torch.Tensor) -> list[torch.Tensor]:
        """``(-1)^k (S + s)^{-k}`` of derivative ``k >= 2`` of the velocities, in units of what the noise makes."""
        system, (i, j) = self.system, (pairs.i[rows], pairs.j[rows])
        unit = jets.unit[rows]
        root = _stiffness(jets)[rows].sqrt().unsqueeze(-1)
        count = jets.motion[0].shape[0] * system.n_particles

        def rates(v: torch.Tensor) -> torch.Tensor:
            push = (root * v).unsqueeze(1) * unit.unsqueeze(-1)
            on = torch.zeros(count, *push.shape[1:], dtype=v.dtype, device=v.device)
            on = on.index_add(0, i, push).index_add(0, j, -push)
            return root * ((on.index_select(0, i) - on.index_select(0, j)) * unit.unsqueeze(-1)).sum(1)

        signal = torch.stack([(-1) ** k * jets.approach[k][rows] for k in range(2, self.order)], dim=-1)
        signal = root * signal / (system.activity.speed * system.activity.rate**0.5)
        found = []
        for share in SLOW:
            slow, fast = share * self.stiffness.double(), FASTEST * self.stiffness.double()
            left, done = _chebyshev(rates, signal, slow, fast), []
            for _ in range(2, self.order):
                left = _chebyshev(rates, left, slow, fast)
                done.append(left[:, 0])
                left = left[:, 1:]
            found += done
        return found

    def _read(self, c: _Contacts, shape: torch.Size) -> torch.Tensor:
        """``m``, of ``shape (n, N, d)``, from the contacts."""
        count, d = shape[0] * shape[1], shape[2]
        inputs = known = (c.features - self.center) / self.spread
        share = (c.size / torch.sqrt(self.stiffness / self.system.activity.rate)).unsqueeze(-1)
        for hear in self.hear:
            said, forth, aside = (share * hear(known)).chunk(3, dim=-1)
            vectors = forth.unsqueeze(-1) * c.along.unsqueeze(1) + aside.unsqueeze(-1) * c.across.unsqueeze(1)
            said = torch.zeros(count, self.hidden, dtype=said.dtype, device=said.device).index_add(0, c.i, said)
            if self.species is not None:
                said = said + self.species(self.system.species.to(said.device)).repeat(shape[0], 1)
            heard = torch.zeros(count, self.hidden, d, dtype=said.dtype, device=said.device)
            heard = heard.index_add(0, c.i, vectors)
            parts = [inputs]
            for side in (c.i, c.j):
                of = heard.index_select(0, side)
                parts += [said.index_select(0, side), (of * c.along.unsqueeze(1)).sum(-1)]
                parts.append((of * c.across.unsqueeze(1)).sum(-1))
            known = torch.cat(parts, dim=-1)
        read = self.read(known)
        out = c.size.unsqueeze(-1) * read[:, :2]
        each = out[:, :1] * c.along + out[:, 1:] * c.across
        m = each.new_zeros(count, d)
        if self.shares is not None:
            shares = self.shares.to(each).expand(count, -1).index_add(0, c.i, share * read[:, 2:])
            m = (shares.unsqueeze(-1) * c.fields).sum(1)
        return m.index_add(0, c.i, each).reshape(shape)

    def forward(self, states: torch.Tensor, prepared: Prepared | None = None) -> torch.Tensor:
        """The score ``(n, dim)`` at ``states: (n, dim)``, 0 for positions; ``prepared`` as for ``with_terms``."""
        p = self.prepare(states, None, 0) if prepared is None else prepared
        m = self._read(p.contacts, self.system.split(states)[1].shape)
        return p.known.to(m) + self.system.join(torch.zeros_like(m), m)

    def prepare(self, states: torch.Tensor, generator: torch.Generator | None, probes: int = 1) -> Prepared:
        """All that the score needs of ``states: (n, dim)`` and no weight changes, its random signs included.

        Args:
            probes: 0 where no derivatives are wanted.
        """
        x, g = self.system.split(states.double())
        pairs = self._pairs(x)
        signs = signs_like(g, generator, probes) if probes else []

        def inputs(a: torch.Tensor, fields: torch.Tensor) -> tuple[torch.Tensor, ...]:
            c = self._contacts(a, x, pairs, fields)
            return c.features, c.across, c.fields

        with torch.no_grad():
            fields, changes = self._fields(x, g, signs)
            contacts = self._contacts(g, x, pairs, fields)
            slopes = [
                torch.func.jvp(inputs, (g, fields), (z, change))[1] for z, change in zip(signs, changes, strict=True)
            ]
        known, terms = shift_with_terms(self.system, self.shift, states.double(), pairs)
        return Prepared(contacts, signs, slopes, known, terms)

    def with_terms(
        self,
        states: torch.Tensor,
        generator: torch.Generator | None = None,
        probes: int = 1,
        prepared: Prepared | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The score and ``d_i (D s)_i``: exact where particles are few, else unbiased with random ``probes``.

        Args:
            prepared: what ``prepare`` made of these states, to save its work.
        """
        system = self.system
        p = self.prepare(states, generator, probes) if prepared is None else prepared
        shape = system.split(states)[1].shape

        def read(features: torch.Tensor, across: torch.Tensor, fields: torch.Tensor) -> torch.Tensor:
            return self._read(replace(p.contacts, features=features, across=across, fields=fields), shape)

        at, total = (p.contacts.features, p.contacts.across, p.contacts.fields), 0.0
        for signs, slope in zip(p.signs, p.slopes, strict=True):
            m, change = torch.func.jvp(read, at, slope)
            total = total + signs.to(change) * change
        slopes = total if few(shape) else total / len(p.signs)
        zero = torch.zeros_like(m)
        return p.known.to(m) + system.join(zero, m), p.terms.to(m) + system.activity.rate * system.join(zero, slopes)


def _aside(g: torch.Tensor, signs: list[torch.Tensor]) -> list[torch.Tensor]:
    """``g`` moved along each of ``signs`` and against it; itself where there are none."""
    return [g + step * z for z in signs for step in (ASIDE, -ASIDE)] or [g]


def _stiffness(jets: Jets) -> torch.Tensor:
    """How strongly a contact answers to being pressed and to being turned, ``(pairs,)``."""
    return torch.sqrt(jets.slope.square() + (jets.force / jets.distance).square())


def _chebyshev(
    matrix: Callable[[torch.Tensor], torch.Tensor], b: torch.Tensor, low: torch.Tensor, high: torch.Tensor
) -> torch.Tensor:
    """``(matrix + low)^{-1} b`` for a matrix with eigenvalues in ``[0, high]``, by Chebyshev's iteration.

    Linear in ``b`` and local, since its number of sweeps is fixed (Saad, Iterative Methods, algorithm 12.1).
    """
    middle, half = low + 0.5 * high, 0.5 * high
    ratio = half / middle
    y, residual = torch.zeros_like(b), b
    step = residual / middle
    for _ in range(SWEEPS):
        y = y + step
        residual = residual - matrix(step) - low * step
        following = 1 / (2 * middle / half - ratio)
        step = following * ratio * step + 2 * following / half * residual
        ratio = following
    return y
