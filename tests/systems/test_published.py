"""The published systems against formulas written here a second time, and against what is known exactly of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import pyness
from pyness.errors import SystemDefinitionError
from pyness.systems.ornstein_uhlenbeck import covariance, entropy_production


def probes(system, n=40):
    return system.domain.uniform(n, torch.Generator().manual_seed(11), dtype=torch.float64)


def double_well(x, y, c=0.5):
    return (
        -4 * (x - 1.5) * ((x - 1.5) ** 2 - 1) - c * (y - 1.5),
        4 * c * (x - 1.5) * ((x - 1.5) ** 2 - 1) - (y - 1.5),
    )


def limit_cycle(x, y):
    return 100 * ((0.01 + x * x) / ((1 + x * x) * (1 + y)) - 0.1 * x), 20 * (0.1 - y / (1 + 100 * x * x))


def toggle_switch(x, y):
    def on(u):
        return u**4 / (0.5**4 + u**4)

    return -x + on(x) + 1 - on(y), -y + on(y) + 1 - on(x)


@pytest.mark.parametrize(
    ("name", "formula"),
    [("double-well", double_well), ("limit-cycle", limit_cycle), ("toggle-switch", toggle_switch)],
)
def test_drifts_of_the_planar_systems(name, formula):
    system = pyness.systems.get(name)
    x = probes(system)
    expected = np.stack(formula(*x.numpy().T), axis=-1)
    assert np.allclose(system.drift(x).numpy(), expected, rtol=1e-12, atol=1e-12)


def test_published_settings():
    settings = {
        "double-well": (0.1, "open", 3.0),
        "limit-cycle": (0.1, "reflect", 8.0),
        "toggle-switch": (0.01, "reflect", 3.0),
    }
    for name, (D, boundary, side) in settings.items():
        system = pyness.systems.get(name)
        assert system.diffusion.scalar == D
        assert system.domain == pyness.Box([0, 0], [side, side], boundary)
    grids = {name: pyness.systems.get(name).evaluation for name in settings}
    assert [grids[name].shape for name in settings] == [(60, 60), (401, 301), (301, 301)]
    assert np.allclose(np.diff(grids["double-well"].axes[0]), 0.05)
    assert np.allclose(np.diff(grids["limit-cycle"].axes[1]), 0.02)
    assert np.allclose(np.diff(grids["toggle-switch"].axes[0]), 0.01)
    assert all(grid.cap == 20 for grid in grids.values())


@pytest.mark.parametrize(("D", "epr"), [(0.1, 2.16757), (0.05, 2.21093), (0.02, 2.23477)])
def test_double_well_entropy_production(D, epr):
    assert pyness.systems.get("double-well", D=D).truth.epr == pytest.approx(epr, abs=6e-6)


def test_double_well_entropy_production_by_another_route():
    """e_p = E|v|^2 / D by plain sums over the plane, v = c rot(grad U)."""
    D, c = 0.3, 0.8
    a, b = np.meshgrid(np.linspace(-3, 3, 1201), np.linspace(-5, 5, 801))
    weight = np.exp(-((a * a - 1) ** 2 + 0.5 * b * b) / D)
    speed = c * c * (b * b + (4 * a * (a * a - 1)) ** 2)
    exact = (speed * weight).sum() / weight.sum() / D
    assert pyness.systems.get("double-well", D=D, c=c).truth.epr == pytest.approx(exact, rel=1e-9)


def test_double_well_wells_saddle_and_equilibrium_limit():
    system = pyness.systems.get("double-well")
    x = torch.tensor([[0.5, 1.5], [2.5, 1.5], [1.5, 1.5]], dtype=torch.float64)
    assert system.drift(x).abs().max() < 1e-12
    assert system.truth.potential(x).tolist() == [0.0, 0.0, 1.0]
    assert pyness.systems.get("double-well", c=0.0).truth.epr == 0


def test_double_well_flux_is_tangent_to_the_level_lines():
    system = pyness.systems.get("double-well")
    x = probes(system)
    gradient = torch.func.grad(lambda y: system.truth.potential(y).sum())(x)
    flux = system.drift(x) + gradient
    assert (flux * gradient).sum(-1).abs().max() < 1e-12
    assert torch.allclose(flux.norm(dim=-1), 0.5 * gradient.norm(dim=-1))


def test_toggle_switch_attractors_and_symmetry():
    """Deterministic wells (landscapes.md 5.3); at D = 0.01 the side wells of U sit on the walls beside them."""
    system = pyness.systems.get("toggle-switch")
    x = torch.tensor([[1.9, 0.05], [0.05, 1.9], [0.9, 1.05]], dtype=torch.float64)
    for _ in range(20_000):
        x = x + 0.01 * system.drift(x)
    assert x.tolist() == [
        pytest.approx([2.0, 0.0], abs=0.01),
        pytest.approx([0.0, 2.0], abs=0.01),
        pytest.approx([1.0, 1.0], abs=0.01),
    ]
    y = probes(system)
    assert torch.allclose(system.drift(y.flip(-1)), system.drift(y).flip(-1))


def test_limit_cycle_winds_round_for_ever():
    system = pyness.systems.get("limit-cycle")
    x, seen = torch.tensor([[2.0, 1.0]], dtype=torch.float64), []
    for _ in range(12_000):
        x = x + 1e-3 * system.drift(x)
        seen.append(x[0])
    path = torch.stack(seen[4000:])
    assert (path.amax(0) - path.amin(0)).min() > 2
    assert bool(system.domain.contains(path).all())
    centre = path - path.mean(0)
    angle = np.unwrap(torch.atan2(centre[:, 1], centre[:, 0]).numpy())
    assert 2 < (angle[-1] - angle[0]) / (2 * math.pi) < 4
    lap = int(np.argmax(angle - angle[0] >= 2 * math.pi))
    assert torch.allclose(path[lap], path[0], atol=0.05)


@pytest.mark.parametrize("name", ["limit-cycle", "toggle-switch"])
def test_grid_truths_hold_for_the_published_parameters_only(name):
    assert pyness.systems.get(name).truth.epr is not None
    assert pyness.systems.get(name, D=0.2).truth.epr is None


class TestOrnsteinUhlenbeck:
    def test_drift_is_linear(self):
        system = pyness.systems.get("ornstein-uhlenbeck")
        x = probes(system)
        A = np.array([[1, 0.8, -0.4], [-0.6, 1.5, 0.5], [0.3, -0.9, 0.7]])
        assert np.allclose(system.drift(x).numpy(), -(A @ x.numpy().T).T)
        assert system.truth.epr == pytest.approx(1.88716, abs=6e-6)

    @pytest.mark.parametrize("dim", [1, 2, 5, 20])
    @pytest.mark.parametrize("kind", ["scalar", "diagonal", "matrix"])
    def test_covariance_and_entropy_production_of_random_stable_matrices(self, dim, kind):
        """S by integrating exp(-A t) 2 D exp(-A t)^T, e_p = E[v . D^{-1} v] with v = (-A + D S^{-1}) x."""
        generator = torch.Generator().manual_seed(dim)
        A = torch.randn(dim, dim, generator=generator, dtype=torch.float64) / math.sqrt(dim)
        A += (1 - torch.linalg.eigvals(A).real.min().item()) * torch.eye(dim, dtype=torch.float64)
        root = torch.randn(dim, dim, generator=generator, dtype=torch.float64) / math.sqrt(dim)
        full = root @ root.mT + 0.3 * torch.eye(dim, dtype=torch.float64)
        D = {"scalar": torch.tensor(0.4, dtype=torch.float64), "diagonal": full.diagonal(), "matrix": full}[kind]
        system = pyness.systems.get("ornstein-uhlenbeck", A=A.tolist(), D=D.tolist())
        matrix = D if kind == "matrix" else torch.diag(D.expand(dim))

        S = covariance(A, D)
        half = torch.linalg.matrix_exp(-A * 20)
        h = 0.005
        weights = torch.ones(4001, dtype=torch.float64)
        weights[1:-1:2], weights[2:-1:2] = 4, 2
        flow, total = torch.eye(dim, dtype=torch.float64), torch.zeros(dim, dim, dtype=torch.float64)
        step = torch.linalg.matrix_exp(-A * h)
        for w in weights:
            total += w * h / 3 * flow @ (2 * matrix) @ flow.mT
            flow = step @ flow
        assert torch.allclose(S, total + half @ S @ half.mT, rtol=1e-6, atol=1e-8)

        G = -A + matrix @ torch.linalg.inv(S)
        exact = torch.trace(G.mT @ torch.linalg.solve(matrix, G) @ S).item()
        assert system.truth.epr == pytest.approx(exact, rel=1e-8, abs=1e-10)

    def test_curl_trap(self):
        """A = k + eps rot gives 2 eps^2 / k for every scalar D."""
        k, eps = 1.3, 0.7
        A = torch.tensor([[k, eps], [-eps, k]], dtype=torch.float64)
        for D in (0.2, 3.0):
            assert entropy_production(A, torch.tensor(D, dtype=torch.float64)) == pytest.approx(2 * eps**2 / k)

    @pytest.mark.parametrize("D", [0.5, (0.5, 0.5), (0.5, 0.2), ((0.5, 0.1), (0.1, 0.2))])
    def test_potential_is_that_of_the_gaussian_in_the_units_of_the_system(self, D):
        A = torch.tensor([[1.0, 0.8], [-0.6, 1.5]], dtype=torch.float64)
        system = pyness.systems.get("ornstein-uhlenbeck", A=A.tolist(), D=D)
        S = covariance(A, system.diffusion.value)
        x = probes(system)
        log_p = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=torch.float64), S).log_prob(x)
        U = -system.potential_scale * log_p
        gap = system.truth.potential(x) - U
        assert torch.allclose(gap, gap[:1].expand_as(gap), atol=1e-12)

    def test_box_holds_three_standard_deviations(self):
        system = pyness.systems.get("ornstein-uhlenbeck", A=((2.0,),), D=0.5)
        assert system.domain.high == pytest.approx((3 * 0.5,))

    def test_without_noise_in_a_direction_there_is_no_entropy_production_rate(self):
        system = pyness.systems.get("ornstein-uhlenbeck", A=((0.0, -1.0), (1.0, 1.0)), D=(0.0, 1.0))
        assert system.truth.epr is None
        assert torch.allclose(system.truth.potential(torch.eye(2, dtype=torch.float64)), torch.full((2,), 0.5).double())

    @pytest.mark.parametrize(
        ("A", "D", "words"),
        [
            (((1.0, 0.0), (0.0, -0.1)), 0.5, "real part -0.1"),
            (((0.0, 1.0), (-1.0, 0.0)), 0.5, "real part 0"),
            (((1.0, 0.0),), 0.5, r"shape \(1, 2\)"),
            ((1.0, 2.0), 0.5, r"shape \(2,\)"),
            (((math.nan,),), 0.5, "not finite"),
            (((1.0,), (2.0, 3.0)), 0.5, "A is"),
            (((1.0,),), -1.0, "negative"),
            (((1.0, 0.0), (0.0, 1.0)), (0.5, 0.0), "never reaches"),
        ],
    )
    def test_refusals(self, A, D, words):
        with pytest.raises(SystemDefinitionError, match=words):
            pyness.systems.get("ornstein-uhlenbeck", A=A, D=D)
