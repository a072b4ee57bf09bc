"""What a system's steady state is known to be, from a closed form or a grid: the ruler that integrators are held to."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from pyness import grid
from pyness.estimators import Estimate
from pyness.systems import System

__all__ = ["Cells", "Reference", "known"]

log = logging.getLogger("pyness")

#: Grid cells per axis, and bins per axis of the cells whose shares are compared.
SHAPE = {1: 2000, 2: 300, 3: 48}
BINS = {1: 24, 2: 6, 3: 4}
#: Cells that hold less are counted together.
RARE = 2e-3
#: Share of its width by which an open box is widened where a closed form is integrated.
MARGIN = 0.6


@dataclass(frozen=True)
class Cells:
    """A partition of state space into boxes of comparable probability, the rare ones put together.

    Attributes:
        edges: inner edges along each coordinate.
        group: ``(boxes,)`` the cell each box belongs to.
        share: ``(cells,)`` probability of each cell, and what it may be off by.
    """

    edges: tuple[tuple[float, ...], ...]
    group: np.ndarray
    share: list[Estimate]

    def occupation(self, states: torch.Tensor) -> torch.Tensor:
        """``(walkers, cells)``: the share of its snapshots that each walker of ``(walkers, snapshots, d)`` spends."""
        cell = torch.from_numpy(self.group)[_box(self.edges, states.reshape(-1, states.shape[-1]).double().cpu())]
        walker = torch.arange(states.shape[0]).repeat_interleave(states.shape[1])
        count = torch.zeros(states.shape[0], len(self.share), dtype=torch.float64)
        count.index_put_((walker, cell), torch.ones(len(cell), dtype=torch.float64), accumulate=True)
        return count / states.shape[1]


@dataclass(frozen=True)
class Reference:
    """Attributes:
    source: where it comes from.
    quantities: known averages by the names of :func:`pyness.compare.measure.measure`; errors are what they may be off.
    cells: known shares of the time, or None.
    """

    source: str
    quantities: dict[str, Estimate] = field(default_factory=dict)
    cells: Cells | None = None


def known(system: System) -> Reference:
    """All that is known of ``system``: its truth, and for d <= 3 averages of its exact or grid density."""
    quantities, sources = {}, []
    if system.truth.epr is not None:
        quantities["EPR"] = Estimate(system.truth.epr, system.truth.epr_error)
        sources.append(f"EPR: {system.truth.source}")
    levels = _exact(system) if system.truth.potential is not None and system.dim <= 3 else _solved(system)
    if levels is None:
        return Reference("; ".join(sources), quantities)
    fine, coarse = levels
    for name, function in _functions(system).items():
        quantities[name] = _extrapolated(fine.mean(function(fine.points)), coarse.mean(function(coarse.points)))
    for axis, name in enumerate(system.variables):
        if system.domain.boundary[axis] != "periodic":
            quantities[f"var({name})"] = _extrapolated(fine.variance(axis), coarse.variance(axis))
    if "EPR" not in quantities and fine.epr is not None:
        quantities["EPR"] = fine.epr
    sources.append(f"averages: {fine.source}")
    return Reference("; ".join(sources), quantities, _cells(system, fine, coarse))


@dataclass(frozen=True)
class _Level:
    """A density on a mesh: ``points: (n, d)``, ``masses: (n,)``, and the faces between cells along each axis."""

    points: torch.Tensor
    masses: torch.Tensor
    faces: tuple[np.ndarray, ...]
    source: str
    epr: Estimate | None = None

    def mean(self, values: torch.Tensor) -> float:
        return (self.masses * values).sum().item()

    def variance(self, axis: int) -> float:
        x = self.points[:, axis]
        return self.mean((x - self.mean(x)).square())


def _extrapolated(fine: float, coarse: float) -> Estimate:
    """At second order in the cell size, which is halved; what that corrects is the error stated."""
    correction = (fine - coarse) / 3
    return Estimate(fine + correction, abs(correction))


def _functions(system: System) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    def angle(x: torch.Tensor, axis: int) -> torch.Tensor:
        return 2 * torch.pi * (x[:, axis] - system.domain.low[axis]) / system.domain.width[axis]

    found: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"E|F|^2": lambda x: system.drift(x).square().sum(-1)}
    for axis, name in enumerate(system.variables):
        if system.domain.boundary[axis] == "periodic":
            found[f"cos({name})"] = lambda x, axis=axis: torch.cos(angle(x, axis))
            found[f"sin({name})"] = lambda x, axis=axis: torch.sin(angle(x, axis))
        else:
            found[f"mean({name})"] = lambda x, axis=axis: x[:, axis]
    return found


def _exact(system: System) -> tuple[_Level, _Level]:
    """``p ~ exp(-U / scale)`` by the midpoint rule, on an open box widened until nothing is left outside."""
    cells = SHAPE[system.dim]

    def level(n: int) -> _Level:
        axes, faces = [], []
        for low, high, kind in zip(system.domain.low, system.domain.high, system.domain.boundary, strict=True):
            margin = MARGIN * (high - low) if kind == "open" else 0.0
            face = np.linspace(low - margin, high + margin, n + 1)
            faces.append(face)
            axes.append(torch.from_numpy(0.5 * (face[1:] + face[:-1])))
        points = torch.cartesian_prod(*axes).reshape(-1, system.dim)
        height = system.truth.potential(points) / system.potential_scale
        return _Level(points, torch.softmax(-height, 0), tuple(faces), "closed form")

    return level(cells), level(cells // 2)


def _solved(system: System) -> tuple[_Level, _Level] | None:
    """Two grids, the second of half the resolution; None where there is no grid or it cannot be trusted."""
    if system.dim > 3 or system.diffusion.kind == "matrix":
        return None
    cells = SHAPE[system.dim]
    log.info("solving %s on %s cells, to compare with", system.name, "x".join([str(cells)] * system.dim))
    fine = grid.steady_state(system, (cells,) * system.dim)
    if fine.warnings:
        log.info("the grid is not compared with: %s", fine.warnings[0])
        return None
    low, high = fine.mesh.low, fine.mesh.high
    coarse = grid.steady_state(system, (cells // 2,) * system.dim, low=low, high=high)
    return _of_grid(fine), _of_grid(coarse)


def _of_grid(solution: grid.GridSolution) -> _Level:
    mesh = solution.mesh
    faces = tuple(np.linspace(a, b, n + 1) for a, b, n in zip(mesh.low, mesh.high, mesh.shape, strict=True))
    epr = Estimate(solution.epr_extrapolated, abs(solution.epr_extrapolated - solution.epr))
    masses = torch.from_numpy(solution.density.ravel() * mesh.volume)
    cells = "x".join(map(str, mesh.shape))
    return _Level(mesh.points(), masses, faces, f"finite volume, {cells} cells", epr)


def _cells(system: System, fine: _Level, coarse: _Level) -> Cells:
    """Bins of equal marginal probability, whose edges are faces of both meshes."""
    bins = BINS[system.dim]
    edges = []
    for axis, faces in enumerate(coarse.faces):
        below = np.array([coarse.mean((coarse.points[:, axis] < face).double()) for face in faces[1:-1]])
        nearest = {int(np.abs(below - k / bins).argmin()) for k in range(1, bins)}
        edges.append(tuple(float(faces[1 + i]) for i in sorted(nearest)))
    boxes = int(np.prod([len(inner) + 1 for inner in edges]))
    shares = [
        torch.zeros(boxes, dtype=torch.float64).index_add_(0, _box(edges, level.points), level.masses)
        for level in (fine, coarse)
    ]
    rare = shares[0] < RARE
    group = torch.where(rare, int((~rare).sum()), torch.cumsum(~rare, 0) - 1)
    merged = [
        torch.zeros(int(group.max()) + 1, dtype=torch.float64).index_add_(0, group, share).tolist() for share in shares
    ]
    return Cells(tuple(edges), group.numpy(), [_extrapolated(a, b) for a, b in zip(*merged, strict=True)])


def _box(edges: tuple[tuple[float, ...], ...] | list[tuple[float, ...]], x: torch.Tensor) -> torch.Tensor:
    """``(n,)`` number of the box that each of ``x: (n, d)`` lies in; what lies outside counts to the outermost."""
    number = torch.zeros(len(x), dtype=torch.int64)
    for axis, inner in enumerate(edges):
        bounds = torch.tensor(inner, dtype=torch.float64)
        number = number * (len(inner) + 1) + torch.searchsorted(bounds, x[:, axis].contiguous(), right=True)
    return number
