"""What a landscape minimises: entropy production loss, contrast, Hamilton-Jacobi-Bellman residual, walls.

With ``Phi`` the potential in units of ``k_B T`` (``-log p``), ``F_v = F - div D`` and ``S = E|grad Phi|_D^2`` the
Fisher rate (known from the samples, landscapes.md 3.2):

    EPR       E[ |grad Phi|_D^2 + 2 F_v . grad Phi ] / S                  convex, minimum -1 without walls (2.3)
    contrast  -E_p log sigma(-Phi + c - log q) - E_q log(1 - sigma(...))  convex, minimum at Phi = -log p
    HJB       E_mu[ R^2 / (|F|_{D^-1}^2 S + S^2) ],   R = div F_v + div(D grad Phi) - F_v . grad Phi - |grad Phi|_D^2
    walls     E[ (nu . (F_v + D grad Phi))^2 / (...) ]                    no flux, landscapes.md 2.5

Each term is dimensionless and of order one for a potential that is wrong, so the weights are the same for every system:
``R`` is a slope error times ``|F|``, hence its weight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.functional import softplus

from pyness.landscape.features import Evaluated, Features
from pyness.systems import System
from pyness.systems.derivatives import value_and_divergence

LogDensity = Callable[[torch.Tensor], torch.Tensor]

__all__ = ["Anchors", "Contrast", "EntropyProduction", "Residual", "Walls"]


@dataclass(frozen=True)
class EntropyProduction:
    """The EPR loss as the quadratic form ``k.G k / 2 + b.k + const`` in the coefficients."""

    gram: torch.Tensor
    linear: torch.Tensor

    @classmethod
    def assemble(cls, features: Features, system: System, states: torch.Tensor, rate: float) -> EntropyProduction:
        """Over ``states: (n, d)``; the confinement enters with its fixed coefficient."""
        m = features.count
        gram = torch.zeros(m + 1, m + 1, dtype=torch.float64, device=states.device)
        linear = torch.zeros(m + 1, dtype=torch.float64, device=states.device)
        for x in states.split(8192):
            basis, drift = features.evaluate(system, x), system.modified_drift(x)
            flat, noisy = basis.gradient.flatten(0, 1), basis.noise_gradient.flatten(0, 1)
            gram += flat.mT @ noisy
            linear += flat.mT @ drift.flatten()
        gram, linear = 2 * gram / (len(states) * rate), 2 * linear / (len(states) * rate)
        return cls(gram[:m, :m], linear[:m] + gram[:m, m])

    def value(self, k: torch.Tensor) -> torch.Tensor:
        return 0.5 * k @ (self.gram @ k) + self.linear @ k

    def slope(self, k: torch.Tensor) -> torch.Tensor:
        return self.gram @ k + self.linear


@dataclass
class Residual:
    """The stationarity residual ``R`` at fixed points, linearised where asked."""

    basis: Evaluated
    drift: torch.Tensor
    drift_divergence: torch.Tensor
    weight: torch.Tensor

    @classmethod
    def assemble(cls, features: Features, system: System, points: torch.Tensor, rate: float) -> Residual:
        drift, div = value_and_divergence(system.modified_drift, points)
        speed = (drift * system.diffusion.solve(points, drift)).sum(-1)
        weight = torch.rsqrt(speed * rate + rate**2)
        return cls(features.evaluate(system, points), drift, div, weight)

    def potential(self, k: torch.Tensor) -> torch.Tensor:
        return self.basis.value[:, :-1] @ k + self.basis.value[:, -1]

    def residual(self, k: torch.Tensor) -> torch.Tensor:
        """``R``, ``(n,)``."""
        gradient = self.basis.gradient @ _with_one(k)
        noisy = self.basis.noise_gradient @ _with_one(k)
        curvature = self.basis.curvature @ _with_one(k)
        return self.drift_divergence + curvature - (self.drift * gradient).sum(-1) - (gradient * noisy).sum(-1)

    def jacobian(self, k: torch.Tensor) -> torch.Tensor:
        """``dR/dk``, ``(n, m)``: ``div(D grad) - (F_v + 2 D grad Phi) . grad``."""
        along = self.drift + 2 * (self.basis.noise_gradient @ _with_one(k))
        advected = torch.einsum("nd,ndm->nm", along, self.basis.gradient[:, :, :-1])
        return self.basis.curvature[:, :-1] - advected


class Contrast:
    """Logistic contrast between samples and a reference of known density; ``c`` is always at its optimum."""

    def __init__(
        self,
        features: Features,
        samples: torch.Tensor,
        reference: torch.Tensor,
        log_q: LogDensity,
        widening: float = 1.0,
    ) -> None:
        """``widening``: the samples are of that many times the noise, with density ``exp(-Phi / widening)``."""
        self.sides = []
        for x, is_sample in ((samples, True), (reference, False)):
            value = torch.cat([features.value(part) for part in x.split(8192)]) / widening
            self.sides.append((-value[:, :-1], -value[:, -1] - log_q(x), is_sample))

    def logits(self, k: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        (samples, offset, _), (reference, other, _) = self.sides
        u, v = samples @ k + offset, reference @ k + other
        c = _balance(u, v)
        return u + c, v + c

    def value(self, k: torch.Tensor) -> torch.Tensor:
        u, v = self.logits(k)
        return softplus(-u).mean() + softplus(v).mean()

    def system(self, k: torch.Tensor, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Hessian (from ``rows`` points of each side) and slope (from all), the constant eliminated."""
        m = k.numel()
        hessian = torch.zeros(m + 1, m + 1, dtype=k.dtype, device=k.device)
        slope = torch.zeros(m, dtype=k.dtype, device=k.device)
        for (matrix, _, is_sample), logit in zip(self.sides, self.logits(k), strict=True):
            p = torch.sigmoid(logit)
            slope += matrix.mT @ (p - 1.0 if is_sample else p) / len(p)
            part = torch.cat([matrix[:rows], matrix.new_ones(min(rows, len(p)), 1)], dim=1)
            curve = (p * (1 - p))[:rows]
            hessian += part.mT @ (part * curve[:, None]) / len(part)
        constant = hessian[:m, m:]
        return hessian[:m, :m] - constant @ constant.mT / hessian[m, m].clamp_min(1e-300), slope


