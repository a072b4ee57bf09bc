"""The potential of a grid solution to high order, for cells that do not resolve the noise.

Exponential fitting keeps densities positive at any cell size by numerical diffusion of ``|F| h / 2``, which for a
driven system on affordable cells is more than its own: tubes come out too wide. Their logarithm, though, is smooth on
the scale of the cells, so the same equation for ``phi = -log p``,

    R(phi) = div F_v + sum_i [ d_i(D_i d_i phi) - F_i d_i phi - D_i (d_i phi)^2 ] = 0,

is solved with differences of sixth order where the density is, of fifth order that do not smooth over kinks in the
tails (WENO with a local Lax-Friedrichs flux; Jiang, Peng, SIAM J. Sci. Comput. 21, 2126, 2000), and exponentially
fitted ones far out and at walls that the drift presses on. It is relaxed in time, ``d phi / dt = R``, with steps that
are implicit in the fitted operator linearised at ``phi`` (deferred correction; Stetter, Numer. Math. 29, 425, 1978).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from scipy import sparse
from scipy.sparse import linalg
from tqdm import tqdm

from pyness.grid.mesh import Faces, along
from pyness.grid.stationary import incomplete_factors
from pyness.systems import System

__all__ = ["refined"]

SMOOTH, FAR = 12.0, 35.0  # k_B T above the lowest: up to the first sixth order, beyond the second exponential fitting
GHOSTS = 3
STEEP = 1.0  # rise of phi over one cell beyond which a wall is left to exponential fitting
COURANT = 4.0  # mean number of cells that the drift crosses in one step
STEPS, SETTLED = 150, 1e-3  # until phi moves by less than this in a step, root mean square over the density
SOLVES, ACCURACY = 30, 1e-3
CAREFUL = (1.0, 0.1)  # the most phi moves in a step, and the part of itself by which it moves more
LARGE = 300.0
# differences over the cells from three before to three after
FIRST = np.array([-1, 9, -45, 0, 45, -9, 1]) / 60
SECOND = np.array([2, -27, 270, -490, 270, -27, 2]) / 180
SECOND_NEAR = np.array([0, -1, 16, -30, 16, -1, 0]) / 12


def refined(system: System, faces: Faces, log_density: np.ndarray, progress: bool = False) -> tuple[np.ndarray, bool]:
    """``-log p: (cells,)``, minimum 0, from ``log_density: (cells,)`` of the fitted scheme, and whether it settled."""
    equation = _Equation(system, faces, -log_density)
    phi, n = log_density.max() - log_density, faces.mesh.cells
    dt = COURANT / equation.crossing(phi)
    for _ in tqdm(range(STEPS), desc="refining the potential", leave=False, disable=None if progress else True):
        p = np.exp(-phi)
        residual = equation.residual(phi)
        # what the scheme does not conserve, spread over all cells
        residual -= (p * residual).sum() / p.sum()
        # the rates of the process reversed in time, which is what R is linearised to
        ratio = _ratio(faces, phi)
        rates = replace(faces, forward=faces.backward * ratio, backward=faces.forward / ratio)
        implicit = (sparse.eye(n) / dt + rates.generator.T).tocsr()
        change = _solved(implicit, incomplete_factors(rates, implicit, np.ones(n)), residual)
        most = CAREFUL[0] + CAREFUL[1] * phi
        change = np.clip(change, -most, most)
        phi = phi + change
        phi -= phi.min()
        if np.sqrt((p * change**2).sum() / p.sum()) < SETTLED:
            return phi, True
    return phi, False


def _solved(matrix: sparse.csr_matrix, factors: tuple, right: np.ndarray) -> np.ndarray:
    """By Krylov steps on rows of unit diagonal, since rates of far cells dwarf those where the density is."""
    scale, (lower, upper) = matrix.diagonal(), factors
    condition = linalg.LinearOperator(matrix.shape, lambda y: upper.solve(lower.solve(y * scale)), dtype=float)
    rows = (sparse.diags(1 / scale) @ matrix).tocsr()
    found, failed = linalg.bicgstab(rows, right / scale, rtol=ACCURACY, maxiter=SOLVES, M=condition)
    return found if failed >= 0 and np.isfinite(found).all() else condition @ (right / scale)


def _ratio(faces: Faces, phi: np.ndarray, part: slice = slice(None)) -> np.ndarray:
    """Of the densities right and left of each face."""
    return np.exp(np.clip(phi[faces.left[part]] - phi[faces.right[part]], -LARGE, LARGE))


class _Equation:
    """``R(phi)`` on the cells; which scheme is taken where does not change on the way."""

    def __init__(self, system: System, faces: Faces, phi: np.ndarray) -> None:
        mesh = self.mesh = faces.mesh
        self.faces, points = faces, mesh.points()
        far = (phi - phi.min() > FAR).reshape(mesh.shape)
        self.drift, self.divergence, self.diffusion, self.slope, self.walls, self.fitted = [], [], [], [], [], []
        for axis in range(mesh.dim):
            step = 1e-4 * mesh.step[axis]
            move = step * torch.eye(mesh.dim, dtype=points.dtype)[axis]
            here, ahead, back = (along(system, axis, x) for x in (points, points + move, points - move))
            F, D = (values.reshape(mesh.shape) for values in here)
            dF, dD = (((b - a) / (2 * step)).reshape(mesh.shape) for a, b in zip(back, ahead, strict=True))
            self.drift.append(F)
            self.divergence.append(dF)
            self.diffusion.append(D)
            self.slope.append(dD)
            walls, fitted = self._walls(system, axis)
            self.walls.append(walls)
            self.fitted.append(fitted | far)

    def _walls(self, system: System, axis: int) -> tuple[tuple[np.ndarray, np.ndarray] | None, np.ndarray]:
        """The slope of ``phi`` at both walls, where there is no flux, and which cells near them are fitted instead."""
        mesh, fitted = self.mesh, np.zeros(self.mesh.shape, dtype=bool)
        if mesh.periodic[axis]:
            return None, fitted
        slopes, layers = [], np.moveaxis(fitted, axis, 0)
        for wall, near in ((mesh.low[axis], slice(0, GHOSTS)), (mesh.high[axis], slice(-GHOSTS, None))):
            axes = list(mesh.axes)
            axes[axis] = np.array([wall])
            at = mesh.points(tuple(axes))
            F, D = along(system, axis, at)
            shape = [1 if k == axis else n for k, n in enumerate(mesh.shape)]
            slope = np.moveaxis((-F / D).reshape(shape), axis, 0)
            steep = np.abs(slope) * mesh.step[axis] > STEEP
            layers[near] |= steep
            slopes.append(np.moveaxis(np.where(steep, 0.0, slope), 0, axis))
        return tuple(slopes), fitted

    def crossing(self, phi: np.ndarray) -> float:
        """Cells that the drift crosses in unit time, root mean square over the density."""
        p = np.exp(-phi).reshape(self.mesh.shape)
        cells = sum((F / h) ** 2 for F, h in zip(self.drift, self.mesh.step, strict=True))
        return float(np.sqrt((p * cells).sum() / p.sum()))

    def residual(self, phi: np.ndarray) -> np.ndarray:
        """``R: (cells,)``."""
        grid = phi.reshape(self.mesh.shape)
        low, total, start = grid - grid.min() < SMOOTH, np.zeros(self.mesh.shape), 0
        for axis, count in enumerate(self.faces.counts):
            F, D, dD, h = self.drift[axis], self.diffusion[axis], self.slope[axis], self.mesh.step[axis]
            near = self._neighbours(grid, axis)
            below, above = _one_sided(near, h)
            fast = np.maximum(np.abs(F - dD + 2 * D * below), np.abs(F - dD + 2 * D * above))
            slope = np.where(low, _difference(near, FIRST) / h, 0.5 * (below + above))
            bend = np.where(low, _difference(near, SECOND), _difference(near, SECOND_NEAR)) / h**2
            flow = np.where(low, 0.0, 0.5 * fast * (above - below))
            smooth = self.divergence[axis] + D * bend - (F - dD + D * slope) * slope + flow
            fitted, part = self.fitted[axis], slice(start, start + count)
            total += np.where(fitted, self._fitted(phi, part), smooth) if fitted.any() else smooth
            start += count
        return total.ravel()

    def _fitted(self, phi: np.ndarray, part: slice) -> np.ndarray:
        """What exponentially fitted fluxes across the faces of one axis contribute."""
        f, n = self.faces, self.mesh.cells
        left, right, ratio = f.left[part], f.right[part], _ratio(f, phi, part)
        out = np.bincount(left, f.forward[part] - f.backward[part] * ratio, n)
        return (out - np.bincount(right, f.forward[part] / ratio - f.backward[part], n)).reshape(self.mesh.shape)

    def _neighbours(self, grid: np.ndarray, axis: int) -> list[np.ndarray]:
        """``phi`` of the cells from three before to three after, beyond walls continued with their slope."""
        n, h, walls = self.mesh.shape[axis], self.mesh.step[axis], self.walls[axis]
        if walls is None:
            before = [np.take(grid, [k], axis) for k in range(n - GHOSTS, n)]
            after = [np.take(grid, [k], axis) for k in range(GHOSTS)]
        else:
            before = [np.take(grid, [k], axis) - (2 * k + 1) * h * walls[0] for k in reversed(range(GHOSTS))]
            after = [np.take(grid, [n - 1 - k], axis) + (2 * k + 1) * h * walls[1] for k in range(GHOSTS)]
        padded = np.concatenate([*before, grid, *after], axis)
        return [padded[(slice(None),) * axis + (slice(k, k + n),)] for k in range(2 * GHOSTS + 1)]


def _difference(near: list[np.ndarray], weights: np.ndarray) -> np.ndarray:
    return sum(w * values for w, values in zip(weights, near, strict=True) if w)


def _one_sided(near: list[np.ndarray], h: float) -> tuple[np.ndarray, np.ndarray]:
    """The slope seen from below and from above."""
    d = [(b - a) / h for a, b in pairwise(near)]
    return _weno(*d[:5]), _weno(*reversed(d[1:]))


def _weno(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray, e: np.ndarray) -> np.ndarray:
    """From five differences in a row the slope between the third and the fourth, weighed by smoothness."""
    first = 13 / 12 * (a - 2 * b + c) ** 2 + (a - 4 * b + 3 * c) ** 2 / 4
    second = 13 / 12 * (b - 2 * c + d) ** 2 + (b - d) ** 2 / 4
    third = 13 / 12 * (c - 2 * d + e) ** 2 + (3 * c - 4 * d + e) ** 2 / 4
    small = 1e-6 * np.maximum.reduce([a * a, b * b, c * c, d * d, e * e]) + 1e-12
    u, v, w = 0.1 / (first + small) ** 2, 0.6 / (second + small) ** 2, 0.3 / (third + small) ** 2
    total = u * (2 * a - 7 * b + 11 * c) + v * (-b + 5 * c + 2 * d) + w * (2 * c + 5 * d - e)
    return total / (6 * (u + v + w))
