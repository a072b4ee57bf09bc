"""What a grid solve returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.interpolate import NdBSpline, RegularGridInterpolator, make_interp_spline

from pyness.errors import InputError
from pyness.grid.mesh import Mesh
from pyness.systems import System

__all__ = ["GridLandscape", "GridSolution"]


@dataclass(frozen=True, eq=False)
class GridSolution:
    """The steady state of ``system`` on a mesh of ``shape`` cells; arrays are float64 numpy in C order.

    Attributes:
        system: what was solved.
        mesh: the cells; walls of the domain, and for open sides the window that was cut out.
        density: ``shape``, mean of ``p`` over each cell; ``density.sum() * mesh.volume == 1``.
        potential: ``shape``, ``U = -D log p`` for scalar constant ``D`` and ``-log p`` otherwise, minimum 0; cells
            below ``1e-300`` of the peak hold the potential of that floor.
        potential_extrapolated: ``shape``, the potential extrapolated at second order from this and half the
            resolution, or refined to high order on this one, minimum 0: what to compare with.
        velocity: ``shape + (d,)``, current velocity ``v = F_v - D grad log p``; NaN below that floor.
        epr: entropy production rate from the face fluxes, k_B per unit time.
        epr_error: ``|epr - epr at half the resolution|``. The scheme is of first to second order in the cell
            size, so this is at least the discretisation error that is left in ``epr``, and about three times it
            once the cells resolve the noise (``|F| h < D``).
        epr_extrapolated: Richardson extrapolation of the two resolutions at second order.
        potential_error: root mean square difference to the potential at half the resolution, in units of the
            potential, over cells with ``U < 20 D``, best shift.
        edge_mass: probability in the outermost cells of open sides, which is what the window cuts off or worse.
        warnings: one line each on what makes the result doubtful.
    """

    system: System
    mesh: Mesh
    density: np.ndarray
    potential: np.ndarray
    potential_extrapolated: np.ndarray
    velocity: np.ndarray
    epr: float
    epr_error: float
    epr_extrapolated: float
    potential_error: float
    edge_mass: float
    warnings: tuple[str, ...]

    @property
    def axes(self) -> tuple[np.ndarray, ...]:
        """Cell centres along each axis."""
        return self.mesh.axes

    @property
    def current(self) -> np.ndarray:
        """``shape + (d,)``, probability current ``J = p v``."""
        return np.nan_to_num(self.velocity) * self.density[..., None]

    @property
    def local_epr(self) -> np.ndarray:
        """``shape``, entropy production per unit time and volume, ``p v . D^{-1} v``."""
        v = torch.from_numpy(np.nan_to_num(self.velocity))
        x = self.mesh.points().reshape(v.shape)
        return self.density * (v * self.system.diffusion.solve(x, v)).sum(-1).numpy()

    @cached_property
    def landscape(self) -> GridLandscape:
        """The solution as a landscape: ``.potential(x)``, ``.current_velocity(x)``, ``.system``."""
        return GridLandscape(self)

    def interpolate(self, x: torch.Tensor) -> torch.Tensor:
        """The extrapolated potential at ``x: (..., d)``, shape ``(...,)``, by a cubic spline; NaN off the mesh.

        Raises:
            InputError: ``x`` of another dimension.
        """
        return self._at(x, self._potential_spline)

    def mass(self, where: Callable[[torch.Tensor], torch.Tensor]) -> float:
        """Probability of the cells whose centres ``x: (cells, d)`` satisfy ``where(x): (cells,)``."""
        inside = torch.as_tensor(where(self.mesh.points())).numpy().astype(bool)
        return float(self.density.ravel()[inside].sum() * self.mesh.volume)

    @cached_property
    def _potential_spline(self) -> NdBSpline:
        return cubic(self.mesh, self.potential_extrapolated)

    @cached_property
    def _velocity_interpolator(self) -> RegularGridInterpolator:
        return multilinear(self.mesh, self.velocity)

    def _at(self, x: torch.Tensor, table: Callable[[np.ndarray], np.ndarray]) -> torch.Tensor:
        x = torch.as_tensor(x)
        mesh = self.mesh
        if x.ndim < 1 or x.shape[-1] != mesh.dim:
            raise InputError(f"points have shape {tuple(x.shape)}", f"give (..., {mesh.dim})")
        points = x.detach().double().cpu().numpy().reshape(-1, mesh.dim).copy()
        low, high = np.array(mesh.low), np.array(mesh.high)
        wrap = np.array(mesh.periodic)
        points[:, wrap] = (low + np.mod(points - low, high - low))[:, wrap]
        values = table(points)
        slack = 1e-6 * (high - low)  # float32 points folded to a wall may round past it
        values[((points < low - slack) | (points > high + slack)).any(axis=-1)] = np.nan
        return torch.from_numpy(values.reshape(x.shape[:-1] + values.shape[1:])).to(x)

    def __repr__(self) -> str:
        cells = "x".join(map(str, self.mesh.shape))
        return f"<GridSolution {self.system.name!r} on {cells}: epr = {self.epr:.6g}, error <= {self.epr_error:.2g}>"


class GridLandscape:
    """A grid solution with the face of a learnt landscape, so that plots and estimators take either."""

    def __init__(self, solution: GridSolution) -> None:
        self.solution = solution
        self.system = solution.system

    def potential(self, x: torch.Tensor) -> torch.Tensor:
        """``(...,)`` at ``x: (..., d)``, minimum 0 over the cells."""
        return self.solution.interpolate(x)

    def current_velocity(self, x: torch.Tensor) -> torch.Tensor:
        """``(..., d)`` at ``x: (..., d)``."""
        return self.solution._at(x, self.solution._velocity_interpolator)


def multilinear(mesh: Mesh, values: np.ndarray) -> RegularGridInterpolator:
    """Linear between cell centres and through the outer half cells, wrapped on periodic axes."""
    axes, values = _wrapped(mesh, values, 1)
    return RegularGridInterpolator(axes, values, bounds_error=False, fill_value=None)


def cubic(mesh: Mesh, values: np.ndarray) -> NdBSpline:
    """Tensor-product cubic spline through the cell centres, continued through the outer half cells."""
    axes, coefficients = _wrapped(mesh, values, 6)  # a spline forgets by a factor 3.7 per node
    knots = []
    for axis, nodes in enumerate(axes):
        spline = make_interp_spline(nodes, coefficients, k=3, axis=axis)
        knots.append(spline.t)
        coefficients = np.moveaxis(spline.c, 0, axis)
    return NdBSpline(tuple(knots), np.ascontiguousarray(coefficients), 3, extrapolate=True)


def _wrapped(mesh: Mesh, values: np.ndarray, cells: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Axes and values with ``cells`` more on both ends of each periodic axis, taken from the other end."""
    axes = list(mesh.axes)
    for axis, periodic in enumerate(mesh.periodic):
        if periodic:
            margin = [(cells, cells) if k == axis else (0, 0) for k in range(values.ndim)]
            values = np.pad(values, margin, mode="wrap")
            axes[axis] = axes[axis][0] + mesh.step[axis] * np.arange(-cells, mesh.shape[axis] + cells)
    return axes, values
