"""The domain of a system: a box whose coordinates reflect, wrap round or are open."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pyness.errors import SystemDefinitionError

__all__ = ["BOUNDARIES", "Box"]

BOUNDARIES = ("reflect", "periodic", "open")


@dataclass(frozen=True, init=False)
class Box:
    """An axis-aligned box, one boundary condition for all or one per coordinate.

    ``reflect``: no-flux walls at both ends, walkers are folded back. ``periodic``: the two ends are the same
    point. ``open``: no wall; the box is only where walkers start and where pictures look.

    Args:
        low, high: ``(d,)`` finite corners, ``low < high``.
        boundary: one of ``"reflect" | "periodic" | "open"`` or a sequence of ``d`` of them.

    Raises:
        SystemDefinitionError: corners of different length, not finite or not ordered; unknown boundary.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    boundary: tuple[str, ...]

    def __init__(self, low: Sequence[float], high: Sequence[float], boundary: str | Sequence[str] = "open") -> None:
        try:
            low, high = tuple(float(v) for v in low), tuple(float(v) for v in high)
        except (TypeError, ValueError):
            raise SystemDefinitionError(
                f"box corners {low!r}, {high!r} are not sequences of numbers", "give Box([lo, ...], [hi, ...])"
            ) from None
        if len(low) != len(high) or not low:
            raise SystemDefinitionError(
                f"box corners have {len(low)} and {len(high)} coordinates", "give one of each per dimension"
            )
        for axis, (a, b) in enumerate(zip(low, high, strict=True)):
            if not (math.isfinite(a) and math.isfinite(b) and a < b):
                raise SystemDefinitionError(
                    f"box side {axis} is [{a}, {b}]",
                    "give finite corners with low < high (an open side still needs them: walkers start there)",
                )
        kinds = (boundary,) * len(low) if isinstance(boundary, str) else tuple(boundary)
        if len(kinds) != len(low):
            raise SystemDefinitionError(
                f"{len(kinds)} boundary conditions for {len(low)} coordinates", "give one for all or one per coordinate"
            )
        for kind in kinds:
            if kind not in BOUNDARIES:
                raise SystemDefinitionError(f"unknown boundary {kind!r}", f"choose from {', '.join(BOUNDARIES)}")
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)
        object.__setattr__(self, "boundary", kinds)

    @property
    def dim(self) -> int:
        return len(self.low)

    @property
    def width(self) -> tuple[float, ...]:
        return tuple(b - a for a, b in zip(self.low, self.high, strict=True))

    def axes(self, kind: str) -> tuple[int, ...]:
        """The coordinates with this boundary condition."""
        return tuple(axis for axis, k in enumerate(self.boundary) if k == kind)

    @property
    def reflecting(self) -> tuple[int, ...]:
        return self.axes("reflect")

    @property
    def periodic(self) -> tuple[int, ...]:
        return self.axes("periodic")

    def uniform(self, count: int, generator=None, dtype=None, device=None):
        """``(count, d)`` points drawn uniformly from the box."""
        import torch

        unit = torch.rand(count, self.dim, generator=generator, dtype=dtype, device=device)
        low = torch.tensor(self.low, dtype=unit.dtype, device=unit.device)
        width = torch.tensor(self.width, dtype=unit.dtype, device=unit.device)
        return low + unit * width

    def contains(self, x):
        """``(...,)`` bool: inside every reflecting and periodic side (open sides hold everything)."""
        import torch

        inside = torch.ones(x.shape, dtype=torch.bool, device=x.device)
        walled = torch.tensor([kind != "open" for kind in self.boundary], device=x.device)
        if bool(walled.any()):
            low, high = torch.tensor([self.low, self.high], dtype=x.dtype, device=x.device)
            # a float32 state folded to the wall may round past the float64 corner
            slack = 4 * torch.finfo(x.dtype).eps * torch.maximum(low.abs(), high.abs()).clamp_min(1.0)
            inside = ~walled | ((x >= low - slack) & (x <= high + slack))
        return inside.all(-1)

    def to_dict(self) -> dict:
        return {"low": list(self.low), "high": list(self.high), "boundary": list(self.boundary)}
