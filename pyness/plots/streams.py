"""Streamlines of a planar steady current as level lines of its stream function.

A steady current has no divergence, so ``J = (d psi / dy, -d psi / dx)`` and its lines are the level lines of
``psi``: closed where they should be, and with equal flux between equal levels, where lines integrated step by step
spiral and break.
"""

from __future__ import annotations

import numpy as np
from contourpy import contour_generator
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.patches import FancyArrowPatch
from scipy import sparse
from scipy.interpolate import RegularGridInterpolator
from scipy.sparse.linalg import spsolve

__all__ = ["draw_streams", "stream_function"]

FAINTEST = 0.05  # of the root of the strength: below it a line is not drawn
FAINTEST_SEED = 0.1
SHORTEST = 0.05  # lengths in widths of the window
APART = 0.7  # between two arrow heads on one line
CROWDED = 0.5  # a line is left out where more of it runs beside others


def stream_function(x: np.ndarray, y: np.ndarray, current: np.ndarray) -> np.ndarray:
    """``psi: (ny, nx)`` whose current is nearest to ``current: (2, ny, nx)`` in least squares, zero at one corner.

    A residual divergence (a network's, or the noise of counted samples) is projected out.
    """
    ny, nx = len(y), len(x)
    across = _difference(nx, x[1] - x[0])
    along = _difference(ny, y[1] - y[0])
    d_dx, d_dy = sparse.kron(sparse.eye(ny), across), sparse.kron(along, sparse.eye(nx))
    jx, jy = current
    # psi on nodes, its differences between them: the current is averaged onto the same places
    target_x = 0.5 * (jx[1:] + jx[:-1]).ravel()
    target_y = 0.5 * (jy[:, 1:] + jy[:, :-1]).ravel()
    normal = (d_dx.T @ d_dx + d_dy.T @ d_dy).tocsc()
    right = d_dy.T @ target_x - d_dx.T @ target_y
    psi = np.zeros(nx * ny)
    psi[1:] = spsolve(normal[1:, 1:], right[1:])
    return psi.reshape(ny, nx)


def draw_streams(
    ax: Axes, x: np.ndarray, y: np.ndarray, current: np.ndarray, *, colour: str, lines: int, zorder: float = 2
) -> None:
    """Draw level lines of the stream function, wider and more opaque where the current is stronger.

    Lines are taken through the strongest place that is still empty on a raster of ``lines x lines``, so they are
    spaced evenly and a weak vortex beside a strong one is drawn too.
    """
    strength = np.hypot(*current)
    if not strength.max() > 0:
        return
    share = np.sqrt(np.minimum(strength / np.quantile(strength[strength > 0], 0.99), 1))
    psi = stream_function(x, y, current)
    values = np.stack([share, *current, psi], axis=-1)
    look_up = RegularGridInterpolator((y, x), values, bounds_error=False, fill_value=0)
    corner, size = np.array([x[0], y[0]]), np.array([x[-1] - x[0], y[-1] - y[0]])
    seeds = corner + size * (np.stack(np.divmod(np.arange(lines**2), lines), axis=-1)[:, ::-1] + 0.5) / lines
    seed_share, _, _, seed_level = look_up(seeds[:, ::-1]).T
    contours = contour_generator(x, y, psi)
    taken = np.zeros((lines, lines), dtype=bool)
    for k in np.argsort(-seed_share, kind="stable"):
        if seed_share[k] < FAINTEST_SEED:
            break
        candidates = contours.lines(seed_level[k])
        if taken.flat[k] or not candidates:
            continue
        line = min(candidates, key=lambda c: np.hypot(*((c - seeds[k]) / size).T).min())
        middle, lengths = 0.5 * (line[1:] + line[:-1]), np.hypot(*(np.diff(line, axis=0) / size).T)
        here = look_up(middle[:, ::-1])[:, :3]
        column, row = np.clip(((middle - corner) / size * lines).astype(int), 0, lines - 1).T
        seen = lengths * (here[:, 0] > FAINTEST)
        if seen.sum() < SHORTEST or (seen * taken[row, column]).sum() > CROWDED * seen.sum():
            continue
        taken[row[seen > 0], column[seen > 0]] = True
        _draw_line(ax, line, middle, seen, here, size, colour, zorder)


def _draw_line(ax, line, middle, lengths, here, size, colour: str, zorder: float) -> None:
    share, direction = here[:, 0], here[:, 1:]
    rgba = np.tile(to_rgba(colour), (len(middle), 1))
    rgba[:, 3] = np.where(lengths > 0, np.minimum(0.3 + 0.7 * share, 1), 0)
    pieces = LineCollection(
        np.stack([line[:-1], line[1:]], axis=1), colors=rgba, linewidths=0.5 + 1.0 * share, zorder=zorder
    )
    ax.add_collection(pieces, autolim=False)
    travelled = np.cumsum(lengths)
    heads = max(1, round(travelled[-1] / APART))
    for k in range(heads):
        at = min(int(np.searchsorted(travelled, travelled[-1] * (k + 0.5) / heads)), len(middle) - 1)
        length = np.hypot(*(direction[at] / size))
        if not length > 0:
            continue
        head = FancyArrowPatch(
            middle[at],
            middle[at] + direction[at] / length * 1e-3,
            arrowstyle="-|>",
            mutation_scale=6.5 + 3.5 * share[at],
            linewidth=0,
            color=colour,
            alpha=float(rgba[at, 3]),
            shrinkA=0,
            shrinkB=0,
            zorder=zorder,
        )
        ax.add_patch(head)


def _difference(n: int, step: float) -> sparse.csr_matrix:
    return sparse.diags([-np.ones(n - 1), np.ones(n - 1)], [0, 1], shape=(n - 1, n)).tocsr() / step
