"""The measures of structure that engines are compared by, on configurations of which they are known."""

from __future__ import annotations

import pytest
import torch

from pyness.estimators.local import ball
from pyness.systems import get
from tests.physics.structure import largest_cluster, pair_correlation


@pytest.mark.parametrize("space_dim", [1, 2, 3])
@pytest.mark.parametrize("reach", [2.0, 5.0])
def test_the_pair_correlation_of_an_ideal_gas_is_one(space_dim, reach):
    # up to half the box of side 10, and so near that pairs are found by cells
    system = get("aoup-free", n_particles=60, space_dim=space_dim)
    states = system.draw_start("uniform", 500, torch.Generator().manual_seed(0), torch.float64)
    edges = torch.linspace(0.25, reach, 12, dtype=torch.float64)
    found = pair_correlation(system, system.split(states)[0], edges)
    assert ((found.mean(0) - 1).abs() < 4 * found.std(0) / 500**0.5).all()
    # any two pairs are independent, so that the number of 1770 pairs in a shell has the scatter of so many throws
    share = torch.tensor([ball(space_dim, edge) for edge in edges.tolist()]).double().diff() / system.volume
    scatter = found.std(0) * (1770 * share / (1 - share)).sqrt()
    assert ((scatter - 1).abs() < 4 * ((2 + 1 / (1770 * share)) / (4 * 500)).sqrt()).all()


def test_structure_is_seen_across_the_seams():
    system = get("aoup-free", n_particles=5)
    x = torch.tensor([[0.2, 5.0], [9.8, 5.0], [9.2, 9.9], [9.2, 0.1], [5.0, 5.0]], dtype=torch.float64)
    x = torch.stack([x, (x + 3.0) % 10])
    found = pair_correlation(system, x, torch.tensor([0.1, 0.3, 0.5, 0.7, 4.9], dtype=torch.float64))
    assert torch.equal(found > 0, torch.tensor([[True, True, False, True]] * 2))
    assert largest_cluster(system, x, 0.3).tolist() == [0.4, 0.4]
    assert largest_cluster(system, x, 4.81).tolist() == [0.6, 0.6]
    assert largest_cluster(system, x, 4.95).tolist() == [1.0, 1.0]
