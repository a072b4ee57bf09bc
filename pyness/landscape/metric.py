"""The diffusion between the inputs of a network: ``M_ef = D_ij (de/dx_i) (df/dx_j)``.

Where the noise does not mix coordinates and every input is made of a coordinate of its own, it is a diagonal; in 52
dimensions that is a fiftieth of the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pyness.systems import System

if TYPE_CHECKING:
    from pyness.landscape.network import Inputs

__all__ = ["Metric", "full_diffusion", "own_diffusion", "stretch"]


@dataclass(frozen=True)
class Metric:
    """``entries: (n, e, e)``, or ``(n, e)`` where there is nothing but the diagonal."""

    entries: torch.Tensor

    @classmethod
    def between(cls, inputs: Inputs, D: torch.Tensor) -> Metric:
        """Of ``D``, ``(n, d, d)`` or its diagonal ``(n, d)``."""
        first, axis, column = inputs.first, inputs.axis, inputs.column
        if D.ndim == 2 and len(axis.unique()) == len(axis):
            return cls(D[:, axis] * first * first)
        slopes = D.new_zeros(len(first), inputs.value.shape[1], D.shape[1])
        slopes[:, column, axis] = first
        noisy = slopes * D.unsqueeze(1) if D.ndim == 2 else slopes @ D
        return cls(noisy @ slopes.mT)

    @property
    def diagonal(self) -> bool:
        return self.entries.ndim == 2

    def form(self, weights: torch.Tensor) -> torch.Tensor:
        """``sum_ef M_ef w_e w_f`` of each unit, ``(n, u)``, from ``w: (e, u)``."""
        if self.diagonal:
            return self.entries @ weights.square()
        return self.entries.flatten(1) @ (weights.unsqueeze(1) * weights.unsqueeze(0)).flatten(0, 1)

    def along(self, e: int, weights: torch.Tensor) -> torch.Tensor:
        """``sum_f M_ef w_f`` for one input ``e``, ``(n, u)``."""
        return self.entries[:, e, None] * weights[e] if self.diagonal else self.entries[:, e] @ weights

    def pairs(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """``M_ab`` for pairs of inputs ``(m,)``, ``(n, m)``."""
        return self.entries[:, a] * (a == b) if self.diagonal else self.entries[:, a, b]

    def contracted(self, matrix: torch.Tensor) -> torch.Tensor:
        """``sum_ef M_ef A_ef``, ``(n,)``, from ``A: (e, e)``."""
        return self.entries @ matrix.diagonal() if self.diagonal else self.entries.flatten(1) @ matrix.flatten()


def own_diffusion(system: System, x: torch.Tensor) -> torch.Tensor:
    """``D`` as ``(n, d, d)``, or where it does not mix coordinates its diagonal ``(n, d)``."""
    D = system.diffusion(x)
    return D.expand(len(x), *D.shape[-2:]) if system.diffusion.kind == "matrix" else D.expand(x.shape)


def full_diffusion(system: System, x: torch.Tensor) -> torch.Tensor:
    """``D`` as ``(n, d, d)``."""
    D = own_diffusion(system, x)
    return torch.diag_embed(D) if D.ndim == 2 else D


def stretch(D: torch.Tensor) -> torch.Tensor:
    """The diagonal ``(n, d)`` of ``own_diffusion(...)``."""
    return D if D.ndim == 2 else torch.diagonal(D, dim1=1, dim2=2)
