"""Systems built from their steady state: what was asked for is what the identities find."""

from __future__ import annotations

import math

import pytest
import torch

import pyness
from pyness.errors import SystemDefinitionError
from pyness.estimators import certify
from tests.estimators.exact import double_well_states, matrix_diffusion, state_dependent

BOX = pyness.Box([-1.0, -1.5], [4.0, 4.5], "open")


def well(x: torch.Tensor) -> torch.Tensor:
    a, b = x[..., 0] - 1.5, x[..., 1] - 1.5
    return 10 * ((a * a - 1) ** 2 + 0.5 * b * b)


def number(x: torch.Tensor) -> torch.Tensor:
    return 0.1 + 0.05 * torch.tanh(x[..., :1] - 1.5)


def diagonal(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([0.1 + 0.05 * torch.sin(x[..., 1]), 0.1 + 0.04 * torch.cos(x[..., 0])], dim=-1)


def turning(x: torch.Tensor) -> torch.Tensor:
    a = 0.05 + 0.02 * torch.sin(x[..., 0] + x[..., 1])
    nothing = torch.zeros_like(a)
    return torch.stack([nothing, a, -a, nothing], dim=-1).unflatten(-1, (2, 2))


@pytest.mark.parametrize("rotation", [[[0.0, 0.05], [-0.05, 0.0]], turning])
@pytest.mark.parametrize("diffusion", [0.1, [0.1, 0.2], [[0.1, 0.03], [0.03, 0.2]], number, diagonal, matrix_diffusion])
def test_the_identities_find_what_was_prescribed(diffusion, rotation):
    system = pyness.systems.from_potential("made", 2, well, diffusion, rotation, BOX)
    samples = pyness.Samples.from_states(system, double_well_states(20_000, 1))
    exact = pyness.score_free_epr(system, samples)
    assert abs(exact.value - system.truth.epr) < 4 * exact.stderr
    assert pyness.stationarity(system, samples).passed

    def velocity(x: torch.Tensor) -> torch.Tensor:
        gradient = torch.func.grad(lambda y: well(y).sum())(x)
        return system.modified_drift(x) + system.diffusion.apply(x, gradient)

    found = certify(system, samples, velocity)
    # with the true potential upper and midpoint agree state by state
    assert abs(found.gap.value) < 1e-9 * system.truth.epr
    assert abs(found.midpoint.value - system.truth.epr) < 4 * found.midpoint.stderr


def test_a_divergence_of_the_diffusion_may_be_given():
    def divergence(x: torch.Tensor) -> torch.Tensor:
        slope = 0.05 / torch.cosh(x[..., 0] - 1.5) ** 2
        return torch.stack([slope, torch.zeros_like(slope)], dim=-1)

    turn, x = [[0.0, 0.05], [-0.05, 0.0]], double_well_states(50, 4)
    plain = pyness.systems.from_potential("made", 2, well, number, turn, BOX)
    given = pyness.systems.from_potential("made", 2, well, number, turn, BOX, diffusion_divergence=divergence)
    assert given.diffusion.supplied is divergence
    torch.testing.assert_close(given.drift(x), plain.drift(x), rtol=1e-10, atol=1e-12)
    with pytest.raises(SystemDefinitionError, match="diffusion_divergence gives 0 for coordinate 0"):
        pyness.systems.from_potential("made", 2, well, number, turn, BOX, diffusion_divergence=torch.zeros_like)


def test_it_is_the_case_of_the_physics_page():
    case = state_dependent()
    system = pyness.systems.from_potential("made", 2, well, matrix_diffusion, [[0.0, 0.05], [-0.05, 0.0]], BOX)
    x = double_well_states(200, 2)
    torch.testing.assert_close(system.drift(x), case.system.drift(x), rtol=1e-10, atol=1e-12)
    assert system.truth.epr == pytest.approx(case.epr, rel=1e-5)


def test_scalar_noise_has_the_potential_in_its_units():
    system = pyness.systems.from_potential("made", 2, well, 0.1, [[0.0, 0.05], [-0.05, 0.0]], BOX)
    published = pyness.systems.get("double-well")
    x = double_well_states(50, 3)
    torch.testing.assert_close(system.drift(x), published.drift(x), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(system.truth.potential(x), published.truth.potential(x))
    assert system.truth.epr == pytest.approx(published.truth.epr, rel=1e-9)


def test_a_circle():
    ring = pyness.Box([0.0], [2 * math.pi], "periodic")
    system = pyness.systems.from_potential(
        "circle", 1, lambda x: torch.cos(x[..., 0]), lambda x: 1 + 0.5 * torch.sin(x), [[0.0]], ring
    )
    assert system.truth.epr == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("rotation", "words"),
    [
        ([[0.0, 1.0], [1.0, 0.0]], "not antisymmetric"),
        ([[0.0, 1.0]], r"rotation has shape \(1, 2\)"),
        ("turn", "is not numbers"),
        (lambda x: x, "not antisymmetric"),
    ],
)
def test_rotations_are_refused(rotation, words):
    with pytest.raises(SystemDefinitionError, match=words):
        pyness.systems.from_potential("made", 2, well, 0.1, rotation, BOX)


def test_walls_are_refused():
    box = pyness.Box([0.0, 0.0], [3.0, 3.0], "reflect")
    with pytest.raises(SystemDefinitionError, match="with walls; give an open or periodic domain"):
        pyness.systems.from_potential("made", 2, well, 0.1, [[0.0, 1.0], [-1.0, 0.0]], box)
