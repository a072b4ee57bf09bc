"""Kept neighbour lists give the forces that a fresh search gives."""

from __future__ import annotations

import pytest
import torch

from pyness.systems import get
from pyness.systems.verlet import Followed


@pytest.mark.parametrize(("name", "size"), [("aoup-mips", 120), ("aoup-trap-64", 64)])
def test_forces_along_a_path_are_those_of_a_fresh_search(name, size):
    system = get(name, n_particles=size, v0=1.0, gamma=0.5)
    generator = torch.Generator().manual_seed(0)
    x = system.draw_start("uniform", 2, generator, torch.float64)
    followed = Followed(system)
    for _ in range(300):
        drift = followed.drift(x)
        torch.testing.assert_close(drift, system.drift(x), atol=1e-12, rtol=1e-10)
        x = x + 0.02 * drift
    assert 2 <= followed.renewals < 150


def test_a_list_holds_until_a_particle_has_moved_half_of_the_skin():
    system = get("aoup-mips", n_particles=60)
    states = system.draw_start("uniform", 2, torch.Generator().manual_seed(0), torch.float64)
    followed, x = Followed(system), system.split(states)[0]
    assert not followed.holds(x)
    followed.pairs(x)
    near, far = x.clone(), x.clone()
    near[1, 7, 0] += 0.06 * system.cutoff
    far[1, 7, 0] += 0.12 * system.cutoff
    assert followed.holds(near)
    assert not followed.holds(far)
    assert not followed.holds(x[:1])


def test_a_walker_that_blew_up_does_not_break_the_search_of_the_others():
    system = get("aoup-mips", n_particles=60)
    followed = Followed(system)
    x = system.draw_start("uniform", 2, torch.Generator().manual_seed(0), torch.float32)
    x[0] = torch.nan
    torch.testing.assert_close(followed.drift(x)[1], system.drift(x[1:])[0])
    # the others go on, and their list with them
    x[1] = system.draw_start("uniform", 1, torch.Generator().manual_seed(5), torch.float32)[0]
    torch.testing.assert_close(followed.drift(x)[1], system.drift(x[1:])[0])