@dataclass
class Walls:
    """No flux through reflecting walls: linear in the coefficients."""

    rows: torch.Tensor
    target: torch.Tensor
    value: torch.Tensor

    @classmethod
    def assemble(cls, features: Features, system: System, points, normals, rate: float) -> Walls:
        if len(points) == 0:
            empty = torch.zeros(0, dtype=torch.float64, device=points.device)
            return cls(empty.reshape(0, features.count), empty, empty.reshape(0, features.count + 1))
        basis, drift = features.evaluate(system, points), system.modified_drift(points)
        outward = torch.einsum("nd,ndm->nm", normals, basis.noise_gradient)
        inflow = (normals * drift).sum(-1)
        D = (normals * system.diffusion.apply(points, normals)).sum(-1)
        weight = torch.rsqrt((inflow.square() / D + rate) * D)
        return cls(weight[:, None] * outward[:, :-1], -weight * (inflow + outward[:, -1]), basis.value)

    def potential(self, k: torch.Tensor) -> torch.Tensor:
        return self.value @ _with_one(k)

    def misfit(self, k: torch.Tensor) -> torch.Tensor:
        return self.rows @ k - self.target


@dataclass
class Anchors:
    """Far from all data the potential is only kept from falling below ``floor``, with a small weight."""

    rows: torch.Tensor
    floor: torch.Tensor

    def misfit(self, k: torch.Tensor) -> torch.Tensor:
        """How far below the floor, ``(n,)``, zero above it."""
        return (self.rows @ k - self.floor).clamp_max(0.0)


def _with_one(k: torch.Tensor) -> torch.Tensor:
    return torch.cat([k, k.new_ones(1)])


def _balance(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """The constant at which the contrast is stationary: bisection on a few points, then Newton on all."""
    few, other = u[:1000], v[:1000]
    low = torch.minimum(-few.max(), -other.max()) - 40.0
    high = torch.maximum(-few.min(), -other.min()) + 40.0
    for _ in range(40):
        c = 0.5 * (low + high)
        rising = torch.sigmoid(other + c).mean() > torch.sigmoid(-(few + c)).mean()
        low, high = (low, c) if rising else (c, high)
    for _ in range(4):
        p, q = torch.sigmoid(u + c), torch.sigmoid(v + c)
        slope = q.mean() + p.mean() - 1.0
        curve = (p * (1 - p)).mean() + (q * (1 - q)).mean()
        # where the two sides hardly overlap the slope is flat, and a full step would leave the neighbourhood
        c = c - (slope / curve.clamp_min(1e-12)).clamp(-1.0, 1.0)
    return c
