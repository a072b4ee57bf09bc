"""The score of activities by the likeliest past of a state: the limit of weak noise (active_matter.md, section 15).

Contacts that decay look alike whether noise has pressed them or a collision some time ago, and no derivative at the
end tells which. So a past is sought that ends in the state with as little noise as may be: ``x' = F + v0 (g + eta)``
from ``y`` over a time ``T``. Without any it ends in some ``x - e``. With ``J`` the derivative of the end by a place on
the way, ``G = v0 int J`` that by ``g``, ``Q`` the scatter that the noise of the activities makes of the end and ``P``
that of the start, ``u = (Q + P J J^T)^{-1} e`` says what the likeliest past has had: its start moves by ``P J^T u``,
and ``g + s_g = G^T u``, in a mode of stiffness ``lam`` nearly ``lam^2 e / (gamma v0)`` once ``exp(-lam T)`` is small.
Longer pasts begin with what shorter ones have found; ``u`` comes from conjugate gradients, two passes along the past
for each sweep, so all is linear in the number of particles.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import accumulate, combinations_with_replacement

import torch

from pyness.estimators.local import contact_distance
from pyness.sampling.engines.torch.verlet import Followed
from pyness.systems import ParticleSystem
from pyness.systems.neighbours import Pairs

__all__ = ["FIELDS", "Pasts"]

#: Lengths of the pasts in units of the time of a contact of mean stiffness; how often each is made linear anew.
LENGTHS, SOLVED = (1.4, 2.1, 2.8, 3.5, 4.2, 4.9), (1, 1, 1, 2, 2, 2)
#: Those whose scores are told.
TOLD = (3.5, 4.2, 4.9)
FIELDS = len(TOLD)
#: Steps in the same units: the last one, by how much each earlier one is longer, and at the most.
STEP, LONGER, LONGEST = 0.047, 1.06, 0.094
#: Sweeps of conjugate gradients; the rate that is added to contacts in their preconditioner, and how far back it looks.
SWEEPS, ADDED, BACK = 8, 0.56, 0.47
#: Scatter of the start, in units of how far activity pushes within the time of a contact.
START = 0.14
#: Share of the cutoff that places are moved by at the most; scatters beyond which a score is not believed, and the
#: share of the mean stiffness that a particle has at the least for that.
FAR, MOST, FAINT = 0.1, 5.0, 0.04
#: Cost in noise, per particle, of which no more is counted, and the mean beyond which a past is none.
COSTLY, UNLIKELY = 1000.0, 25.0
#: Pairs that push less, as a share of the activity, are no contacts; a contact is no shorter than that share of the
#: cutoff, since the direction between particles that touch turns at no force.
WEAK, CORE = 1e-3, 0.4
#: Keeps states that nothing is missing of from dividing by zero.
TINY = 1e-200


class Pasts:
    """Of states at the same positions; the pairs of each step are kept, so that derivatives follow the same steps.

    Args:
        stiffness: of a typical contact.
    """

    def __init__(self, system: ParticleSystem, stiffness: float) -> None:
        self.system, self.time = system, 1 / stiffness
        self._reach = contact_distance(system, WEAK) or math.inf
        self._followed, self._lists = Followed(system), []

    def scores(self, x: torch.Tensor, g: torch.Tensor) -> list[torch.Tensor]:
        """``g + s_g`` by pasts of ``FIELDS`` lengths, ``(n, N, d)`` each, at ``x: (n, N, d)`` and such ``g``."""
        system, activity, found = self.system, self.system.activity, []
        push, start = activity.push(g), START * activity.speed * self.time
        far = FAR * system.cutoff if system.cutoff else math.inf
        now = system.pairs(x)
        y, velocity, length, done = x, system.forces(x, now) + push, 0.0, 0
        field = torch.zeros_like(x)
        for longer, solved in zip(LENGTHS, SOLVED, strict=True):
            y = y - (longer - length) * self.time * velocity
            length, steps = longer, [self.time * h for h in _steps(longer)]
            for _ in range(solved):
                past = _Past(self, y, push, steps, done)
                missing = _flat(_within(x - past.end, far))
                u = past.likeliest(missing, start)
                first, ways = past.back(u)
                y, done = y + _within(start**2 * _shaped(first, x), far), done + len(steps)
            velocity = past.early_velocity(y)
            # of states whose longer past was not found, what the last one says that was
            believed = _believed(u * missing, len(x)).reshape(-1, 1, 1)
            field = field + believed * (activity.speed * _shaped(past.by_push(ways), x) - field)
            if longer in TOLD:
                found.append(field)
        # what no noise is likely to have made comes of a past that was not found
        own = system.laplacian(x, now).clamp_min(FAINT / self.time)
        most = MOST * torch.sqrt(own / activity.rate).unsqueeze(-1)
        return [f / torch.sqrt(1 + (f / most).square().sum(-1, keepdim=True)) for f in found]

    def pushed(self, step: int, y: torch.Tensor) -> tuple[torch.Tensor, _Bend]:
        """Forces on ``y: (n, N, d)`` at a step of all, and how they change with it."""
        system = self.system
        if step == len(self._lists):
            self._lists.append(self._followed.pairs(y.detach()))
        pairs = self._lists[step]
        r, unit = system.distances(y, pairs)
        near = torch.nonzero(r < self._reach).flatten()
        pairs, r, unit = Pairs(pairs.i[near], pairs.j[near]), r[near], [e[near] for e in unit]
        f, slope = torch.func.jvp(lambda s: system.radial(s, pairs), (r,), (torch.ones_like(r),))
        zero = torch.zeros(y.shape[0] * y.shape[1], dtype=y.dtype, device=y.device)
        force = [zero.index_add(0, pairs.i, f * e).index_add(0, pairs.j, -f * e) for e in unit]
        across = f / r.clamp_min(CORE * (system.cutoff or 0.0))
        return _shaped(torch.stack(force), y), _Bend(pairs, unit, across, slope)


class _Bend:
    """The Hessian of ``U`` at one place, from its pairs."""

    def __init__(self, pairs: Pairs, unit: list[torch.Tensor], across: torch.Tensor, slope: torch.Tensor) -> None:
        self._pairs, self._blocks = pairs, {}
        for a, b in combinations_with_replacement(range(len(unit)), 2):
            block = (across - slope) * unit[a] * unit[b]
            self._blocks[a, b] = self._blocks[b, a] = block - across if a == b else block

    def __call__(self, v: torch.Tensor) -> torch.Tensor:
        """The Hessian times ``v``, both ``(d, rows)``."""
        i, j = self._pairs.i, self._pairs.j
        apart = [c.index_select(0, i) - c.index_select(0, j) for c in v]
        total = []
        for a in range(len(apart)):
            pull = self._blocks[a, 0] * apart[0]
            for b, u in enumerate(apart[1:], 1):
                pull = torch.addcmul(pull, self._blocks[a, b], u)
            total.append(torch.zeros_like(v[a]).index_add(0, i, pull).index_add(0, j, -pull))
        return torch.stack(total)


class _Past:
    """The noise-free way from ``y``, and linear maps along it; vectors are ``(d, rows)``."""

    def __init__(self, pasts: Pasts, y: torch.Tensor, push: torch.Tensor, steps: list[float], before: int) -> None:
        self._activity, self._time, self._states = pasts.system.activity, pasts.time, len(y)
        self._steps, self._bends, spent = steps, [], 0.0
        for k, h in enumerate(steps):
            force, bend = pasts.pushed(before + k, y)
            self._bends.append(bend)
            y, spent = y + h * (force + push), spent + h
            if 3 * (spent - h) < sum(steps) <= 3 * spent:
                self._early, self._spent = y, spent
        self.end = y

    def early_velocity(self, y: torch.Tensor) -> torch.Tensor:
        """The mean over the first third, from ``y``."""
        return (self._early - y) / self._spent

    def back(self, u: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """``u`` times the derivatives of the end: by the start, and by the place after each step."""
        ways = [u]
        for h, bend in zip(reversed(self._steps), reversed(self._bends), strict=True):
            ways.append(ways[-1] - h * bend(ways[-1]))
        return ways.pop(), ways[::-1]

    def by_push(self, ways: list[torch.Tensor]) -> torch.Tensor:
        """The same by a velocity that is added at all steps."""
        return sum(h * way for h, way in zip(self._steps, ways, strict=True))

    def likeliest(self, e: torch.Tensor, start: float) -> torch.Tensor:
        """``(Q + start^2 J J^T)^{-1} e``."""
        left = list(accumulate(reversed(self._steps)))[::-1]
        unit = self._activity.rate * self._activity.speed**2

        def scatter(u: torch.Tensor) -> torch.Tensor:
            first, ways = self.back(u)
            z, sums = start**2 * first, torch.zeros_like(u)
            # activities that end as they do have covariance ``2 gamma min(t, t')``, times counted from the end
            noise = 2 * unit * sum(h * t * way for h, t, way in zip(self._steps, left, ways, strict=True))
            for h, bend, way in zip(self._steps, self._bends, ways, strict=True):
                z = z + h * (noise - bend(z))
                sums = sums + h * way
                noise = noise - (2 * unit * h) * sums
            return z

        # for forces that do not change it is lam^3 / (gamma v0^2) in all but soft modes; contacts that have just formed
        # had less time, and the mean of now and then has them softer
        ago, back = 0.0, len(self._steps) - 1
        while back > 0 and ago < BACK * self._time:
            ago, back = ago + self._steps[back], back - 1
        then, now, rate = self._bends[back], self._bends[-1], ADDED / self._time

        def half(u: torch.Tensor) -> torch.Tensor:
            return rate * u + 0.5 * (then(u) + now(u))

        def roughly(u: torch.Tensor) -> torch.Tensor:
            u = half(u)
            return half(rate * u + then(u)) / unit

        return _solved(scatter, roughly, e, self._states)


def _solved(
    matrix: Callable[[torch.Tensor], torch.Tensor], roughly: Callable[[torch.Tensor], torch.Tensor], b: torch.Tensor,
    states: int,
) -> torch.Tensor:  # fmt: skip
    """``SWEEPS`` of conjugate gradients with a preconditioner for ``matrix u = b``, each state by itself
    (Saad, Iterative Methods, algorithm 9.1)."""

    def dot(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return (u * v).sum(0).reshape(states, -1).sum(1)

    def each(share: torch.Tensor) -> torch.Tensor:
        return share.repeat_interleave(b.shape[1] // states)

    u, left = torch.zeros_like(b), b
    way = better = roughly(b)
    size = dot(left, better)
    for _ in range(SWEEPS):
        turned = matrix(way)
        length = each(size / (dot(way, turned) + TINY))
        u, left = u + length * way, left - length * turned
        better = roughly(left)
        before, size = size, dot(left, better)
        way = better + each(size / (before + TINY)) * way
    return u


def _believed(cost: torch.Tensor, states: int) -> torch.Tensor:
    """``(states,)``: 1, and 0 where a past was not found: there noise would have cost a particle not some one but many
    times its scatter. A few that cost very much do not count for more than many that cost much."""
    cost = cost.sum(0).abs()
    mean = (cost / (1 + cost / COSTLY)).reshape(states, -1).mean(1)
    return 1 / (1 + (mean / UNLIKELY) ** 8)


def _steps(length: float) -> list[float]:
    """Steps of a past of such a length, the last one the shortest."""
    steps = [STEP]
    while sum(steps) < length:
        steps.append(min(LONGER * steps[-1], LONGEST))
    return [h * length / sum(steps) for h in reversed(steps)]


def _within(v: torch.Tensor, far: float) -> torch.Tensor:
    """``v: (n, N, d)``, bent smoothly to be no longer than ``far``."""
    return v / torch.sqrt(1 + v.square().sum(-1, keepdim=True) / far**2)


def _flat(v: torch.Tensor) -> torch.Tensor:
    return v.reshape(-1, v.shape[-1]).T.contiguous()


def _shaped(v: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return v.T.reshape(like.shape)
