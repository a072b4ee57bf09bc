"""Landscapes in collective variables against closed forms: Gaussian dynamics, and a map that loses nothing."""

from __future__ import annotations

import pytest
import torch

import pyness
from pyness.errors import InputError, UnknownNameError
from pyness.landscape import Landscape, ReducedLandscape
from pyness.landscape.collective import Collective
from pyness.landscape.reduced import reduce_system
from pyness.systems.derivatives import value_and_divergence
from pyness.systems.ornstein_uhlenbeck import covariance
from tests.estimators.exact import gaussian_states

SMALL = {"units": 15, "points": 1500, "contrast": 4000, "steps": 12, "progress": False}
MIXED = [[1.0, 0.5, 0.0], [0.0, 1.0, -1.0]]
PLANE = pyness.systems.get("ornstein-uhlenbeck", A=[[1.0, 0.8], [-0.6, 1.5]], D=[[0.5, 0.1], [0.1, 0.4]])


def sheared(x: torch.Tensor) -> torch.Tensor:
    """One to one, of determinant 1."""
    return torch.stack([x[..., 0] + 0.2 * x[..., 1] ** 2, x[..., 1]], dim=-1)


@pytest.fixture(scope="module")
def gaussian():
    system = pyness.systems.get("ornstein-uhlenbeck")
    return system, pyness.Samples.from_states(system, gaussian_states(system, 12_000, 1).reshape(3000, 4, 3))


