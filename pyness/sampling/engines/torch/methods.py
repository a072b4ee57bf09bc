"""One step of each method, batched over walkers, on ``x: (n, d)``.

``h`` is the step, a number or ``(n, 1)``; ``w`` the Brownian increment ``W(t+h) - W(t)`` and ``a`` its space-time
Levy area ``int_t^{t+h} (W(s) - W(t)) ds - h w / 2``, both ``(n, d)`` and in units of a standard Wiener process.
"""

from __future__ import annotations

import threading
from typing import Protocol

import torch

from pyness.sampling.engines.torch.domain import Domain
from pyness.systems import System

__all__ = ["EM", "METHODS", "SOSRA", "EulerHeun", "ImplicitEM", "Method", "Noise"]


# the levels of torch's forward mode are shared by all threads
_FORWARD_MODE = threading.Lock()


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
        evaluations: drift evaluations a step.
        error_order: its error estimate goes like ``h ** error_order`` (None: it has none).
    """

    needs_area: bool
    evaluations: int
    error_order: float | None

    def __call__(
        self, x: torch.Tensor, h: torch.Tensor, w: torch.Tensor, a: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The state after the step, not yet folded, and the estimate of its local error."""
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
    """Euler-Maruyama: ``y = x + h F(x) + sqrt(2 D(x)) w`` (Kloeden & Platen 1992)."""

    needs_area, evaluations, error_order = False, 1, None

    def __call__(self, x, h, w, a):
        return x + h * self._system.drift(x) + self._noise(x, w), None


class EulerHeun(_Explicit):
    """Heun's average of the drift at both ends; weak order 2 for additive noise (Kloeden & Platen 1992, 15.1)."""

    needs_area, evaluations, error_order = False, 2, None

    def __call__(self, x, h, w, a):
        kick = self._noise(x, w)
        first = self._system.drift(x)
        second = self._drift_of_stage(x + h * first + kick)
        return x + h * (0.5 * (first + second)) + kick, None


class SOSRA(_Explicit):
    """Stability-optimised stochastic Runge-Kutta for additive noise, strong order 1.5 (Rackauckas & Nie, 2020).

    The tableau is the published one (arXiv:1804.04344). For a constant noise matrix its noise weights sum to the
    plain increment, and stage ``i`` sees ``B_i I_10 / h`` with ``I_10 / h = w / 2 + a / h``. The error estimate is
    the difference from the pair of weights on stages 1 and 3 that shares the noise condition ``sum b_i B_i = 1``: it
    is of second order in ``h`` both in the drift and in the noise.
    """

    needs_area, evaluations, error_order = True, 3, 2.0

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
        return x + h * mean + kick, h * (mean - (1 - 1 / b3) * f1 - f3 / b3)


class ImplicitEM(_Explicit):
    """Drift-implicit Euler: ``y = x + h (theta F(y) + (1 - theta) F(x)) + sqrt(2 D(x)) w``, solved by Newton's method.

    The error estimate is half the change of the drift over the step times ``h``, the difference from the trapezoidal
    rule. A walker whose iteration does not converge gets NaN, which an adaptive run takes for a rejection and a
    fixed step for a failure.
    """

    needs_area, error_order = False, 2.0
    MAX_ITERATIONS = 12

    def __init__(self, system: System, domain: Domain, dtype: torch.dtype, device: str, theta: float = 1.0) -> None:
        super().__init__(system, domain, dtype, device)
        self._theta = theta
        self._one = torch.eye(system.dim, dtype=dtype, device=device)
        # a Newton update this small, relative to the state, is at the rounding of the residual
        self._close = 32 * torch.finfo(dtype).eps
        self.evaluations = 2

    def __call__(self, x, h, w, a):
        old = self._system.drift(x)
        known = x + h * ((1 - self._theta) * old) + self._noise(x, w)
        y = x
        scale = self._theta * h
        done = torch.zeros(x.shape[0], dtype=torch.bool, device=x.device)
        for _ in range(self.MAX_ITERATIONS):
            inside = self._domain.nearest(y)
            with _FORWARD_MODE:
                slope = self._system.drift_jacobian(inside)
            if self._domain.walled:
                slope = slope * (~self._domain.outside(y)).to(slope).unsqueeze(-2)
            residual = known + scale * self._system.drift(inside) - y
            step = torch.linalg.solve(self._one - _matrix(scale) * slope, residual)
            y = torch.where(done.unsqueeze(-1), y, y + step)
            size = step.abs().amax(-1)
            done = done | (size <= self._close * (1 + y.abs().amax(-1)))
            if bool((done | ~torch.isfinite(size)).all()):
                break
        y = torch.where(done.unsqueeze(-1), y, torch.full_like(y, torch.nan))
        change = self._drift_of_stage(y) - old
        return y, (0.5 * h) * change


def _matrix(h):
    return h.unsqueeze(-1) if isinstance(h, torch.Tensor) and h.ndim else h


METHODS: dict[str, type[_Explicit]] = {"EM": EM, "EulerHeun": EulerHeun, "SOSRA": SOSRA, "ImplicitEM": ImplicitEM}
