"""The fixed family of test functions on which stationarity is tested: smooth, and without flux through walls."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from pyness.systems import System

__all__ = ["Observables"]

PAIRS_UP_TO = 12


@dataclass(frozen=True)
class _Factor:
    """A function of one coordinate: ``kind`` with its order, its name and where it is centred."""

    axis: int
    kind: str
    order: int
    name: str


class Observables:
    """Test functions ``g_k`` of a system, each with its value, gradient and diagonal second derivatives.

    A reflecting coordinate gets ``cos(k pi (x - lo)/(hi - lo))``, which has no derivative along the normal of a side,
    so that no surface term enters there (landscapes.md, 3.5; at linear walls it does); a periodic one ``cos`` and
    ``sin`` of its angle; an open one
    ``tanh``-like ``z / sqrt(1 + z^2)`` and the Gaussian ``exp(-z^2/2)`` of the standardised coordinate, which stay
    bounded however far a walker goes, so that their averages have error bars. Products of the first function of two
    coordinates see the correlations, up to ``PAIRS_UP_TO`` coordinates.

    Args:
        system: gives the boundary of each coordinate.
        center, scale: ``(d,)`` of the samples, used for open coordinates.
    """

    def __init__(self, system: System, center: torch.Tensor, scale: torch.Tensor) -> None:
        self.domain, self.center, self.scale = system.domain, center, scale
        singles = [factor for axis in range(system.dim) for factor in self._of_axis(system, axis)]
        self.terms: list[tuple[_Factor, ...]] = [(factor,) for factor in singles]
        if system.dim <= PAIRS_UP_TO:
            first = [next(f for f in singles if f.axis == axis) for axis in range(system.dim)]
            self.terms += [(a, b) for i, a in enumerate(first) for b in first[i + 1 :]]
        self.names = ["*".join(factor.name for factor in term) for term in self.terms]

    @staticmethod
    def _of_axis(system: System, axis: int) -> list[_Factor]:
        name, boundary = system.variables[axis], system.domain.boundary[axis]
        if boundary in ("reflect", "clip"):
            return [_Factor(axis, "wall", k, f"cos({k}pi {name})") for k in (1, 2)]
        if boundary == "periodic":
            return [_Factor(axis, kind, 1, f"{kind}({name})") for kind in ("cos", "sin")]
        return [_Factor(axis, "odd", 1, f"odd({name})"), _Factor(axis, "bell", 1, f"bell({name})")]

    def apart_from_linear_walls(self) -> list[int]:
        """The numbers of the functions of coordinates that no linear wall involves."""
        held = {axis for a, _ in self.domain.walls for axis, v in enumerate(a) if v}
        return [k for k, term in enumerate(self.terms) if not held & {f.axis for f in term}]

    def __len__(self) -> int:
        return len(self.terms)

    def values(self, x: torch.Tensor) -> torch.Tensor:
        """``(n, k)`` values at ``x: (n, d)``."""
        known = self._factors(x)
        return torch.stack([math.prod((known[f][0] for f in term), start=1.0) for term in self.terms], dim=1)

    def linear(self, x: torch.Tensor) -> torch.Tensor:
        """``(n, open coordinates)``: the standardised open coordinates themselves at ``x: (n, d)``.

        Unbounded, so not tested for stationarity; but the slowest mode of a well is nearly linear, and bounded
        functions alone make its relaxation time up to 16 % too short.
        """
        axes = [axis for axis, boundary in enumerate(self.domain.boundary) if boundary in ("open", "refuse")]
        return ((x - self.center.to(x)) / self.scale.to(x))[:, axes]

    def flux(self, system: System, x: torch.Tensor) -> torch.Tensor:
        """``(n, k, d)``: ``D grad g`` at ``x: (n, d)``, whose normal part linear walls pick up."""
        known, gradient = self._factors(x), x.new_zeros(len(x), len(self.terms), x.shape[1])
        for k, term in enumerate(self.terms):
            for f, rest in self._with_rest(term, known):
                gradient[:, k, f.axis] = known[f][1] * rest
        return system.diffusion.apply(x.unsqueeze(1), gradient)

    def generator(self, system: System, x: torch.Tensor) -> torch.Tensor:
        """``(n, k)``: ``L g = F . grad g + D : grad grad g`` at ``x: (n, d)``."""
        known, drift, D = self._factors(x), system.drift(x), system.diffusion(x)
        matrix = system.diffusion.kind == "matrix"
        own = (torch.diagonal(D, dim1=-2, dim2=-1) if matrix else D).expand(x.shape)
        columns = []
        # no array of all gradients and second derivatives: in twelve dimensions that is gigabytes
        for term in self.terms:
            total = sum(
                rest * (drift[:, f.axis] * known[f][1] + own[:, f.axis] * known[f][2])
                for f, rest in self._with_rest(term, known)
            )
            if matrix and len(term) == 2:
                a, b = term
                total = total + 2 * D[..., a.axis, b.axis] * known[a][1] * known[b][1]
            columns.append(total)
        return torch.stack(columns, dim=1)

    def _factors(self, x: torch.Tensor) -> dict[_Factor, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        return {factor: self._factor(factor, x) for factor in dict.fromkeys(f for term in self.terms for f in term)}

    @staticmethod
    def _with_rest(term: tuple[_Factor, ...], known: dict) -> list[tuple[_Factor, torch.Tensor | float]]:
        """Each factor of a term with the value of the other one."""
        return [(f, known[term[1 - i]][0] if len(term) == 2 else 1.0) for i, f in enumerate(term)]

    def _factor(self, factor: _Factor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Value, first and second derivative of one factor, ``(n,)`` each."""
        axis = factor.axis
        lo, hi = self.domain.low[axis], self.domain.high[axis]
        if factor.kind in ("wall", "cos", "sin"):
            k = math.pi * factor.order / (hi - lo) * (1 if factor.kind == "wall" else 2)
            c, s = torch.cos(k * (x[:, axis] - lo)), torch.sin(k * (x[:, axis] - lo))
            return (s, k * c, -k * k * s) if factor.kind == "sin" else (c, -k * s, -k * k * c)
        h = self.scale[axis].to(x)
        z = (x[:, axis] - self.center[axis].to(x)) / h
        if factor.kind == "odd":
            root = torch.rsqrt(1 + z * z)
            return z * root, root**3 / h, -3 * z * root**5 / h**2
        bell = torch.exp(-0.5 * z * z)
        return bell, -z * bell / h, (z * z - 1) * bell / h**2
