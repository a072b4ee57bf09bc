"""Scores by likeliest pasts: springs in closed form, a collision that no noise has made, what is linear in a state."""

from __future__ import annotations

import math

import pytest
import torch

from pyness.score import pasts
from pyness.score.pasts import FIELDS, Pasts
from pyness.systems import OrnsteinUhlenbeckActivity, ParticleSystem, get


@pytest.mark.parametrize("d", [1, 3])
def test_springs_have_their_closed_form(d, monkeypatch):
    """Of relative coordinates; the centre is free, and its activity says nothing but itself."""
    monkeypatch.setattr(pasts, "LENGTHS", (1.4,))
    monkeypatch.setattr(pasts, "SOLVED", (1,))
    monkeypatch.setattr(pasts, "TOLD", (1.4,))
    monkeypatch.setattr(pasts, "STEP", 0.0024)
    monkeypatch.setattr(pasts, "LONGEST", 0.0024)
    spring, particles, v0, gamma = 0.5, 3, 0.2, 1e-6
    system = ParticleSystem(
        "springs", particles, d, OrnsteinUhlenbeckActivity(v0, gamma), pair_force=lambda r: -spring * r
    )
    stiff = particles * spring
    c = v0 / (stiff + gamma)
    generator = torch.Generator().manual_seed(0)
    g, z = (torch.randn(5, particles, d, generator=generator, dtype=torch.float64) for _ in range(2))
    inner = c * g + c * math.sqrt(gamma / stiff) * z
    x = inner - inner.mean(1, keepdim=True) + 3.0
    exact = c * stiff / (gamma * c * c) * ((x - x.mean(1, keepdim=True)) - c * (g - g.mean(1, keepdim=True)))
    (found,) = Pasts(system, 0.15 * stiff).scores(x, g)
    # scores of more than some scatters are held down: by a tenth at two and a half of them
    size = pasts.MOST * math.sqrt(system.laplacian(x)[0, 0].item() / gamma)
    held = exact / torch.sqrt(1 + (exact.norm(dim=-1, keepdim=True) / size) ** 2)
    # of first order in the step, which is 0.016 relaxation times
    assert (found - held).norm() < 0.02 * held.norm()


def test_a_collision_on_the_way_is_no_noise():
    """Two particles met some time units ago: their contact still decays, and nothing of that is a score."""
    system = get("aoup-mips", n_particles=2, packing=0.01)
    x = torch.tensor([[[5.0, 5.0], [7.75, 5.1]]], dtype=torch.float64)
    g = torch.tensor([[[1.5, 0.4], [-1.5, 0.2]]], dtype=torch.float64)
    h = 0.01
    for _ in range(1200):
        x = x + h * (system.forces(x) + system.activity.push(g))
    pairs, speed = system.pairs(x), system.activity.speed
    velocity = system.forces(x, pairs) + system.activity.push(g)
    as_noise = system.curvature(x, velocity, pairs).norm() / (system.activity.rate * speed)
    scale = math.sqrt(system.laplacian(x).sum().item() / system.activity.rate)
    assert as_noise > 3 * scale
    for found in Pasts(system, 0.23).scores(x, g):
        assert found.norm() < 0.3 * scale
    # the same place reached with noise: what it has moved the contact by is seen
    pushed = x + 0.01 * torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]], dtype=torch.float64)
    for found in Pasts(system, 0.23).scores(pushed, g):
        assert found.norm() > scale


def test_each_state_has_its_own_past():
    system = get("aoup-mips", n_particles=14)
    states = system.draw_start("uniform", 3, torch.Generator().manual_seed(0), torch.float64)
    x, g = system.split(states)
    for _ in range(100):  # of particles drawn onto each other nothing is left that could be followed back
        x = x + 0.2 * (system.forces(x) + system.activity.push(g))
    together = Pasts(system, 0.3).scores(x, g)
    assert len(together) == FIELDS
    for all_of, one in zip(together, Pasts(system, 0.3).scores(x[1:2], g[1:2]), strict=True):
        torch.testing.assert_close(all_of[1:2], one, rtol=1e-5, atol=1e-5)


def test_weak_forces_fade_out():
    """Smoothly, or scores of activities that hardly differ would jump; and those of a short range stay as they are."""
    system = get("aoup-mips", n_particles=12)
    faded = Pasts(system, 0.3).system
    r = torch.linspace(0.5, system.cutoff, 100_000, dtype=torch.float64)
    f, of_faded = system.radial(r), faded.radial(r)
    strong = f >= pasts.WEAK * system.activity.speed
    torch.testing.assert_close(of_faded[strong], f[strong], rtol=1e-4, atol=0)
    assert faded.cutoff < 0.9 * system.cutoff
    assert not of_faded[r > faded.cutoff].any()
    weak = pasts.WEAK * system.activity.speed
    assert of_faded.diff().abs()[~strong[1:]].max() < 1e-3 * weak
    cut = ParticleSystem(
        "cut", 12, 2, system.activity, pair_force=lambda r: (3.0 - r).clamp_min(0.0), cutoff=3.0, box=system.box
    )
    assert Pasts(cut, 0.3).system is cut


def test_free_particles_have_none():
    system = get("aoup-mips", n_particles=4, packing=0.02)
    x = system.box.width[0] * torch.tensor([[[0.2, 0.2], [0.2, 0.8], [0.8, 0.2], [0.8, 0.8]]], dtype=torch.float64)
    found = Pasts(system, 0.3).scores(x, torch.full_like(x, 0.1))
    assert all(bool((f.abs() < 1e-6).all()) for f in found)
