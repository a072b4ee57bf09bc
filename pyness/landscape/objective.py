"""What a landscape minimises: entropy production loss, contrast, Hamilton-Jacobi-Bellman residual, walls, anchors.

With ``Phi`` the potential in units of ``k_B T`` (``-log p``), ``F_v = F - div D`` and ``S = E|grad Phi|_D^2`` the
Fisher rate (known from the samples, landscapes.md 3.2):

    EPR       E[ |grad Phi|_D^2 + 2 F_v . grad Phi ] / S                  minimum -1 without walls (2.3)
    contrast  -E_p log sigma(-Phi + c - log q) - E_q log(1 - sigma(...))  minimum at Phi = -log p
    HJB       E_mu[ R^2 / (|F|_{D^-1}^2 S + S^2) ],   R = div F_v + div(D grad Phi) - F_v . grad Phi - |grad Phi|_D^2
    walls     E[ (nu . (F_v + D grad Phi))^2 / (...) ]                    no flux, landscapes.md 2.5
    anchors   E[ min(Phi - floor, 0)^2 ]                                  where there is no probability

EPR and contrast are convex in the potential. Each term is dimensionless and of order one for a potential that is wrong,
so the weights are the same for every system: ``R`` is a slope error times ``|F|``, hence its weight. Every term has a
``loss``, differentiable in the weights of the network, and the Gauss-Newton ``hessian`` of it, ``(P, P)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch.nn.functional import softplus

from pyness.landscape.metric import full_diffusion
from pyness.landscape.network import Network, Places
from pyness.landscape.tangent import gradient_rows, residual_rows, value_rows
from pyness.systems import System
from pyness.systems.derivatives import value_and_divergence

LogDensity = Callable[[torch.Tensor], torch.Tensor]

__all__ = ["Anchors", "Contrast", "EntropyProduction", "Objective", "Residual", "Ridge", "Term", "Walls"]

#: Points that a Hessian is formed from, where a loss has many more: curvature needs less precision than slope.
HESSIAN_ROWS, PLANAR = 4_000, 2
#: Numbers that a Hessian holds at a time at the most.
HESSIAN_ENTRIES = 1 << 25


class Term(Protocol):
    """One term of the objective."""

    def loss(self, network: Network) -> torch.Tensor: ...

    def hessian(self, network: Network, outer: bool = False) -> torch.Tensor: ...


@dataclass(frozen=True)
class Objective:
    """A weighted sum of terms."""

    terms: dict[str, Term]
    weights: dict[str, float]

    def parts(self, network: Network) -> dict[str, torch.Tensor]:
        return {name: term.loss(network) for name, term in self.terms.items()}

    def weigh(self, parts: dict[str, torch.Tensor]) -> torch.Tensor:
        return sum(self.weights[name] * value for name, value in parts.items())

    def hessian(self, network: Network, outer: bool) -> torch.Tensor:
        return sum(self.weights[name] * term.hessian(network, outer) for name, term in self.terms.items())


class EntropyProduction:
    """The EPR loss over ``states: (n, d)``.

    ``drift: (n, d)`` is ``F_v`` at each of them; in reduced coordinates it is what the full state says and not a
    function of the reduced one (landscapes.md, 2.4). If not given it is that of the system.
    """

    def __init__(
        self, network: Network, system: System, states: torch.Tensor, rate: float, drift: torch.Tensor | None = None
    ) -> None:
        self.system, self.rate = system, rate
        self.at, self.drift = network.places(states, 1), system.modified_drift(states) if drift is None else drift

    def loss(self, network: Network, rows: slice | torch.Tensor = slice(None)) -> torch.Tensor:
        """Over some of the states, all if not said."""
        at = self.at[rows]
        gradient = network.gradient(at)
        noisy = self.system.diffusion.apply(at.x, gradient)
        return ((noisy + 2 * self.drift[rows]) * gradient).sum(1).mean() / self.rate

    def hessian(self, network: Network, outer: bool = False) -> torch.Tensor:
        # every state gives a row for each coordinate
        count = min(len(self.at), max(1, HESSIAN_ROWS * PLANAR // max(network.dim, PLANAR)))
        together = max(1, HESSIAN_ENTRIES // (network.dim * len(network.parameters)))
        total = sum(self._curve(network, self.at[part], outer) for part in _parts(count, together))
        return 2 * total / (count * self.rate)

    def _curve(self, network: Network, at: Places, outer: bool) -> torch.Tensor:
        root = torch.linalg.cholesky(full_diffusion(self.system, at.x))
        rows = [gradient_rows(network, at, axis, outer) for axis in range(network.dim)]
        total = 0.0
        for k in range(network.dim):
            along = sum(rows[i] * root[:, i, k, None] for i in range(k, network.dim) if bool(root[:, i, k].any()))
            total = total + along.mT @ along
        return total


class Contrast:
    """Logistic contrast between samples and a reference of known density; ``c`` is always at its optimum.

    With ``widening`` the samples are of that many times the noise, with density ``exp(-Phi / widening)``.
    """

    def __init__(
        self,
        network: Network,
        samples: torch.Tensor,
        reference: torch.Tensor,
        log_q: LogDensity,
        widening: float = 1.0,
    ) -> None:
        self.samples, self.reference = network.places(samples, 0), network.places(reference, 0)
        self.log_q, self.widening = (log_q(samples), log_q(reference)), widening

    def logits(self, network: Network) -> tuple[torch.Tensor, torch.Tensor]:
        u, v = self.unbalanced(network)
        # at the optimum the slope by c is zero, so c counts as a constant
        c = balance(u.detach(), v.detach())
        return u + c, v + c

    def unbalanced(
        self, network: Network, samples: slice | torch.Tensor = slice(None), reference: slice = slice(None)
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The logits of samples and of reference points, of some of them if said, without their constant."""
        sides = zip((self.samples, self.reference), self.log_q, (samples, reference), strict=True)
        return tuple(-network.value(at[rows]) / self.widening - log_q[rows] for at, log_q, rows in sides)

    def loss(self, network: Network) -> torch.Tensor:
        u, v = self.logits(network)
        return softplus(-u).mean() + softplus(v).mean()

    def hessian(self, network: Network, outer: bool = False) -> torch.Tensor:
        total, constant, curved = 0.0, 0.0, 0.0
        few = slice(HESSIAN_ROWS)
        u, v = self.unbalanced(network, few, few)
        c = balance(u, v)
        for at, logit in ((self.samples, u + c), (self.reference, v + c)):
            rows = value_rows(network, at[:HESSIAN_ROWS], outer) / self.widening
            p = torch.sigmoid(logit)
            curve = p * (1 - p) / len(p)
            total = total + rows.mT @ (rows * curve[:, None])
            constant, curved = constant + rows.mT @ curve, curved + curve.sum()
        return total - torch.outer(constant, constant) / curved.clamp_min(1e-300)


