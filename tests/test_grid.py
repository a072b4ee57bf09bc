"""The grid against exact steady states: Gaussians, the double well, rings, constructed D(x), published values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import pyness
from pyness.errors import InputError
from pyness.estimators.metrics import potential_error
from pyness.grid import steady_state
from pyness.grid.mesh import Mesh, exchange
from pyness.grid.stationary import attractors, solve_by_elimination, solve_by_iteration

PLANAR = ((1.0, 0.8), (-0.6, 1.5))


def best_shift_error(solution, cap):
    """Largest |U - U_true| / D over cells with U_true < cap D, after the best shift."""
    scale = solution.system.potential_scale
    true = solution.system.truth.potential(solution.mesh.points()).numpy().reshape(solution.mesh.shape)
    true = true - true.min()
    gap = (solution.potential - true)[true < cap * scale]
    return np.abs(gap - gap.mean()).max() / scale


@pytest.mark.parametrize("D", [0.5, (0.5, 0.2)])
def test_ornstein_uhlenbeck_converges_at_second_order(D):
    system = pyness.systems.get("ornstein-uhlenbeck", A=PLANAR, D=D)
    coarse, fine = (steady_state(system, (n, n)) for n in (60, 120))
    exact = system.truth.epr
    assert abs(fine.epr - exact) / abs(coarse.epr - exact) == pytest.approx(0.25, abs=0.03)
    assert abs(fine.epr - exact) < fine.epr_error < 5 * abs(fine.epr - exact)
    assert fine.epr_extrapolated == pytest.approx(exact, rel=1e-4)
    assert best_shift_error(fine, 20) / best_shift_error(coarse, 20) == pytest.approx(0.25, abs=0.05)


def test_error_estimate_falls_fourfold_when_cells_halve():
    system = pyness.systems.get("ornstein-uhlenbeck", A=PLANAR)
    coarse, fine = (steady_state(system, (n, n)) for n in (48, 96))
    assert fine.epr_error / coarse.epr_error == pytest.approx(0.25, abs=0.05)
    assert fine.potential_error / coarse.potential_error == pytest.approx(0.25, abs=0.1)


def test_double_well_density_potential_current_and_epr():
    system = pyness.systems.get("double-well")
    solution = steady_state(system, (200, 200))
    assert solution.density.shape == solution.potential.shape == (200, 200)
    assert solution.density.sum() * solution.mesh.volume == pytest.approx(1, abs=1e-12)
    assert solution.potential.min() == 0
    assert solution.epr == pytest.approx(system.truth.epr, rel=2e-3)
    assert solution.epr_extrapolated == pytest.approx(system.truth.epr, rel=5e-5)
    assert best_shift_error(solution, 5) < 0.012
    assert best_shift_error(solution, 27) < 0.15
    assert solution.edge_mass < 1e-12
    assert solution.warnings == ()
    assert solution.mass(lambda x: x[:, 0] < 1.5) == pytest.approx(0.5, abs=1e-9)

    x = solution.mesh.points()
    exact = torch.func.grad(lambda y: system.truth.potential(y).sum())(x)
    velocity = 0.5 * torch.stack([-exact[:, 1], exact[:, 0]], dim=-1)
    likely = solution.potential.ravel() < 0.5
    gap = (torch.from_numpy(solution.velocity.reshape(-1, 2)) - velocity)[likely]
    assert gap.abs().max() < 0.03 * velocity[likely].abs().max()
    assert solution.local_epr.sum() * solution.mesh.volume == pytest.approx(solution.epr, rel=5e-3)


@pytest.mark.parametrize(("D", "n"), [(0.05, 160), (0.02, 200)])
def test_wells_behind_a_barrier_of_fifty_D_keep_equal_weights(D, n):
    """exp(-1/0.02) is 2e-22: a plain LU with one pinned cell returns negative masses here."""
    solution = steady_state(pyness.systems.get("double-well", D=D), (n, n))
    assert (solution.density > 0).all()
    assert solution.mass(lambda x: x[:, 0] < 1.5) == pytest.approx(0.5, abs=1e-9)
    assert solution.epr_extrapolated == pytest.approx(solution.system.truth.epr, rel=3e-4)
    assert best_shift_error(solution, 27) < 0.35


def test_toggle_switch_reproduces_the_published_values():
    system = pyness.systems.get("toggle-switch")
    coarse, fine = (steady_state(system, (n, n)) for n in (150, 300))
    assert coarse.epr == pytest.approx(0.07267, abs=5e-6)
    assert fine.epr == pytest.approx(0.07280, abs=5e-6)
    assert fine.epr_extrapolated == pytest.approx(0.07284, abs=1e-5)
    assert fine.mass(lambda x: x[:, 0] > 1.5) == pytest.approx(0.3549, abs=1e-4)
    x, y = fine.axes
    side, middle = fine.potential[x > 1.5], fine.potential[np.ix_((x > 0.7) & (x < 1.3), (y > 0.7) & (y < 1.3))]
    row, column = np.unravel_index(side.argmin(), side.shape)
    assert side.min() < 1e-4
    assert x[x > 1.5][row] == pytest.approx(1.99, abs=0.011)
    assert y[column] < 0.01
    assert middle.min() == pytest.approx(0.0118, abs=1e-4)


def test_limit_cycle_approaches_the_published_value_from_above():
    system = pyness.systems.get("limit-cycle")
    values = [steady_state(system, (n, n)) for n in (100, 200)]
    assert values[0].epr > values[1].epr > 532.2
    assert values[1].epr == pytest.approx(532.2, rel=0.012)
    assert values[1].epr - 532.2 < values[1].epr_error
    assert any("do not resolve the noise" in line for line in values[0].warnings)
    assert np.isfinite(values[1].potential).all()
    assert np.isnan(values[1].velocity[values[1].density < 1e-305]).all()


@pytest.mark.validate
def test_limit_cycle_on_the_published_cells():
    solution = steady_state(pyness.systems.get("limit-cycle"), (800, 800))
    assert solution.epr == pytest.approx(532.557, abs=2e-3)
    assert solution.epr_extrapolated == pytest.approx(532.2, abs=0.05)


def test_ring_with_constant_drift_is_exact():
    system = pyness.System("ring", 1, lambda x: 0.7 + 0 * x, 0.2, pyness.Box([0], [2], "periodic"))
    solution = steady_state(system, (16,))
    assert np.allclose(solution.density, 0.5, rtol=1e-12)
    assert np.allclose(solution.velocity, 0.7, rtol=1e-12)
    assert solution.epr == pytest.approx(0.7**2 / 0.2, rel=1e-12)
    assert solution.edge_mass == 0


def test_tilted_ring_against_quadrature():
    """J = (1 - exp(-f L / D)) D / double integral of the two Boltzmann factors; e_p = f J L / D."""
    f, D, L = 0.6, 0.3, 2 * math.pi
    system = pyness.System("tilted", 1, lambda x: f + torch.sin(x), D, pyness.Box([0], [L], "periodic"))
    n = 2000
    s = (np.arange(n) + 0.5) * L / n
    phi = lambda x: (np.cos(x) - f * x) / D  # noqa: E731
    inner = np.array([np.exp(phi(x + s) - phi(x)).mean() * L for x in s])
    current = D * (1 - math.exp(-f * L / D)) / (inner.mean() * L)
    solution = steady_state(system, (400,))
    assert solution.epr == pytest.approx(f * current * L / D, rel=2e-4)
    assert np.allclose(solution.current, current, rtol=2e-3)


def test_periodic_and_reflecting_axes_together():
    """A drift along the ring that depends on the height: v = f(y), e_p = E[f^2] / D over p(y) ~ exp(-y/D)."""
    D = 0.5
    drift = lambda x: torch.stack([1 + x[..., 1], -torch.ones_like(x[..., 1])], dim=-1)  # noqa: E731
    system = pyness.System("sheared", 2, drift, D, pyness.Box([0, 0], [1, 2], ["periodic", "reflect"]))
    solution = steady_state(system, (8, 200))
    y = (np.arange(20000) + 0.5) * 1e-4
    weight = np.exp(-y / D)
    assert solution.epr == pytest.approx(((1 + y) ** 2 * weight).sum() / weight.sum() / D, rel=1e-3)
    x = torch.tensor([[0.3, 0.5], [1.3, 0.5], [-0.7, 0.5], [0.3, 2.5]], dtype=torch.float64)
    values = solution.interpolate(x)
    assert torch.allclose(values[:3], values[:1].expand(3))
    assert values[3].isnan()


def constructed():
    """p = N(0, 1) N(0, 1/2), a diagonal D(x), and v = 0.8 rot(grad log p), which carries no divergence of p."""

    def score(x):
        return torch.stack([-x[..., 0], -2 * x[..., 1]], dim=-1)

    def diffusion(x):
        return torch.stack([0.5 + 0.3 * torch.tanh(x[..., 0]), 0.4 + 0.2 * torch.sin(x[..., 1])], dim=-1)

    def velocity(x):
        s = score(x)
        return 0.8 * torch.stack([s[..., 1], -s[..., 0]], dim=-1)

    def drift(x):
        slope = torch.stack([0.3 / torch.cosh(x[..., 0]) ** 2, 0.2 * torch.cos(x[..., 1])], dim=-1)
        return velocity(x) + diffusion(x) * score(x) + slope

    return pyness.System("constructed", 2, drift, diffusion, pyness.Box([-3, -2], [3, 2])), velocity, diffusion


def test_state_dependent_diffusion_against_a_constructed_state():
    system, velocity, diffusion = constructed()
    solution = steady_state(system, (160, 160), low=(-6.5, -4.5), high=(6.5, 4.5))
    x = solution.mesh.points()
    phi = (0.5 * x[:, 0] ** 2 + x[:, 1] ** 2).numpy()
    weight = np.exp(-phi)
    exact = ((velocity(x) ** 2 / diffusion(x)).sum(-1).numpy() * weight).sum() / weight.sum()
    assert solution.epr == pytest.approx(exact, rel=4e-3)
    assert solution.epr_extrapolated == pytest.approx(exact, rel=2e-4)
    near = phi < 8
    gap = solution.potential.ravel()[near] - phi[near]
    assert np.abs(gap - gap.mean()).max() < 0.15


def test_three_dimensional_iteration_matches_elimination_in_the_tail():
    system = pyness.systems.get("ornstein-uhlenbeck")
    mesh = Mesh((-5.0,) * 3, (5.0,) * 3, (20, 22, 18), (False,) * 3)
    faces = exchange(system, mesh)
    exact = solve_by_elimination(faces)
    rough = np.exp(-0.3 * (mesh.points().numpy() ** 2).sum(-1))
    found = solve_by_iteration(faces, rough)
    seen = exact > 1e-22 * exact.max()
    assert np.abs(np.log(found / exact))[seen].max() < 1e-5


def test_three_dimensional_ornstein_uhlenbeck():
    system = pyness.systems.get("ornstein-uhlenbeck")
    solution = steady_state(system, (40, 40, 40))
    assert solution.epr_extrapolated == pytest.approx(system.truth.epr, rel=6e-3)
    assert abs(solution.epr - system.truth.epr) < solution.epr_error
    assert best_shift_error(solution, 5) < 0.12


def test_every_double_well_attractor_is_found():
    mesh = Mesh((0.0, 0.0), (3.0, 3.0), (40, 40), (False, False))
    pins = mesh.points()[attractors(exchange(pyness.systems.get("double-well", c=0.0), mesh))]
    for well in (0.5, 2.5):
        assert (pins - torch.tensor([well, 1.5])).abs().amax(-1).min() < 0.08


def test_generator_conserves_probability():
    mesh = Mesh((0.0, 0.0), (3.0, 3.0), (12, 9), (False, False))
    M = exchange(pyness.systems.get("toggle-switch"), mesh).generator
    assert np.abs(np.asarray(M.sum(axis=0))).max() < 1e-10 * abs(M).max()


def test_windows_of_open_sides():
    system = pyness.systems.get("double-well")
    cut = steady_state(system, (60, 60), low=(0.6, 0.0), high=(3.0, 3.0))
    assert any("low end of 'x'" in line for line in cut.warnings)
    assert cut.edge_mass > 1e-6
    given = steady_state(system, (60, 60), low=(-1.0, -2.0), high=(4.0, 5.0))
    assert given.mesh.low == (-1.0, -2.0)
    assert given.mesh.high == (4.0, 5.0)
    assert given.warnings == ()
    auto = steady_state(system, (60, 60))
    assert all(a <= b for a, b in zip(auto.mesh.low, system.domain.low, strict=True))
    assert auto.potential[0].min() > 25 * 0.1


def test_extrapolated_potential_of_the_double_well_at_the_published_nodes():
    system = pyness.systems.get("double-well")
    nodes, solution = system.evaluation.nodes(), steady_state(system, (150, 150))
    true = system.truth.potential(nodes)
    error = potential_error(solution.interpolate(nodes), true, 0.1)
    assert error.rrmse < 2e-4
    assert error.rrmse_weighted < 2e-4
    assert solution.potential_extrapolated.min() == 0
    plain = potential_error(torch.from_numpy(solution.potential), system_at(solution), 0.1)
    assert plain.rrmse > 10 * error.rrmse


def system_at(solution):
    return solution.system.truth.potential(solution.mesh.points()).reshape(solution.mesh.shape)


def turned_well(x):
    a, b, c = x.unbind(-1)
    return ((a * a - 1) ** 2 / 2 + (b - 0.3 * a) ** 2 + (c + 0.2 * a * b) ** 2) / 0.15


def test_refinement_finds_what_cells_of_three_noise_lengths_blur():
    """Two bent wells in three dimensions, turned, on cells too large for the noise."""
    turn = [[0.0, 0.4, 0.0], [-0.4, 0.0, 0.3], [0.0, -0.3, 0.0]]
    system = pyness.systems.from_potential(
        "turned wells", 3, turned_well, 0.15, turn, pyness.Box([-2.2] * 3, [2.2] * 3)
    )
    blurred, sharp = (
        steady_state(system, (32,) * 3, low=[-2.2] * 3, high=[2.2] * 3, refine=refine) for refine in (False, True)
    )
    nodes = sharp.mesh.points()
    rough, fine = (
        potential_error(solution.interpolate(nodes), 0.15 * turned_well(nodes), 0.15).rrmse
        for solution in (blurred, sharp)
    )
    assert fine < 0.02 < 0.1 < rough
    assert sharp.potential_error > fine
    assert sharp.epr == blurred.epr


def test_refinement_keeps_a_layer_at_a_wall():
    """A drift of 20 D into the wall at 0 of a box, periodic across, where the exact potential is a straight line."""
    box = pyness.Box([0.0, 0.0], [1.0, 1.0], ["reflect", "periodic"])
    system = pyness.System("pressed", 2, lambda x: torch.stack([-20 + 0 * x[..., 0], 1 + 0 * x[..., 1]], -1), 1.0, box)
    solution = steady_state(system, (40, 8), refine=True)
    x = solution.mesh.points()
    assert (solution.interpolate(x) - 20 * (x[:, 0] - x[:, 0].min())).abs().max() < 1e-3


def test_interpolation_reaches_a_wall_between_the_last_cell_and_it():
    """p ~ exp(-y/D) on a box: U = y exactly, also in the half cell beyond the last centre."""
    system = pyness.System("slope", 1, lambda x: -torch.ones_like(x), 0.5, pyness.Box([0], [2], "reflect"))
    solution = steady_state(system, (16,))
    x = torch.linspace(0, 2, 41, dtype=torch.float64)[:, None]
    values = solution.interpolate(x)
    assert torch.allclose(values - values[0], x[:, 0], atol=1e-9)


def test_interpolation_agrees_with_the_cells_and_keeps_dtype_and_shape():
    solution = steady_state(pyness.systems.get("toggle-switch"), (40, 40))
    x = solution.mesh.points().reshape(40, 40, 2)
    assert torch.allclose(solution.interpolate(x), torch.from_numpy(solution.potential_extrapolated), atol=1e-12)
    assert torch.allclose(solution.landscape.current_velocity(x), torch.from_numpy(solution.velocity))
    single = solution.landscape.potential(x[3, 4].float())
    assert single.shape == ()
    assert single.dtype == torch.float32
    walls = solution.interpolate(torch.tensor([[0.0, 0.0], [3.0, 3.0]]))
    assert torch.isfinite(walls).all()
    with pytest.raises(InputError, match="points have shape"):
        solution.interpolate(torch.zeros(5, 3))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shape": (300,)}, "for 2 coordinates"),
        ({"shape": (300, 7)}, "at least 8 cells"),
        ({"shape": (30.5, 30)}, "whole numbers"),
        ({"shape": 300}, "shape is 300"),
        ({"shape": "ab"}, "whole numbers"),
        ({"low": (0.0,)}, "finite numbers"),
        ({"low": (0.0, math.nan)}, "finite numbers"),
        ({"low": (0.0, -1.0)}, "reflect side"),
        ({"high": (2.0, 3.0)}, "reflect side"),
    ],
)
def test_refuses_bad_shapes_and_windows(change, words):
    with pytest.raises(InputError, match=words):
        steady_state(pyness.systems.get("toggle-switch"), **{"shape": (20, 20), **change})


def test_refuses_systems_it_cannot_solve():
    four = pyness.systems.get("ornstein-uhlenbeck", A=np.eye(4).tolist())
    with pytest.raises(InputError, match="d <= 3"):
        steady_state(four, (20,) * 4)
    tilted = pyness.systems.get("ornstein-uhlenbeck", A=PLANAR, D=((0.5, 0.1), (0.1, 0.5)))
    with pytest.raises(InputError, match="matrix"):
        steady_state(tilted, (20, 20))
    still = pyness.System("still", 2, lambda x: -x, (0.1, 0.0))
    with pytest.raises(InputError, match="noise in every coordinate"):
        steady_state(still, (20, 20), low=(-1, -1), high=(1, 1))
    pole = pyness.System("pole", 1, lambda x: -x + 1 / x, 0.1, pyness.Box([0.5], [2.0]))
    with pytest.raises(InputError, match="not finite at"):
        steady_state(pole, (20,), low=(-1.0,), high=(1.0,))
    with pytest.raises(InputError, match="low < high"):
        steady_state(pyness.systems.get("double-well"), (20, 20), low=(3.0, 0.0), high=(1.0, 1.0))
