"""Conditional averages ``E[f | z]`` as smooth functions: least squares on fixed tanh units and quadratic monomials."""

from __future__ import annotations

import torch

__all__ = ["Regression"]

SHARPEST, BLUNTEST = 3.0, 0.3
RIDGE = 1e-7


class Regression:
    """``E[f | z]``, differentiable in ``z``.

    Attributes:
        tensors: ``center (k,)``, ``scale (k,)``, ``weights (k, u)``, ``bias (u,)``, ``coefficients (p, m)`` with
            ``p = 1 + k + k (k + 1) / 2 + u``.
    """

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        self.tensors = tensors

    @classmethod
    def fit(
        cls, z: torch.Tensor, f: torch.Tensor, weight: torch.Tensor, units: int, generator: torch.Generator
    ) -> Regression:
        """From pairs ``z: (n, k)``, ``f: (n, m)`` that count with ``weight: (n,)``."""
        center = (weight @ z) / weight.sum()
        scale = ((weight @ (z - center).square()) / weight.sum()).sqrt().clamp_min(1e-12)
        direction = torch.randn(z.shape[1], units, generator=generator, dtype=torch.float64).to(z)
        sharpness = BLUNTEST + (SHARPEST - BLUNTEST) * torch.rand(units, generator=generator, dtype=torch.float64).to(z)
        weights = (sharpness * direction / direction.norm(dim=0)).contiguous()
        at = (z[torch.randint(0, len(z), (units,), generator=generator)] - center) / scale
        tensors = {"center": center, "scale": scale, "weights": weights, "bias": -(weights * at.mT).sum(0)}
        model = cls(tensors)
        normal, moment = 0.0, 0.0
        for rows in torch.arange(len(z), device=z.device).split(8192):
            features = model._features(z[rows])
            normal = normal + features.mT @ (features * weight[rows, None])
            moment = moment + features.mT @ (f[rows] * weight[rows, None])
        size = normal.diagonal().mean()
        normal = normal + RIDGE * size * torch.eye(len(normal), dtype=z.dtype, device=z.device)
        # as a file holds it, since products depend on the layout in their last bit
        tensors["coefficients"] = torch.cholesky_solve(moment, torch.linalg.cholesky(normal)).contiguous()
        return model

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """``(..., m)`` at ``z: (..., k)``."""
        return self._features(z) @ self.tensors["coefficients"].to(z)

    def _features(self, z: torch.Tensor) -> torch.Tensor:
        t = {name: tensor.to(z) for name, tensor in self.tensors.items()}
        y = (z - t["center"]) / t["scale"]
        a, b = torch.triu_indices(y.shape[-1], y.shape[-1], device=z.device).unbind(0)
        hidden = torch.tanh(y @ t["weights"] + t["bias"])
        return torch.cat([torch.ones_like(y[..., :1]), y, y[..., a] * y[..., b], hidden], dim=-1)
