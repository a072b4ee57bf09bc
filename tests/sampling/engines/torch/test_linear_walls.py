"""Mirroring at linear walls: however far a step goes, into corners too; records; a law that is known exactly."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pyness
from pyness.errors import InputError, SolverError
from pyness.estimators import certify, score_free_epr
from pyness.sampling.engines.torch.domain import Domain
from pyness.systems import Box
from tests.sampling.half_plane import HALF, PLAN, SHEAR, check_half_plane, half_plane

# x, y >= 0 and x + y <= 1 with corners of 45 degrees, and an obtuse wedge that leaves the box at its sides
TRIANGLE = Box([0, 0], [3, 3], ["reflect", "open"], [((1.0, 1.0), 1.0), ((0.0, -1.0), 0.0)])
WEDGE = Box([-1, -1], [1, 1], "reflect", [((1.0, 3.0), 1.0), ((3.0, 1.0), 1.0)])
NEEDLE = Box([-1, -1], [1, 1], "open", [((-0.1, 1.0), 0.0), ((-0.1, -1.0), 0.0), ((1.0, 0.0), 1.0)])
hurried = settings(max_examples=40, deadline=None)
points = st.lists(st.floats(-20, 20, allow_nan=False), min_size=2, max_size=2)


def domain(box: Box) -> Domain:
    return Domain(box, torch.float64, "cpu")


def folds(box: Box, y: list[list[float]]):
    y = torch.tensor(y, dtype=torch.float64)
    return domain(box).folds(*domain(box).crossings(y, torch.arange(len(y))))


@pytest.mark.parametrize("box", [TRIANGLE, WEDGE, NEEDLE])
@hurried
@given(points)
def test_every_point_ends_within_and_nearer_to_inner_points(box, y):
    y = torch.tensor([y], dtype=torch.float64)
    x, nearest = domain(box).restore(y), domain(box).nearest(y)
    assert bool(box.contains(x).all())
    assert bool(box.contains(nearest).all())
    inner = box.uniform(5, torch.Generator().manual_seed(0), dtype=torch.float64)
    assert bool(((x - inner).norm(dim=1) <= (y - inner).norm(dim=1) + 1e-9).all())
    if bool(box.contains(y).all()) and not bool(domain(box).outside(y).any()):
        assert torch.equal(x, y)
        assert torch.equal(nearest, y)


def test_one_mirroring_by_hand():
    found = folds(TRIANGLE, [[0.8, 0.6], [0.2, 0.3], [0.4, -0.1]])
    assert found.row.tolist() == [0, 2]
    assert found.face.tolist() == [4, 5]
    assert found.position[0].tolist() == pytest.approx([0.6, 0.4])
    assert found.displacement.tolist() == pytest.approx([0.4 * HALF * 2, 0.2])
    x = domain(TRIANGLE).restore(torch.tensor([[0.8, 0.6], [0.4, -0.1]], dtype=torch.float64))
    assert x[0].tolist() == pytest.approx([0.4, 0.2])
    assert x[1].tolist() == pytest.approx([0.4, 0.1])


def test_a_corner_between_a_wall_and_a_side_is_a_record_each():
    """From (-0.1, 1.05): the side x = 0 mirrors to (0.1, 1.05), the wall x + y = 1 by 0.15 in each coordinate."""
    found = folds(TRIANGLE, [[-0.1, 1.05]])
    assert found.row.tolist()[:2] == [0, 0]
    assert found.face.tolist()[:2] == [0, 4]
    assert found.displacement.tolist()[:2] == pytest.approx([0.2, 0.3 * HALF])
    # (-0.05, 0.9) is beyond x = 0 again
    assert found.face.tolist()[2:] == [0]
    assert found.displacement.tolist()[2:] == pytest.approx([0.1])


@hurried
@given(points)
def test_records_add_up_to_the_way_a_step_was_moved(y):
    """Each record moves the point by its displacement along the inward normal of its face (no bounce to and fro)."""
    start = torch.tensor([y], dtype=torch.float64) / 10
    found = domain(TRIANGLE).folds(*domain(TRIANGLE).crossings(start, torch.tensor([0])))
    moved = start[0] - (found.displacement[:, None] * TRIANGLE.normals()[found.face]).sum(0)
    assert torch.allclose(moved, domain(TRIANGLE).restore(start)[0], atol=1e-12)
    on = (found.position * TRIANGLE.normals()[found.face]).sum(1)
    assert bool(TRIANGLE.contains(found.position).all())
    assert len(found.row) == 0 or on.max() <= HALF + 1e-12


def test_what_is_not_finite_is_neither_kept_busy_nor_recorded():
    y = torch.tensor([[math.nan, 0.1], [math.inf, 0.2], [0.1, 0.1]], dtype=torch.float64)
    x = domain(TRIANGLE).restore(y)
    assert x[2].tolist() == [0.1, 0.1]
    assert not bool(torch.isfinite(x[:2]).all(-1).any())
    assert folds(TRIANGLE, y.tolist()).row.numel() == 0


def test_an_exactly_known_law_in_a_half_plane():
    system = half_plane(SHEAR)
    samples = pyness.sample(system, "EulerHeun:dt=0.01", engine="torch", burn_in_dt=0.04, **PLAN)
    check_half_plane(samples)
    assert pyness.stationarity(system, samples).passed


def test_boltzmann_law_in_a_triangle_with_a_rotation_along_its_walls():
    """A divergence-free ``J = rot psi`` with ``psi`` constant on the walls: ``F = -grad U + J / p``.

    ``p = exp(-U/D)`` stays exact, and ``e_p = E|J/p|^2 / D``: score-free value and midpoint need the wall terms.
    """
    D, c = 0.3, 1.0
    box = Box([0, 0], [2, 2], "reflect", [((1.0, 1.0), 1.0)])

    def U(x):
        return 0.5 * (x[..., 0] - 0.8) ** 2 + 0.8 * (x[..., 1] - 0.9) ** 2

    def rotation(x):
        # psi = x y (1 - x - y), J = (d psi / dy, -d psi / dx) / p
        a, b = x[..., 0], x[..., 1]
        swirl = torch.stack([a * (1 - a - 2 * b), -b * (1 - 2 * a - b)], dim=-1)
        return c * swirl * torch.exp(U(x) / D).unsqueeze(-1)

    def drift(x):
        a, b = x[..., 0], x[..., 1]
        return torch.stack([0.8 - a, 1.6 * (0.9 - b)], dim=-1) + rotation(x)

    system = pyness.System("triangle", 2, drift, D, box)
    grid = torch.stack(torch.meshgrid(*[(torch.arange(1500).double() + 0.5) / 1500] * 2, indexing="ij"), -1)
    inside = grid.sum(-1) < 1
    weight = torch.exp(-U(grid) / D) * inside
    exact = lambda f: ((weight * f(grid)).sum() / weight.sum()).item()  # noqa: E731
    epr = exact(lambda x: rotation(x).square().sum(-1) / D)

    samples = pyness.sample(
        system, "EulerHeun:dt=0.001", engine="torch", walkers=3000, burn_in=0.6, burn_in_dt=0.004, snapshots=5,
        spacing=0.1, dtype="float64", progress=False,
    )  # fmt: skip
    x = samples.states
    for f in (lambda x: x[..., 0], lambda x: x[..., 1], lambda x: x[..., 0] * x[..., 1]):
        per_walker = f(x).mean(1)
        assert abs(per_walker.mean() - exact(f)) < 5 * per_walker.std() / math.sqrt(3000)
    assert set(samples.walls.face.tolist()) == {0, 2, 4}
    assert pyness.stationarity(system, samples).passed

    free = score_free_epr(system, samples)
    assert abs(free.value - epr) < 5 * free.stderr
    # without the term of the linear wall it is off by more than that
    bare = pyness.Samples.from_states(system, samples.states)
    assert abs(score_free_epr(system, bare).value - epr) > 5 * free.stderr
    certificate = certify(system, samples, rotation)
    for estimate in (certificate.midpoint, certificate.upper, certificate.lower):
        assert abs(estimate.value - epr) < 5 * estimate.stderr
    # at the exact velocity the wall term of the midpoint is zero, since v has no normal part
    assert abs(certificate.gap.value) < 5 * certificate.gap.stderr


def test_an_adaptive_method_keeps_to_linear_walls():
    system = half_plane(SHEAR)
    samples = pyness.sample(
        system, "SOSRA:rtol=0.05", engine="torch", walkers=500, burn_in=2.0, snapshots=2, spacing=0.5, progress=False
    )
    assert bool(system.domain.contains(samples.states).all())
    assert set(samples.walls.face.tolist()) == {4}
    assert samples.stats["wall_hits"] == len(samples.walls)


def test_what_knows_no_linear_walls_says_so():
    system = half_plane(0.0)
    with pytest.raises(SolverError, match=r"linear walls .* on engine 'julia-gpu'"):
        pyness.sample(system, "SOSRA", engine="julia-gpu", burn_in=1.0, spacing=1.0)
    with pytest.raises(InputError, match="has linear walls"):
        pyness.grid.steady_state(system, (20, 20))
    with pytest.raises(InputError, match="lie outside the domain"):
        system.check_states(torch.tensor([[0.6, 0.6]]))


def test_without_fold_records_only_what_no_wall_involves_is_tested():
    box = Box([-2] * 3, [2] * 3, "open", [((1.0, 1.0, 0.0), 1.0)])
    system = pyness.System("s", 3, lambda x: -x, 0.5, box)
    states = box.uniform(200, torch.Generator().manual_seed(0), dtype=torch.float64)
    tested = pyness.stationarity(system, pyness.Samples.from_states(system, states))
    assert set(tested.names) == {"odd(x3)", "bell(x3)"}
