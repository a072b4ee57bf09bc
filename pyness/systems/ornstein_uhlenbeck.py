"""Ornstein-Uhlenbeck processes: density, score, current and entropy production in closed form, in any dimension."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pyness.errors import SystemDefinitionError
from pyness.systems.box import Box
from pyness.systems.diffusion import Diffusion
from pyness.systems.registry import register
from pyness.systems.system import System
from pyness.systems.truth import Truth


@register("ornstein-uhlenbeck")
def ornstein_uhlenbeck(
    A: Sequence[Sequence[float]] = ((1.0, 0.8, -0.4), (-0.6, 1.5, 0.5), (0.3, -0.9, 0.7)),
    D: float | Sequence[float] | Sequence[Sequence[float]] = 0.5,
) -> System:
    """``dX = -A X dt + sqrt(2 D) dW`` for any stable ``A``; ``D`` a number, a diagonal or a matrix.

    ``p = N(0, S)`` with ``A S + S A^T = 2 D`` and ``e_p = Tr(A^T D^{-1} A S) - Tr A``.

    Raises:
        SystemDefinitionError: ``A`` not square or with an eigenvalue of non-positive real part, or noise that
            does not reach every direction, so that there is no density.
    """
    try:
        matrix = torch.as_tensor(A, dtype=torch.float64)
    except (TypeError, ValueError) as error:
        raise SystemDefinitionError(f"A is {A!r}", "give a square matrix of numbers") from error
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise SystemDefinitionError(f"A has shape {tuple(matrix.shape)}", "give a square matrix")
    if not bool(torch.isfinite(matrix).all()):
        raise SystemDefinitionError("A has entries that are not finite", "give a matrix of finite numbers")
    rates = torch.linalg.eigvals(matrix).real
    if rates.min().item() <= 0:
        raise SystemDefinitionError(
            f"A has an eigenvalue with real part {rates.min().item():.4g}", "give a stable A (all real parts > 0)"
        )
    dim = matrix.shape[0]
    noise = Diffusion(D, dim)
    diffusion = noise.value
    S = covariance(matrix, diffusion)
    spread = torch.linalg.eigvalsh(S)
    if not spread[0] > 1e-12 * spread[-1]:
        raise SystemDefinitionError(
            f"with D = {diffusion.tolist()} the noise never reaches some direction", "give D of full rank, or couple"
        )
    reach = 3 * torch.diagonal(S).sqrt()

    def drift(x: torch.Tensor) -> torch.Tensor:
        return -(x @ matrix.to(x).mT)

    # U = D x.S^{-1}x / 2 for scalar D, Phi = x.S^{-1}x / 2 otherwise
    precision = torch.linalg.inv(S)
    scale = noise.scalar or 1.0

    def potential(x: torch.Tensor) -> torch.Tensor:
        return 0.5 * scale * ((x @ precision.to(x)) * x).sum(-1)

    slowest = 1 / rates.min().item()
    return System(
        name="ornstein-uhlenbeck",
        dim=dim,
        drift=drift,
        diffusion=diffusion,
        domain=Box((-reach).tolist(), reach.tolist(), "open"),
        parameters={"A": matrix.tolist(), "D": diffusion.tolist()},
        solver="SOSRA",
        plan={"walkers": 10_000, "burn_in": 10 * slowest, "snapshots": 10, "spacing": slowest},
        truth=Truth(
            epr=entropy_production(matrix, diffusion),
            potential=potential,
            source="Gaussian steady state, Lyapunov equation",
        ),
        source="closed form",
    )


def _full(D: torch.Tensor, dim: int) -> torch.Tensor:
    if D.ndim == 2:
        return D
    return torch.diag(D.expand(dim) if D.ndim == 0 else D)


def covariance(A: torch.Tensor, D: torch.Tensor) -> torch.Tensor:
    """``S`` with ``A S + S A^T = 2 D``, ``(d, d)``, float64."""
    from scipy.linalg import solve_continuous_lyapunov

    return torch.from_numpy(solve_continuous_lyapunov(A.numpy(), 2 * _full(D, A.shape[0]).numpy()))


def entropy_production(A: torch.Tensor, D: torch.Tensor) -> float | None:
    """``Tr(A^T D^{-1} A S) - Tr A``, or None where ``D`` is singular and the rate does not exist."""
    full = _full(D, A.shape[0])
    if torch.linalg.matrix_rank(full) < A.shape[0]:
        return None
    S = covariance(A, D)
    return (torch.trace(A.mT @ torch.linalg.solve(full, A) @ S) - torch.trace(A)).item()
