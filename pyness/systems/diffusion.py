"""The diffusion ``D = sigma sigma^T / 2`` of ``dX = F dt + sqrt(2 D) dW``, in the one form the rest of the code uses.

Whatever the user gave (a number, a diagonal, a constant matrix, a function of the state), the estimators and the
losses ask the same few questions: ``D u``, ``D^{-1} u``, ``div D``, ``sqrt(2 D)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from pyness.errors import SystemDefinitionError
from pyness.systems.derivatives import jacobian

__all__ = ["Diffusion", "not_positive"]


def not_positive(kind: str, lowest: float, x: torch.Tensor | None = None) -> SystemDefinitionError:
    """The refusal of a ``D`` whose lowest entry or eigenvalue is negative or NaN; ``x`` where, for a ``D(x)``."""
    place = "" if x is None else f" at x = {[round(v, 4) for v in x.tolist()]}"
    if not math.isfinite(lowest):
        what, remedy = "diffusion is not finite", "give finite values"
    elif kind == "matrix":
        what, remedy = f"diffusion matrix has eigenvalue {lowest:.4g}", "give a positive semi-definite matrix"
    else:
        what, remedy = f"diffusion is negative ({lowest:.4g})", "give D >= 0 (sigma sigma^T / 2)"
    return SystemDefinitionError(what + place, remedy if x is None else f"{remedy} in the whole box, or a smaller box")


class Diffusion:
    """``D`` as ``"scalar"``, ``"diagonal"`` or ``"matrix"``, constant or a function of the state.

    Args:
        spec: a float, a ``(d,)`` sequence (the diagonal), a constant ``(d, d)`` matrix, or a function of
            ``x: (..., d)`` that returns ``(..., 1)`` (a number), ``(..., d)`` (the diagonal) or ``(..., d, d)``.
        dim: the dimension ``d``.
        divergence: ``div D`` as a function of ``x`` that returns ``(..., d)``, for a function of the state; found by
            automatic differentiation if not given, and held against that in ``check`` if it is.

    Attributes:
        kind: ``"scalar" | "diagonal" | "matrix"``.
        constant: whether ``D`` is the same everywhere (additive noise).
        value: the constant as a float64 tensor of shape ``()``, ``(d,)`` or ``(d, d)``; None for a function.
        supplied: the ``divergence`` that was given, or None.

    Raises:
        SystemDefinitionError: wrong shape, non-finite, negative, zero throughout or non-symmetric values; a divergence
            of a constant, or one that is no function.
    """

    def __init__(
        self,
        spec: float | Sequence[float] | torch.Tensor | Callable,
        dim: int,
        divergence: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        self.dim = dim
        self.function = spec if callable(spec) and not isinstance(spec, torch.Tensor) else None
        self.constant = self.function is None
        if divergence is not None and self.constant:
            raise SystemDefinitionError("diffusion_divergence of a constant diffusion", "leave it out, it is zero")
        if divergence is not None and not callable(divergence):
            raise SystemDefinitionError(
                f"diffusion_divergence is {divergence!r}", "give a function of x: (..., d) that returns (..., d)"
            )
        self.supplied = divergence
        self.value = None
        if self.constant:
            self._set_constant(spec)
        else:
            # which of the three shapes a function returns is read once, by check
            self.kind = None

    def _set_constant(self, spec) -> None:
        try:
            value = torch.as_tensor(spec, dtype=torch.float64).detach().clone()
        except (TypeError, ValueError, RuntimeError):
            raise SystemDefinitionError(
                f"diffusion {spec!r} is not numbers", "give a float, a (d,) sequence, a (d, d) matrix or a function"
            ) from None
        shapes = {(): "scalar", (self.dim,): "diagonal", (self.dim, self.dim): "matrix"}
        if tuple(value.shape) not in shapes:
            raise SystemDefinitionError(
                f"diffusion has shape {tuple(value.shape)} in dimension {self.dim}",
                f"give a float, ({self.dim},) or ({self.dim}, {self.dim})",
            )
        self.kind = shapes[tuple(value.shape)]
        self._refuse_bad(value)
        if not bool(torch.any(value != 0)):
            raise SystemDefinitionError("diffusion is zero", "a stochastic system needs noise in some direction")
        self.value = value

    def _refuse_bad(self, value: torch.Tensor, x: torch.Tensor | None = None) -> None:
        if not bool(torch.isfinite(value).all()):
            raise not_positive(self.kind, math.nan, x)
        if self.kind != "matrix":
            if bool((value < 0).any()):
                raise not_positive(self.kind, value.min().item(), x)
            return
        scale = value.abs().amax().clamp_min(1e-300)
        if bool(((value - value.mT).abs().amax() / scale) > 1e-5):
            where = "" if x is None else f" at x = {[round(v, 4) for v in x.tolist()]}"
            raise SystemDefinitionError(f"diffusion matrix is not symmetric{where}", "give sigma sigma^T / 2")
        lowest = torch.linalg.eigvalsh(value.double()).min().item()
        if lowest < -1e-6 * scale.item():
            raise not_positive(self.kind, lowest, x)

    def check(self, x: torch.Tensor) -> None:
        """Validate a state-dependent diffusion at points ``x: (n, d)``; called by ``System``.

        Raises:
            SystemDefinitionError: with the first point at which something is wrong.
        """
        if self.constant:
            return
        try:
            out, single = self.function(x), self.function(x[0])
        except Exception as error:
            raise SystemDefinitionError(
                f"diffusion(x) failed for x of shape {tuple(x.shape)} or {tuple(x[0].shape)}: "
                f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}",
                "write it for x: (..., d), with x[..., i] for coordinate i",
            ) from error
        n = x.shape[0]
        if isinstance(out, torch.Tensor) and tuple(out.shape) == (n, 1) and self.dim > 1:
            # one number for all directions is the diagonal that repeats it
            number, self.function = self.function, lambda x: torch.cat([number(x)] * x.shape[-1], dim=-1)
            out, single = self.function(x), self.function(x[0])
        shapes = {(n, self.dim): "diagonal", (n, self.dim, self.dim): "matrix"}
        shape = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
        if shape not in shapes:
            raise SystemDefinitionError(
                f"diffusion(x) returned {shape} for x of shape {tuple(x.shape)}",
                "return (..., 1) for a number, (..., d) for a diagonal or (..., d, d) for a matrix",
            )
        self.kind = shapes[shape]
        if single.shape != out.shape[1:] or not torch.allclose(single, out[0], rtol=1e-6, equal_nan=True):
            raise SystemDefinitionError(
                "diffusion of a point depends on the batch it stands in", "keep leading dimensions a batch"
            )
        for point, value in zip(x, out, strict=True):
            self._refuse_bad(value, point)
        if self.supplied is not None:
            self._compare_divergence(x, out)

    def _compare_divergence(self, x: torch.Tensor, D: torch.Tensor) -> None:
        exact = self._differentiated(x)
        for batch, expected in ((x, exact), (x[0], exact[0])):
            try:
                given = self.supplied(batch)
            except Exception as error:
                raise SystemDefinitionError(
                    f"diffusion_divergence(x) failed for x of shape {tuple(batch.shape)}: {type(error).__name__}: "
                    f"{(str(error).strip() or 'no message').splitlines()[0]}",
                    "write it for x: (..., d), with x[..., i] for coordinate i",
                ) from error
            shape = tuple(given.shape) if isinstance(given, torch.Tensor) else type(given).__name__
            if shape != tuple(batch.shape) or given.dtype != batch.dtype:
                seen = shape if shape != tuple(batch.shape) else given.dtype
                raise SystemDefinitionError(
                    f"diffusion_divergence(x) returned {seen} for x of shape {tuple(batch.shape)}, {batch.dtype}",
                    "return (..., d), constants converted with .to(x)",
                )
            slack = 1e-6 * exact.abs().max() + 1e-12 * D.abs().max()
            # written so that NaN is refused as well
            wrong = ~((given - expected).abs() <= slack)
            if bool(wrong.any()):
                row = tuple(wrong.nonzero()[0].tolist())
                place = [round(v, 4) for v in batch[row[:-1]].tolist()]
                raise SystemDefinitionError(
                    f"diffusion_divergence gives {given[row].item():.6g} for coordinate {row[-1]} at x = {place}, "
                    f"where that of diffusion is {expected[row].item():.6g}",
                    "give (div D)_i = sum_j d_j D_ij, or leave it out",
                )

    @property
    def additive(self) -> bool:
        """Whether the noise does not depend on the state."""
        return self.constant

    @property
    def invertible(self) -> bool:
        """Whether a constant ``D`` has full rank (a function is asked point by point when inverted)."""
        if not self.constant:
            return True
        if self.kind == "matrix":
            return bool(torch.linalg.eigvalsh(self.value).min() > 0)
        return bool((self.value > 0).all())

    @property
    def scalar(self) -> float | None:
        """The number ``D`` where it is one (a constant diagonal of equal entries included), else None."""
        if not self.constant or self.kind == "matrix":
            return None
        entries = self.value.reshape(-1)
        return entries[0].item() if bool((entries == entries[0]).all()) else None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """``D`` at ``x: (..., d)``: shape ``()``, ``(d,)``, ``(d, d)`` if constant, else ``(..., d[, d])``."""
        return self.value.to(x) if self.constant else self.function(x)

    def apply(self, x: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        """``D(x) u`` for ``u: (..., d)``."""
        D = self(x)
        return (D @ u.unsqueeze(-1)).squeeze(-1) if self.kind == "matrix" else D * u

    def solve(self, x: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        """``D(x)^{-1} u`` for ``u: (..., d)``.

        Raises:
            SystemDefinitionError: a constant ``D`` without full rank.
        """
        if not self.invertible:
            raise SystemDefinitionError(
                "the diffusion has directions without noise", "quantities in the D^{-1} norm do not exist there"
            )
        D = self(x)
        return torch.linalg.solve(D, u.unsqueeze(-1)).squeeze(-1) if self.kind == "matrix" else u / D

    def divergence(self, x: torch.Tensor) -> torch.Tensor:
        """``(div D)_i = sum_j d_j D_ij`` at ``x: (..., d)``, shape ``(..., d)``; zero for a constant."""
        if self.constant:
            return torch.zeros_like(x)
        return self._differentiated(x) if self.supplied is None else self.supplied(x)

    def _differentiated(self, x: torch.Tensor) -> torch.Tensor:
        if self.kind == "diagonal":
            return torch.diagonal(jacobian(self.function, x), dim1=-2, dim2=-1)
        columns = jacobian(lambda y: self.function(y).flatten(-2), x)
        columns = columns.unflatten(-2, (self.dim, self.dim))
        return torch.diagonal(columns, dim1=-2, dim2=-1).sum(-1)

    def noise_factor(self, x: torch.Tensor) -> torch.Tensor:
        """``sqrt(2 D)``: entrywise for scalar and diagonal, the Cholesky factor of ``2 D`` for a matrix."""
        D = self(x)
        if self.kind != "matrix":
            return torch.sqrt(2 * D)
        if self.constant and not self.invertible:
            values, vectors = torch.linalg.eigh(2 * D)
            return vectors * values.clamp_min(0).sqrt()
        return torch.linalg.cholesky(2 * D)

    def to_dict(self) -> dict:
        return {"kind": self.kind, "value": self.value.tolist() if self.constant else "function of the state"}
