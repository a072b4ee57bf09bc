"""Curves: a profile of the potential against truth and samples, training, step lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pyness.errors import InputError
from pyness.plots.fields import Steady, evaluate, states_of
from pyness.plots.style import COLOURS, INK, QUIET, new_axes, styled, symbol, title

__all__ = ["profile", "step_histogram", "training"]


@styled
def profile(
    steady: Steady,
    samples: Any = None,
    *,
    truth: Steady | None = None,
    coordinate: int = 0,
    cap: float = 20.0,
    resolution: int = 240,
    ax: Axes | None = None,
) -> Axes:
    """The potential of one coordinate, ``-log`` of its marginal density in units of ``D``: learnt, true and counted.

    For d <= 2 the marginal of ``exp(-U/D)`` over the window, beside that of the true potential where it is known; in
    any dimension the histogram of the samples. Bands and bars are two standard errors. Each is normalised by itself, so
    nothing is shifted to make them agree.

    Args:
        steady: a landscape; in more than two dimensions, or of a score, only its ``system`` is used.
        samples: ``Samples`` or states ``(..., d)``; needed for d > 2 and for a score.
        truth: something with ``potential(x)`` to compare with, ``GridSolution.landscape`` for example; the exact
            potential of the system where it has one.
        coordinate: which one.
        cap: upper end of the ordinate.

    Raises:
        InputError: an unknown coordinate, neither samples nor a potential to draw, samples of another system.
    """
    system = steady.system
    if not 0 <= coordinate < system.dim:
        raise InputError(f"coordinate is {coordinate}", f"give one of 0 .. {system.dim - 1}")
    states = None if samples is None else states_of(samples, system)
    drawn = system.dim <= 2 and hasattr(steady, "potential")
    if not drawn and states is None:
        raise InputError(f"system {system.name!r} has {system.dim} coordinates and no potential", "pass samples=")
    ax = new_axes(ax)
    low, high = (np.array(corner, dtype=float) for corner in system.window)
    reach = 0.0
    if drawn:
        axes = [np.linspace(a, b, resolution) for a, b in zip(low, high, strict=True)]
        nodes = torch.from_numpy(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1))
        learnt = _marginal(steady.potential, nodes, axes, coordinate, system.potential_scale)
        reference = system.truth.potential if truth is None else truth.potential
        if reference is not None:
            true = _marginal(reference, nodes, axes, coordinate, system.potential_scale)
            label = "exact" if truth is None else "truth"
            ax.plot(axes[coordinate], true, color=INK, lw=3.6, alpha=0.22, solid_capstyle="round", label=label)
        ax.plot(axes[coordinate], learnt, color=COLOURS[0], label="landscape")
        if getattr(steady, "uncertainty", None):
            band = 2 * _marginal_error(steady, nodes, coordinate)
            ax.fill_between(axes[coordinate], learnt - band, learnt + band, color=COLOURS[0], alpha=0.3, lw=0)
        reach = float(learnt.max())
    if states is not None:
        values = states[:, coordinate].double().cpu().numpy()
        centre, height, error = _counted(values, low[coordinate], high[coordinate])
        ax.errorbar(
            centre, height, 2 * error, fmt="o", ms=3, color=COLOURS[1], elinewidth=0.8, label="samples", zorder=3
        )
        reach = max(reach, float(height.max()))
    ax.set_xlim(low[coordinate], high[coordinate])
    bottom = ax.dataLim.y0
    ax.set_ylim(bottom - 0.05 * (min(reach, bottom + cap) - bottom), min(reach, bottom + cap) * 1.02 + 0.3)
    ax.set_xlabel(symbol(system.variables[coordinate]))
    ax.set_ylabel(rf"$-\ln\, p\,(${symbol(system.variables[coordinate])}$)$")
    _open(ax)
    ax.legend(loc="best", handlelength=1.4)
    title(ax, f"Marginal of {symbol(system.variables[coordinate])}")
    return ax


@styled
def training(
    step: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    *,
    label: str = "step",
    log: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Losses or validation measures against the step (or the seconds).

    Args:
        step: ``(n,)``.
        curves: name to ``(n,)`` values; NaN and, on a logarithmic axis, values <= 0 leave a gap.
        label: of the abscissa.
        log: whether the ordinate is logarithmic.

    Raises:
        InputError: a curve of another length than ``step``.
    """
    ax = new_axes(ax)
    for (name, values), colour in zip(curves.items(), _cycle(len(curves)), strict=True):
        if len(values) != len(step):
            raise InputError(f"curve {name!r} has {len(values)} values for {len(step)} steps", "give one per step")
        values = np.asarray(values, dtype=float)
        ax.plot(step, np.where((values > 0) | (not log), values, np.nan), color=colour, lw=1.3, label=name)
    if log:
        ax.set_yscale("log")
        low, high = ax.get_ylim()
        if high < 10 * low:
            # within a decade the ticks between its powers carry the numbers
            ax.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_xlabel(label)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    _open(ax)
    ax.legend(loc="best", handlelength=1.4)
    title(ax, "Training")
    return ax


