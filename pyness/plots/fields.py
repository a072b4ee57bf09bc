"""What the maps show, on a rectangular grid of two coordinates: potential, density, current, local EPR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from pyness.errors import InputError
from pyness.systems import System

__all__ = ["PlanarField", "Steady", "is_reduced", "planar_field", "states_of"]

CHUNK = 1 << 16
SMOOTHING = 1.0  # in bins, of what is counted from samples
FEWEST = 0.5  # smoothed counts in a bin that is shown


class Steady(Protocol):
    """A landscape or score as the figures see it; one of a grid is ``GridSolution.landscape``."""

    system: System

    def potential(self, x: torch.Tensor) -> torch.Tensor: ...

    def current_velocity(self, x: torch.Tensor) -> torch.Tensor: ...


@dataclass(frozen=True, eq=False)
class PlanarField:
    """Two coordinates of a steady state on a grid; arrays are ``(ny, nx)``, as matplotlib wants them.

    Attributes:
        x, y: ``(nx,)``, ``(ny,)`` nodes (cell centres where the field was counted from samples).
        names: of the two coordinates.
        potential: in units of ``D`` (of 1 for general ``D``), minimum 0; ``inf`` where hardly a sample fell.
        density: normalised over the window.
        current: ``(2, ny, nx)``, ``J = p v``; for d > 2 the marginal density times the mean velocity there.
        epr: local entropy production, k_B per unit time and area.
        unit: what one unit of ``potential`` is called, ``U / D`` or ``-ln p``.
        marginal: whether it was counted from samples of more than two dimensions.
        apparent: whether ``epr`` is that of the closed dynamics of collective variables.
    """

    x: np.ndarray
    y: np.ndarray
    names: tuple[str, str]
    potential: np.ndarray
    density: np.ndarray
    current: np.ndarray
    epr: np.ndarray
    unit: str
    marginal: bool = False
    apparent: bool = False


def planar_field(
    steady: Steady,
    samples: Any = None,
    *,
    coordinates: Sequence[int] = (0, 1),
    window: tuple[Sequence[float], Sequence[float]] | None = None,
    resolution: int = 200,
) -> PlanarField:
    """The field of a planar system on a grid of nodes, or of two coordinates of a larger one from its samples.

    Args:
        steady: anything with ``potential(x)``, ``current_velocity(x)`` and ``system``.
        samples: ``Samples`` or states ``(..., d)``; needed for d > 2, where two coordinates have no potential of
            their own but a marginal density, which is counted.
        coordinates: the two coordinates shown, for d > 2.
        window: ``(low, high)`` corners of the picture, two numbers each; the system's window if not given.
        resolution: nodes per axis for d = 2; a third of it in bins, smoothed over one, for d > 2.

    Raises:
        InputError: one coordinate only, coordinates that do not exist, d > 2 without samples, those of another system.
    """
    system = steady.system
    first, second = _two(system, coordinates)
    states = None if samples is None else states_of(samples, system)
    low, high = system.window if window is None else window
    if window is None or len(low) != 2:
        low, high = [low[first], low[second]], [high[first], high[second]]
    unit = r"$U / D$" if system.diffusion.scalar else r"$-\ln\, p$"
    names = (system.variables[first], system.variables[second])
    if system.dim == 2 and hasattr(steady, "potential"):
        field = _on_nodes(steady, (first, second), names, low, high, resolution, unit)
        return replace(field, apparent=is_reduced(steady))
    if states is None:
        raise InputError(
            f"a map of {system.name!r} (d = {system.dim}) counts samples and none were given",
            "pass samples=; without them only a potential in two dimensions can be drawn",
        )
    field = _from_samples(steady, states, (first, second), names, low, high, max(resolution // 3, 8))
    return replace(field, apparent=is_reduced(steady))


def is_reduced(steady: Steady) -> bool:
    """Whether it is of collective variables, whose closed dynamics has an entropy production of its own."""
    return hasattr(steady, "reduced")


def states_of(samples: Any, system: System | None = None) -> torch.Tensor:
    """``(n, d)`` states of ``Samples`` or of an array ``(..., d)``.

    Raises:
        InputError: of another dimension, or other coordinates, than ``system`` has.
    """
    states = torch.as_tensor(getattr(samples, "states", samples))
    if system is not None:
        remedy = f"give states (..., {system.dim}) of it; of a reduced landscape: landscape.reduced(samples)"
        if states.shape[-1] != system.dim:
            raise InputError(f"states are {tuple(states.shape)} and {system.name!r} has d = {system.dim}", remedy)
        own = getattr(getattr(samples, "system", None), "variables", system.variables)
        if own != system.variables:
            raise InputError(
                f"samples are of ({', '.join(own)}) and {system.name!r} has ({', '.join(system.variables)})", remedy
            )
    return states.reshape(-1, states.shape[-1])


def evaluate(function: Any, x: torch.Tensor) -> np.ndarray:
    """``function`` at ``x: (n, d)`` in pieces, without gradients, as float64."""
    with torch.no_grad():
        return torch.cat([function(part).double().cpu() for part in x.split(CHUNK)]).numpy()


def local_production(system: System, x: torch.Tensor, velocity: np.ndarray) -> np.ndarray:
    """``v . D^{-1} v`` at ``x: (n, d)``; NaN where ``D`` has directions without noise."""
    if not system.diffusion.invertible:
        return np.full(len(x), np.nan)
    v = torch.from_numpy(velocity)
    return (v * system.diffusion.solve(x.double(), v)).sum(-1).numpy()


def _two(system: System, coordinates: Sequence[int]) -> tuple[int, int]:
    if system.dim < 2:
        raise InputError(f"system {system.name!r} has one coordinate", "use plots.profile")
    chosen = tuple(coordinates)
    if len(chosen) != 2 or chosen[0] == chosen[1] or not all(0 <= int(c) < system.dim for c in chosen):
        raise InputError(f"coordinates are {chosen}", f"give two different ones of 0 .. {system.dim - 1}")
    return int(chosen[0]), int(chosen[1])


def _on_nodes(steady, order, names, low, high, resolution, unit) -> PlanarField:
    system = steady.system
    x, y = (np.linspace(a, b, resolution) for a, b in zip(low, high, strict=True))
    first, second = np.meshgrid(x, y)
    columns = [first.ravel(), second.ravel()]
    nodes = torch.from_numpy(np.stack([columns[order.index(axis)] for axis in range(2)], axis=-1))
    U = evaluate(steady.potential, nodes).reshape(first.shape) / system.potential_scale
    U = U - np.nanmin(U)
    velocity = evaluate(steady.current_velocity, nodes)
    p = np.nan_to_num(np.exp(-U))
    p /= p.sum() * (x[1] - x[0]) * (y[1] - y[0])
    production = local_production(system, nodes, velocity).reshape(first.shape)
    v = np.moveaxis(velocity.reshape(*first.shape, 2), -1, 0)[list(order)]
    nothing = p < 1e-12 * p.max()  # a velocity that is not defined carries no current
    return PlanarField(x, y, names, U, p, np.where(nothing, 0.0, p * v), np.where(nothing, 0.0, p * production), unit)


def _from_samples(steady, states, chosen, names, low, high, bins) -> PlanarField:
    system = steady.system
    points = states[:, list(chosen)].double().cpu().numpy()
    edges = [np.linspace(a, b, bins + 1) for a, b in zip(low, high, strict=True)]
    area = (edges[0][1] - edges[0][0]) * (edges[1][1] - edges[1][0])
    velocity = evaluate(steady.current_velocity, states)
    production = local_production(system, states, velocity)

    def total(weight: np.ndarray | None) -> np.ndarray:
        counted, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=edges, weights=weight)
        return gaussian_filter(counted.T, SMOOTHING) / (len(points) * area)

    p = total(None)
    enough = p * len(points) * area > FEWEST
    with np.errstate(divide="ignore"):
        U = np.where(enough, -np.log(p / max(p.max(), 1e-300)), np.inf)
    current = np.stack([total(velocity[:, axis]) for axis in chosen])
    x, y = (0.5 * (e[1:] + e[:-1]) for e in edges)
    return PlanarField(x, y, names, U, p, current, total(production), r"$-\ln\, p$", marginal=True)
