"""Systems built backwards from their steady state: choose the density, the diffusion and a rotation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from pyness.errors import SystemDefinitionError
from pyness.systems.box import Box
from pyness.systems.derivatives import jacobian
from pyness.systems.diffusion import Diffusion
from pyness.systems.system import System
from pyness.systems.truth import Truth

__all__ = ["from_potential"]

Field = Callable[[torch.Tensor], torch.Tensor]


def from_potential(
    name: str,
    dim: int,
    potential: Field,
    diffusion: float | Sequence[float] | torch.Tensor | Field,
    rotation: Sequence[Sequence[float]] | torch.Tensor | Field,
    domain: Box,
    variables: Sequence[str] | None = None,
    *,
    diffusion_divergence: Field | None = None,
    epr: float | None = None,
    parameters: Mapping[str, Any] | None = None,
    **recommended: Any,
) -> System:
    """A system whose steady state is ``p ~ exp(-potential)`` exactly, for any diffusion, with a known current.

    ``F = -(D + A) grad Phi + div(D + A)`` with ``A^T = -A``: the current ``J = div(A p)`` is divergence-free, and
    ``v = div A - A grad Phi``. Every diffusion with this density can be written so (Ma, Chen, Fox 2015).

    Args:
        potential: ``Phi = -log p`` up to a constant, ``(..., d) -> (...)`` made of torch operations.
        diffusion, diffusion_divergence: as for ``System``.
        rotation: the antisymmetric ``A``, ``(d, d)``, or a function of ``x`` returning ``(..., d, d)``.
        domain: open or periodic; a wall would need a current along it.
        epr: the entropy production rate ``E[v . D^{-1} v]``, where known; in one or two dimensions it is found by
            quadrature over the box, which must then hold the density.
        **recommended: ``solver``, ``plan``, ``window``, ``evaluation`` as for ``System``.

    Raises:
        SystemDefinitionError: a rotation that is not antisymmetric, a reflecting domain, and what ``System`` refuses.
    """
    if domain.walled:
        raise SystemDefinitionError("a prescribed steady state in a box with walls", "give an open or periodic domain")
    noise = Diffusion(diffusion, dim, diffusion_divergence)
    x = domain.uniform(16, torch.Generator().manual_seed(0), dtype=torch.float64)
    noise.check(x)
    turn = rotation if callable(rotation) and not isinstance(rotation, torch.Tensor) else _constant(rotation, dim)
    A = turn(x)
    if A.shape[-2:] != (dim, dim) or not torch.allclose(A, -A.mT, atol=1e-12 + 1e-9 * A.abs().max().item()):
        raise SystemDefinitionError(
            f"rotation of shape {tuple(A.shape[-2:])} is not antisymmetric", f"give ({dim}, {dim}) with A^T = -A"
        )

    def gradient(x: torch.Tensor) -> torch.Tensor:
        return torch.func.grad(lambda y: potential(y).sum())(x)

    def velocity(x: torch.Tensor) -> torch.Tensor:
        v = -(turn(x) @ gradient(x).unsqueeze(-1)).squeeze(-1)
        return v if turn is not rotation else v + _matrix_divergence(turn, x)

    def drift(x: torch.Tensor) -> torch.Tensor:
        return velocity(x) - noise.apply(x, gradient(x)) + noise.divergence(x)

    scale = noise.scalar or 1.0
    if epr is None and dim <= 2:
        epr = _quadrature(potential, noise, velocity, domain)
    truth = Truth(epr=epr, potential=lambda x: scale * potential(x), source="prescribed density and current")
    return System(
        name, dim, drift, diffusion, domain, variables, diffusion_divergence=diffusion_divergence,
        parameters=parameters, truth=truth, source="built from its steady state", **recommended,
    )  # fmt: skip


def _constant(rotation: Any, dim: int) -> Field:
    try:
        A = torch.as_tensor(rotation, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise SystemDefinitionError(
            f"rotation {rotation!r} is not numbers", f"give an antisymmetric ({dim}, {dim}) matrix"
        ) from None
    if A.shape != (dim, dim):
        raise SystemDefinitionError(
            f"rotation has shape {tuple(A.shape)}", f"give an antisymmetric ({dim}, {dim}) matrix"
        )
    return lambda x: A.to(x)


def _matrix_divergence(field: Field, x: torch.Tensor) -> torch.Tensor:
    """``sum_j d_j A_ij``, ``(..., d)``."""
    columns = jacobian(lambda y: field(y).flatten(-2), x).unflatten(-2, (x.shape[-1],) * 2)
    return torch.diagonal(columns, dim1=-2, dim2=-1).sum(-1)


def _quadrature(potential: Field, noise: Diffusion, velocity: Field, domain: Box, nodes: int = 401) -> float | None:
    """``E[v . D^{-1} v]`` by the trapezoidal rule over the box, which smooth densities inside it take at once."""
    if not noise.invertible:
        return None
    axes = [torch.linspace(a, b, nodes, dtype=torch.float64) for a, b in zip(domain.low, domain.high, strict=True)]
    x = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, domain.dim)
    ends = torch.stack(torch.meshgrid(*(_trapezoid(len(axis)) for axis in axes), indexing="ij"), dim=-1)
    weight = torch.softmax(-potential(x), 0) * ends.reshape(-1, domain.dim).prod(-1)
    v = velocity(x)
    return ((weight * (v * noise.solve(x, v)).sum(-1)).sum() / weight.sum()).item()


def _trapezoid(nodes: int) -> torch.Tensor:
    weight = torch.ones(nodes, dtype=torch.float64)
    weight[0] = weight[-1] = 0.5
    return weight
