"""Figures of active particles: where in space, or in the plane of position and activity, entropy is produced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from pyness.errors import InputError
from pyness.numbers import percent
from pyness.plots.style import COLOURS, DEEP, HEAT, INK, QUIET, colourbar, new_axes, new_figure, styled, title

__all__ = ["active_overview", "current_portrait", "particles"]


@styled
def particles(
    system: Any, states: Any, values: Any, *, label: str = "", radius: float = 1.0, ax: Axes | None = None
) -> Axes:
    """One configuration in the plane, each particle coloured by a positive value, on a logarithmic scale.

    Args:
        states: ``(dim,)`` one state.
        values: ``(N,)``; what is not positive is drawn pale.
        label: of the colour bar.
        radius: of the discs.

    Raises:
        InputError: particles that are not in the plane.
    """
    if getattr(system, "space_dim", None) != 2:
        raise InputError(f"{system.name!r} is not in the plane", "give a system with space_dim=2")
    ax = new_axes(ax, 4.8, 4.2)
    x = system.split(torch.as_tensor(states))[0].detach().cpu().numpy()
    values = torch.as_tensor(values).detach().cpu().double().numpy()
    positive = values[np.isfinite(values) & (values > 0)]
    low, high = np.quantile(positive, [0.02, 0.995]) if positive.size else (1.0, 10.0)
    x, values = _across_seams(x, values, system.box.low, system.periods, radius)
    size = np.full(len(x), 2 * radius)
    discs = EllipseCollection(size, size, np.zeros(len(x)), units="xy", offsets=x, offset_transform=ax.transData)
    discs.set(array=np.clip(np.where(values > 0, values, low), low, high), cmap=HEAT, norm=LogNorm(low, high))
    discs.set(edgecolor=INK, linewidth=0.15)
    ax.add_collection(discs)
    if None in system.periods:
        margin = 2 * radius
        ax.set(xlim=(x[:, 0].min() - margin, x[:, 0].max() + margin))
        ax.set(ylim=(x[:, 1].min() - margin, x[:, 1].max() + margin))
    else:
        (left, below), (right, above) = system.box.low, system.box.high
        ax.set(xlim=(left, right), ylim=(below, above))
    ax.set(aspect="equal", xlabel="$x$", ylabel="$y$")
    colourbar(ax, discs, label)
    return ax


def _across_seams(
    x: np.ndarray, values: np.ndarray, corner: tuple[float, ...], periods: tuple[float | None, ...], radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """Discs, and once more those that reach across a side of the box where they come out again."""
    for axis, (start, period) in enumerate(zip(corner, periods, strict=True)):
        if period is None:
            continue
        step = np.zeros(x.shape[1])
        step[axis] = period
        low, high = x[:, axis] < start + radius, x[:, axis] > start + period - radius
        x = np.concatenate([x, x[low] + step, x[high] - step])
        values = np.concatenate([values, values[low], values[high]])
    return x, values


@styled
def current_portrait(score: Any, samples: Any, *, bins: int = 64, ax: Axes | None = None) -> Axes:
    """Density of two coordinates with the streamlines of the current velocity that a score gives.

    Raises:
        InputError: a system of more or fewer coordinates.
    """
    system = score.system
    grid, histogram, edges = _planar(score, samples, bins)
    ax = new_axes(ax)
    artist = ax.pcolormesh(*edges, histogram.T, cmap=DEEP, rasterized=True)
    v = score.current_velocity(grid.reshape(-1, 2)).reshape(bins, bins, 2).numpy()
    seen = np.where(histogram > 0, 1.0, np.nan)
    middles = [0.5 * (e[1:] + e[:-1]) for e in edges]
    u, w = (v[..., k] * seen for k in range(2))
    ax.streamplot(*middles, u.T, w.T, color=COLOURS[4], linewidth=0.7, density=1.1, arrowsize=0.7)
    ax.set(xlabel=system.variables[0], ylabel=system.variables[1])
    colourbar(ax, artist, "density")
    title(ax, "Density and current")
    return ax


@styled
def active_overview(score: Any, samples: Any, report: Any, path: str | Path | None = None) -> Figure:
    """What a score says of active particles, in one figure.

    In the plane: one configuration coloured by each particle's entropy production in its activity, and how it is
    distributed. Of two coordinates: density with the current, and the local entropy production of both parts.
    """
    system = score.system
    figure = new_figure(12.6 if system.dim == 2 else 9.6, 3.95)
    if system.dim == 2:
        axes = figure.subplots(1, 3)
        current_portrait(score, samples, ax=axes[0])
        grid, histogram, edges = _planar(score, samples, 64)
        local = score.local(grid.reshape(-1, 2))
        for ax, name in zip(axes[1:], ("position", "activity"), strict=True):
            value = getattr(local, name).reshape(64, 64).numpy() * histogram
            top = np.nanquantile(value, 0.995) if np.isfinite(value).any() else 1.0
            artist = ax.pcolormesh(*edges, value.T, cmap=HEAT, vmin=0, vmax=max(top, 1e-12), rasterized=True)
            ax.set(xlabel=system.variables[0], ylabel=system.variables[1])
            colourbar(ax, artist, "density times rate")
            title(ax, f"Entropy production, {name}")
    else:
        axes = figure.subplots(1, 2, width_ratios=[1.1, 1])
        figure.get_layout_engine().set(wspace=0.06)
        last = samples.states[0, -1].double()
        rate = score.local(last[None]).activity[0] / system.activity.rate
        if system.space_dim == 2:
            particles(system, last, rate, label=r"$|v_g|^2 / \gamma$, in $k_B \gamma$", ax=axes[0])
            title(axes[0], "Entropy production of the activity")
        else:
            x = system.split(last)[0][:, 0].numpy()
            axes[0].semilogy(x, rate.clamp_min(1e-12), "o", color=COLOURS[0], markersize=3)
            axes[0].set(xlabel="$x$", ylabel=r"$|v_g|^2 / \gamma$, in $k_B \gamma$")
        _distribution(score, samples, axes[1])
    figure.suptitle(_heading(system, report), x=0.008, ha="left", fontsize=10.5, color=QUIET)
    if path is not None:
        figure.savefig(path)
    return figure


def _distribution(score: Any, samples: Any, ax: Axes) -> None:
    """How the activity part is distributed over particles, on a logarithmic axis."""
    few = samples.states[:, -1][: max(1, 100_000 // score.system.dim)].double()
    rate = (score.local(few).activity / score.system.activity.rate).flatten()
    rate = rate[rate > 0].numpy()
    if rate.size:
        low, high = np.quantile(rate, [0.001, 0.9999])
        ax.hist(rate, np.geomspace(low, max(high, 1.01 * low), 60), density=False, color=COLOURS[0], alpha=0.75)
        ax.axvline(rate.mean(), color=COLOURS[1])
    ax.set(xscale="log", xlabel=r"$|v_g|^2 / \gamma$ of a particle, in $k_B \gamma$", ylabel="particles")
    title(ax, "Distribution, and its mean")


def _planar(score: Any, samples: Any, bins: int) -> tuple[torch.Tensor, np.ndarray, list[np.ndarray]]:
    """Cell centres ``(bins, bins, 2)``, density ``(bins, bins)`` and edges over two coordinates."""
    system = score.system
    if system.dim != 2:
        raise InputError(f"{system.name!r} has {system.dim} coordinates", "give a system of two")
    x = samples.states.reshape(-1, 2).double().cpu().numpy()
    window = []
    for axis, kind in enumerate(system.domain.boundary):
        low, high = np.quantile(x[:, axis], [5e-4, 1 - 5e-4])
        window.append((system.domain.low[axis], system.domain.high[axis]) if kind != "open" else (low, high))
    histogram, *edges = np.histogram2d(x[:, 0], x[:, 1], bins, range=window, density=True)
    middles = [torch.from_numpy(0.5 * (e[1:] + e[:-1])) for e in edges]
    return torch.stack(torch.meshgrid(*middles, indexing="ij"), dim=-1), histogram, edges


def _heading(system: Any, report: Any) -> str:
    parts = [system.name, f"{system.n_particles} particles" if system.n_particles > 1 else "relative coordinate"]
    if report is not None:
        what = "EPR" if report.extra.get("epr_of") != "activity" else "activity part of the EPR"
        parts.append(f"{what} {report.epr} $k_B$ per unit time")
        parts.append(f"score error {percent(report.gradient_error.value)}")
    return "   ·   ".join(parts)
