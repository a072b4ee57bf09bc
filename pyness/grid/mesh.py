"""A rectangular mesh and the exponentially fitted (Scharfetter-Gummel) exchange rates across its faces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import sparse

from pyness.errors import InputError
from pyness.systems import System

__all__ = ["Faces", "Mesh", "along", "exchange"]

CHUNK = 1 << 18  # points per call of the drift, which bounds its temporaries


@dataclass(frozen=True)
class Mesh:
    """Equal cells on a box; unknowns sit at cell centres.

    Attributes:
        low, high: corners of the box, ``d`` numbers each.
        shape: cells per axis.
        periodic: per axis, whether its ends are the same point; every other end is a no-flux wall.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    shape: tuple[int, ...]
    periodic: tuple[bool, ...]

    @property
    def dim(self) -> int:
        return len(self.shape)

    @property
    def cells(self) -> int:
        return int(np.prod(self.shape))

    @property
    def step(self) -> np.ndarray:
        return (np.array(self.high) - np.array(self.low)) / np.array(self.shape)

    @property
    def volume(self) -> float:
        return float(self.step.prod())

    @property
    def axes(self) -> tuple[np.ndarray, ...]:
        """Cell centres along each axis."""
        return tuple(a + h * (np.arange(n) + 0.5) for a, h, n in zip(self.low, self.step, self.shape, strict=True))

    def points(self, axes: tuple[np.ndarray, ...] | None = None) -> torch.Tensor:
        """``(cells, d)`` float64 cell centres in C order, or the nodes of other ``axes``."""
        nodes = np.meshgrid(*(self.axes if axes is None else axes), indexing="ij")
        return torch.from_numpy(np.stack([node.ravel() for node in nodes], axis=-1))

    def neighbours(self, axis: int) -> tuple[np.ndarray, np.ndarray]:
        """Flat indices of the two cells at each face across ``axis``; the wrap-round faces come last."""
        index = np.moveaxis(np.arange(self.cells).reshape(self.shape), axis, 0)
        left, right = (index, np.roll(index, -1, axis=0)) if self.periodic[axis] else (index[:-1], index[1:])
        return left.ravel(), right.ravel()

    def face_points(self, axis: int) -> torch.Tensor:
        """``(faces, d)`` centres of the faces across ``axis``, in the order of :meth:`neighbours`."""
        axes = list(self.axes)
        count = self.shape[axis] if self.periodic[axis] else self.shape[axis] - 1
        axes[axis] = self.low[axis] + self.step[axis] * np.arange(1, count + 1)
        moved = [axes[axis], *axes[:axis], *axes[axis + 1 :]]
        points = self.points(tuple(moved))
        back = [*range(1, axis + 1), 0, *range(axis + 1, self.dim)]
        return points[:, back]


@dataclass(frozen=True)
class Faces:
    """Exchange between the cells ``left`` and ``right`` of every face.

    The net probability per unit time from left to right is ``forward * m[left] - backward * m[right]`` for cell
    masses ``m``, and ``log(forward / backward) = peclet`` holds exactly.
    """

    mesh: Mesh
    left: np.ndarray
    right: np.ndarray
    forward: np.ndarray
    backward: np.ndarray
    peclet: np.ndarray
    diffusion: np.ndarray
    counts: tuple[int, ...]  # faces per axis; the arrays hold one axis after the other

    @cached_property
    def generator(self) -> sparse.csc_matrix:
        """``M`` with ``dm/dt = -M m``: columns sum to zero, off-diagonal entries are not positive."""
        n = self.mesh.cells
        leaving = np.bincount(self.left, self.forward, n) + np.bincount(self.right, self.backward, n)
        every = np.arange(n)
        rows = np.concatenate([self.right, self.left, every])
        columns = np.concatenate([self.left, self.right, every])
        entries = np.concatenate([-self.forward, -self.backward, leaving])
        return sparse.coo_matrix((entries, (rows, columns)), shape=(n, n)).tocsc()

    def affinity(self, log_density: np.ndarray) -> np.ndarray:
        """``log(forward p[left] / (backward p[right]))`` per face, free of cancellation and underflow."""
        return self.peclet + log_density[self.left] - log_density[self.right]

    def entropy_production(self, density: np.ndarray, log_density: np.ndarray) -> float:
        """``sum J log(forward p_left / (backward p_right))``, k_B per unit time (landscapes.md 2.1)."""
        flux = self.forward * density[self.left] - self.backward * density[self.right]
        return float((flux * self.affinity(log_density)).sum() * self.mesh.volume)

    def mean_peclet(self, density: np.ndarray) -> float:
        """``|F_v| h / D`` averaged over the density and the axes; beyond 1 the cells do not resolve the noise."""
        weight = density[self.left] + density[self.right]
        return float((np.abs(self.peclet) * weight).sum() / weight.sum())

    def velocity(self, log_density: np.ndarray) -> np.ndarray:
        """``(cells, d)`` current velocity: mean of the two faces of a cell, zero on a wall.

        On a face it is ``F_v - D (log p)'`` by a centred difference, which holds in the far tail as well, where a
        quotient of current and density would not.
        """
        mesh, out, start = self.mesh, np.zeros((self.mesh.cells, self.mesh.dim)), 0
        for axis, count in enumerate(self.counts):
            part = slice(start, start + count)
            speed = self.diffusion[part] / mesh.step[axis] * self.affinity(log_density)[part]
            for side in (self.left[part], self.right[part]):
                out[:, axis] += 0.5 * np.bincount(side, speed, mesh.cells)
            start += count
        return out