def _exact(system: pyness.System, M: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Of ``z = M x``: the rates ``B`` of ``F_r = -B z``, the covariance, the apparent entropy production."""
    A = torch.tensor(system.parameters["A"], dtype=torch.float64)
    D = 0.5 * torch.eye(3, dtype=torch.float64)
    S = covariance(A, D)
    S_r = M @ S @ M.mT
    B = M @ A @ S @ M.mT @ torch.linalg.inv(S_r)
    D_r = M @ D @ M.mT
    epr = torch.trace(B.mT @ torch.linalg.solve(D_r, B) @ S_r) - torch.trace(B)
    return B, S_r, epr.item()


@pytest.mark.parametrize("reduce", [["x1", "x3"], MIXED])
def test_gaussian(gaussian, reduce, tmp_path):
    system, samples = gaussian
    landscape = pyness.fit_landscape(system, samples, seed=1, reduce=reduce, **SMALL)
    assert isinstance(landscape, ReducedLandscape)
    M = landscape.reduction.collective.matrix
    B, S_r, epr = _exact(system, M)
    z = gaussian_states(system, 4000, 2) @ M.mT
    # the force is linear: 6000 training states give it to some percent
    exact = -z @ B.mT
    off = (landscape.system.drift(z) - exact).square().mean().sqrt()
    assert off < 0.1 * exact.square().mean().sqrt()
    true = 0.5 * landscape.system.potential_scale * ((z @ torch.linalg.inv(S_r)) * z).sum(1)
    assert (landscape.potential(z) - true).std().item() < 0.05 * landscape.system.potential_scale
    assert landscape.report().to_dict() == landscape.report(samples).to_dict()
    fresh = pyness.Samples.from_states(system, gaussian_states(system, 40_000, 3))
    report = landscape.report(fresh)
    # what is apparent is not the full rate, which the reduced potential bounds and does not bias
    assert abs(report.apparent_epr.value - epr) < 4 * report.apparent_epr.stderr + 0.02 * epr
    assert epr < 0.7 * system.truth.epr
    assert abs(report.epr.value - system.truth.epr) < 4 * report.epr.stderr
    assert report.epr_lower.value < system.truth.epr < report.epr_upper.value
    assert report.gradient_error.value < 0.01
    assert report.to_dict()["apparent_epr"] == report.apparent_epr.to_dict()
    assert report.to_dict()["laplacian"] == "closed form, one forward pass"
    assert report.to_dict()["drift_divergence"] == "3 forward passes"
    assert report.to_dict()["reduced_to"] == list(landscape.reduction.collective.names)
    assert "apparent rate of the reduced" in str(report)
    x = gaussian_states(system, 50, 4)
    velocity, divergence = landscape._velocity_and_divergence_of_state(x)
    expected = value_and_divergence(landscape._velocity_of_state, x)
    torch.testing.assert_close((velocity, divergence), expected)
    landscape.save(tmp_path / "reduced.safetensors")
    loaded = Landscape.load(tmp_path / "reduced.safetensors")
    assert torch.equal(loaded.potential(z), landscape.potential(z))
    assert torch.equal(loaded.current_velocity(z), landscape.current_velocity(z))
    assert loaded.report(fresh).to_dict() == report.to_dict()


def test_ito_of_a_map():
    """Drift and diffusion of ``z`` against what a map that can be undone says of ``p``: the current stays."""
    collective = Collective(PLANE, sheared)
    x = gaussian_states(PLANE, 200, 4)
    slopes = torch.eye(2, dtype=torch.float64).repeat(200, 1, 1)
    slopes[:, 0, 1] = 0.4 * x[:, 1]
    torch.testing.assert_close(collective.slopes(x), slopes)
    D = torch.tensor(PLANE.parameters["D"], dtype=torch.float64)
    torch.testing.assert_close(collective.diffusion(x), slopes @ D @ slopes.mT)
    expected = (slopes @ PLANE.drift(x).unsqueeze(-1)).squeeze(-1)
    expected[:, 0] += 0.4 * D[1, 1]
    torch.testing.assert_close(collective.drift(x), expected)


def test_a_map_that_loses_nothing(tmp_path):
    samples = pyness.Samples.from_states(PLANE, gaussian_states(PLANE, 12_000, 5).reshape(3000, 4, 2))
    landscape = pyness.fit_landscape(PLANE, samples, seed=2, reduce=sheared, **SMALL)
    x = gaussian_states(PLANE, 40_000, 6)
    fresh = pyness.Samples.from_states(PLANE, x)
    # the density of z is that of x, the map having determinant 1
    off = landscape.potential(sheared(x)) - PLANE.truth.potential(x)
    assert off.std().item() < 0.06
    report = landscape.report(fresh)
    assert abs(report.apparent_epr.value - PLANE.truth.epr) < 4 * report.apparent_epr.stderr + 0.03 * PLANE.truth.epr
    assert report.epr_upper.value - report.epr_lower.value < 0.05 * PLANE.truth.epr
    assert report.to_dict()["laplacian"] == (
        "closed form, one forward pass; div D 2 forward passes; of full states, with that of the drift, 2 forward "
        "passes through the map; of the map itself, for its drift, 2 nested forward passes"
    )
    landscape.save(tmp_path / "map.safetensors")
    with pytest.raises(InputError, match="are a function, which a file does not hold; pass reduce= to load"):
        Landscape.load(tmp_path / "map.safetensors")
    with pytest.raises(InputError, match="reduce is another function than the file was trained with; pass that one"):
        Landscape.load(tmp_path / "map.safetensors", reduce=lambda x: 2 * sheared(x))
    loaded = Landscape.load(tmp_path / "map.safetensors", reduce=sheared)
    assert torch.equal(loaded.potential(x[:100]), landscape.potential(x[:100]))


def test_walls_of_the_coordinates_stay():
    box = pyness.Box([-1.0, -2.0, -1.5], [1.0, 2.0, 1.5], ["reflect", "open", "reflect"])
    system = pyness.System("walled", 3, lambda x: -x, 0.5, box)
    samples = pyness.sample(
        system, "EM:dt=0.01", "torch", walkers=200, burn_in=2.0, snapshots=2, spacing=0.5, seed=0, progress=False
    )
    collective = Collective(system, ["x3", "x2"])
    reduction = reduce_system(system, collective, samples, 0, None)
    assert reduction.system.domain == pyness.Box([-1.5, -2.0], [1.5, 2.0], ["reflect", "open"])
    own = reduction.samples(samples)
    hits = samples.walls.face // 2
    assert len(own.walls) == int((hits == 2).sum()) > 0
    assert set(own.walls.face.tolist()) <= {0, 1}
    assert bool((own.walls.position[:, 0].abs() == 1.5).all())
    # walls of coordinates that are left out do not push those that are kept, as the first does here
    assert collective.pushed(samples) == 0
    assert Collective(system, [[1.0, 1.0, 0.0]]).pushed(samples) > 0.02


def test_linear_walls_of_the_coordinates_stay():
    """``x1 <= x3`` is a wall of (x3, x1) and none of (x3, x2); the one across all three is a wall of neither."""
    walls = [([1.0, 0.0, -1.0], 0.0), ([1.0, 1.0, 1.0], 4.0)]
    box = pyness.Box([-2.0, -2.0, -2.0], [2.0, 2.0, 2.0], ["open", "open", "reflect"], walls)
    system = pyness.System("wedge", 3, lambda x: -x, 0.5, box)
    samples = pyness.sample(
        system, "EM:dt=0.01", "torch", walkers=200, burn_in=2.0, snapshots=2, spacing=0.5, seed=0, progress=False
    )
    collective = Collective(system, ["x3", "x1"])
    reduction = reduce_system(system, collective, samples, 0, None)
    kinds = ["reflect", "open"]
    assert reduction.system.domain == pyness.Box([-2.0, -2.0], [2.0, 2.0], kinds, walls=[([-1.0, 1.0], 0.0)])
    own, hits = reduction.samples(samples), samples.walls.face == 6
    at = own.walls.face == 4
    assert int(at.sum()) == int(hits.sum()) > 100
    assert (own.walls.position[at] @ torch.tensor([-1.0, 1.0], dtype=torch.float64)).abs().max() < 1e-5
    assert torch.equal(own.walls.displacement[at], samples.walls.displacement[hits].double())
    # what pushes and is no wall of z: that across all three, which is hardly reached
    assert collective.pushed(samples) < 0.02
    assert Collective(system, ["x3", "x2"]).box(torch.zeros(1, 2)).walls == ()
    assert Collective(system, ["x3", "x2"]).pushed(samples) > 0.02


@pytest.mark.parametrize(
    ("reduce", "error", "words"),
    [
        (["x1", "x9"], UnknownNameError, r"'x9'.*x1"),
        (["x1", "x1"], InputError, "give different coordinates"),
        ([[1.0, 0.0]], InputError, r"matrix of shape \(1, 2\); give \(k, 3\)"),
        ([[float("nan"), 0.0, 0.0]], InputError, r"row 0 of reduce is \[nan, 0.0, 0.0\]; give finite"),
        ([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], InputError, "row 1 of reduce is zero, so z2 is constant; leave it out"),
        ([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]], InputError, "are dependent; give independent"),
        ([*torch.eye(3).tolist(), [1.0, 1.0, 1.0]], InputError, "are dependent|gives 4 variables"),
        (3.5, InputError, "give names of coordinates"),
        (lambda x: x.sum(), InputError, r"reduce returned \(\) for x"),
        (lambda x: x[:, :1], InputError, r"batch it stands in: \(2, 1, 3\) for x of shape \(2, 3, 3\); use x"),
        (lambda x: x[..., :1] - x[..., :1].mean(), InputError, "of a point depends on the batch"),
        (lambda x: x[..., :1].numpy(), InputError, "reduce returned ndarray; make it of torch operations"),
        (lambda x: x[..., :1].float(), InputError, r"reduce turned torch.float64 into torch.float32; convert"),
        (lambda x: x[..., 7:9] @ torch.zeros(3), InputError, "reduce failed on x"),
        (lambda x: x[..., :1] * 0 + 2.0, InputError, "z1 is constant over the samples; leave it out"),
        (lambda x: torch.stack([x[..., 0], 2 * x[..., 0] + 1], -1), InputError, "are dependent over the samples"),
        (lambda x: x[..., :1].abs().clamp_min(0.5), InputError, "have a direction without noise at"),
        (lambda x: x[..., :1].log(), InputError, "is not finite on all samples"),
    ],
)
def test_refusals(gaussian, reduce, error, words):
    with pytest.raises(error, match=words):
        pyness.fit_landscape(*gaussian, reduce=reduce, method="epr")
