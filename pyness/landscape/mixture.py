"""A mixture of Gaussians fitted to samples: where the network starts in many dimensions, and what it is held against.

In many dimensions the states of wider noise hardly overlap with the samples, and a potential of several wells is no
sum of ridge functions: it is the soft minimum of one quadratic form per well. A mixture has that shape, its derivatives
are closed forms, and the network is left with the difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from pyness.systems import Box

__all__ = ["BroadMixture", "Mixture", "fit_mixture"]

COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24)
#: In nats per state: what one more size of mixture must gain, and an iteration to be followed by another.
GAIN, ONWARDS = 0.005, 1e-3
STATES = 20_000
ITERATIONS, RESTARTS = 60, 2
#: Weight of the spread of all samples in that of each component, in states.
PRIOR = 10.0
SHRINK = 0.01


@dataclass(frozen=True)
class Mixture:
    """``q(x) = sum_k w_k N(x; m_k, L_k L_k^T)``.

    Attributes:
        weights: ``(k,)``.
        means: ``(k, d)``.
        factors: ``(k, d, d)`` lower triangular.
    """

    weights: torch.Tensor
    means: torch.Tensor
    factors: torch.Tensor

    def components(self, x: torch.Tensor) -> torch.Tensor:
        """``log w_k N(x; m_k, ...)`` at ``x: (n, d)``, ``(n, k)``."""
        unit = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        # one product for all states: solving for each of them takes five times as long in many dimensions
        whitening = torch.linalg.solve_triangular(self.factors, unit.expand_as(self.factors), upper=False)
        square = [((x - m) @ w.mT).square().sum(1) for m, w in zip(self.means, whitening, strict=True)]
        volume = torch.diagonal(self.factors, dim1=1, dim2=2).log().sum(1) + 0.5 * x.shape[1] * math.log(2 * math.pi)
        return self.weights.log() - volume - 0.5 * torch.stack(square, dim=1)

    def log_density(self, x: torch.Tensor) -> torch.Tensor:
        """``log q`` at ``x: (n, d)``, ``(n,)``."""
        return torch.cat([torch.logsumexp(self.components(part), 1) for part in x.split(8192)])

    def potential(self, x: torch.Tensor, full: bool, order: int = 2) -> tuple[torch.Tensor, ...]:
        """``-log q: (n,)``, its gradient ``(n, d)`` and second derivatives, ``(n, d, d)`` or their diagonal ``(n, d)``.

        Args:
            full: whether all second derivatives are wanted.
            order: 1 for value and gradient alone.
        """
        logs = self.components(x)
        share = torch.softmax(logs, 1)
        precision = torch.cholesky_inverse(self.factors)
        force = torch.einsum("nkd,kde->nke", x.unsqueeze(1) - self.means, precision)
        gradient = torch.einsum("nk,nkd->nd", share, force)
        if order < 2:
            return -torch.logsumexp(logs, 1), gradient
        if full:
            spread = torch.einsum("nk,nkd,nke->nde", share, force, force)
            second = torch.einsum("nk,kde->nde", share, precision) - spread
            second = second + gradient.unsqueeze(2) * gradient.unsqueeze(1)
        else:
            second = share @ torch.diagonal(precision, dim1=1, dim2=2) + gradient.square()
            second = second - torch.einsum("nk,nkd->nd", share, force.square())
        return -torch.logsumexp(logs, 1), gradient, second

    def extended(self, axes: torch.Tensor, states: torch.Tensor) -> Mixture:
        """A mixture of the other coordinates to which coordinates ``axes: (k,)`` are added, as wide as ``states``."""
        d, kept = states.shape[1], torch.ones(states.shape[1], dtype=torch.bool, device=states.device)
        kept[axes.long()] = False
        spread, mean = states.std(0), states.mean(0)
        means = mean.expand(len(self.weights), d).clone()
        means[:, kept] = self.means
        factors = torch.diag(spread).expand(len(self.weights), d, d).clone()
        factors[:, kept.unsqueeze(1) & kept] = self.factors.flatten(1)
        return Mixture(self.weights, means, factors)

    def broadened(self, factor: float) -> Mixture:
        """The same with the widths times ``factor``."""
        return Mixture(self.weights, self.means, self.factors * factor)

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """``(count, d)`` independent points."""
        which = torch.multinomial(self.weights.cpu(), count, replacement=True, generator=generator)
        which = which.to(self.means.device)
        normal = torch.randn(count, self.means.shape[1], generator=generator, dtype=self.means.dtype)
        return self.means[which] + (self.factors[which] @ normal.to(self.means).unsqueeze(2)).squeeze(2)


class BroadMixture:
    """The mixture and a broader one in equal parts, inside a domain: a reference for the contrast."""

    def __init__(self, mixture: Mixture, domain: Box) -> None:
        self.domain = domain
        # in many dimensions a factor on the width moves all of the probability: keep the two overlapping
        self.parts = (mixture, mixture.broadened(1 + 1 / math.sqrt(mixture.means.shape[1])))

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """About ``count`` points inside the domain."""
        half = (count + 1) // 2
        x = torch.cat([part.draw(half, generator) for part in self.parts])
        return x[self.domain.contains(x)]

    def log_density(self, x: torch.Tensor) -> torch.Tensor:
        """``log q`` at ``x: (n, d)``, ``(n,)``; up to a constant where walls cut it off."""
        return torch.logsumexp(torch.stack([part.log_density(x) for part in self.parts]), 0) - math.log(2)


def fit_mixture(states: torch.Tensor, generator: torch.Generator) -> Mixture:
    """Expectation maximisation on half of ``states: (n, d)``; as many components as the other half has use for."""
    states = states[: 2 * STATES]
    half = len(states) // 2
    training, judged = states[:half], states[half:]
    best, score = None, -math.inf
    for count in COUNTS:
        if count * 10 * states.shape[1] > half and best is not None:
            break
        tried = [_expectation_maximisation(training, count, generator) for _ in range(RESTARTS if count > 1 else 1)]
        found = max(tried, key=lambda mixture: mixture.log_density(training).mean().item())
        reached = found.log_density(judged).mean().item()
        if reached < score + GAIN:
            break
        best, score = found, reached
    return best


def _expectation_maximisation(x: torch.Tensor, count: int, generator: torch.Generator) -> Mixture:
    n = len(x)
    spread = torch.diag(x.var(0).clamp_min(1e-24))
    means = _spread_out(x, count, generator)
    share = torch.nn.functional.one_hot(torch.cdist(x, means).argmin(1), count).to(x)
    before = -math.inf
    for _ in range(ITERATIONS):
        size = share.sum(0)
        means = (share.mT @ x) / size.clamp_min(1e-12).unsqueeze(1)
        moments = torch.stack([_moments(x - m, s) for m, s in zip(means, share.T, strict=True)])
        covariance = (moments + PRIOR * SHRINK * spread) / (size + PRIOR)[:, None, None]
        weights = (size + 1) / (n + count)
        mixture = Mixture(weights, means, torch.linalg.cholesky(covariance + 1e-9 * spread))
        logs = mixture.components(x)
        total = torch.logsumexp(logs, 1)
        share = torch.exp(logs - total.unsqueeze(1))
        if total.mean().item() < before + ONWARDS:
            break
        before = total.mean().item()
    return mixture


def _moments(away: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    return away.mT @ (away * share.unsqueeze(1))


def _spread_out(x: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """Centres drawn from the states, each far from those before it (k-means++)."""
    scale = x.std(0).clamp_min(1e-12)
    chosen = [x[int(torch.randint(0, len(x), (1,), generator=generator))]]
    away = torch.full((len(x),), math.inf, dtype=x.dtype, device=x.device)
    for _ in range(count - 1):
        away = torch.minimum(away, ((x - chosen[-1]) / scale).square().sum(1))
        chosen.append(x[int(torch.multinomial(away.cpu() + 1e-12, 1, generator=generator))])
    return torch.stack(chosen)
