"""Sparse Hessians against the products that a system makes itself."""

from __future__ import annotations

import pytest
import torch

from pyness.systems import get
from pyness.systems.hessian import Hessians


@pytest.mark.parametrize(
    ("name", "particles"), [("aoup-mips", 14), ("aoup-trap-64", 5), ("aoup-ring", None), ("aoup-harmonic", 3)]
)
def test_forces_and_hessians_are_those_of_the_system(name, particles):
    system = get(name) if particles is None else get(name, n_particles=particles)
    generator = torch.Generator().manual_seed(0)
    x = system.split(system.draw_start("clustered", 3, generator, torch.float64))[0]
    hessians = Hessians(system, 3, system.pairs(x))
    for place in (x, x + 0.01):
        force, H = hessians.at(place)
        torch.testing.assert_close(force, system.forces(place))
        u = torch.randn(place.shape, dtype=torch.float64, generator=generator)
        torch.testing.assert_close((H @ u.flatten()).reshape(u.shape), system.curvature(place, u))
        torch.testing.assert_close(H.to_dense(), H.to_dense().mT)
