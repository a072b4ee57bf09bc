"""The local entropy production adds up to the whole, and particles are sorted into phases as by hand."""

from __future__ import annotations

import math

import pytest
import torch

import pyness
from pyness.estimators import local
from pyness.systems import get
from pyness.systems.derivatives import jacobian


def exact(system):
    def both(x):
        J = jacobian(lambda y: system.diffusion.apply(y, system.truth.score(y)), x)
        return system.truth.score(x), torch.diagonal(J, dim1=-2, dim2=-1)

    return both


def test_parts_of_the_exact_score_add_up_to_the_whole():
    system = get("aoup-harmonic", n_particles=3, space_dim=2)
    x = system.draw_start("uniform", 4, torch.Generator().manual_seed(0), torch.float64)
    found = local.local_epr(system, x, exact(system))
    v = system.drift(x) - system.diffusion.apply(x, system.truth.score(x))
    whole = (v * system.diffusion.solve(x, v)).sum(-1)
    torch.testing.assert_close((found.position + found.activity).sum(-1), whole)
    # the current of a linear system has no divergence at all, in every mode the two parts cancel
    torch.testing.assert_close(
        (found.position_divergence + found.activity_divergence).sum(-1), torch.zeros(4).double(), atol=1e-12, rtol=0
    )
    assert torch.isnan(
        local.local_epr(get("aoup-harmonic", n_particles=3, space_dim=2, eps=0.0), x, exact(system)).position
    ).all()


def configuration():
    """A hexagonal cluster of seven, a lone pair, a loner, in a box of 30; padding rows far apart."""
    around = [(math.cos(k * math.pi / 3), math.sin(k * math.pi / 3)) for k in range(6)]
    cluster = [(10.0, 10.0)] + [(10 + 2 * a, 10 + 2 * b) for a, b in around]
    x = torch.tensor([[*cluster, (20.0, 20.0), (22.0, 20.0), (29.5, 1.0)]], dtype=torch.float64)
    return get("aoup-mips", n_particles=10, packing=10 * math.pi / 900), x


def test_phases_and_distances():
    system, x = configuration()
    assert local.neighbour_number(system, x)[0].tolist() == [7, 4, 4, 4, 4, 4, 4, 2, 2, 1]
    assert local.region(system, x)[0].tolist() == [2, 1, 1, 1, 1, 1, 1, 0, 0, 0]
    found = local.distance_to_interface(system, x)[0]
    assert found[0] == pytest.approx(-found[9].item()) or found[0] > 0
    assert (found[1:7] == 0).all()
    # through the seam: (29.5, 1) is 10.5 and 9 away from (10, 10)
    assert found[9] == pytest.approx(-math.hypot(10.5, 9))
    assert found[0] == pytest.approx(min(math.hypot(10.5, 9), math.hypot(10, 10)))


def test_shares_by_region():
    system, x = configuration()
    g = torch.zeros(1, 10, 2, dtype=torch.float64)
    samples = pyness.Samples.from_states(system, torch.stack([system.join(x, g)] * 3))
    found = local.by_region(system, samples, lambda states: system.split(states)[0][..., 0])
    shares = [found[name][0].value for name in local.REGIONS]
    assert shares == pytest.approx([0.3, 0.6, 0.1])
    assert sum(found[name][1].value for name in local.REGIONS) == pytest.approx(1)
    assert found["gas"][2].value == pytest.approx((20 + 22 + 29.5) / 3)
    assert found["dense"][2].value == pytest.approx(10)


def test_map_is_a_conditional_mean():
    x = torch.tensor([[0.1, 0.1], [0.2, 0.2], [0.9, 0.1], [1.5, 0.0]])
    mean, count = local.profile_map(x, torch.tensor([1.0, 3.0, 5.0, 9.0]), (0.0, 0.0), (1.0, 1.0), bins=2)
    assert mean[0, 0] == 2
    assert mean[1, 0] == 5
    assert torch.isnan(mean[0, 1])
    assert count.tolist() == [[2, 0], [1, 0]]
