"""Noise-free motion as a power series: closed forms, derivatives of the forces, and where a solver arrives."""

from __future__ import annotations

import math

import pytest
import torch

from pyness.systems import OrnsteinUhlenbeckActivity, ParticleSystem, get
from pyness.systems.jets import noise_free_jets


def start(system, seed=0):
    return system.split(system.draw_start("uniform", 2, torch.Generator().manual_seed(seed), torch.float64))


def test_springs_answer_with_powers_of_their_stiffness():
    system = get("aoup-harmonic", n_particles=3, space_dim=2, eps=0.0)
    x, g = start(system)
    jets = noise_free_jets(system, x, g, system.pairs(x), 5)
    expected = system.forces(x) + system.activity.push(g)
    for found in jets.motion:
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
        expected = -system.curvature(x, expected)


@pytest.mark.parametrize("trapped", [False, True])
def test_the_series_is_where_a_solver_arrives(trapped):
    if trapped:
        system = ParticleSystem(
            "wells", 3, 2, OrnsteinUhlenbeckActivity(0.3, 0.1), pair_force=lambda r: torch.exp(-r), cutoff=9.0,
            trap=0.2, external=lambda x: torch.sin(x),
        )  # fmt: skip
    else:
        system = get("aoup-mips", n_particles=25, packing=0.8)
    x, g = start(system)
    if not trapped:
        # no two so close that the direction between them turns round within the step
        grid = torch.cartesian_prod(torch.arange(5.0), torch.arange(5.0)).double()
        x = system.box.width[0] / 5 * (grid + 0.15 * torch.sin(7 * grid.flip(-1))).expand(2, -1, -1)
    order, time = 6, 0.02
    jets = noise_free_jets(system, x, g, system.pairs(x), order)
    predicted = x + sum(time**k / math.factorial(k) * v for k, v in enumerate(jets.motion, 1))
    h = time / 20

    def velocity(y):
        return system.forces(y) + system.activity.push(g)

    y = x.clone()
    for _ in range(20):
        a = velocity(y)
        b = velocity(y + 0.5 * h * a)
        c = velocity(y + 0.5 * h * b)
        y = y + h / 6 * (a + 2 * b + 2 * c + velocity(y + h * c))
    torch.testing.assert_close(predicted, y, rtol=0, atol=1e-9)
    pairs = system.pairs(x)
    r = jets.distance + sum(time**k / math.factorial(k) * v for k, v in enumerate(jets.approach, 1))
    torch.testing.assert_close(r, system.distances(y, pairs)[0], rtol=0, atol=1e-9)


def test_touching_particles_have_finite_derivatives():
    system = get("aoup-mips", n_particles=20)
    x, g = start(system)
    x[0, 1] = x[0, 0]
    jets = noise_free_jets(system, x, g, system.pairs(x), 5)
    assert all(torch.isfinite(v).all() for v in (*jets.motion, *jets.approach))
