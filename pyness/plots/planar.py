"""Maps of two coordinates: the landscape, the probability flow, the local entropy production, the samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm

from pyness.errors import InputError
from pyness.plots.fields import PlanarField, Steady, planar_field, states_of
from pyness.plots.streams import draw_streams
from pyness.plots.style import AMBER, DEEP, HEAT, colourbar, new_axes, styled, symbol, title

__all__ = ["density", "flow", "landscape", "local_epr"]


@styled
def landscape(
    steady: Steady | PlanarField, samples: Any = None, *, cap: float = 20.0, ax: Axes | None = None, **where: Any
) -> Axes:
    """The potential in units of ``D``: filled contours up to ``cap`` with lines on every fifth of it.

    Args:
        steady: a landscape (``GridSolution.landscape`` too) or a field that was computed before.
        samples: needed for d > 2, where the marginal of two coordinates is shown.
        cap: what lies above is one pale colour; lowered where the field does not reach it.
        ax: axes to draw on; a new figure if None.
        **where: ``coordinates``, ``window``, ``resolution`` of :func:`pyness.plots.fields.planar_field`.

    Returns:
        The axes.

    Raises:
        InputError: as ``planar_field``, or a cap that is not positive.
    """
    if not cap > 0:
        raise InputError(f"cap is {cap!r}", "give a positive number of D")
    field, ax = _prepared(steady, samples, where), new_axes(ax)
    cap = _reach(field.potential, cap)
    U = np.minimum(np.nan_to_num(field.potential, nan=cap, posinf=cap), cap)
    filled = ax.contourf(field.x, field.y, U, levels=np.linspace(0, cap, 61), cmap=DEEP, zorder=0)
    filled.set_rasterized(True)
    filled.set_edgecolor("face")
    ax.contour(
        field.x, field.y, U, levels=np.arange(1, 10) * cap / 10, colors="white", linewidths=0.45, alpha=0.38, zorder=1
    )
    colourbar(ax, filled, field.unit, ticks=np.linspace(0, cap, 5), format="%g")
    _frame(ax, field)
    title(ax, "Marginal potential" if field.marginal else "Potential")
    return ax


@styled
def flow(
    steady: Steady | PlanarField,
    samples: Any = None,
    *,
    colour: str = AMBER,
    lines: int = 30,
    ax: Axes | None = None,
    **where: Any,
) -> Axes:
    """Streamlines of the probability current ``J = p v``, wider and more opaque where it is stronger.

    Args:
        steady, samples, ax, where: as for :func:`landscape`, on which it is meant to be drawn.
        colour: of the lines.
        lines: side by side across the picture, at most.
    """
    field, ax = _prepared(steady, samples, where), new_axes(ax)
    step = max(1, len(field.x) // 100)
    draw_streams(ax, field.x[::step], field.y[::step], field.current[:, ::step, ::step], colour=colour, lines=lines)
    _frame(ax, field)
    return ax


@styled
def local_epr(steady: Steady | PlanarField, samples: Any = None, *, ax: Axes | None = None, **where: Any) -> Axes:
    """Where entropy is produced: ``p v . D^{-1} v``, whose integral over the plane is the EPR.

    Of a reduced landscape that is the apparent EPR of its closed dynamics, not the full one, and the title says so.

    Args:
        steady, samples, ax, where: as for :func:`landscape`.
    """
    field, ax = _prepared(steady, samples, where), new_axes(ax)
    values = np.nan_to_num(field.epr)
    top = max(float(values.max()), 1e-300)
    mesh = ax.pcolormesh(
        field.x, field.y, values, cmap=HEAT, norm=PowerNorm(0.6, 0, top), shading="gouraud", rasterized=True, zorder=0
    )
    U = np.nan_to_num(field.potential, nan=99, posinf=99)
    ax.contour(field.x, field.y, U, levels=[2, 5, 10], colors="#5b6672", linewidths=0.45, alpha=0.7, zorder=1)
    colourbar(ax, mesh, r"$k_B$ per unit time and area")
    _frame(ax, field)
    title(ax, "Apparent local entropy production" if field.apparent else "Local entropy production")
    return ax


@styled
def density(
    samples: Any,
    *,
    coordinates: tuple[int, int] = (0, 1),
    window: Any = None,
    bins: int = 120,
    system: Any = None,
    ax: Axes | None = None,
) -> Axes:
    """Where the samples are, on a logarithmic scale.

    Args:
        samples: ``Samples`` or states ``(..., d)``.
        coordinates: the two shown.
        window: ``(low, high)`` corners, two numbers each; the range of the samples if not given.
        bins: per axis.
        system: for the names of the coordinates; that of ``samples`` where it has one.
    """
    states, ax = states_of(samples), new_axes(ax)
    system = system or getattr(samples, "system", None)
    a, b = (states[:, c].double().cpu().numpy() for c in coordinates)
    limits = None if window is None else list(zip(*window, strict=True))
    counted, xs, ys = np.histogram2d(a, b, bins=bins, range=limits, density=True)
    shown = np.ma.masked_less_equal(counted.T, 0)
    mesh = ax.pcolormesh(xs, ys, np.ma.log10(shown), cmap=DEEP.reversed(), rasterized=True)
    colourbar(ax, mesh, r"$\log_{10}\, p$")
    names = system.variables if system is not None else [f"x{c + 1}" for c in range(states.shape[-1])]
    ax.set_xlabel(symbol(names[coordinates[0]]))
    ax.set_ylabel(symbol(names[coordinates[1]]))
    title(ax, "Samples")
    return ax


def _prepared(steady: Steady | PlanarField, samples: Any, where: dict[str, Any]) -> PlanarField:
    return steady if isinstance(steady, PlanarField) else planar_field(steady, samples, **where)


def _reach(potential: np.ndarray, cap: float) -> float:
    """``cap``, or the least even number above the highest potential in the picture."""
    highest = potential[np.isfinite(potential)].max(initial=0.0)
    return float(min(cap, 2 * np.ceil(highest / 2))) or cap


def _frame(ax: Axes, field: PlanarField) -> None:
    ax.set_xlim(field.x[0], field.x[-1])
    ax.set_ylim(field.y[0], field.y[-1])
    ax.set_xlabel(symbol(field.names[0]))
    ax.set_ylabel(symbol(field.names[1]))
