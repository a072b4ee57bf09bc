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
from itertools import accumulate

import torch

from pyness.estimators.local import contact_distance
from pyness.systems import ParticleSystem
from pyness.systems.hessian import Hessians
from pyness.systems.verlet import Followed

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
#: Pairs that push less, as a share of the activity, fade out until it is so much less, over that share of the cutoff
#: at the least; a contact is no shorter than the last share, since the direction between particles that touch turns at
#: no force.
WEAK, FADED, EDGE, CORE = 1e-3, 1 / 3, 1e-3, 0.4
#: Keeps states that nothing is missing of from dividing by zero.
TINY = 1e-200


class Pasts:
    """Of states at the same positions; what is kept of each step is its list of pairs, so that scores of activities
    that hardly differ come of the same lists and differ smoothly.

    Args:
        stiffness: of a typical contact.
    """

    def __init__(self, system: ParticleSystem, stiffness: float) -> None:
        self.system, self.time = _without_weak_forces(system), 1 / stiffness
        self._far = FAR * system.cutoff if system.cutoff else math.inf
        self._core = CORE * (system.cutoff or 0.0)
        self._lists: list[tuple[Followed, Hessians]] = []
        self._by_step: list[Hessians] = []

    def scores(self, x: torch.Tensor, g: torch.Tensor) -> list[torch.Tensor]:
        """``g + s_g`` by pasts of ``FIELDS`` lengths, ``(n, N, d)`` each, at ``x: (n, N, d)`` and such ``g``."""
        system, activity, far, found = self.system, self.system.activity, self._far, []
        push, start = activity.push(g), START * activity.speed * self.time
        now = system.pairs(x)
        y, velocity, length, done = x, system.forces(x, now) + push, 0.0, 0
        field = torch.zeros_like(x)
        for longer, solved in zip(LENGTHS, SOLVED, strict=True):
            y = y - (longer - length) * self.time * velocity
            length, steps = longer, [self.time * h for h in _step_lengths(longer)]
            for _ in range(solved):
                past = _Past(self, y, push, steps, done)
                missing = _within(x - past.end, far)
                u = past.likeliest(missing.flatten(), start)
                first, ways = past.back(u)
                y, done = y + _within(start**2 * first.reshape(x.shape), far), done + len(steps)
            velocity = past.early_velocity(y)
            # of states whose longer past was not found, what the last one says that was
            believed = _believed(u.reshape(x.shape) * missing).reshape(-1, 1, 1)
            field = field + believed * (activity.speed * past.by_push(ways).reshape(x.shape) - field)
            if longer in TOLD:
                found.append(field)
        # what no noise is likely to have made comes of a past that was not found
        own = system.laplacian(x, now).clamp_min(FAINT / self.time)
        most = MOST * torch.sqrt(own / activity.rate).unsqueeze(-1)
        return [f / torch.sqrt(1 + (f / most).square().sum(-1, keepdim=True)) for f in found]

    def pushed(self, step: int, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Forces on ``y: (n, N, d)`` at a step of all, and the Hessian."""
        if step == len(self._by_step):
            self._by_step.append(self._hessians(y))
        return self._by_step[step].at(y)

    def _hessians(self, y: torch.Tensor) -> Hessians:
        """Of a list that holds: each past comes by where shorter ones have been."""
        for followed, hessians in reversed(self._lists):
            if followed.holds(y):
                return hessians
        followed = Followed(self.system)
        hessians = Hessians(self.system, len(y), followed.pairs(y), self._core)
        self._lists.append((followed, hessians))
        return hessians


class _Past:
    """The noise-free way from ``y``, and linear maps along it; vectors are ``(n N d,)``."""

    def __init__(self, pasts: Pasts, y: torch.Tensor, push: torch.Tensor, steps: list[float], before: int) -> None:
        self._activity, self._time, self._states = pasts.system.activity, pasts.time, len(y)
        self._steps, self._H, spent = steps, [], 0.0
        for k, h in enumerate(steps):
            force, H = pasts.pushed(before + k, y)
            self._H.append(H)
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
        for h, H in zip(reversed(self._steps), reversed(self._H), strict=True):
            ways.append(torch.addmv(ways[-1], H, ways[-1], alpha=-h))
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
            for h, H, way in zip(self._steps, self._H, ways, strict=True):
                z = torch.addmv(z, H, z, alpha=-h).add_(noise, alpha=h)
                sums.add_(way, alpha=h)
                noise.sub_(sums, alpha=2 * unit * h)
            return z

        # for forces that do not change it is lam^3 / (gamma v0^2) in all but soft modes; contacts that have just formed
        # had less time, and the mean of now and then has them softer
        ago, back = 0.0, len(self._steps) - 1
        while back > 0 and ago < BACK * self._time:
            ago, back = ago + self._steps[back], back - 1
        then, now, rate = self._H[back], self._H[-1], ADDED / self._time

        def half(u: torch.Tensor) -> torch.Tensor:
            return rate * u + 0.5 * (then @ u + now @ u)

        def roughly(u: torch.Tensor) -> torch.Tensor:
            u = half(u)
            return half(rate * u + then @ u) / unit

        return _conjugate_gradients(scatter, roughly, e, self._states)


def _conjugate_gradients(
    matrix: Callable[[torch.Tensor], torch.Tensor], roughly: Callable[[torch.Tensor], torch.Tensor], b: torch.Tensor,
    states: int,
) -> torch.Tensor:  # fmt: skip
    """``SWEEPS`` of conjugate gradients with a preconditioner for ``matrix u = b``, each state by itself
    (Saad, Iterative Methods, algorithm 9.1)."""

    def dot(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return (u * v).reshape(states, -1).sum(1)

    def each(share: torch.Tensor) -> torch.Tensor:
        return share.repeat_interleave(len(b) // states)

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


def _without_weak_forces(system: ParticleSystem) -> ParticleSystem:
    """With a shorter cutoff, smoothly, where forces are ``WEAK`` long before they are cut off."""
    inner, outer = contact_distance(system, WEAK), contact_distance(system, FADED * WEAK)
    if inner is None or outer >= (1 - EDGE) * system.cutoff:
        return system
    outer = max(outer, inner + EDGE * system.cutoff)

    def faded(r: torch.Tensor, *labels: torch.Tensor) -> torch.Tensor:
        fall = ((outer - r) / (outer - inner)).clamp(0, 1)
        return system.pair_force(r, *labels) * fall * fall * (3 - 2 * fall)

    return ParticleSystem(
        system.name, system.n_particles, system.space_dim, system.activity, pair_force=faded, cutoff=outer,
        box=system.box, species=system.species,
    )  # fmt: skip


def _believed(cost: torch.Tensor) -> torch.Tensor:
    """Of ``cost: (n, N, d)``, ``(n,)``: 1, and 0 where a past was not found.

    There noise would have cost a particle not some one but many times its scatter. A few that cost very much do not
    count for more than many that cost much.
    """
    cost = cost.sum(-1).abs()
    mean = (cost / (1 + cost / COSTLY)).mean(1)
    return 1 / (1 + (mean / UNLIKELY) ** 8)


def _step_lengths(length: float) -> list[float]:
    """Steps of a past of such a length, the last one the shortest."""
    steps = [STEP]
    while sum(steps) < length:
        steps.append(min(LONGER * steps[-1], LONGEST))
    return [h * length / sum(steps) for h in reversed(steps)]


def _within(v: torch.Tensor, far: float) -> torch.Tensor:
    """``v: (n, N, d)``, bent smoothly to be no longer than ``far``."""
    return v / torch.sqrt(1 + v.square().sum(-1, keepdim=True) / far**2)
