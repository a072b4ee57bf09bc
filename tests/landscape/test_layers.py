"""Layers at walls: where the drift presses, how thin, and the points within."""

from __future__ import annotations

import math

import pytest
import torch

import pyness
from pyness.landscape import layers
from pyness.landscape.network import Network


def _channel(pressure: float) -> pyness.System:
    """Driven along ``y`` and pressed on the wall at ``x = 1`` with density ``exp(pressure x)``."""
    return pyness.System(
        "channel", 2, lambda x: torch.stack([torch.full_like(x[..., 0], 0.5 * pressure), -x[..., 1]], -1), 0.5,
        pyness.Box([-1, -3], [1, 3], ["reflect", "open"]),
    )  # fmt: skip


def _states(system: pyness.System, count: int = 2000) -> torch.Tensor:
    return system.domain.uniform(count, torch.Generator().manual_seed(1), dtype=torch.float64)


def test_found_at_the_wall_that_is_pressed_and_as_thin_as_the_density_there():
    system = _channel(200.0)
    (layer,) = layers.find(system, _states(system)).tolist()
    assert layer == pytest.approx([0, 1.0, -1.0, layers.WIDTH / 200.0])


def test_none_where_the_layer_is_thick_or_nothing_comes_near():
    system = _channel(10.0)
    assert layers.find(system, _states(system)).shape == (0, 4)
    system = _channel(200.0)
    assert layers.find(system, _states(system) * torch.tensor([0.5, 1.0])).shape == (0, 4)
    assert layers.find(pyness.systems.get("double-well"), _states(system)).shape == (0, 4)


def test_points_within_are_even_in_the_logarithm_of_their_depth():
    system = _channel(200.0)
    found = layers.find(system, _states(system))
    points = layers.within(system, found, _states(system), 4000, torch.Generator().manual_seed(2))
    assert points.shape == (4000, 2)
    width, deep = found[0, 3].item(), layers.DEEP * 2.0
    even = torch.log1p((1 - points[:, 0]) / width) / math.log1p(deep / width)
    assert even.min() >= 0
    assert even.max() <= 1
    # the mean of uniform numbers
    assert abs(even.mean().item() - 0.5) < 4 / math.sqrt(12 * 4000)
    assert layers.within(system, found[:0], _states(system), 10, torch.Generator()).shape == (0, 2)


def test_units_of_a_layer_leave_the_potential_as_it_is_and_switch_within():
    system = _channel(200.0)
    states, found = _states(system), layers.find(_channel(200.0), _states(system))
    generator = torch.Generator().manual_seed(3)
    network = Network.draw(system, states, 10, generator, layers=found)
    network.tensors["output"] += 1.0
    points = layers.within(system, found, states, 100, generator)
    grown = network.with_layer_units(points, 6, generator)
    assert len(grown.parameters) == len(network.parameters) + 6 * 5
    torch.testing.assert_close(grown.value(grown.places(states)), network.value(network.places(states)))
    # level across the layer before, not so after
    across = torch.tensor([[1.0, 0.0], [1.0 - found[0, 3].item(), 0.0]], dtype=torch.float64)
    before, after = (net.activations(net.places(across)).diff(dim=0).abs().max() for net in (network, grown))
    assert after > 10 * before