class Residual:
    """The stationarity residual ``R`` at fixed points.

    ``fade: (n,)`` is the weight of each point besides that of its slope.
    """

    def __init__(self, network: Network, system: System, points: torch.Tensor, rate: float) -> None:
        self.system, self.at = system, network.places(points)
        self.drift, self.drift_divergence = value_and_divergence(system.modified_drift, points)
        speed = (self.drift * system.diffusion.solve(points, self.drift)).sum(-1)
        self.weight = torch.rsqrt(speed * rate + rate**2)
        self.fade = torch.ones_like(self.weight)

    def residual(self, network: Network, rows: slice = slice(None)) -> torch.Tensor:
        """``R``, ``(n,)``, at some of the points if said."""
        at = self.at[rows]
        gradient, curvature = network.gradient_and_curvature(self.system, at)
        noisy = self.system.diffusion.apply(at.x, gradient)
        return self.drift_divergence[rows] + curvature - ((self.drift[rows] + noisy) * gradient).sum(-1)

    def loss(self, network: Network, rows: slice = slice(None)) -> torch.Tensor:
        return (self.fade[rows] * self.weight[rows] * self.residual(network, rows)).square().mean()

    def hessian(self, network: Network, outer: bool = False) -> torch.Tensor:
        total = 0.0
        for part in _parts(len(self.at)):
            at = self.at[part]
            along = self.drift[part] + 2 * self.system.diffusion.apply(at.x, network.gradient(at))
            rows = residual_rows(network, self.system, at, along) * (self.fade * self.weight)[part, None]
            total = total + rows.mT @ rows
        total = 2 * total / len(self.at)
        return total[network.outer, network.outer] if outer else total


