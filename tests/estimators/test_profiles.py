"""Averages by phase, density, distance and position are those found by hand."""

from __future__ import annotations

import math

import pytest
import torch

import pyness
from pyness.errors import InputError, UnknownNameError
from pyness.estimators import profile, spatial_map
from pyness.estimators.profiles import conditional
from pyness.systems import Box, OrnsteinUhlenbeckActivity, ParticleSystem, get
from tests.estimators.test_local import configuration


def abscissa(system):
    return lambda states: system.split(states)[0][..., 0]


@pytest.fixture
def cluster():
    system, x = configuration()
    g = torch.zeros(1, 10, 2, dtype=torch.float64)
    return system, pyness.Samples.from_states(system, torch.stack([system.join(x, g)] * 3))


def test_shares_by_region(cluster):
    system, samples = cluster
    found = profile(system, samples, abscissa(system), by="region")
    assert found.at == ("gas", "interface", "dense")
    assert [e.value for e in found.particles] == pytest.approx([0.3, 0.6, 0.1])
    assert sum(e.value for e in found.share) == pytest.approx(1)
    assert found.mean[0].value == pytest.approx((20 + 22 + 29.5) / 3)
    assert found.mean[2].value == pytest.approx(10)
    assert str(found).splitlines()[0].split() == ["region", "particles", "share", "mean"]
    assert str(found).splitlines()[3].startswith("dense")


def test_means_by_density_and_distance(cluster):
    system, samples = cluster
    found = profile(system, samples, abscissa(system), by="density")
    # a loner, a pair, and a cluster in which only opposite ones are a whole cutoff apart, give or take rounding
    counts = [at * math.pi * 16 for at in found.at]
    assert counts[:2] == pytest.approx([1, 2])
    assert all(6 <= round(count, 6) <= 7 for count in counts[2:])
    assert [e.value for e in found.particles[:2]] == pytest.approx([0.1, 0.2])
    assert [e.value for e in found.mean[:2]] == pytest.approx([29.5, 21])
    assert sum(e.value for e in found.share[2:]) == pytest.approx(70 / 141.5)
    found = profile(system, samples, abscissa(system), by="distance", bins=8)
    assert sum(e.value for e in found.particles) == pytest.approx(1)
    assert found.at[0] < -10 < 0 < found.at[-1]
    assert found.mean[-1].value == pytest.approx(10)  # the middle of the cluster
    assert found.mean[0].value > 20
    assert math.isnan(found.mean[4].value)


def test_labels_of_ones_own(cluster):
    system, samples = cluster
    labels = torch.tensor([[0, 0, 0, 0, 0, 0, 0, 1, 1, 9]])
    held, share, mean = conditional(samples, abscissa(system), lambda x: labels.expand(len(x), 10), 2)
    assert [e.value for e in held] == pytest.approx([7 / 9, 2 / 9])  # what has no bin is left out
    assert mean[1].value == pytest.approx(21)
    assert share[1].value == pytest.approx(42 / 112)


def test_a_map_has_means_densities_and_errors():
    # two walkers of two particles in a box that does not begin at 0
    box = Box([-1.0, 3.0], [1.0, 5.0], "periodic")
    system = ParticleSystem("own", 2, 2, OrnsteinUhlenbeckActivity(0.1, 1.0), box=box)
    x = torch.tensor([[[-0.9, 3.1], [0.5, 4.5]], [[-0.1, 3.9], [0.5, 4.5]]], dtype=torch.float64)
    values = torch.tensor([[1.0, 5.0], [3.0, 5.0]], dtype=torch.float64)
    states = system.join(x, torch.zeros_like(x)).unsqueeze(1)
    samples = pyness.Samples.from_states(system, states)
    found = spatial_map(system, samples, lambda s: values[(s[:, 0] > -0.5).long()], bins=2)
    assert found.mean[0, 0] == 2
    assert found.mean[1, 1] == 5
    assert found.stderr[0, 0] == 1  # of two walkers with 1 and 3
    assert found.stderr[1, 1] == 0
    assert torch.isnan(found.mean[0, 1])
    assert found.density.tolist() == [[1, 0], [0, 1]]
    assert [edge.tolist() for edge in found.edges] == [[-1, 0, 1], [3, 4, 5]]


def test_a_centred_map_has_the_dense_phase_in_the_middle(cluster):
    system, samples = cluster
    # moved over the seam of the box, differently in each walker
    moved = []
    for walker, states in enumerate(samples.states):
        x, g = system.split(states)
        moved.append(system.join((x + torch.tensor([11.0 * walker, 7.0])).remainder(system.box.width[0]), g))
    samples = pyness.Samples.from_states(system, torch.stack(moved))
    found = spatial_map(system, samples, lambda s: torch.ones(len(s), 10).double(), bins=5, centred=True)
    assert found.density.argmax() == 12
    assert found.density[2, 2].item() * 36 == pytest.approx(7)  # the whole cluster, in a cell of 6 by 6
    plain = spatial_map(system, samples, lambda s: torch.ones(len(s), 10).double(), bins=5)
    assert plain.density.max() * 36 < 4


def test_what_cannot_be_sorted_is_refused(cluster):
    system, samples = cluster
    value = abscissa(system)
    with pytest.raises(UnknownNameError, match="did you mean 'density'"):
        profile(system, samples, value, by="desity")
    with pytest.raises(InputError, match="bins is 0"):
        spatial_map(system, samples, value, bins=0)
    with pytest.raises(InputError, match="bins is 1"):
        profile(system, samples, value, by="distance", bins=1)
    trap = get("aoup-harmonic", n_particles=3, space_dim=2)
    drawn = pyness.Samples.from_states(trap, torch.randn(4, 1, trap.dim, generator=torch.Generator().manual_seed(0)))
    for by, words in (("density", "has no cutoff"), ("region", "no contacts in the plane")):
        with pytest.raises(InputError, match=words):
            profile(trap, drawn, abscissa(trap), by=by)
    with pytest.raises(InputError, match="centred in an open box"):
        spatial_map(trap, drawn, abscissa(trap), centred=True)
    assert spatial_map(trap, drawn, abscissa(trap), bins=3).density.sum() > 0
    line = get("aoup-harmonic")
    with pytest.raises(InputError, match="not in the plane"):
        spatial_map(line, pyness.Samples.from_states(line, torch.zeros(2, 1, 4)), abscissa(line))
    plain = get("limit-cycle")
    with pytest.raises(InputError, match="has no particles"):
        profile(plain, samples, value)
