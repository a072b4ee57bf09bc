"""Targets along paths: against Gaussian scores, their scatter in closed form, and by parts where forces bend."""

from __future__ import annotations

import pytest
import torch

import pyness
from pyness.score import paths
from pyness.score.paths import Course, course_for, follow, steerable
from pyness.systems import OrnsteinUhlenbeckActivity, ParticleSystem, get
from pyness.systems.hessian import Hessians
from pyness.systems.ornstein_uhlenbeck import covariance


def gaussian(system, count, seed=0):
    A = -system.drift(torch.eye(system.dim, dtype=torch.float64)).mT
    S = covariance(A, system.diffusion.value)
    normal = torch.randn(count, system.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return A, S, normal @ torch.linalg.cholesky((S + S.mT) / 2).mT


@pytest.mark.parametrize("particles", [1, 3])
def test_targets_scatter_about_the_gaussian_score_by_what_the_length_leaves(particles, monkeypatch):
    monkeypatch.setattr(paths, "ACCURACY", 1e-9)
    system = get("aoup-harmonic", n_particles=particles, spring=0.5, trap=1.0, v0=0.3, gamma=0.2, eps=0.0)
    A, S, z = gaussian(system, 3000)
    course = Course(step=0.02, steps=200, low=-0.1, high=3.0, falling=0.1)
    ends, targets = follow(system, z, torch.Generator().manual_seed(1), course)
    exact = system.truth.score(ends)
    off = (targets - exact)[:, particles:]
    # a path of length T knows where it began: the covariance of its end is S less what the beginning leaves of S
    left = torch.linalg.matrix_exp(-A * 0.02 * 200)
    known = torch.linalg.inv(S - left @ S @ left.mT) - torch.linalg.inv(S)
    expected = known[particles:, particles:].diagonal()
    found = off.square()
    # the step is of second order in what it adds to the score: (1.5 * 0.02)^2 / 16 and smaller
    assert ((found.mean(0) - expected).abs() < 4 * found.std(0) / 3000**0.5 + 0.02 * expected).all()
    assert (expected < 0.2 * exact[:, particles:].square().mean(0)).all()
    for column in (*ends.T, torch.ones(3000)):
        moment = off * column.unsqueeze(-1)
        assert (moment.mean(0).abs() < 4.5 * moment.std(0) / 3000**0.5).all()


@pytest.fixture(scope="module")
def quartic():
    """Two particles that repel each other in a trap that stiffens outwards."""
    system = ParticleSystem(
        "quartic",
        2,
        1,
        OrnsteinUhlenbeckActivity(1.0, 0.5),
        pair_force=lambda r: 2.0 * torch.exp(-2 * r * r) * r,
        external=lambda x: -x - x**3,
    )
    samples = pyness.sample(
        system, engine="torch", solver="EM:split=true,dt=0.02", walkers=8000, burn_in=20.0, snapshots=1, spacing=1.0,
        dtype="float64", progress=False,
    )  # fmt: skip
    return system, samples


def test_targets_obey_integration_by_parts_where_forces_bend(quartic):
    system, samples = quartic
    course = Course(step=0.04, steps=160, low=-1.0, high=9.0, falling=0.2)
    z, targets = follow(system, samples.states[:, 0], torch.Generator().manual_seed(0), course)
    w = system.split(targets)[1][..., 0]

    def tried(z):
        x, g = (part[..., 0] for part in system.split(z))
        v = system.split(system.drift(z))[0][..., 0]
        return torch.stack([g, g**3, x, x**3, x * v * v, v, v**3, x**2 * v, g.flip(-1) * v, torch.sin(2 * v)], dim=-1)

    fields, own = [], []
    for k in range(2):
        direction = torch.zeros_like(z)
        direction[:, 2 + k] = 1.0
        value, slope = torch.func.jvp(tried, (z,), (direction,))
        fields.append(value[:, k])
        own.append(slope[:, k])
    terms = torch.stack(fields) * w.T.unsqueeze(-1) + torch.stack(own)
    each = terms.sum(0)
    assert (each.mean(0).abs() < 4 * each.std(0) / len(each) ** 0.5).all()


def test_a_course_follows_the_stiffness(quartic):
    system, samples = quartic
    course = course_for(system, samples)
    x = system.split(samples.states[:, 0])[0]
    H = Hessians(system, len(x), system.pairs(x)).at(x)[1].to_dense().reshape(len(x), 2, len(x), 2)
    each = torch.arange(len(x))
    rates = torch.linalg.eigvalsh(H[each, :, each])
    assert course.step * (rates.square().sum() / rates.sum()).item() == pytest.approx(0.07, rel=0.05)
    assert course.low < min(0.0, rates.min().item())
    assert rates.max().item() < course.high < 1.3 * rates.max().item()
    assert steerable(system)
    assert not steerable(get("aoup-harmonic"))
    assert not steerable(get("abp", n_particles=12))