class Walls:
    """No flux through reflecting walls, at points on them with outward normals; ``fade`` as for the residual."""

    def __init__(
        self, network: Network, system: System, points: torch.Tensor, normals: torch.Tensor, rate: float
    ) -> None:
        self.system, self.at = system, network.places(points, 1)
        self.inflow = (normals * system.modified_drift(points)).sum(-1)
        self.pushed = system.diffusion.apply(points, normals)
        D = (normals * self.pushed).sum(-1)
        self.weight = torch.rsqrt((self.inflow.square() / D + rate) * D)
        self.fade = torch.ones_like(self.weight)

    def misfit(self, network: Network) -> torch.Tensor:
        """The weighted normal velocity, ``(n,)``."""
        return self.weight * (self.inflow + (self.pushed * network.gradient(self.at)).sum(-1))

    def loss(self, network: Network) -> torch.Tensor:
        return (self.fade * self.misfit(network)).square().mean()

    def hessian(self, network: Network, outer: bool = False) -> torch.Tensor:
        columns = network.outer.stop if outer else len(network.parameters)
        rows = self.pushed.new_zeros(len(self.at), columns)
        for axis in range(network.dim):
            # most walls are sides of the box, which one coordinate crosses
            across = torch.nonzero(self.pushed[:, axis])[:, 0]
            slopes = gradient_rows(network, self.at[across], axis, outer)
            rows.index_add_(0, across, slopes * self.pushed[across, axis, None])
        rows = rows * (self.fade * self.weight)[:, None]
        return 2 * rows.mT @ rows / len(rows)


class Ridge:
    """Half the square of the output weights: large ones that cancel would make the others stiff."""

    def loss(self, network: Network) -> torch.Tensor:
        return 0.5 * network.parameters[network.outer].square().sum()

    def hessian(self, network: Network, outer: bool = False) -> torch.Tensor:
        diagonal = torch.zeros_like(network.parameters)
        diagonal[network.outer] = 1.0
        return torch.diag(diagonal[network.outer] if outer else diagonal)


class Anchors:
    """Where there is no probability the potential is only kept from falling below ``floor``.

    Heights count from the mean over ``zero``, some samples, since the potential has no constant of its own.
    """

    def __init__(self, network: Network, points: torch.Tensor, zero: torch.Tensor) -> None:
        self.at, self.zero, self.floor = network.places(points, 0), network.places(zero, 0), 0.0

    def keep(self, which: torch.Tensor) -> None:
        """Go on with these points only, ``which: (n,)`` of bool."""
        self.at = self.at[which.to(self.at.x.device)]

    def misfit(self, network: Network) -> torch.Tensor:
        """How far below the floor, ``(n,)``, zero above it."""
        return (network.value(self.at) - network.value(self.zero).mean() - self.floor).clamp_max(0.0)

    def loss(self, network: Network) -> torch.Tensor:
        return self.misfit(network).square().mean()

    def hessian(self, network: Network, outer: bool = False) -> torch.Tensor:
        low = self.misfit(network) < 0
        rows = (value_rows(network, self.at, outer) - value_rows(network, self.zero, outer).mean(0)) * low[:, None]
        return 2 * rows.mT @ rows / len(rows)


def _parts(count: int, together: int = 4096) -> list[slice]:
    return [slice(first, min(first + together, count)) for first in range(0, count, together)]


def balance(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
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
