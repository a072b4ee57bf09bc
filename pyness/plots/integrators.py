"""Bias against cost: what a comparison of integrators comes to, in one picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pyness.errors import InputError
from pyness.plots.curves import step_histogram
from pyness.plots.style import COLOURS, DEEP, INK, QUIET, colourbar, new_axes, new_figure, styled, symbol, title

__all__ = ["bias_against_cost", "comparison", "step_map"]

GOOD, BAD = COLOURS[2], COLOURS[1]
#: Adaptive integrators up to which histograms of their steps can be told apart.
FEW = 5
#: Integrators up to which their names have room beside the points.
NAMED = 12
#: Width of a letter beside a point, in widths of the panel.
LETTER = 0.014


@styled
def comparison(found: Any, path: str | Path | None = None) -> Figure:
    """Bias against cost; beside it the lengths of adaptive steps, and where in state space one takes which.

    The map is of the cheapest adaptive integrator whose bias was not detected, else of the first adaptive one.

    Args:
        found: a ``Comparison``.
        path: where to save the figure.

    Raises:
        InputError: not one of the integrators finished.
    """
    stepped = [c for c in found.candidates if c.measurement is not None and c.measurement.stats.get("step")]
    adaptive = [c for c in stepped if "histogram" in c.measurement.stats["step"]]
    mapped = _to_map(found, adaptive)
    many = len(stepped) > NAMED
    widths = [1.35, *([1.0] if adaptive or many else []), *([1.0] if mapped else [])]
    figure = new_figure(1.6 + 4.2 * sum(widths), max(4.1, 1.3 + 0.19 * len(stepped)) if many else 4.1)
    panels = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
    names = {each.label: f"{number}" if many else _short(each) for number, each in enumerate(stepped, 1)}
    bias_against_cost(found, names=names, ax=panels[0])
    if many or len(adaptive) > FEW:
        keys = [f"{each.label}  {names[each.label]}" if many else names[each.label] for each in stepped]
        _step_ranges(found, stepped, keys, panels[1])
    elif adaptive:
        _step_histograms(stepped, adaptive, panels[1])
    if mapped is not None:
        step_map(found.to_dict()["solvers"][mapped]["steps"]["over_states"], ax=panels[2])
        panels[2].set_title(f"Steps of {mapped}", loc="left")
    best = found.verdict.label
    heading = f"cheapest without detectable bias: {best}" if best else "no listed integrator qualifies"
    figure.suptitle(
        f"{found.system}   ·   {found.settings['spent']}   ·   {heading}", x=0.008, ha="left", fontsize=9.5, color=QUIET
    )
    if path is not None:
        figure.savefig(path)
    return figure


def _step_histograms(stepped: list[Any], adaptive: list[Any], ax: Axes) -> None:
    for each in adaptive:
        counted = each.measurement.stats["step"]["histogram"]
        step_histogram(counted["edges"], counted["counts"], label=each.label, ax=ax)
    for each in stepped:
        if each not in adaptive:
            # the shortest one: a burn-in may have been coarser
            ax.axvline(each.measurement.stats["step"]["min"], color=INK, lw=0.9, ls=(0, (4, 3)))
    ax.set_title("Step lengths (dashed: fixed)", loc="left")
    ax.legend(loc="best", handlelength=1.4)


def _step_ranges(found: Any, stepped: list[Any], keys: list[str], ax: Axes) -> None:
    """A row for each integrator: nine in ten and ninety-eight in a hundred of its steps, and their median."""
    for row, each in enumerate(stepped):
        step, colour = each.measurement.stats["step"], BAD if found.flagged(each.label) else GOOD
        if "histogram" not in step:
            ax.plot(step["min"], row, "s", ms=5, mec=colour, mfc="white")
            continue
        counts, edges = np.array(step["histogram"]["counts"], dtype=float), np.array(step["histogram"]["edges"])
        share = np.concatenate([[0.0], counts.cumsum() / counts.sum()])
        low, tenth, middle, ninth, high = 10 ** np.interp([0.01, 0.05, 0.5, 0.95, 0.99], share, np.log10(edges))
        ax.plot([low, high], [row, row], color=colour, lw=1)
        ax.plot([tenth, ninth], [row, row], color=colour, lw=4, alpha=0.45, solid_capstyle="butt")
        ax.plot(middle, row, "o", ms=4, mec=colour, mfc="white")
    ax.set_yticks(range(len(keys)), keys, fontsize=7.5)
    ax.invert_yaxis()
    ax.set_xscale("log")
    ax.set_xlabel("step length")
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title("Steps: median, 90 %, 98 %", loc="left")


def _to_map(found: Any, adaptive: list[Any]) -> str | None:
    recorded = [each for each in adaptive if each.measurement.steps is not None]
    fit = [each for each in recorded if not found.flagged(each.label)]
    return min(fit, key=lambda each: each.cost()).label if fit else recorded[0].label if recorded else None


@styled
def step_map(steps: Mapping[str, Any], *, ax: Axes | None = None) -> Axes:
    """The geometric mean of an adaptive method's steps over the first two coordinates, or along the only one.

    Args:
        steps: ``["steps"]["over_states"]`` of a comparison's record: ``coordinates``, ``edges``, ``geometric_mean``.
    """
    ax = new_axes(ax)
    values = np.array(steps["geometric_mean"], dtype=float)
    edges = [np.asarray(edge) for edge in steps["edges"]]
    names = [symbol(name) for name in steps["coordinates"]]
    ax.set_xlabel(names[0])
    if len(edges) == 1:
        ax.stairs(values, edges[0], color=COLOURS[0], lw=1.4)
        ax.set_yscale("log")
        ax.set_ylabel("step length")
    else:
        shown = ax.pcolormesh(*edges, values.T, cmap=DEEP, norm=LogNorm(), rasterized=True)
        colourbar(ax, shown, "step length").ax.yaxis.set_minor_formatter(_between_decades)
        ax.set_ylabel(names[1])
    title(ax, "Steps over the state space")
    return ax


@styled
def bias_against_cost(found: Any, *, names: Mapping[str, str] | None = None, ax: Axes | None = None) -> Axes:
    """The most significant relative bias of each integrator against the drift evaluations for an independent sample.

    Circles choose their steps, squares have a fixed one; filled where the bias was detected. A bias that was not
    detected is drawn with two standard errors, and one that vanishes in them as an upper limit.

    Args:
        found: a ``Comparison``.
        names: what is written beside each, by its label; the label itself if not given.

    Raises:
        InputError: not one of the integrators has both a cost and a reference.
    """
    ax = new_axes(ax, 5.2, 3.9)
    drawn: list[tuple[Any, Any, float, float, float]] = []
    for each in found.candidates:
        judgement, cost = found.judgements[each.label], each.cost()
        if cost is None or judgement.worst is None:
            continue
        bias = judgement.worst.relative
        drawn.append((each, judgement, cost, abs(bias.value), 2 * bias.stderr))
    if not drawn:
        raise InputError("no integrator has both a cost and something to be compared with", "sample some that finish")
    floor = 0.5 * min(max(size, error) for *_, size, error in drawn)
    low, high = min(cost for _, _, cost, _, _ in drawn), max(cost for _, _, cost, _, _ in drawn)
    # room for the labels to the right of the points
    low, high = low / 1.6, high * max(2.0, (high / low) ** 0.45)
    for each, judgement, cost, size, error in drawn:
        colour = BAD if judgement.flagged else GOOD
        marker = "o" if each.adaptive else "s"
        ax.plot([cost, cost], [max(size - error, floor), size + error], color=colour, lw=1, alpha=0.7)
        face = colour if judgement.flagged else "white"
        ax.plot(cost, max(size, floor), marker, ms=7, mec=colour, mfc=face, mew=1.4)
        name = _short(each) if names is None else names[each.label]
        left = math.log(cost / low) > (1 - LETTER * len(name)) * math.log(high / low)
        ax.annotate(
            name, (cost, max(size, floor)),
            xytext=(-7 if left else 7, 4), textcoords="offset points", ha="right" if left else "left",
            fontsize=7.5, color=INK,
        )  # fmt: skip
    for members in _ladders(found):
        points = sorted((cost, max(size, floor)) for each, _, cost, size, _ in drawn if each.label in members)
        ax.plot(*zip(*points, strict=True), color=QUIET, lw=0.8, alpha=0.6, zorder=0)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(low, high)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_formatter(_between_decades)
    ax.set_xlabel("drift evaluations for each independent sample")
    ax.set_ylabel("relative bias")
    if found.standard:
        ax.text(0.02, 0.02, f"held against {found.standard}", transform=ax.transAxes, fontsize=7.5, color=QUIET)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color=QUIET, alpha=0.15, lw=0.6)
    handles = [
        Line2D([], [], marker=m, ls="", mec=QUIET, mfc="white", label=name)
        for m, name in (("o", "adaptive"), ("s", "fixed step"))
    ]
    handles += [
        Line2D([], [], marker="o", ls="", mec=BAD, mfc=BAD, label="flagged"),
        Line2D([], [], marker="o", ls="", mec=GOOD, mfc="white", label="not detectable"),
    ]
    ax.legend(handles=handles, loc="best", handlelength=1.0)
    title(ax, "Bias against cost")
    return ax


def _short(candidate: Any) -> str:
    """Its label without what the square says."""
    return candidate.label.replace("adaptive=false,", "").replace(",adaptive=false", "")


def _between_decades(value: float, _: int | None) -> str:
    """Twice and five times a power of ten, since all would run into each other."""
    digit = f"{value:.0e}"[0]
    return f"{value:g}" if digit in "25" else ""


def _ladders(found: Any) -> list[set[str]]:
    """Labels of the integrators that differ in step or tolerance only."""
    kinds: dict[tuple, set[str]] = {}
    for each in found.candidates:
        if each.knob is not None and each.measurement is not None and math.isfinite(each.cost() or math.nan):
            kinds.setdefault(each.method, set()).add(each.label)
    return [labels for labels in kinds.values() if len(labels) > 1]
