"""Unbiased values of a score from short paths whose noise is recorded (active_matter.md, section 15).

A path of ``N`` steps from a stationary state ends in a stationary state ``z``, a function of its standard normals
``xi_n``. Let changes ``eta_n`` of these move the end by ``delta`` in the activities and not at all in the positions, to
first order, and let ``eta_n`` depend on nothing later than step ``n`` begins with. Then, by parts over the normals,

    s_g(z) . delta = -E[ sum_n eta_n . xi_n | z ],

so the least-squares fit to ``-sum_n eta_n . xi_n`` is the score (Nualart, The Malliavin Calculus, 1.3; Warren & Allen,
Phys. Rev. Lett. 109, 250601, 2012). How far these targets scatter depends on how the end is steered. Least energy is
best for constant forces, and leaves only what the length of the path does: so at each step the control is taken that
would bring the linear system with the Hessian of this step home with least energy in the steps that are left, which is
a function of that Hessian, by Chebyshev polynomials. What it changes follows the true Hessians, and the last two
controls are exact, so the targets have no bias, however good the control is. All is linear in what is steered: instead
of a matrix from the start to the end, one vector goes from the end to the start, in time proportional to the particles.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from pyness.errors import InputError
from pyness.sampling import Samples
from pyness.systems import ParticleSystem, System
from pyness.systems.hessian import Hessians
from pyness.systems.neighbours import Pairs
from pyness.systems.verlet import Followed

__all__ = ["Course", "course_for", "follow", "steerable"]

#: Step, and the length of a path, in units of the time in which contacts relax.
STEP, LENGTH = 0.07, 20.0
#: Modes that fall are steered as if they fell no faster than this share of the mean stiffness.
FALLING = 0.1
#: Share of the last step after which activities are seen: they scatter then, at given positions, as they should to
#: second order in the step, as after the sampler's split step.
SEEN = 0.75
#: Accuracy of the polynomials, relative to their largest value; nodes they are found from.
ACCURACY, NODES = 1e-2, 64
#: Curvature per coordinate, in units of the rate of the activities, below which there is no force to speak of.
NEGLIGIBLE = 1e-3
#: Sweeps that find the range of the stiffness, and how much wider it is taken.
SWEEPS, WIDER = 30, 0.05


@dataclass(frozen=True)
class Course:
    """How paths are followed.

    Attributes:
        step, steps: of a path.
        low, high: between which modes of the Hessian of ``U`` lie.
        falling: modes are steered as if they fell no faster.
    """

    step: float
    steps: int
    low: float
    high: float
    falling: float


def steerable(system: System) -> bool:
    """Whether the noise of the activities alone moves the system."""
    return (
        isinstance(system, ParticleSystem) and system.noise == 0 and system.activity.name == "ou"
        and system.activity.speed > 0
    )  # fmt: skip


def course_for(system: ParticleSystem, samples: Samples) -> Course:
    """A course by the stiffness ``E[tr H^2] / E[tr H]`` of samples.

    Raises:
        InputError: they feel no force.
    """
    flat = samples.states.reshape(-1, samples.dim)
    x = system.split(flat[:: max(1, flat.numel() // 100_000)].double())[0]
    H = Hessians(system, len(x), _pairs(system, x)).at(x)[1]
    trace = system.laplacian(x).sum().item()
    if not trace > NEGLIGIBLE * system.activity.rate * x.numel():
        raise InputError("the samples feel no force", "there is nothing to learn: their score is (0, -g)")
    stiffness = H.values().square().sum().item() / trace
    shape = (len(x), x[0].numel())
    high = _largest(lambda u: H @ u, shape, x)
    low = min(0.0, high - _largest(lambda u: high * u - H @ u, shape, x))
    room = WIDER * (high - low)
    return Course(STEP / stiffness, round(LENGTH / STEP), low - room, high + room, FALLING * stiffness)


def _largest(matrix: Callable[[torch.Tensor], torch.Tensor], shape: tuple[int, ...], like: torch.Tensor) -> float:
    """The largest eigenvalue of any of the states, nearly, by the power method."""
    u = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=like.dtype).to(like)
    norm = torch.ones(shape[0], 1).to(like)
    for _ in range(SWEEPS):
        u = matrix((u / norm).flatten()).reshape(shape)
        norm = u.norm(dim=1, keepdim=True).clamp_min(1e-30)
    return norm.max().item()


def follow(
    system: ParticleSystem, states: torch.Tensor, generator: torch.Generator, course: Course
) -> tuple[torch.Tensor, torch.Tensor]:
    """States at the ends of paths from stationary ``states: (n, dim)``, and a target for the score there.

    Both ``(n, dim)`` in double precision; the target of positions is 0.
    """
    walk = _Walk(system, states.double(), generator, course)
    x, g = walk.end
    return system.join(x, g), system.join(torch.zeros_like(x), walk.value().reshape(g.shape))


class _Walk:
    """Paths from some states, with what is needed to go back along them."""

    def __init__(
        self, system: ParticleSystem, states: torch.Tensor, generator: torch.Generator, course: Course
    ) -> None:
        self.system, self.course = system, course
        rate, h = system.activity.rate, course.step
        self.keep, self.kick = _transition(rate, h)
        self.last_keep, self.last_kick = _transition(rate, SEEN * h)
        self.push = h * system.activity.speed
        followed = Followed(system)
        x, g = system.split(states)
        self.xi, self.H = [], []
        pairs, hessians = None, None
        for n in range(course.steps):
            now = _pairs(followed, x)
            if now is not pairs:
                pairs, hessians = now, Hessians(system, len(x), now)
            force, H = hessians.at(x)
            normal = torch.randn(g.shape, generator=generator, dtype=g.dtype)
            self.xi.append(normal.flatten())
            self.H.append(H)
            x = x + h * (force + system.activity.push(g))
            last = n == course.steps - 1
            g = (self.last_keep if last else self.keep) * g + (self.last_kick if last else self.kick) * normal
        self.end = self._wrapped(x), g

    def _wrapped(self, x: torch.Tensor) -> torch.Tensor:
        columns = zip(x.unbind(-1), self.system.box.low, self.system.periods, strict=True)
        wrapped = [c if period is None else a + torch.remainder(c - a, period) for c, a, period in columns]
        return torch.stack(wrapped, dim=-1)

    def value(self) -> torch.Tensor:
        """``-sum_n eta_n . xi_n`` as a vector that gives it for each ``delta``, ``(n N d,)``."""
        # ``sum eta . xi`` from a step on is p_x . dx + p_g . dg + w . delta, dx and dg the changes at that step
        p_x, p_g, w = (torch.zeros_like(self.xi[0]) for _ in range(3))
        polynomials, after = self._polynomials(), None
        for left, (H, xi) in enumerate(zip(reversed(self.H), reversed(self.xi), strict=True), start=1):
            keep, kick = (self.last_keep, self.last_kick) if left == 1 else (self.keep, self.kick)
            q = xi + kick * p_g
            if left == 1:
                by_x, by_g, by_delta = torch.zeros_like(q), -keep / kick * q, q / kick
            elif left == 2:
                # the activity that the last step needs to bring the position home
                home = self._freely(after, q) / (self.push * kick)
                by_x, by_g = -self._freely(H, home), -self.push * home - keep / kick * q
                by_delta = torch.zeros_like(q)
            else:
                by_x, by_g, by_delta = self._applied(polynomials[left], H, q)
            p_x, p_g, w = self._freely(H, p_x) + by_x, self.push * p_x + keep * p_g + by_g, w + by_delta
            after = H
        return -w

    def _freely(self, H: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
        return p - self.course.step * (H @ p)

    def _applied(self, coefficients: torch.Tensor, H: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
        """Three polynomials ``(degree + 1, 3)`` of ``H`` times ``q: (n N d,)``, ``(3, n N d)``."""
        middle, half = 0.5 * (self.course.high + self.course.low), 0.5 * (self.course.high - self.course.low)
        terms = [q, (H @ q - middle * q) / half]
        while len(terms) < len(coefficients):
            terms.append(
                torch.addmv(terms[-2] + (2 * middle / half) * terms[-1], H, terms[-1], beta=-1, alpha=2 / half)
            )
        return torch.tensordot(coefficients.T, torch.stack(terms), dims=1)

    def _polynomials(self) -> list[torch.Tensor]:
        """Chebyshev coefficients of the controls by the steps that are left, to be used from the third last on."""
        course = self.course
        angle = (torch.arange(NODES, dtype=torch.float64) + 0.5) * (math.pi / NODES)
        rates = 0.5 * (course.high + course.low) + 0.5 * (course.high - course.low) * torch.cos(angle)
        gains = self._gains(rates, course.steps)
        order = torch.arange(NODES, dtype=torch.float64)
        coefficients = torch.tensordot(torch.cos(order.unsqueeze(-1) * angle) * (2 / NODES), gains, dims=1)
        coefficients[0] *= 0.5
        tail = coefficients.abs().flip(0).cumsum(0).flip(0)
        needed = (tail > ACCURACY * gains.abs().amax(0)).any(1).sum(0).clamp_min(2)
        return [coefficients[: needed[r], :, r] for r in range(course.steps + 1)]

    def _gains(self, rates: torch.Tensor, steps: int) -> torch.Tensor:
        """``(modes, 3, steps + 1)``: what a control is made of when so many steps are left.

        With ``c_r = (S_r, a^r)`` what a control has done to position and activity ``r`` steps after the next one,
        ``A^r`` what becomes of a change ``z`` in ``r`` steps and ``G_r = sum_{q < r} c_q c_q^T``, the control of least
        energy is ``c_{r-1} . G_r^{-1} (target - A^r z)`` with the target ``(0, delta)``.
        """
        falling = self.course.falling
        slowed = falling * (torch.nn.functional.softplus(3 + rates / falling, threshold=100) - 3)
        alpha = (1 - self.course.step * slowed).unsqueeze(-1)
        power = torch.arange(steps + 1, dtype=rates.dtype)
        left, kept = alpha**power, (self.keep**power).expand(*rates.shape, -1)
        moved = [torch.zeros_like(rates)]
        for r in range(steps):
            moved.append(alpha[..., 0] * moved[-1] + self.push * self.keep**r)
        moved = torch.stack(moved, dim=-1)
        xx, xg, gg = (torch.cumsum(u * v, -1)[..., :-1] for u, v in ((moved, moved), (moved, kept), (kept, kept)))
        det = (xx * gg - xg * xg).clamp_min(1e-300)
        last_x, last_g = moved[..., :-1], kept[..., :-1]
        by_x, by_g = (last_x * gg - last_g * xg) / det, (last_g * xx - last_x * xg) / det
        found = torch.stack([-by_x * left[..., 1:], -by_x * moved[..., 1:] - by_g * kept[..., 1:], by_g], dim=-2)
        return torch.nn.functional.pad(found / self.kick, (1, 0))


def _transition(rate: float, h: float) -> tuple[float, float]:
    """What is left of an activity after ``h``, and what noise has added."""
    return math.exp(-rate * h), math.sqrt(-math.expm1(-2 * rate * h))


def _pairs(system: ParticleSystem | Followed, x: torch.Tensor) -> Pairs:
    if not system.interacts:
        none = torch.zeros(0, dtype=torch.long, device=x.device)
        return Pairs(none, none)
    return system.pairs(x)
