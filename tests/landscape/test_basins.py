"""Minima, saddles, barriers and populations of potentials whose every stationary point is known."""

from __future__ import annotations

import math

import pytest
import torch

import pyness
from pyness.estimators import Estimate
from pyness.landscape.basins import find_basins
from tests.estimators.exact import double_well_states


class Known:
    """A landscape as basins see it, of a given potential in ``k_B T``."""

    def __init__(self, system, phi):
        self.system, self.phi, self.network = system, phi, self

    def places(self, x, order):
        return x

    def value(self, x):
        return self.phi(x)

    def gradient(self, x):
        return torch.func.grad(lambda y: self.phi(y).sum())(x)

    def difference(self, a, b):
        a, b = self.phi(torch.stack([a, b]))
        return Estimate((a - b).item(), 0.1)


def well(x):
    a, b = x[..., 0] - 1.5, x[..., 1] - 1.5
    # the second well is the lower one by 0.2 k_B T, to leading order
    return 10 * ((a * a - 1) ** 2 + 0.5 * b * b) - 0.1 * a


def test_double_well():
    system = pyness.systems.get("double-well")
    samples = pyness.Samples.from_states(system, double_well_states(3000, 1).reshape(1000, 3, 2))
    found = find_basins(Known(system, well), samples)
    assert len(found.basins) == 2
    for basin, a in zip(found.basins, (1.0, -1.0), strict=True):
        # the slope of the tilt over the curvature of the wells, 80
        assert basin.at.tolist() == pytest.approx([1.5 + a + 0.1 / 80, 1.5], abs=1e-4)
    assert found.basins[1].height.value == pytest.approx(0.2, abs=1e-4)
    right = (samples.states[..., 0] > 1.5).double().mean().item()
    assert found.basins[0].population.value == pytest.approx(right, abs=0.02)
    assert found.basins[0].population.stderr == pytest.approx(math.sqrt(0.25 / 3000), rel=0.1)
    (saddle,) = found.saddles
    assert saddle.exact
    assert saddle.between == (0, 1)
    assert saddle.at.tolist() == pytest.approx([1.5 - 0.1 / 40, 1.5], abs=1e-4)
    assert [barrier.value for barrier in saddle.barriers] == pytest.approx([10.1, 9.9], abs=1e-3)
    assert set(found.to_dict()) == {"basins", "saddles"}


def test_minima_on_walls():
    """Like the toggle switch: the wells lie at walls, where the slope does not vanish."""
    box = pyness.Box([0.0, 0.0], [2.0, 2.0], "reflect")
    system = pyness.System("walled", 2, lambda x: -x, 0.1, box)

    def phi(x):
        return 8 * x[..., 0] * x[..., 1] - 3 * (x[..., 0] + x[..., 1])

    x = box.uniform(4000, torch.Generator().manual_seed(0), dtype=torch.float64)
    keep = torch.rand(len(x), generator=torch.Generator().manual_seed(1)) < torch.exp(-(phi(x) + 6))
    found = find_basins(Known(system, phi), pyness.Samples.from_states(system, x[keep]))
    places = sorted(basin.at.tolist() for basin in found.basins)
    assert places == [pytest.approx([0.0, 2.0]), pytest.approx([2.0, 0.0])]
    (saddle,) = found.saddles
    assert saddle.at.tolist() == pytest.approx([3 / 8, 3 / 8], abs=1e-3)
    assert saddle.barriers[0].value == pytest.approx(6 - 9 / 8, abs=1e-3)


