"""One step of each method, batched over walkers, on ``x: (n, d)``.

``h`` is the step, a number or ``(n, 1)``; ``w`` the Brownian increment ``W(t+h) - W(t)`` and ``a`` its space-time
Levy area ``int_t^{t+h} (W(s) - W(t)) ds - h w / 2``, both ``(n, d)`` and in units of a standard Wiener process.
"""

from __future__ import annotations

from typing import Protocol

import torch

from pyness.sampling.engines.torch.domain import Domain
from pyness.systems import System

__all__ = ["EM", "METHODS", "SOSRA", "EulerHeun", "ImplicitEM", "Method", "Noise"]


class Noise:
    """``sqrt(2 D) w`` for whatever form the diffusion has; constants are converted once."""

    def __init__(self, system: System, dtype: torch.dtype, device: str) -> None:
        self._diffusion = system.diffusion
        self._matrix = system.diffusion.kind == "matrix"
        self._constant = None
        if system.diffusion.constant:
            origin = torch.zeros(system.dim, dtype=torch.float64)
            self._constant = system.diffusion.noise_factor(origin).to(dtype=dtype, device=device)

    def __call__(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """``(n, d)``."""
        factor = self._diffusion.noise_factor(x) if self._constant is None else self._constant
        return (factor @ w.unsqueeze(-1)).squeeze(-1) if self._matrix else factor * w


class Method(Protocol):
    """A one-step method.

    Attributes:
        needs_area: whether it uses ``a``.
        error_order: its error estimate goes like ``h ** error_order`` (None: it has none).
    """

    needs_area: bool
    error_order: float | None

    def __call__(
        self, x: torch.Tensor, h: torch.Tensor, w: torch.Tensor, a: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None, int]:
        """The state after the step, not yet folded; the estimate of its local error; drift evaluations it took."""
        ...


class _Explicit:
    """What the explicit methods share: the drift, taken inside the domain, and the noise."""

    def __init__(self, system: System, domain: Domain, dtype: torch.dtype, device: str) -> None:
        self._system = system
        self._domain = domain
        self._noise = Noise(system, dtype, device)

    def _drift_of_stage(self, y: torch.Tensor) -> torch.Tensor:
        return self._system.drift(self._domain.nearest(y))


class EM(_Explicit):
    """Euler-Maruyama: ``y = x + h F(x) + sqrt(2 D(x)) w`` (Kloeden & Platen 1992).

    With ``split``, of particle systems, the activity makes its exact transition instead, from the same increment, and
    the positions move with ``(3 u(g) + u(g')) / 4`` of its velocities before and after: at given positions, activities
    then scatter as they should to second order in ``h`` times a stiffness (active_matter.md, section 15).
    """

    needs_area, error_order = False, None
    LATER = 0.25

    def __init__(self, system: System, domain: Domain, dtype: torch.dtype, device: str, split: bool = False) -> None:
        super().__init__(system, domain, dtype, device)
        self._split = split

    def __call__(self, x, h, w, a):
        y = x + h * self._system.drift(x) + self._noise(x, w)
        if self._split:
            system, activity = self._system, self._system.activity
            (positions, _), (_, g), (_, own) = system.split(y), system.split(x), system.split(w)
            later = activity.exact_step(g, h, own / torch.sqrt(h))
            ahead = self.LATER * h * (activity.push(later) - activity.push(g))
            y = system.join(positions + ahead, later)
        return y, None, 1


class EulerHeun(_Explicit):
    """Heun's average of the drift at both ends; weak order 2 for additive noise (Kloeden & Platen 1992, 15.1)."""

    needs_area, error_order = False, None

    def __call__(self, x, h, w, a):
        kick = self._noise(x, w)
        first = self._system.drift(x)
        second = self._drift_of_stage(x + h * first + kick)
        return x + h * (0.5 * (first + second)) + kick, None, 2


class SOSRA(_Explicit):
    """Stability-optimised stochastic Runge-Kutta for additive noise, strong order 1.5 (Rackauckas & Nie, 2020).

    The tableau is the published one (arXiv:1804.04344). For a constant noise matrix its noise weights sum to the
    plain increment, and stage ``i`` sees ``B_i I_10 / h`` with ``I_10 / h = w / 2 + a / h``. The error estimate is
    the difference from the pair of weights on stages 1 and 3 that shares the noise condition ``sum b_i B_i = 1``: it
    is of second order in ``h`` both in the drift and in the noise.
    """

    needs_area, error_order = True, 2.0

    ALPHA = (0.2889874966892885, 0.6859880440839937, 0.025024459226717772)
    A21, A31, A32 = 0.6923962376159507, -3.1609142252828395, 4.1609142252828395
    B21, B31, B32 = 1.3371632704399763, 1.442371048468624, 1.8632741501139225

    def __call__(self, x, h, w, a):
        kick = self._noise(x, w)
        lean = 0.5 * kick + self._noise(x, a) / h
        b3 = self.B31 + self.B32
        f1 = self._system.drift(x)
        f2 = self._drift_of_stage(x + h * (self.A21 * f1) + self.B21 * lean)
        f3 = self._drift_of_stage(x + h * (self.A31 * f1 + self.A32 * f2) + b3 * lean)
        mean = self.ALPHA[0] * f1 + self.ALPHA[1] * f2 + self.ALPHA[2] * f3
        return x + h * mean + kick, h * (mean - (1 - 1 / b3) * f1 - f3 / b3), 3


class ImplicitEM(_Explicit):
    """Drift-implicit Euler: ``y = x + h (theta F(y) + (1 - theta) F(x)) + sqrt(2 D(x)) w``, by Newton's method.

    The Jacobian is taken at ``x``; the few walkers whose iteration does not converge with it go on by themselves, with
    new Jacobians and steps halved until the next correction is shorter (the natural monotonicity test, Deuflhard,
    Newton Methods for Nonlinear Problems, 2004, 3.3), which switches as sharp as a Michaelis-Menten pole need. The
    error estimate is half the change of the drift over the step times ``h``, the difference from the trapezoidal rule.
    A walker that does not converge even so, which happens far from the attractor, makes a fixed step in parts that are
    linearly implicit. An adaptive one gets NaN, which the run takes for a rejection.
    """

    needs_area, error_order = False, 1.5
    TOGETHER, ITERATIONS, HALVINGS, PARTS = 4, 20, 8, 8

    def __init__(self, system: System, domain: Domain, dtype: torch.dtype, device: str, theta: float = 1.0) -> None:
        super().__init__(system, domain, dtype, device)
        self._theta = theta
        self._one = torch.eye(system.dim, dtype=dtype, device=device)
        self._close = torch.finfo(dtype).eps ** 0.5

    def __call__(self, x, h, w, a):
        old, slope = self._linear(x)
        kicked = x + self._noise(x, w)
        known = kicked + h * ((1 - self._theta) * old)
        weight = self._theta * h
        factors = torch.linalg.lu_factor(self._newton(weight, slope))
        y, f, first = x, old, None
        done = torch.zeros(x.shape[:-1], dtype=torch.bool, device=x.device)
        for iteration in range(1, self.TOGETHER + 1):  # noqa: B007
            step = _solve(factors, known + weight * f - y)
            y = torch.where(done.unsqueeze(-1), y, y + step)
            f = self._drift_of_stage(y)
            size = step.abs().amax(-1)
            first = size if first is None else first
            done = done | self._settled(size, first, y)
            if bool(done.all()):
                break
        left = torch.nonzero(~done & torch.isfinite(known).all(-1)).flatten()
        if left.numel():
            y = y.index_copy(0, left, self._alone(x[left], known[left], weight[left] if weight.ndim else weight))
            left = left[torch.isnan(y[left]).any(-1)]
            if left.numel() and not weight.ndim:
                y = y.index_copy(0, left, self._in_parts(x[left], kicked[left] - x[left], h))
            f = self._drift_of_stage(y)
        return y, (0.5 * h) * (f - old), 1 + iteration

    def _newton(self, weight: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
        return self._one - (weight.unsqueeze(-1) if weight.ndim else weight) * slope

    def _settled(self, size: torch.Tensor, first: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        # what is left is smaller than the last update by the rate of convergence
        return (size <= self._close * first) | (size <= 8 * self._close**2 * y.abs().amax(-1))

    def _alone(self, y: torch.Tensor, known: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Newton's method from ``y`` with a Jacobian and a damping of each step's own; NaN where it does not end."""
        done = torch.zeros(y.shape[:-1], dtype=torch.bool, device=y.device)
        first = None
        for _ in range(self.ITERATIONS):
            f, slope = self._linear(y)
            factors = torch.linalg.lu_factor(self._newton(weight, slope))
            step = _solve(factors, known + weight * f - y)
            size = step.abs().amax(-1)
            first = size if first is None else torch.maximum(first, size)
            share = torch.ones_like(size)
            for _ in range(self.HALVINGS):
                trial = y + share.unsqueeze(-1) * step
                next_step = _solve(factors, known + weight * self._drift_of_stage(trial) - trial)
                worse = ~(next_step.abs().amax(-1) <= (1 - 0.25 * share) * size) & ~self._settled(size, first, y)
                if not bool(worse.any()):
                    break
                share = torch.where(worse, 0.5 * share, share)
            y = torch.where(done.unsqueeze(-1), y, trial)
            done = done | self._settled(share * size, first, y) & (share == 1)
            if bool(done.all()):
                break
        return torch.where(done.unsqueeze(-1), y, torch.nan)

    def _in_parts(self, y: torch.Tensor, kick: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        """``PARTS`` linearly implicit Euler steps, each with its share of the noise: nothing has to converge."""
        part = h / self.PARTS
        for _ in range(self.PARTS):
            f, slope = self._linear(y)
            factors = torch.linalg.lu_factor(self._newton(part, slope))
            # the drift is that of the nearest point of the domain, so that is where each part begins
            y = self._domain.nearest(y + _solve(factors, part * f + kick / self.PARTS))
        return y

    def _linear(self, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Drift and Jacobian at the nearest point of the domain; in reverse mode, whose state is each thread's own.

        A copy of the batch for each row of the Jacobian, all in one pass: of few walkers most of the time is calls.
        """
        rows, d = y.shape
        with torch.enable_grad():
            copies = y.detach().repeat(d, 1).requires_grad_()
            f = self._drift_of_stage(copies)
            own = torch.diagonal(f.reshape(d, rows, d), dim1=0, dim2=2)
            (slope,) = torch.autograd.grad(own.sum(), copies)
        return f[:rows].detach(), slope.reshape(d, rows, d).transpose(0, 1)


def _solve(factors: tuple[torch.Tensor, torch.Tensor], r: torch.Tensor) -> torch.Tensor:
    return torch.linalg.lu_solve(*factors, r.unsqueeze(-1)).squeeze(-1)


METHODS: dict[str, type[_Explicit]] = {"EM": EM, "EulerHeun": EulerHeun, "SOSRA": SOSRA, "ImplicitEM": ImplicitEM}