def exchange(system: System, mesh: Mesh) -> Faces:
    """The exchange rates of ``system`` on ``mesh``, drift and diffusion taken at the face centres.

    Raises:
        InputError: drift or diffusion not finite, or diffusion not positive, at a face (the point is named).
    """
    left, right, forward, backward, peclet, diffusion, counts = [], [], [], [], [], [], []
    for axis in range(mesh.dim):
        i, j = mesh.neighbours(axis)
        points = mesh.face_points(axis)
        drift, D = along(system, axis, points)
        if not bool((D > 0).all()):
            raise InputError(
                f"the diffusion of {system.variables[axis]!r} is {D.min():.4g} at {_place(points[int(D.argmin())])}",
                "the grid needs noise in every coordinate: move the window off that point or sample instead",
            )
        h = mesh.step[axis]
        P = drift * h / D
        left.append(i)
        right.append(j)
        forward.append(D / h**2 * _bernoulli(-P))
        backward.append(D / h**2 * _bernoulli(P))
        peclet.append(P)
        diffusion.append(D)
        counts.append(len(i))
    join = np.concatenate
    return Faces(
        mesh, join(left), join(right), join(forward), join(backward), join(peclet), join(diffusion), tuple(counts)
    )


def along(system: System, axis: int, points: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """``F_v`` and ``D`` of one axis at ``points: (n, d)``, ``(n,)`` each.

    Raises:
        InputError: one of them is not finite (the point is named).
    """

    def entry(x: torch.Tensor) -> torch.Tensor:
        D = system.diffusion(x)
        return D.expand(x.shape[0]) if D.ndim == 0 else D[..., axis].expand(x.shape[0])

    drift = _evaluate(lambda x: system.modified_drift(x)[..., axis], points, "the drift")
    return drift, _evaluate(entry, points, "the diffusion")


def _evaluate(field: Callable[[torch.Tensor], torch.Tensor], points: torch.Tensor, what: str) -> np.ndarray:
    with torch.no_grad():
        values = torch.cat([field(part) for part in points.split(CHUNK)])
    if not bool(torch.isfinite(values).all()):
        where = _place(points[int((~torch.isfinite(values)).nonzero()[0])])
        raise InputError(f"{what} is not finite at {where}", "give low= and high= that keep clear of it")
    return values.numpy()


def _place(point: torch.Tensor) -> list[float]:
    return [round(v, 4) for v in point.tolist()]


def _bernoulli(z: np.ndarray) -> np.ndarray:
    """``z / (exp(z) - 1)``, by its series where the quotient loses digits."""
    small = np.abs(z) < 1e-5
    safe = np.where(small, 1.0, z)
    with np.errstate(over="ignore"):
        return np.where(small, 1 - z / 2 + z * z / 12, safe / np.expm1(safe))
