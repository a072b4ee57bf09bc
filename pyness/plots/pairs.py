"""Many dimensions at once: marginals of single coordinates and of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pyness.errors import InputError
from pyness.plots.fields import states_of
from pyness.plots.style import COLOURS, DEEP, new_figure, styled, symbol

__all__ = ["pairs"]

SHOWN = 5


@styled
def pairs(
    samples: Any,
    *,
    coordinates: Sequence[int] | None = None,
    system: Any = None,
    bins: int = 60,
    cap: float = 10.0,
    path: str | Path | None = None,
) -> Figure:
    """A triangle of marginals: each coordinate's density on the diagonal, ``-ln p`` of each pair below it.

    Args:
        samples: ``Samples`` or states ``(..., d)``.
        coordinates: which ones; the first five if not given.
        system: for the names; that of ``samples`` where it has one.
        bins: per axis.
        cap: colour range of ``-ln p`` above its minimum.
        path: where to save it.

    Returns:
        The figure, which holds the axes of the triangle in rows.

    Raises:
        InputError: a coordinate that does not exist.
    """
    states = states_of(samples).double().cpu().numpy()
    system = system or getattr(samples, "system", None)
    chosen = list(range(min(states.shape[1], SHOWN))) if coordinates is None else [int(c) for c in coordinates]
    if not chosen or not all(0 <= c < states.shape[1] for c in chosen):
        raise InputError(f"coordinates are {coordinates}", f"give some of 0 .. {states.shape[1] - 1}")
    names = [symbol(system.variables[c] if system is not None else f"x{c + 1}") for c in chosen]
    n = len(chosen)
    figure = new_figure(1.55 * n + 0.8, 1.5 * n + 0.5)
    grid = figure.subplots(n, n, squeeze=False, sharex="col")
    meshes, highest = [], 0.0
    limits = [np.quantile(states[:, c], [0.0005, 0.9995]) for c in chosen]
    for row in range(n):
        for column in range(n):
            ax = grid[row, column]
            if column > row:
                ax.set_axis_off()
                continue
            a = states[:, chosen[column]]
            if column == row:
                ax.hist(a, bins=bins, range=limits[column], density=True, color=COLOURS[0], alpha=0.3)
                ax.hist(a, bins=bins, range=limits[column], density=True, color=COLOURS[0], histtype="step", lw=1)
                ax.set_yticks([])
                ax.spines[["top", "right", "left"]].set_visible(False)
            else:
                b = states[:, chosen[row]]
                counted, xs, ys = np.histogram2d(a, b, bins=bins, range=[limits[column], limits[row]])
                U = -np.ma.log(np.ma.masked_equal(counted.T, 0) / counted.max())
                meshes.append(ax.pcolormesh(xs, ys, U, cmap=DEEP, rasterized=True))
                highest = max(highest, float(U.max()))
                if column:
                    ax.tick_params(labelleft=False)
                else:
                    ax.set_ylabel(names[row])
            if row == n - 1:
                ax.set_xlabel(names[column])
    for mesh in meshes:
        mesh.set_clim(0, min(cap, np.ceil(highest)))
    if meshes:
        # the upper half of the triangle is empty
        bar = figure.colorbar(meshes[0], cax=grid[0, -1].inset_axes([0.35, 0.05, 0.07, 0.9]))
        bar.outline.set_visible(False)
        bar.set_label(r"$-\ln\, p$")
    figure.align_ylabels()
    if path is not None:
        figure.savefig(path)
    return figure
