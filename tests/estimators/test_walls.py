"""What walls add: surface integrals from fold records made by hand, and solvable reflecting systems sampled."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

import pyness
from pyness.estimators import certify, fisher_information, score_free_epr
from pyness.estimators.averages import surface_per_walker, volume_per_walker
from pyness.estimators.score_certificate import certify_score
from pyness.sampling.walls import Walls

SQUARE = pyness.Box([0, 0], [1, 1], "reflect")
WALKERS, PER_FACE, ELAPSED = 7, 400, 3.0


def _uniform_folds(normal_diffusion) -> Walls:
    """The folds of a uniform density on the unit square: ``D_nn p = D_nn`` per unit length and time at every wall."""
    at = (torch.arange(PER_FACE, dtype=torch.float64) + 0.5) / PER_FACE
    positions, faces, displacements = [], [], []
    for face in range(4):
        axis, wall = face // 2, float(face % 2)
        x = torch.stack([at, at], dim=-1)
        x[:, axis] = wall
        positions.append(x)
        faces.append(torch.full((PER_FACE,), face))
        displacements.append(normal_diffusion(x)[:, axis] * ELAPSED * WALKERS / PER_FACE)
    walker = torch.arange(4 * PER_FACE) % WALKERS
    return Walls(walker, torch.cat(faces), torch.cat(positions), torch.cat(displacements), ELAPSED)


DIFFUSIONS = {
    "scalar": (0.3, lambda x: torch.full_like(x, 0.3)),
    "diagonal": ([0.3, 0.8], lambda x: torch.tensor([0.3, 0.8], dtype=x.dtype).expand(x.shape)),
    "of the state": (lambda x: 0.2 + x**2, lambda x: 0.2 + x**2),
    "matrix of the state": (lambda x: torch.diag_embed(0.2 + x**2), lambda x: 0.2 + x**2),
}


@pytest.mark.parametrize("kind", list(DIFFUSIONS))
def test_surface_integral_by_hand(kind):
    """``f = (x^2 + y, y - x)``: the integral of ``f . nu`` around the square is that of ``div f = 2 x + 1``, 2."""
    diffusion, normal = DIFFUSIONS[kind]
    system = pyness.System("square", 2, lambda x: -x, diffusion, SQUARE)
    states = SQUARE.uniform(WALKERS, torch.Generator().manual_seed(0), dtype=torch.float64)
    samples = replace(pyness.Samples.from_states(system, states), walls=_uniform_folds(normal))

    def field(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x[:, 0] ** 2 + x[:, 1], x[:, 1] - x[:, 0]], dim=-1)

    found = surface_per_walker(system, samples, field)
    assert found.shape == (WALKERS, 1)
    assert found.mean().item() == pytest.approx(2.0, rel=1e-12)
    several = surface_per_walker(system, samples, lambda x: torch.stack([field(x), 3 * field(x)], dim=1))
    torch.testing.assert_close(several, found * torch.tensor([1.0, 3.0]).double())


def test_without_records_the_term_is_zero():
    system = pyness.System("square", 2, lambda x: -x, 1.0, SQUARE)
    samples = pyness.Samples.from_states(system, torch.full((5, 2), 0.5))
    assert torch.equal(surface_per_walker(system, samples, system.drift), torch.zeros(5, 1, dtype=torch.float64))


def test_volume_averages_over_snapshots_of_each_walker():
    system = pyness.System("square", 2, lambda x: -x, 1.0, SQUARE)
    states = torch.rand(70_000, 2, 2, generator=torch.Generator().manual_seed(1))
    found = volume_per_walker(pyness.Samples.from_states(system, states), lambda x: x)
    torch.testing.assert_close(found, states.double().mean(1))
    single = volume_per_walker(pyness.Samples.from_states(system, states), lambda x: x[:, 0])
    torch.testing.assert_close(single, found[:, :1])


@pytest.fixture(scope="module")
def pushed():
    """Constant drift 1 in [0, 1] with D = 0.5: ``p ~ exp(2 x)``, in equilibrium."""
    system = pyness.System("pushed", 1, torch.ones_like, 0.5, pyness.Box([0], [1], "reflect"))
    samples = pyness.sample(
        system, "EM:dt=0.001", "torch", walkers=4000, burn_in=1.5, snapshots=5, spacing=0.5, seed=1,
        dtype="float64", progress=False,
    )  # fmt: skip
    return system, samples


def test_equilibrium_against_a_wall(pushed):
    """``E[F^2/D + div F] = 2`` is cancelled by the walls, ``F (p(1) - p(0)) = F^2/D``; nothing is produced.

    No allowance for the time step: displacements add up to what the drift moves, whatever the step.
    """
    system, samples = pushed
    found = score_free_epr(system, samples)
    assert abs(found.value) < 4 * found.stderr
    assert 0 < found.stderr < 0.05
    bare = score_free_epr(system, replace(samples, walls=None))
    assert bare.value == pytest.approx(2.0)


def test_fisher_information_against_a_wall(pushed):
    """``E|grad log p|_D^2 = D (F/D)^2 = 2``: all of it from the walls."""
    system, samples = pushed
    found = fisher_information(system, samples)
    assert abs(found.value - 2.0) < 4 * found.stderr


def test_certificate_against_a_wall(pushed):
    """The true velocity is zero; half the true gradient leaves ``phi = 1/2`` and a quarter of the Fisher rate."""
    system, samples = pushed
    true = certify(system, samples, torch.zeros_like)
    assert true.midpoint.value == true.upper.value == 0
    half = certify(system, samples, lambda x: torch.full_like(x, 0.5))
    assert half.upper.value == pytest.approx(0.5)
    assert abs(half.midpoint.value) < 4 * half.midpoint.stderr
    assert abs(half.gap.value - 0.5) < 4 * half.gap.stderr
    assert abs(half.relative.value - 0.25) < 4 * half.relative.stderr


def test_certificate_of_a_score_against_a_wall(pushed):
    """As of the velocity: the true score is 2, half of it leaves ``D`` as its error."""
    system, samples = pushed
    for part, excess in ((1.0, 0.0), (0.5, 0.5)):
        found = certify_score(
            system, samples, lambda x, part=part: (torch.full_like(x, 2 * part), torch.zeros_like(x)), gradient=True
        )
        assert found.gradient
        expected = {"epr": 0.0, "score_free": 0.0, "defect": 0.0, "excess": excess, "upper": excess,
                    "lower": -excess, "relative": excess / 2}  # fmt: skip
        for name, value in expected.items():
            estimate = getattr(found, name)
            # what is left without an error bar is rounding
            assert abs(estimate.value - value) < 4 * estimate.stderr + 1e-9, name
    bare = certify_score(system, replace(samples, walls=None), lambda x: (torch.full_like(x, 2.0), torch.zeros_like(x)))
    assert (bare.defect.value, bare.excess.value) == (pytest.approx(2.0), pytest.approx(2.0))


@pytest.fixture(scope="module")
def channel():
    """Shear along a channel with a pull to its floor, ``F = (y, -y)``, D = 0.5: ``p`` is a truncated Gaussian in ``y``.

    States are drawn by inversion and folds written down as they are on average, so that nothing depends on a step:
    ``s = (0, -2 y)``, ``v = (y, 0)``, ``e_p = 2 E[y^2]``.
    """
    system = pyness.System(
        "channel", 2, lambda x: torch.stack([x[..., 1], -x[..., 1]], -1), 0.5,
        pyness.Box([0, 0], [1, 1], ["periodic", "reflect"]),
    )  # fmt: skip
    walkers, total = 20_000, torch.erf(torch.ones((), dtype=torch.float64))
    unit = torch.rand(walkers, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    states = torch.stack([unit[:, 0], torch.erfinv(unit[:, 1] * total)], -1)
    density = 2 / math.pi**0.5 / total
    floor, ceiling = ((torch.stack([unit[:, 0], torch.full_like(unit[:, 0], y)], -1)) for y in (0.0, 1.0))
    walls = Walls(
        torch.arange(walkers).repeat(2), torch.tensor([2, 3]).repeat_interleave(walkers), torch.cat([floor, ceiling]),
        0.5 * ELAPSED * density * torch.tensor([1.0, math.exp(-1.0)]).double().repeat_interleave(walkers), ELAPSED,
    )  # fmt: skip
    square = 0.5 - math.exp(-1.0) / math.pi**0.5 / total.item()
    return system, replace(pyness.Samples.from_states(system, states), walls=walls), square


@pytest.mark.parametrize(("along", "across"), [(0.0, 0.0), (0.0, 0.7), (0.4, 0.0), (-0.4, 0.7)])
def test_certificate_of_scores_in_a_channel(channel, along, across):
    """``s_t = s + (along y, across)``: no gradient, so that its defect is ``along E[y^2]``."""
    system, samples, square = channel

    def score(x):
        y = x[:, 1]
        return torch.stack([along * y, across - 2 * y], -1), torch.stack([0 * y, -1 + 0 * y], -1)

    found = certify_score(system, samples, score)
    epr, defect, excess = 2 * square, along * square, 0.5 * (along**2 * square + across**2)
    # E|s|_D^2 = D E[4 y^2]
    expected = {"epr": epr, "score_free": epr, "defect": defect, "excess": excess, "upper": epr + excess,
                "lower": epr - excess, "relative": excess / (2 * square), "against_current": excess / epr}  # fmt: skip
    for name, value in expected.items():
        estimate = getattr(found, name)
        assert abs(estimate.value - value) < 4 * estimate.stderr + 1e-9, name
        assert estimate.stderr < 0.02, name


def test_drift_that_grows_towards_the_wall():
    """``F = 2 x``, D = 0.5 in [0, 1]: equilibrium, ``E[F^2/D + F'] = 8 E[x^2] + 2 = 2 p(1)``.

    ``E[x^2]`` of folded Euler steps is of first order in the step: allowed for with ``2 dt max|F|^2 / D``.
    """
    system = pyness.System("steep", 1, lambda x: 2 * x, 0.5, pyness.Box([0], [1], "reflect"))
    samples = pyness.sample(
        system, "EM:dt=0.001", "torch", walkers=4000, burn_in=1.5, snapshots=5, spacing=0.5, seed=2,
        dtype="float64", progress=False,
    )  # fmt: skip
    found = score_free_epr(system, samples)
    bare = score_free_epr(system, replace(samples, walls=None))
    x = torch.linspace(0, 1, 2001, dtype=torch.float64)
    weight = torch.exp(2 * x * x)
    density_at_wall = weight[-1] / torch.trapezoid(weight, x)
    allowance = 2 * 0.001 * 4 / 0.5
    assert abs(bare.value - 2 * density_at_wall.item()) < 4 * bare.stderr + allowance
    assert abs(found.value) < 4 * found.stderr + allowance
    assert bare.value > 20 * (4 * found.stderr + allowance)


def test_current_along_a_wall():
    """Shear between walls: drift ``(y, 0)`` on a channel, uniform density, ``e_p = E[y^2]/D = 1/3 / 0.5``."""
    system = pyness.System(
        "shear", 2, lambda x: torch.stack([x[..., 1], torch.zeros_like(x[..., 0])], -1), 0.5,
        pyness.Box([0, 0], [1, 1], ["periodic", "reflect"]),
    )  # fmt: skip
    states = system.domain.uniform(50_000, torch.Generator().manual_seed(3), dtype=torch.float64)
    found = score_free_epr(system, pyness.Samples.from_states(system, states))
    assert abs(found.value - 2 / 3) < 4 * found.stderr
    assert pyness.stationarity(system, pyness.Samples.from_states(system, states)).passed
