"""The local entropy production adds up to the whole, and particles are sorted into phases as by hand."""

from __future__ import annotations

import math

import pytest
import torch

from pyness.errors import InputError
from pyness.estimators import local
from pyness.systems import Box, OrnsteinUhlenbeckActivity, ParticleSystem, get
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


def test_contacts_are_as_wide_as_the_published_ones():
    assert local.contact_distance(get("aoup-mips", n_particles=100)) == pytest.approx(2.4, abs=1e-3)
    # a steeper disc of the same size: its cutoff is shorter, contacts still begin outside it
    assert 2.0 < local.contact_distance(get("aoup-mips", n_particles=100, beta=30.0)) < 2.4
    assert local.contact_distance(get("aoup-mips", n_particles=100, v0=0.0)) is None
    own = {"pair_force": pushing(0.5), "cutoff": 0.5}
    assert not local.has_phases(particles(3.0, space_dim=3, **own))
    assert not local.has_phases(particles(3.0, n_particles=99, **own))
    assert local.has_phases(particles(3.0, **own))
    # those that are nowhere pressed have none
    assert not local.has_phases(particles(3.0, pair_force=lambda r: 1e-3 * pushing(0.5)(r), cutoff=0.5))
    kinds = {"pair_force": lambda r, a, b: pushing(2.0)(r) * (a + b), "cutoff": 2.0, "species": [0, 1] * 60}
    # where two of the stronger kind, 20 (1 + 1) (exp(-r) - exp(-2)), still push enough beside a speed of 0.1
    widest = -math.log(math.exp(-2.0) + local.PRESSED * 0.1 / 40)
    assert local.contact_distance(particles(9.0, **kinds)) == pytest.approx(widest, abs=1e-3)


def pushing(cutoff):
    return lambda r: 20 * (torch.exp(-r) - math.exp(-cutoff))


def particles(width, n_particles=120, space_dim=2, **forces):
    box = Box([-width / 2] * space_dim, [width / 2] * space_dim, "periodic")
    return ParticleSystem("own", n_particles, space_dim, OrnsteinUhlenbeckActivity(0.1, 1.0), box=box, **forces)


def test_neighbours_are_not_counted_round_the_box():
    system = particles(3.0, pair_force=pushing(0.5), cutoff=0.5)
    x = system.split(system.draw_start("uniform", 1, torch.Generator().manual_seed(0), torch.float64))[0]
    with pytest.raises(InputError, match=r"half the box 1\.5"):
        local.neighbour_number(system, x, 2.4)
    density = local.local_density(system, x)
    torch.testing.assert_close(density, local.neighbour_number(system, x, 0.5) / (math.pi * 0.25))
    assert local.ball(3, 2.0) == pytest.approx(4 / 3 * math.pi * 8)


def test_phases_and_distances():
    system, x = configuration()
    assert local.neighbour_number(system, x, 2.4)[0].tolist() == [7, 4, 4, 4, 4, 4, 4, 2, 2, 1]
    assert local.region(system, x)[0].tolist() == [2, 1, 1, 1, 1, 1, 1, 0, 0, 0]
    found = local.distance_to_interface(system, x)[0]
    # the dense phase is the middle of the cluster: it ends at the particles around it
    torch.testing.assert_close(found[:7], torch.tensor([2.0] + [-2.0] * 6).double())
    # through the seam: (29.5, 1) is 10.5 and 9 away from (10, 10)
    assert found[9] == pytest.approx(-math.hypot(10.5, 9))
    assert torch.isinf(local.distance_to_interface(system, x[:, [9] * 10] + torch.arange(10.0)[:, None] * 2.5)).all()
    with pytest.raises(InputError, match="no contacts in the plane"):
        local.region(get("aoup-free"), x)


def test_the_two_parts_need_the_score_alone():
    system = get("aoup-harmonic", n_particles=3, space_dim=2)
    x = system.draw_start("uniform", 4, torch.Generator().manual_seed(0), torch.float64)
    found, s = local.local_epr(system, x, exact(system)), system.truth.score(x)
    torch.testing.assert_close(found.position, local.position_epr(system, x, s))
    torch.testing.assert_close(found.activity, local.activity_epr(system, x, s))