@styled
def step_histogram(
    edges: Sequence[float],
    counts: Sequence[float],
    *,
    label: str | None = None,
    reference: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """How often an adaptive solver took a step of which length, as counted in ``samples.stats["step"]["histogram"]``.

    Called again on the same axes, it adds the next solver in the next colour.

    Args:
        edges: ``(n + 1,)`` increasing step lengths.
        counts: ``(n,)`` steps between them.
        label: of the solver.
        reference: a fixed step to mark.

    Raises:
        InputError: lengths that do not fit, edges that are not positive, or no step at all.
    """
    edges, counts = np.asarray(edges, dtype=float), np.asarray(counts, dtype=float)
    if edges.ndim != 1 or counts.shape != (edges.size - 1,):
        raise InputError(f"{edges.size} edges for {counts.size} counts", "give one edge more than counts")
    if not (edges > 0).all() or not counts.sum() > 0:
        raise InputError("there is no positive step", "give the histogram of an adaptive run")
    ax = new_axes(ax)
    colour = _cycle(len(ax.patches) // 2 + 1)[-1]  # each solver is a filled and an outlined patch
    share = counts / counts.sum()
    ax.stairs(share, edges, fill=True, color=colour, alpha=0.28)
    ax.stairs(share, edges, color=colour, lw=1.2, label=label)
    if reference is not None:
        ax.axvline(reference, color=INK, lw=1, ls=(0, (4, 3)), label=f"fixed, {reference:g}")
    ax.set_xscale("log")
    ax.set_xlabel("step length")
    ax.set_ylabel("share of steps")
    ax.autoscale(axis="y")
    ax.set_ylim(bottom=0)
    _open(ax)
    if ax.get_legend_handles_labels()[1]:
        ax.legend(loc="best", handlelength=1.4)
    title(ax, "Step lengths")
    return ax


def _marginal_error(steady: Any, nodes: torch.Tensor, coordinate: int) -> np.ndarray:
    """The standard error of ``-log`` of the marginal density, ``(n,)``: what each group of walkers does to it."""
    scale = steady.system.potential_scale
    weight = torch.exp(-(steady.potential(nodes) - steady.potential(nodes).min()) / scale).unsqueeze(-1)
    moved = weight * steady.deviations(nodes) / scale
    others = [axis for axis in range(nodes.shape[-1]) if axis != coordinate]
    given = moved.sum(others) / weight.sum(others) if others else moved / weight
    everywhere = moved.flatten(0, -2).sum(0) / weight.sum()
    return (given - everywhere).norm(dim=-1).numpy()


def _marginal(potential, nodes: torch.Tensor, axes: list[np.ndarray], coordinate: int, scale: float) -> np.ndarray:
    """``-log`` of the marginal density of ``exp(-potential / scale)`` on the nodes of ``coordinate``."""
    U = evaluate(potential, nodes.reshape(-1, nodes.shape[-1])).reshape(nodes.shape[:-1]) / scale
    weight = np.nan_to_num(np.exp(-(U - np.nanmin(U))))
    other = tuple(axis for axis in range(weight.ndim) if axis != coordinate)
    weight = weight.sum(axis=other)
    return -np.log(np.maximum(weight / (weight.sum() * (axes[coordinate][1] - axes[coordinate][0])), 1e-300))


def _counted(values: np.ndarray, low: float, high: float, bins: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres, ``-log`` density and its standard error (Poisson) of a histogram; bins under 5 counts are left out."""
    counts, edges = np.histogram(values, bins, range=(low, high))
    enough = counts >= 5
    share = counts[enough] / (values.size * (edges[1] - edges[0]))
    return 0.5 * (edges[1:] + edges[:-1])[enough], -np.log(share), 1 / np.sqrt(counts[enough])


def _cycle(n: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(n)]


def _open(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color=QUIET, alpha=0.15, lw=0.6)
    ax.set_axisbelow(True)
