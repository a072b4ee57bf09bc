"""The one look of all figures: colours, maps, type, and axes made without pyplot."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, TypeVar

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

__all__ = [
    "AMBER",
    "COLOURS",
    "DEEP",
    "HEAT",
    "STYLE",
    "colourbar",
    "new_axes",
    "new_figure",
    "styled",
    "symbol",
    "title",
]

INK = "#1c2733"
QUIET = "#6b7785"
AMBER = "#ffd27a"  # lines on the dark end of DEEP

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "mathtext.fontset": "dejavusans",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#8d97a3",
    "axes.linewidth": 0.7,
    "axes.labelsize": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlepad": 7,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
    "figure.dpi": 110,
    "savefig.dpi": 200,
    "savefig.facecolor": "white",
}

# Okabe-Ito, which colour-blind readers tell apart
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

# Lightness rises evenly along both maps (checked in the tests), so that a step in value is a step in grey
DEEP = LinearSegmentedColormap.from_list(
    "pyness.deep", ["#0d1b4c", "#143b74", "#1c5c8f", "#2f7fa1", "#55a2ab", "#8ac2b7", "#c0dfcf", "#f3f7ec"]
)
HEAT = LinearSegmentedColormap.from_list(
    "pyness.heat", ["#fffdf7", "#fde9bf", "#fbcb86", "#f5a45f", "#e67a4d", "#cb5149", "#a32f52", "#6f1d57", "#38114a"]
)

F = TypeVar("F", bound=Callable[..., Any])


def styled(function: F) -> F:
    """Run a plotting function under :data:`STYLE` and leave matplotlib's parameters as they were."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with matplotlib.rc_context(STYLE):
            return function(*args, **kwargs)

    return wrapped  # type: ignore[return-value]


def new_figure(width: float, height: float) -> Figure:
    """A figure of ``width`` by ``height`` inches that pyplot knows nothing of."""
    return Figure(figsize=(width, height), layout="constrained")


def new_axes(ax: Axes | None, width: float = 4.4, height: float = 3.7) -> Axes:
    """``ax``, or the only axes of a new figure."""
    return new_figure(width, height).add_subplot() if ax is None else ax


def colourbar(ax: Axes, artist: Any, label: str, **options: Any) -> Any:
    """A slim colour bar beside ``ax`` with ``label``."""
    bar = ax.figure.colorbar(artist, ax=ax, fraction=0.05, pad=0.025, aspect=26, **options)
    bar.outline.set_visible(False)
    bar.set_label(label)
    bar.ax.tick_params(length=2)
    return bar


def title(ax: Axes, text: str) -> None:
    """Set the title unless somebody has set one."""
    if not ax.get_title(loc="left"):
        ax.set_title(text, loc="left")


def symbol(name: str) -> str:
    """A variable's name as mathematics: ``x`` and ``x1`` in italics with an index, longer words upright."""
    match = re.fullmatch(r"([A-Za-z])_?(\d*)", name)
    if not match:
        return name
    letter, index = match.groups()
    return f"${letter}_{{{index}}}$" if index else f"${letter}$"


def lightness(colours: np.ndarray) -> np.ndarray:
    """CIE L* of sRGB ``colours: (n, 3 or 4)`` in [0, 1], shape ``(n,)`` in [0, 100]."""
    rgb = np.asarray(colours)[:, :3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    y = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y)
