"""Figures: what they return, what they say, what they leave alone, and that the lines they draw are right."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

import pyness
from pyness import plots
from pyness.errors import InputError
from pyness.estimators.estimate import Estimate
from pyness.plots.fields import planar_field
from pyness.plots.streams import stream_function
from pyness.plots.style import DEEP, HEAT, lightness, symbol


class Exact:
    """The double well in closed form, as a landscape."""

    def __init__(self):
        self.system = pyness.systems.get("double-well")

    def potential(self, x):
        return self.system.truth.potential(x)

    def current_velocity(self, x):
        a, b = x[..., 0] - 1.5, x[..., 1] - 1.5
        return 0.5 * torch.stack([-b, 4 * a * (a * a - 1)], dim=-1)


class Rotor:
    """A three-dimensional Gaussian that turns about its third axis; v = (-x2, x1, 0)."""

    def __init__(self):
        A = ((1.0, 1.0, 0.0), (-1.0, 1.0, 0.0), (0.0, 0.0, 1.0))
        self.system = pyness.systems.get("ornstein-uhlenbeck", A=A, D=1.0)

    def potential(self, x):
        return self.system.truth.potential(x)

    def current_velocity(self, x):
        return torch.stack([-x[..., 1], x[..., 0], 0 * x[..., 2]], dim=-1)


@pytest.fixture
def exact():
    return Exact()


@pytest.fixture(scope="module")
def cloud():
    generator = torch.Generator().manual_seed(3)
    return torch.randn(200, 100, 3, generator=generator, dtype=torch.float64)


@pytest.fixture(autouse=True)
def _style_and_pyplot_are_untouched():
    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


@pytest.mark.parametrize("draw", [plots.landscape, plots.flow, plots.local_epr])
def test_maps_return_the_axes_they_were_given(exact, draw):
    ax = Figure().add_subplot()
    assert draw(exact, resolution=40, ax=ax) is ax
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x$", "$y$")
    assert ax.get_xlim() == (0, 3)
    assert ax.get_ylim() == (0, 3)


def test_a_map_without_axes_makes_a_figure_that_pyplot_does_not_know():
    code = (
        "import io, sys, pyness\n"
        "solution = pyness.grid.steady_state(pyness.systems.get('double-well'), (20, 20))\n"
        "ax = pyness.plots.landscape(solution.landscape, resolution=20)\n"
        "ax.figure.savefig(io.BytesIO())\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_field_of_the_double_well_holds_the_exact_values(exact):
    field = planar_field(exact, resolution=151)
    assert field.potential.shape == field.density.shape == field.epr.shape == (151, 151)
    assert field.potential.min() == pytest.approx(0, abs=1e-2)
    assert field.potential[75, 75] == pytest.approx(10, abs=1e-2)  # the saddle is 1 = 10 D above the wells
    cell = (field.x[1] - field.x[0]) * (field.y[1] - field.y[0])
    assert field.density.sum() * cell == pytest.approx(1)
    assert field.epr.sum() * cell == pytest.approx(exact.system.truth.epr, rel=1e-3)
    # rows are y: above the left well the current points to -x (counter-clockwise)
    row, column = np.searchsorted(field.y, 1.8), np.searchsorted(field.x, 0.5)
    assert field.current[0, row, column] < 0
    assert abs(field.current[1, row, column]) < 0.1 * abs(field.current[0, row, column])


def test_swapped_coordinates_swap_the_picture(exact):
    field, swapped = planar_field(exact, resolution=31), planar_field(exact, resolution=31, coordinates=(1, 0))
    assert swapped.names == ("y", "x")
    assert np.allclose(swapped.potential, field.potential.T)
    assert np.allclose(swapped.current, field.current.transpose(0, 2, 1)[::-1])


def test_field_from_samples_of_three_dimensions(cloud):
    field = planar_field(Rotor(), cloud, resolution=120, window=((-2.0, -2.0), (2.0, 2.0)))
    assert field.marginal
    x, y = np.meshgrid(field.x, field.y)
    near = np.hypot(x, y) < 1.5
    exact = np.exp(-(x**2 + y**2) / 2) / (2 * np.pi)
    # 2e4 samples, bins of 0.1 smoothed over one: about 11 samples per bin, 12 times that effectively
    assert np.abs(field.density / exact - 1)[near].mean() < 0.12
    assert np.corrcoef(field.current[0][near], -(y * exact)[near])[0, 1] > 0.97
    assert np.corrcoef(field.current[1][near], (x * exact)[near])[0, 1] > 0.97
    assert np.corrcoef(field.epr[near], ((x**2 + y**2) * exact)[near])[0, 1] > 0.9


def test_stream_function_recovers_a_current_without_divergence():
    x, y = np.linspace(-2, 2, 61), np.linspace(-1, 3, 81)
    X, Y = np.meshgrid(x, y)
    psi = np.exp(-(X**2) - (Y - 1) ** 2) * (1 + 0.3 * X)
    dy, dx = np.gradient(psi, y, x, edge_order=2)
    found = stream_function(x, y, np.stack([dy, -dx]))
    assert np.abs(found - found[0, 0] - psi + psi[0, 0]).max() < 0.01


def test_streamlines_of_a_rotation_are_closed_circles_with_arrows_along_the_current():
    x = np.linspace(-3, 3, 90)
    X, Y = np.meshgrid(x, x)
    p = np.exp(-(X**2 + Y**2) / 2)
    field = plots.PlanarField(x, x, ("a", "b"), X**2, p, np.stack([-Y * p, X * p]), p, "U")
    ax = plots.flow(field)
    lines = [c for c in ax.collections if isinstance(c, LineCollection)]
    assert len(lines) >= 4
    for line in lines:
        path = np.array([segment[0] for segment in line.get_segments()])
        radius = np.hypot(*path.T)
        if radius.max() < 2.5:
            assert radius.std() < 0.02 * radius.mean()
            assert np.hypot(*(path[0] - path[-1])) < 0.3
    heads = [a for a in ax.patches if isinstance(a, FancyArrowPatch)]
    assert heads
    for head in heads:
        (x0, y0), (x1, y1) = head._posA_posB
        assert x0 * (y1 - y0) - y0 * (x1 - x0) > 0  # counter-clockwise


def test_no_current_draws_no_lines(exact):
    exact.current_velocity = lambda x: torch.zeros_like(x)
    ax = plots.flow(exact, resolution=30)
    assert not ax.collections


def test_cap_is_lowered_to_what_the_field_reaches():
    x = np.linspace(0, 1, 20)
    X, _ = np.meshgrid(x, x)
    field = plots.PlanarField(x, x, ("a", "b"), 3 * X, X, np.stack([X, X]), X, "U")
    ax = plots.landscape(field)
    assert ax.figure.axes[1].get_ylim() == (0, 4)


def test_overview_says_what_the_report_says(exact, tmp_path):
    report = SimpleNamespace(
        epr=Estimate(2.1676, 0.008),
        epr_lower=Estimate(2.15, 0.01),
        epr_upper=Estimate(2.19, 0.01),
        gradient_error=Estimate(0.004, 0.001),
    )
    samples = exact.system.domain.uniform(500, torch.Generator().manual_seed(0))
    path = tmp_path / "overview.png"
    figure = plots.overview(exact, samples, report, path, resolution=40)
    heading = figure.get_suptitle()
    for words in ("double-well", "2.1676 ± 0.0080", "2.15 to 2.19", "0.4 %"):
        assert words in heading
    assert path.read_bytes()[:4] == b"\x89PNG"
    panels = figure.axes[:3]
    assert panels[2].get_legend_handles_labels()[1] == ["exact", "landscape", "samples"]
    assert panels[0].get_xlim() == panels[1].get_xlim() == panels[2].get_xlim() == (0, 3)


def test_a_reduced_landscape_shows_the_apparent_rate_and_names_both(exact):
    report = SimpleNamespace(epr=Estimate(9.5, 0.1), apparent_epr=Estimate(2.17, 0.01))
    assert "full" not in plots.overview(exact, resolution=30).get_suptitle()
    exact.reduced = lambda samples: samples
    figure = plots.overview(exact, None, report, resolution=30)
    heading = figure.get_suptitle()
    assert "full EPR 9.50 ± 0.10" in heading
    assert "apparent EPR 2.170 ± 0.010" in heading
    assert figure.axes[1].get_title(loc="left") == "Apparent local entropy production"
    assert plots.local_epr(Exact(), resolution=30).get_title(loc="left") == "Local entropy production"
    three = Rotor()
    three.reduced = exact.reduced
    states = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    assert plots.local_epr(three, states).get_title(loc="left") == "Apparent local entropy production"


def test_a_score_without_a_potential_is_drawn_from_its_samples(exact):
    score = SimpleNamespace(system=exact.system, current_velocity=exact.current_velocity)
    samples = exact.system.domain.uniform(2000, torch.Generator().manual_seed(0))
    figure = plots.overview(score, samples, resolution=60)
    assert figure.axes[2].get_legend_handles_labels()[1] == ["samples"]
    with pytest.raises(InputError, match="none were given"):
        plots.overview(score)


def test_overview_of_three_dimensions_and_of_one(cloud):
    figure = plots.overview(Rotor(), cloud, coordinates=(1, 2), resolution=60)
    assert figure.axes[0].get_xlabel() == "$x_{2}$"
    assert figure.axes[2].get_xlabel() == "$x_{2}$"
    line = pyness.systems.get("ornstein-uhlenbeck", A=((1.0,),))
    single = SimpleNamespace(system=line, potential=line.truth.potential, current_velocity=lambda x: 0 * x)
    assert len(plots.overview(single).axes) == 1


def test_profile_of_exact_potential_samples_and_landscape_agree():
    rotor = Rotor()
    flat = pyness.systems.get("ornstein-uhlenbeck", A=((1.0, 1.0), (-1.0, 1.0)), D=1.0)
    generator = torch.Generator().manual_seed(1)
    samples = torch.randn(40_000, 2, generator=generator, dtype=torch.float64)
    ax = plots.profile(SimpleNamespace(system=flat, potential=flat.truth.potential), samples)
    x, exact = ax.lines[0].get_data()
    inside = np.abs(x) < 2
    normal = -np.log(np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi))
    assert np.abs(exact - normal)[inside].max() < 0.02
    assert np.allclose(exact, ax.lines[1].get_ydata())
    points = ax.containers[0][0]
    px, py = points.get_data()
    error = np.abs(py - 0.5 * px**2 - 0.5 * np.log(2 * np.pi))
    assert error[np.abs(px) < 2].max() < 0.2  # 5 standard errors at 500 counts
    shifted = SimpleNamespace(potential=lambda x: flat.truth.potential(x) + 3)
    ax = plots.profile(SimpleNamespace(system=flat, potential=flat.truth.potential), truth=shifted)
    assert ax.get_legend_handles_labels()[1] == ["truth", "landscape"]
    assert np.allclose(ax.lines[0].get_ydata(), ax.lines[1].get_ydata())  # each normalised by itself
    with pytest.raises(InputError, match="pass samples="):
        plots.profile(rotor)
    with pytest.raises(InputError, match="coordinate is 3"):
        plots.profile(rotor, samples, coordinate=3)


@pytest.mark.parametrize("dim", [1, 2])
def test_the_band_of_a_profile_is_two_standard_errors(dim):
    """``U = |x|^2 / 2`` moved by ``0.1 x1``, by ``0.3 x2`` and as a whole: ``p(x1)`` feels the first alone."""
    system = pyness.System("round", dim, lambda x: -x, 0.5, pyness.Box([-4.0] * dim, [4.0] * dim))

    def deviations(x):
        return torch.stack([0.1 * x[..., 0], 0.3 * x[..., -1] if dim == 2 else 0 * x[..., 0], 0 * x[..., 0] + 5], -1)

    steady = SimpleNamespace(
        system=system,
        potential=lambda x: 0.5 * x.square().sum(-1),
        uncertainty={"deviations": 1},
        deviations=deviations,
    )
    ax = plots.profile(steady)
    (band,) = ax.collections
    x, learnt = ax.lines[0].get_data()
    corners = band.get_paths()[0].vertices
    for at, height in list(zip(x, learnt, strict=True))[::20]:
        edges = corners[np.isclose(corners[:, 0], at), 1]
        # the potential counts in D = 0.5
        assert [edges.min(), edges.max()] == pytest.approx([height - 0.4 * abs(at), height + 0.4 * abs(at)], abs=1e-6)
    steady.uncertainty = {}
    assert not plots.profile(steady).collections


def test_heights_of_basins_stand_in_the_heading_with_their_errors(exact, cloud):
    """In units of ``D``, also where no curve of the potential can be drawn."""

    def basin(at, height):
        return {"at": at, "height": height.to_dict(), "population": Estimate(0.5, 0.01).to_dict()}

    def found(dim):
        barriers = [Estimate(1.0, 0.01).to_dict(), Estimate(0.96, 0.01).to_dict()]
        saddle = {"between": [0, 1], "at": [1.5] * dim, "barriers": barriers, "exact": True, "joins": True}
        basins = [basin([0.5] * dim, Estimate(0.0, 0.0)), basin([2.5] * dim, Estimate(0.04, 0.01))]
        return SimpleNamespace(epr=Estimate(2.0, 0.1), extra={"basins": basins, "saddles": [saddle]})

    figure = plots.overview(exact, None, found(2), resolution=30)
    assert "minima above 1, in $D$: 2: 0.40 ± 0.10" in figure.get_suptitle()
    assert "barriers 1 to 2: 10.00 ± 0.10, back 9.60 ± 0.10" in figure.get_suptitle()
    assert {text.get_text() for text in figure.axes[0].texts} >= {"1", "2"}
    assert "2: 0.040 ± 0.010" in plots.overview(Rotor(), cloud, found(3), resolution=30).get_suptitle()


def test_training_and_step_histogram():
    ax = plots.training([0, 1, 2], {"loss": [3.0, 1.0, -1.0], "held out": [2.0, 1.5, 1.2]})
    assert ax.get_yscale() == "log"
    assert np.isnan(ax.lines[0].get_ydata()[2])
    assert ax.get_legend_handles_labels()[1] == ["loss", "held out"]
    with pytest.raises(InputError, match="2 values for 3 steps"):
        plots.training([0, 1, 2], {"loss": [1.0, 2.0]})
    edges = np.geomspace(1e-4, 1e-2, 21)
    ax = plots.step_histogram(edges, np.arange(20), label="SOSRA", reference=1e-3)
    assert plots.step_histogram(edges * 2, np.ones(20), label="EM", ax=ax) is ax
    assert ax.get_xscale() == "log"
    assert ax.get_legend_handles_labels()[1] == ["SOSRA", "fixed, 0.001", "EM"]
    assert [patch.get_data().values.sum() for patch in ax.patches] == pytest.approx([1.0] * 4)
    assert ax.patches[1].get_edgecolor() != ax.patches[3].get_edgecolor()
    with pytest.raises(InputError, match="21 edges for 3 counts"):
        plots.step_histogram(edges, [1, 2, 3])
    with pytest.raises(InputError, match="no positive step"):
        plots.step_histogram(edges, np.zeros(20))


def test_density_and_pairs(cloud, tmp_path):
    ax = plots.density(cloud, coordinates=(0, 2), system=Rotor().system)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x_{1}$", "$x_{3}$")
    figure = plots.pairs(cloud, path=tmp_path / "pairs.png")
    assert (tmp_path / "pairs.png").stat().st_size > 0
    assert len([ax for ax in figure.axes if ax.axison]) == 6
    assert len([ax for ax in plots.pairs(cloud, coordinates=[1]).axes if ax.axison]) == 1
    with pytest.raises(InputError, match="coordinates are"):
        plots.pairs(cloud, coordinates=[5])


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((Rotor(),), {}, "none were given"),
        ((Exact(),), {"coordinates": (0, 0)}, "two different"),
        ((Exact(),), {"coordinates": (0, 4)}, "two different"),
        ((Exact(),), {"cap": 0.0}, "cap is 0.0"),
    ],
)
def test_refusals(arguments, options, words):
    with pytest.raises(InputError, match=words):
        plots.landscape(*arguments, **options)


@pytest.mark.parametrize("draw", [plots.profile, plots.landscape, plots.overview])
def test_samples_of_another_system_are_refused(exact, cloud, draw):
    with pytest.raises(InputError, match=r"states are \(200, 100, 3\) and 'double-well' has d = 2; give states"):
        draw(exact, cloud)
    other = SimpleNamespace(states=cloud[..., :2], system=SimpleNamespace(variables=("x1", "x2")))
    with pytest.raises(InputError, match=r"of \(x1, x2\) and 'double-well' has \(x, y\).*landscape\.reduced"):
        draw(exact, other)


@pytest.mark.parametrize("colours", [DEEP, HEAT])
def test_lightness_of_the_maps_runs_evenly(colours):
    steps = np.diff(lightness(colours(np.linspace(0, 1, 33))))
    assert (steps > 0).all() or (steps < 0).all()
    assert np.abs(steps).max() < 3 * np.abs(steps).mean()


def test_symbols():
    assert [symbol(n) for n in ("x", "x12", "x_1", "GATA6")] == ["$x$", "$x_{12}$", "$x_{1}$", "GATA6"]


def test_bias_against_cost(tmp_path):
    """Adaptive and fixed are told apart by their marks, the flagged by their colour, a ladder by its line."""
    system = pyness.systems.get("ornstein-uhlenbeck", A=[[1.0, 1.0], [-1.0, 1.0]], D=0.5)
    labels = ["EM:dt=0.5", "EM:dt=0.25", "EulerHeun:dt=0.1", "SOSRA"]
    found = pyness.compare_solvers(
        system, labels, engine="torch", walkers=500, seeds=1, burn_in=3.0, snapshots=2, spacing=1.0, progress=False
    )
    ax = plots.bias_against_cost(found)
    marks = [line for line in ax.lines if line.get_marker() in ("o", "s")]
    assert [line.get_marker() for line in marks] == ["s", "s", "s", "o"]
    filled = [line.get_markerfacecolor() != "white" for line in marks]
    assert filled == [found.flagged(label) for label in labels]
    assert [text.get_text() for text in ax.texts] == labels
    assert [line.get_xdata()[0] for line in marks] == pytest.approx([c.cost() for c in found.candidates])
    figure = plots.comparison(found, tmp_path / "comparison.png")
    # bias, lengths, map and its colour bar
    assert len(figure.axes) == 4
    assert figure.axes[2].get_title(loc="left") == "Steps of SOSRA"
    assert (tmp_path / "comparison.png").stat().st_size > 0


def test_a_comparison_of_many(tmp_path):
    """Where names have no room beside the points, numbers stand there, and beside the names in the next panel."""
    system = pyness.systems.get("ornstein-uhlenbeck", A=[[1.0]], D=0.5)
    labels = [*(f"EM:dt={dt}" for dt in (0.5, 0.2, 0.1, 0.05, 0.02)), *(f"SOSRA:rtol={r}" for r in range(1, 9))]
    found = pyness.compare_solvers(
        system, labels, engine="torch", walkers=20, seeds=1, burn_in=1.0, snapshots=2, spacing=1.0, progress=False
    )
    bias, steps, *_ = plots.comparison(found).axes
    assert [text.get_text() for text in bias.texts] == [str(number) for number in range(1, 14)]
    assert [tick.get_text() for tick in steps.get_yticklabels()] == [f"{s}  {n}" for n, s in enumerate(labels, 1)]