def test_three_in_a_row():
    """The outer two are no neighbours: the way between them leads over the third."""
    system = pyness.System("row", 2, lambda x: -x, 1.0)

    def phi(x):
        return 3 - 3 * torch.cos(2 * math.pi * x[..., 0]) + 0.2 * x[..., 0] ** 2 + 4 * x[..., 1] ** 2

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(900, 2, generator=generator, dtype=torch.float64).clamp(-3, 3) * torch.tensor([0.15, 0.35])
    x[:, 0] += torch.randint(-1, 2, (900,), generator=generator)
    found = find_basins(Known(system, phi), pyness.Samples.from_states(system, x))
    assert len(found.basins) == 3
    assert found.basins[0].at.tolist() == pytest.approx([0, 0], abs=1e-6)
    assert [saddle.between for saddle in found.saddles] == [(0, 1), (0, 2)]
    assert sum(basin.population.value for basin in found.basins) == pytest.approx(1)


def test_of_three_ways_between_three_wells_the_lowest_two_join_them():
    system = pyness.System("triangle", 2, lambda x: -x, 1.0)
    # the further apart two wells are, the higher the way between them
    wells = torch.tensor([[0.0, 0.0], [4.0, 0.0], [2.6, 4.2]], dtype=torch.float64)

    def phi(x):
        return -torch.logsumexp(-0.5 * (x.unsqueeze(-2) - wells).square().sum(-1) * 3.0, dim=-1)

    generator = torch.Generator().manual_seed(0)
    x = wells.repeat(300, 1) + torch.randn(900, 2, generator=generator, dtype=torch.float64) / math.sqrt(3)
    found = find_basins(Known(system, phi), pyness.Samples.from_states(system, x))
    place = [int((wells - basin.at).norm(dim=1).argmin()) for basin in found.basins]
    ways = {frozenset(place[k] for k in saddle.between): saddle for saddle in found.saddles}
    assert set(ways) == {frozenset(pair) for pair in ((0, 1), (0, 2), (1, 2))}
    heights = {pair: phi(saddle.at).item() for pair, saddle in ways.items()}
    highest = max(heights, key=heights.get)
    assert highest == {0, 2}
    assert {pair for pair, saddle in ways.items() if saddle.joins} == set(ways) - {highest}


def test_ripples_are_no_basins():
    """One well with a ripple of 0.2 k_B T on it, and a circle where the way round is the short way."""
    system = pyness.System("ripple", 1, lambda x: -x, 1.0)
    x = torch.randn(800, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rippled = Known(system, lambda x: 0.5 * x[..., 0] ** 2 + 0.2 * torch.cos(6 * x[..., 0]))
    assert len(find_basins(rippled, pyness.Samples.from_states(system, x)).basins) == 1
    ring = pyness.Box([0.0], [1.0], "periodic")
    circle = pyness.System("circle", 1, lambda x: 0 * x, 1.0, ring)
    # wells at 0.1 and 0.9, with the lower ridge at 0 and the higher one at 0.5
    angle = 2 * math.pi

    def phi(x):
        return 2 * torch.cos(angle * (x[..., 0] - 0.5)) + 3 * torch.cos(2 * angle * (x[..., 0] - 0.5))

    states = ring.uniform(800, torch.Generator().manual_seed(1), dtype=torch.float64)
    found = find_basins(Known(circle, phi), pyness.Samples.from_states(circle, states))
    assert len(found.basins) == 2
    (saddle,) = found.saddles
    near_zero = min(saddle.at.item() % 1, 1 - saddle.at.item() % 1)
    assert near_zero < 1e-3


def test_a_minimum_on_a_linear_wall():
    """A well behind the wall x + y <= 1: its nearest point on the wall, in the metric of the samples or any other."""
    box = pyness.Box([-3.0, -3.0], [3.0, 3.0], "open", walls=[((1.0, 1.0), 1.0)])
    system = pyness.System("cut", 2, lambda x: -x, 0.1, box)
    states = box.uniform(500, torch.Generator().manual_seed(0), dtype=torch.float64)
    known = Known(system, lambda x: 4 * (x - 1.0).square().sum(-1))
    (basin,) = find_basins(known, pyness.Samples.from_states(system, states)).basins
    assert basin.at.tolist() == pytest.approx([0.5, 0.5], abs=1e-2)
