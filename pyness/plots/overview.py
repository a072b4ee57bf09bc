"""The one picture of a steady state: landscape with its flow, where entropy is produced, and a check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pyness.estimators import Estimate
from pyness.numbers import percent
from pyness.plots.curves import profile
from pyness.plots.fields import Steady, planar_field
from pyness.plots.planar import flow, landscape, local_epr
from pyness.plots.style import INK, QUIET, new_figure, styled

__all__ = ["overview"]

#: Basins whose heights the heading has room for.
NAMED = 3


@styled
def overview(
    steady: Steady,
    samples: Any = None,
    report: Any = None,
    path: str | Path | None = None,
    *,
    truth: Steady | None = None,
    cap: float = 20.0,
    **where: Any,
) -> Figure:
    """Landscape with contours and streamlines of the current, the local entropy production, a marginal against truth.

    Args:
        steady: a landscape, also of a grid (``GridSolution.landscape``).
        samples: ``Samples`` or states ``(..., d)``; needed for d > 2, otherwise shown in the third panel.
        report: a ``Report``, whose EPR, bounds and certificate go into the heading; of a reduced landscape both the
            full EPR with its bounds and the apparent one, which alone the second panel shows. Of several basins the
            heights of minima and barriers with their standard errors, in any dimension.
        path: where to save the figure.
        truth: what the third panel compares with, as for :func:`pyness.plots.profile`.
        cap: of the potential, in units of ``D``.
        **where: ``coordinates``, ``window``, ``resolution`` of the maps.

    Returns:
        The figure; its axes come first in ``figure.axes``, then the colour bars.

    Raises:
        InputError: d > 2 without samples.
    """
    system = steady.system
    if system.dim == 1:
        figure = new_figure(4.8, 3.9)
        profile(steady, samples, truth=truth, cap=cap, ax=figure.add_subplot())
    else:
        field = planar_field(steady, samples, **where)
        figure = new_figure(12.6, 3.95)
        figure.get_layout_engine().set(wspace=0.05)
        maps = figure.subplots(1, 3, width_ratios=[1.12, 1.12, 0.95])
        landscape(field, cap=cap, ax=maps[0])
        flow(field, ax=maps[0])
        potential = "Marginal potential" if field.marginal else "Potential"
        maps[0].set_title(f"{potential} and probability current", loc="left")
        if system.dim == 2:
            _mark(maps[0], getattr(report, "extra", {}))
        local_epr(field, ax=maps[1])
        coordinate = where.get("coordinates", (0, 1))[0]
        profile(steady, samples, truth=truth, coordinate=coordinate, cap=cap, ax=maps[2])
    figure.suptitle(_heading(system, report), x=0.008, ha="left", fontsize=10.5, color=QUIET)
    if path is not None:
        figure.savefig(path)
    return figure


def _mark(ax: Axes, found: Any) -> None:
    """Minima as numbered dots and saddles as crosses, where there is more than one basin."""
    if len(found.get("basins", [])) < 2:
        return
    for number, basin in enumerate(found["basins"], start=1):
        ax.annotate(str(number), basin["at"], (4, 4), textcoords="offset points", color="white", fontsize=8, zorder=4)
    for places, marker in ((found["basins"], "o"), (found["saddles"], "x")):
        x, y = zip(*(place["at"] for place in places), strict=True) if places else ((), ())
        ax.plot(x, y, marker, ms=4.5, mew=1.2, color="white", mec=INK if marker == "o" else "white", zorder=4)


def _heading(system: Any, report: Any) -> str:
    parts, found = [system.name], []
    if system.diffusion.scalar:
        parts.append(f"$D$ = {system.diffusion.scalar:g}")
    apparent = getattr(report, "apparent_epr", None)
    if report is not None:
        found.append(f"{'EPR' if apparent is None else 'full EPR'} {report.epr} $k_B$ per unit time")
        lower, upper = getattr(report, "epr_lower", None), getattr(report, "epr_upper", None)
        if lower is not None and upper is not None:
            found.append(f"bounds {lower.value:.4g} to {upper.value:.4g}")
        if apparent is not None:
            found.append(f"apparent EPR {apparent}")
        if getattr(report, "gradient_error", None) is not None:
            found.append(f"gradient error {percent(report.gradient_error.value)}")
    # two rates are too much for one line
    lines = [parts + found] if apparent is None else [parts, found]
    heights = _heights(getattr(report, "extra", {}), system)
    if heights:
        lines.append(heights)
    return "\n".join("   ·   ".join(line) for line in lines)


def _heights(found: Any, system: Any) -> list[str]:
    """How deep the basins lie and how high the ways between them, each with its standard error."""
    basins = found.get("basins", [])
    if len(basins) < 2:
        return []

    def written(record: Any) -> str:
        height = Estimate.of(record)
        return str(Estimate(height.value / system.potential_scale, height.stderr / system.potential_scale))

    higher = [f"{k}: {written(basin['height'])}" for k, basin in enumerate(basins[1:NAMED], start=2)]
    ways = [saddle for saddle in found["saddles"] if saddle.get("joins", True)]
    barriers = []
    for saddle in ways[: NAMED - 1]:
        (a, b), (there, back) = saddle["between"], saddle["barriers"]
        barriers.append(f"{a + 1} to {b + 1}: {written(there)}, back {written(back)}")
    more = ", ..." if len(basins) > NAMED else ""
    parts = [f"minima above 1, in {'$D$' if system.diffusion.scalar else '$k_B T$'}: {', '.join(higher)}{more}"]
    return parts + ([f"barriers {'; '.join(barriers)}{more}"] if barriers else [])
