"""``steady_state``: from a system of up to three dimensions to its density, potential, current and EPR."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pyness.errors import InputError
from pyness.grid.mesh import Faces, Mesh, exchange
from pyness.grid.refinement import refined
from pyness.grid.solution import GridSolution, cubic, multilinear
from pyness.grid.stationary import solve_by_elimination, solve_by_iteration
from pyness.systems import System

__all__ = ["steady_state"]

FLOOR = 1e-300
FEWEST = 8  # cells per axis; the error estimate needs half of them
DIRECT_3D = 25_000  # cells up to which a three-dimensional sparse LU is cheap
PROBE = {1: 256, 2: 48, 3: 16}  # cells per axis while the window of open sides is sought
REACH = {1: 30.0, 2: 30.0, 3: 20.0}  # an open side is moved out until log p has fallen by this much,
GROWTH = 0.15  # in steps of this share of the width,
ROUNDS = 5  # so often at most: on coarse cells numerical diffusion keeps a strongly driven density from falling
EDGE_MASS = 1e-6
UNSETTLED = "the refined potential still moves; take more cells or a narrower window"
COARSE = 1.5  # mean |F| h / D; the limit cycle at 2.2 states 14 and is 17 off, at 1.1 states 12 and is 5 off


def steady_state(
    system: System,
    shape: Sequence[int] = (300, 300),
    *,
    low: Sequence[float] | None = None,
    high: Sequence[float] | None = None,
    refine: bool = False,
    progress: bool = False,
) -> GridSolution:
    """Solve the steady Fokker-Planck equation of ``system`` on ``shape`` cells, and on half of them for the error.

    Exponentially fitted (Scharfetter-Gummel) finite volumes for ``J = F_v p - D grad p``: positive densities at any
    cell size, exact in one dimension for constant drift. Reflecting sides are no-flux walls, periodic sides wrap
    round. Open sides end in a no-flux wall too, placed where the density is negligible: unless ``low`` or ``high``
    says where, the box of the system is widened until ``log p`` has fallen by 30 (20 for d = 3), by three quarters of
    its width on either side at most; where a density is driven hard, cells are better spent on a window of your own.
    Sparse LU for d <= 2; for d = 3 Krylov iteration from a coarser grid. The density has relative accuracy in every
    cell either way.

    Args:
        system: d <= 3, diffusion a number, a diagonal, or a function that returns a diagonal.
        shape: cells per axis, at least 8 each. The cell size should resolve the noise, ``|F| h < D``, where the
            density is large; otherwise numerical diffusion dominates (see ``epr_error``).
        low, high: corners of the window, by default those of the system's truth, if it has any. Open sides take any;
            walls and periodic sides must keep their own.
        refine: bring the potential to high order, for cells that do not resolve the noise, which in three dimensions
            is nearly always so; see ``pyness.grid.refinement``. Takes some minutes for 64^3 cells.
        progress: show a progress bar of the refinement on standard error, where that is a terminal.

    Returns:
        GridSolution: density, potential, current velocity, entropy production rate and its discretisation error.

    Raises:
        InputError: ``d > 3``, a matrix diffusion, a bad shape or window, a drift that is not finite or a diffusion
            that is not positive in the window, or a 3-D iteration that does not converge.

    Example:
        >>> import pyness
        >>> solution = pyness.grid.steady_state(pyness.systems.get("toggle-switch"), shape=(150, 150))
        >>> round(solution.epr, 4)
        0.0727
    """
    shape = _check(system, shape)
    low, high = _window(system, low, high)
    periodic = tuple(kind == "periodic" for kind in system.domain.boundary)
    fine = _solve(system, Mesh(low, high, shape, periodic))
    coarse = fine.coarser or _solve(system, _halved(fine.mesh))
    solution = _assemble(system, fine, coarse)
    return _refined(solution, fine, coarse, progress) if refine else solution


@dataclass(frozen=True)
class _Level:
    mesh: Mesh
    faces: Faces
    density: np.ndarray  # (cells,)
    coarser: _Level | None

    @property
    def log_density(self) -> np.ndarray:
        """Relative to the peak, ``(cells,)``."""
        return np.log(np.maximum(self.density / self.density.max(), FLOOR))

    @property
    def epr(self) -> float:
        return self.faces.entropy_production(self.density, self.log_density)


def _solve(system: System, mesh: Mesh) -> _Level:
    faces = exchange(system, mesh)
    if mesh.dim < 3 or mesh.cells <= DIRECT_3D:
        return _Level(mesh, faces, solve_by_elimination(faces) / mesh.volume, None)
    coarser = _solve(system, _halved(mesh))
    masses = solve_by_iteration(faces, np.exp(_prolonged(coarser, mesh)))
    return _Level(mesh, faces, masses / mesh.volume, coarser)


def _halved(mesh: Mesh) -> Mesh:
    return Mesh(mesh.low, mesh.high, tuple(n // 2 for n in mesh.shape), mesh.periodic)


def _prolonged(level: _Level, mesh: Mesh) -> np.ndarray:
    """``log p`` of a level, relative to its peak, at the cells of another mesh, ``(cells,)``."""
    table = multilinear(level.mesh, level.log_density.reshape(level.mesh.shape))
    values = table(mesh.points().numpy())
    return np.maximum(values - values.max(), np.log(FLOOR))


def _assemble(system: System, fine: _Level, coarse: _Level) -> GridSolution:
    mesh, scale = fine.mesh, system.potential_scale
    log_density = fine.log_density
    refinement = (mesh.cells / coarse.mesh.cells) ** (2 / mesh.dim)  # of the error, at second order
    # the two are normalised, so that their difference has no free constant
    absolute = np.log(np.stack([fine.density.max(), coarse.density.max()]))
    table = cubic(coarse.mesh, coarse.log_density.reshape(coarse.mesh.shape))
    gap = log_density + absolute[0] - table(mesh.points().numpy()) - absolute[1]
    limit = 1 + 0.3 * np.abs(log_density)  # cells that resolve nothing are not extrapolated far
    better = log_density + np.clip(gap, -limit, limit) / (refinement - 1)
    velocity = fine.faces.velocity(log_density)
    velocity[log_density <= np.log(FLOOR)] = np.nan
    density = fine.density.reshape(mesh.shape)
    edges = {
        (axis, side): float(np.take(density, cell, axis=axis).sum() * mesh.volume)
        for axis in system.domain.axes("open")
        for side, cell in (("low", 0), ("high", -1))
    }
    epr, coarse_epr = fine.epr, coarse.epr
    return GridSolution(
        system=system,
        mesh=mesh,
        density=density,
        potential=(scale * np.abs(log_density)).reshape(mesh.shape),
        potential_extrapolated=(scale * (better.max() - better)).reshape(mesh.shape),
        velocity=velocity.reshape(*mesh.shape, mesh.dim),
        epr=epr,
        epr_error=abs(epr - coarse_epr),
        epr_extrapolated=epr + (epr - coarse_epr) / (refinement - 1),
        potential_error=scale * float(gap[log_density > -20].std()),
        edge_mass=max(edges.values(), default=0.0),
        warnings=tuple(_warnings(system, fine, edges)),
    )


def _refined(solution: GridSolution, fine: _Level, coarse: _Level, progress: bool) -> GridSolution:
    """The solution with the refined potential, and its distance from that of the coarser cells as error."""
    (phi, settled), (rough, _) = (
        refined(solution.system, level.faces, level.log_density, progress) for level in (fine, coarse)
    )
    table = cubic(coarse.mesh, rough.reshape(coarse.mesh.shape))
    gap, scale = (phi - table(fine.mesh.points().numpy()))[phi < 20], solution.system.potential_scale
    return replace(
        solution,
        potential_extrapolated=(scale * phi).reshape(fine.mesh.shape),
        potential_error=scale * float(gap.std()),
        warnings=(*solution.warnings, *(() if settled else (UNSETTLED,))),
    )


def _warnings(system: System, level: _Level, edges: dict[tuple[int, str], float]) -> Iterator[str]:
    for (axis, side), mass in edges.items():
        if mass > EDGE_MASS:
            yield (
                f"the {side} end of {system.variables[axis]!r} cuts into the density (outermost cells hold "
                f"{mass:.1e}); give a {side}= further out"
            )
    peclet = level.faces.mean_peclet(level.density)
    if peclet > COARSE:
        yield (
            f"the cells do not resolve the noise (|F| h / D is {peclet:.2g} on average), so the error may be larger "
            "than stated; take more cells or a narrower window"
        )


def _check(system: System, shape: Sequence[int]) -> tuple[int, ...]:
    if system.dim > 3:
        raise InputError(
            f"system {system.name!r} has {system.dim} coordinates", "the grid solves d <= 3; sample it instead"
        )
    if system.domain.walls:
        raise InputError(
            f"system {system.name!r} has linear walls", "the grid knows the sides of the box only; sample it instead"
        )
    if system.diffusion.kind == "matrix":
        raise InputError(
            f"the diffusion of {system.name!r} is a matrix",
            "the grid takes a number or a diagonal; rotate the coordinates so that D becomes diagonal, or sample",
        )
    try:
        given = tuple(shape)
        cells = tuple(int(n) for n in given)
    except (TypeError, ValueError):
        raise InputError(f"shape is {shape!r}", f"give {system.dim} whole numbers") from None
    if len(cells) != system.dim or any(n != g or isinstance(g, bool) for n, g in zip(cells, given, strict=True)):
        raise InputError(f"shape is {given} for {system.dim} coordinates", f"give {system.dim} whole numbers")
    if min(cells) < FEWEST:
        raise InputError(f"shape is {given}", f"give at least {FEWEST} cells per axis")
    return cells


def _window(system: System, low, high) -> tuple[tuple[float, ...], tuple[float, ...]]:
    box = system.domain
    if low is None and high is None and system.truth.grid_window is not None:
        low, high = system.truth.grid_window
    low, high = _corner(system, "low", low), _corner(system, "high", high)
    for axis, kind in enumerate(box.boundary):
        for name, given, own in (("low", low, box.low), ("high", high, box.high)):
            if given is not None and kind != "open" and given[axis] != own[axis]:
                raise InputError(
                    f"{name}[{axis}] is {given[axis]:g} but the {kind} side lies at {own[axis]:g}",
                    "leave it there or make a System with another domain",
                )
        a, b = (low or box.low)[axis], (high or box.high)[axis]
        if not a < b:
            raise InputError(f"the window of {system.variables[axis]!r} is [{a:g}, {b:g}]", "give low < high")
    return _widened(system, low, high)


def _corner(system: System, name: str, given) -> tuple[float, ...] | None:
    if given is None:
        return None
    try:
        corner = tuple(float(v) for v in given)
    except (TypeError, ValueError):
        corner = ()
    if len(corner) != system.dim or not np.isfinite(corner).all():
        raise InputError(f"{name} is {given!r}", f"give {system.dim} finite numbers")
    return corner


def _widened(system: System, low, high) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Move the open sides that were not given outwards until the density there is negligible."""
    box = system.domain
    corners = [list(low or box.low), list(high or box.high)]
    movable = [(side, axis) for side, given in enumerate((low, high)) if given is None for axis in box.axes("open")]
    periodic = tuple(kind == "periodic" for kind in box.boundary)
    for _ in range(ROUNDS):
        if not movable:
            break
        mesh = Mesh(*map(tuple, corners), (PROBE[system.dim],) * system.dim, periodic)
        log_density = _solve(system, mesh).log_density.reshape(mesh.shape)
        movable = [
            (side, axis) for side, axis in movable if np.take(log_density, -side, axis=axis).max() > -REACH[system.dim]
        ]
        for side, axis in movable:
            corners[side][axis] += (2 * side - 1) * GROWTH * box.width[axis]
    return tuple(corners[0]), tuple(corners[1])
