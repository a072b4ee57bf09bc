"""Figures of active particles: they show the numbers they are given, and refuse what they cannot draw."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import pyness
from pyness import plots
from pyness.errors import InputError
from pyness.estimators.estimate import Estimate
from pyness.estimators.local import local_epr
from pyness.systems import Box, OrnsteinUhlenbeckActivity, ParticleSystem, get
from pyness.systems.derivatives import jacobian


class Exact:
    """The exact score of a system as a learnt one."""

    def __init__(self, system):
        self.system = system

    def current_velocity(self, x):
        return self.system.drift(x) - self.system.diffusion.apply(x, self.system.truth.score(x))

    def local(self, x):
        J = jacobian(self.system.truth.score, x) * self.system.diffusion.value.unsqueeze(-1)
        terms = torch.diagonal(J, dim1=-2, dim2=-1)
        return local_epr(self.system, x, lambda y: (self.system.truth.score(y), terms))


def _images(drawn, discs, width=10.0, radius=1.0) -> bool:
    """Whether all that is drawn besides the discs are their images that reach into the box."""
    shifts = width * np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), -1).reshape(-1, 1, 2)
    images = (discs + shifts)[np.abs(shifts).any(-1)[:, 0]].reshape(-1, 2)
    reaching = images[((images > -radius) & (images < width + radius)).all(-1)]
    return sorted(map(tuple, np.round(drawn, 6))) == sorted(map(tuple, np.round(reaching, 6)))


def test_a_box_is_drawn_where_it_lies():
    system = ParticleSystem(
        "own", 60, 2, OrnsteinUhlenbeckActivity(0.1, 1.0), box=Box([-3.0, 2.0], [3.0, 8.0], "periodic")
    )
    x = system.draw_start("uniform", 1, torch.Generator().manual_seed(0), torch.float64)[0]
    ax = plots.particles(system, x, torch.ones(60), radius=0.3)
    assert (ax.get_xlim(), ax.get_ylim()) == ((-3, 3), (2, 8))
    drawn = ax.collections[0].get_offsets() + np.array([3.0, -2.0])
    np.testing.assert_allclose(drawn[:60], system.split(x)[0].numpy() + np.array([3.0, -2.0]))
    assert len(drawn) > 60
    assert _images(drawn[60:], drawn[:60], width=6.0, radius=0.3)


def test_discs_have_the_colours_of_their_values():
    system = get("aoup-free", n_particles=5)
    x = system.draw_start("uniform", 1, torch.Generator().manual_seed(0), torch.float64)[0]
    values = torch.tensor([1.0, 10.0, 100.0, 1000.0, 0.0])
    ax = plots.particles(system, x, values, label="rate")
    discs = ax.collections[0]
    np.testing.assert_allclose(discs.get_offsets()[:5], system.split(x)[0].numpy())
    assert _images(discs.get_offsets()[5:], discs.get_offsets()[:5])
    shown = discs.get_array()
    assert shown[0] < shown[1] < shown[2] < shown[3]
    assert shown[4] == shown[:5].min()
    assert ax.get_xlim() == (0, 10)
    with pytest.raises(InputError, match="not in the plane"):
        plots.particles(get("aoup-harmonic"), torch.zeros(4), torch.ones(2))


@pytest.mark.parametrize(
    ("name", "options"), [("aoup-harmonic", {"n_particles": 1}), ("aoup-free", {"n_particles": 4})]
)
def test_overview_of_scores(name, options, tmp_path):
    system = get(name, **options)
    states = system.draw_start("uniform", 400, torch.Generator().manual_seed(0), torch.float64)
    samples = pyness.Samples.from_states(system, states)
    report = SimpleNamespace(epr=Estimate(1.0, 0.1), gradient_error=Estimate(0.01, 0.001), extra={"epr_of": "activity"})
    figure = plots.active_overview(Exact(system), samples, report, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    assert "activity part" in figure.get_suptitle()
    with pytest.raises(InputError, match="give a system of two"):
        plots.current_portrait(Exact(get("aoup-harmonic")), samples)
