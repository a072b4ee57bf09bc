"""What is known about a system's steady state, and the grid on which published errors are measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

__all__ = ["EvaluationGrid", "Truth"]


@dataclass(frozen=True)
class EvaluationGrid:
    """The nodes on which a potential is compared with its truth.

    Args:
        axes: one increasing sequence of nodes per coordinate.
        cap: points whose true potential is below ``cap * D`` count (20 in the EPR-Net paper).
    """

    axes: tuple[tuple[float, ...], ...]
    cap: float = 20.0

    @classmethod
    def regular(cls, low: Sequence[float], high: Sequence[float], shape: Sequence[int], cap: float = 20.0):
        """Evenly spaced nodes, both ends included."""
        axes = tuple(
            tuple(torch.linspace(a, b, n, dtype=torch.float64).tolist())
            for a, b, n in zip(low, high, shape, strict=True)
        )
        return cls(axes, cap)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(axis) for axis in self.axes)

    def nodes(self) -> torch.Tensor:
        """``(*shape, d)`` float64 coordinates."""
        axes = [torch.tensor(axis, dtype=torch.float64) for axis in self.axes]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


@dataclass(frozen=True)
class Truth:
    """Exact results, each None where it is not known in closed form.

    Attributes:
        epr: entropy production rate, k_B per unit time.
        epr_error: what the stated value may be off by (0 for a closed form).
        potential: ``x: (..., d) -> (...,)``; ``U = -D log p`` for scalar constant D, else ``-log p``; up to a constant.
        source: where the numbers come from.
        grid: shape of a finite-volume solve that serves as truth where no formula does (``pyness.grid``).
        grid_refined: whether that solve is brought to high order.
        grid_window: ``(low, high)`` corners of that solve where the system is open; it looks for some if not given.
        score: ``grad log p``, ``x: (..., d) -> (..., d)``.
        activity_epr: of active particles, the part ``E[v_g . D^{-1} v_g]`` of the activities.
        draw: ``(count, generator=None) -> (count, d)``, independent exact samples, float64.
    """

    epr: float | None = None
    epr_error: float = 0.0
    potential: Callable[[torch.Tensor], torch.Tensor] | None = None
    source: str = ""
    grid: tuple[int, ...] | None = field(default=None)
    grid_refined: bool = False
    grid_window: tuple[Sequence[float], Sequence[float]] | None = None
    score: Callable[[torch.Tensor], torch.Tensor] | None = None
    activity_epr: float | None = None
    draw: Callable[..., torch.Tensor] | None = None
