"""The domain of a system: a box whose coordinates reflect, wrap round or are open, cut by linear walls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pyness.errors import SystemDefinitionError

__all__ = ["BOUNDARIES", "Box"]

BOUNDARIES = ("reflect", "clip", "refuse", "periodic", "open")
#: Points of the box tried for one that lies within linear walls before the domain is taken for empty.
TRIES = 1000
#: Points of the domain of which the innermost is taken.
CANDIDATES = 1024

Wall = tuple[Sequence[float], float]


@dataclass(frozen=True, init=False)
class Box:
    """An axis-aligned box, one boundary condition for all or one per coordinate, and linear walls across it.

    ``reflect``: no-flux walls at both ends, walkers are folded back. ``clip``: the same walls, but walkers are put onto
    them, which in the limit of short steps is the same process and at a given step is further from it. ``refuse``: a
    walker that leaves has failed. ``periodic``: the two ends are the same point. ``open``: no wall; the box is only
    where walkers start and where pictures look.

    Args:
        low, high: ``(d,)`` finite corners, ``low < high``.
        boundary: one of ``"reflect" | "clip" | "refuse" | "periodic" | "open"`` or a sequence of ``d`` of them.
        walls: pairs ``(a, b)`` of ``(d,)`` coefficients and a number: no-flux walls that keep ``a . x <= b``, walkers
            are reflected along their normal ``a``. They may cross reflecting and open sides, not periodic ones.

    Faces are numbered: ``2 i`` and ``2 i + 1`` for the low and the high side of coordinate ``i``, ``2 d + k`` for the
    linear wall ``k``.

    Raises:
        SystemDefinitionError: corners of different length, not finite or not ordered; unknown boundary; a wall of
            another dimension, without direction or across a periodic coordinate; walls that leave next to nothing of
            the box.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    boundary: tuple[str, ...]
    walls: tuple[tuple[tuple[float, ...], float], ...]

    def __init__(
        self,
        low: Sequence[float],
        high: Sequence[float],
        boundary: str | Sequence[str] = "open",
        walls: Sequence[Wall] = (),
    ) -> None:
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
        object.__setattr__(self, "walls", tuple(_linear_wall(k, wall, kinds) for k, wall in enumerate(walls)))
        if self.walls:
            import torch

            self.uniform(1, torch.Generator().manual_seed(0))  # refuses an empty domain

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
        """The coordinates with no-flux walls, by folding or by clipping."""
        return tuple(axis for axis, kind in enumerate(self.boundary) if kind in ("reflect", "clip"))

    @property
    def periodic(self) -> tuple[int, ...]:
        return self.axes("periodic")

    @property
    def walled(self) -> bool:
        """Whether walkers are reflected anywhere."""
        return bool(self.reflecting or self.walls)

    def normals(self):
        """``(2 d + walls, d)`` float64: the outward unit normal of each face, in the order of their numbers."""
        import torch

        one = torch.eye(self.dim, dtype=torch.float64)
        sides = torch.stack([-one, one], dim=1).flatten(0, 1)
        return torch.cat([sides, self.linear(torch.float64)[0]])

    def linear(self, dtype=None, device=None):
        """Unit normals ``(walls, d)`` and offsets ``(walls,)`` of ``normals @ x <= offsets``."""
        import torch

        a = torch.tensor([wall[0] for wall in self.walls], dtype=torch.float64).reshape(-1, self.dim)
        b = torch.tensor([wall[1] for wall in self.walls], dtype=torch.float64)
        length = a.norm(dim=1)
        return (a / length[:, None]).to(device, dtype), (b / length).to(device, dtype)

    def innermost(self, dtype=None):
        """Of many points of the domain the one deepest within its linear walls, ``(d,)``."""
        import torch

        normals, offsets = self.linear(dtype)
        points = self.uniform(CANDIDATES, torch.Generator().manual_seed(0), dtype=dtype)
        return points[(points @ normals.mT - offsets).amax(-1).argmin()]

    def face_name(self, face: int, variables: Sequence[str]) -> str:
        """A face in words: ``"x = 0"``, or ``"+1 x -1 y <= 0"`` for a linear wall."""
        axis, side = divmod(face, 2)
        if axis < self.dim:
            return f"{variables[axis]} = {(self.low, self.high)[side][axis]:g}"
        a, b = self.walls[face - 2 * self.dim]
        terms = [f"{v:+g} {name}" for v, name in zip(a, variables, strict=True) if v]
        return f"{' '.join(terms)} <= {b:g}"

    def uniform(self, count: int, generator=None, dtype=None, device=None):
        """``(count, d)`` points drawn uniformly from the box, within the linear walls if there are any."""
        import torch

        def draw(n):
            unit = torch.rand(n, self.dim, generator=generator, dtype=dtype, device=device)
            low = torch.tensor(self.low, dtype=unit.dtype, device=unit.device)
            width = torch.tensor(self.width, dtype=unit.dtype, device=unit.device)
            return low + unit * width

        if not self.walls:
            return draw(count)
        found = []
        while count > 0:
            x = draw(max(count, TRIES))
            found.append(x[self.contains(x)][:count])
            if not len(found[-1]):
                raise SystemDefinitionError(
                    f"none of {TRIES} points of the box lies within its linear walls", "mend them or narrow the box"
                )
            count -= len(found[-1])
        return torch.cat(found)

    def contains(self, x):
        """``(...,)`` bool: inside every side that is not open and within every linear wall."""
        import torch

        inside = torch.ones(x.shape, dtype=torch.bool, device=x.device)
        walled = torch.tensor([kind != "open" for kind in self.boundary], device=x.device)
        if bool(walled.any()):
            low, high = torch.tensor([self.low, self.high], dtype=x.dtype, device=x.device)
            # a float32 state folded to the wall may round past the float64 corner
            slack = 4 * torch.finfo(x.dtype).eps * torch.maximum(low.abs(), high.abs()).clamp_min(1.0)
            inside = ~walled | ((x >= low - slack) & (x <= high + slack))
        inside = inside.all(-1)
        if self.walls:
            normals, offsets = self.linear(x.dtype, x.device)
            slack = 4 * torch.finfo(x.dtype).eps * (x.abs() @ normals.abs().mT + offsets.abs()).clamp_min(1.0)
            inside = inside & (x @ normals.mT <= offsets + slack).all(-1)
        return inside

    def to_dict(self) -> dict:
        walls = {"walls": [[list(a), b] for a, b in self.walls]} if self.walls else {}
        return {"low": list(self.low), "high": list(self.high), "boundary": list(self.boundary)} | walls


def _linear_wall(index: int, wall: Wall, kinds: tuple[str, ...]) -> tuple[tuple[float, ...], float]:
    try:
        a, b = wall
        a, b = tuple(float(v) for v in a), float(b)
    except (TypeError, ValueError):
        raise SystemDefinitionError(
            f"linear wall {index} is {wall!r}", "give (a, b) for a . x <= b, a of one number per coordinate"
        ) from None
    if len(a) != len(kinds) or not all(map(math.isfinite, (*a, b))) or not any(a):
        raise SystemDefinitionError(
            f"linear wall {index} has the coefficients {a} and the bound {b}",
            f"give {len(kinds)} finite coefficients, not all zero, and a finite bound",
        )
    crossed = [axis for axis, (v, kind) in enumerate(zip(a, kinds, strict=True)) if v and kind == "periodic"]
    if crossed:
        raise SystemDefinitionError(
            f"linear wall {index} crosses the periodic coordinate {crossed[0]}", "give it the coefficient 0 there"
        )
    return a, b
