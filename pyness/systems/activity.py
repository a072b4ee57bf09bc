"""What drives active particles: a self-propulsion that each particle carries and that fluctuates by itself.

An activity is a variable ``g_i`` per particle with its own linear or vanishing drift and a constant noise, and the
velocity it gives the particle. It knows its exact transition over a time step, which the ``split`` steps use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

import torch

from pyness.errors import SystemDefinitionError

__all__ = ["Activity", "OrnsteinUhlenbeckActivity", "RotatingActivity"]


@dataclass(frozen=True)
class Activity:
    """What both kinds share.

    Args:
        speed: ``v0``, length per unit time.
        rate: ``gamma``, the inverse persistence time.

    Raises:
        SystemDefinitionError: a negative or non-finite speed, a rate that is not positive.
    """

    speed: float
    rate: float
    boundary: ClassVar[str] = "open"
    low: ClassVar[float] = -3.0
    high: ClassVar[float] = 3.0

    def __post_init__(self) -> None:
        if not (isinstance(self.speed, Real) and math.isfinite(self.speed) and self.speed >= 0):
            raise SystemDefinitionError(f"v0 is {self.speed!r}", "give a finite speed of at least 0")
        if not (isinstance(self.rate, Real) and math.isfinite(self.rate) and self.rate > 0):
            raise SystemDefinitionError(f"gamma is {self.rate!r}", "give a rate greater than 0")


class OrnsteinUhlenbeckActivity(Activity):
    """``dg = -gamma g dt + sqrt(2 gamma) dW`` in ``R^d``, of unit variance; velocity ``v0 g`` (active_matter.md, 2)."""

    name: ClassVar[str] = "ou"

    def components(self, space_dim: int) -> int:
        return space_dim

    def push(self, g: torch.Tensor) -> torch.Tensor:
        """Velocity ``(..., d)`` at ``g: (..., d)``."""
        return self.speed * g

    def drift(self, g: torch.Tensor) -> torch.Tensor:
        return -self.rate * g

    def divergence(self, components: int) -> float:
        """``div_{g_i}`` of the drift of one particle."""
        return -self.rate * components

    def exact_step(self, g: torch.Tensor, h: torch.Tensor, normal: torch.Tensor) -> torch.Tensor:
        """``g`` after ``h``, from a standard normal of its shape."""
        keep = torch.exp(-self.rate * h)
        return keep * g + torch.sqrt(-torch.expm1(-2 * self.rate * h)) * normal

    def draw(self, shape: tuple[int, ...], generator: torch.Generator | None, dtype: torch.dtype) -> torch.Tensor:
        """Stationary values."""
        return torch.randn(shape, generator=generator, dtype=dtype)


class RotatingActivity(Activity):
    """``dtheta = sqrt(2 gamma) dW`` on the circle; velocity ``v0 (cos theta, sin theta)`` in the plane."""

    name: ClassVar[str] = "rotation"
    boundary: ClassVar[str] = "periodic"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 2 * math.pi

    def components(self, space_dim: int) -> int:
        if space_dim != 2:
            raise SystemDefinitionError(f"a heading on a circle in {space_dim} dimensions", "give space_dim=2")
        return 1

    def push(self, g: torch.Tensor) -> torch.Tensor:
        """Velocity ``(..., 2)`` at the angle ``g: (..., 1)``."""
        return self.speed * torch.cat([torch.cos(g), torch.sin(g)], dim=-1)

    def drift(self, g: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(g)

    def divergence(self, components: int) -> float:
        return 0.0

    def exact_step(self, g: torch.Tensor, h: torch.Tensor, normal: torch.Tensor) -> torch.Tensor:
        """``g`` after ``h``, not yet wrapped, from a standard normal of its shape."""
        return g + torch.sqrt(2 * self.rate * h) * normal

    def draw(self, shape: tuple[int, ...], generator: torch.Generator | None, dtype: torch.dtype) -> torch.Tensor:
        """Stationary values."""
        return self.high * torch.rand(shape, generator=generator, dtype=dtype)
