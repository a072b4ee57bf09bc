"""Fast coordinates: their functions against closed forms, which coordinates are found, and what they are worth."""

from __future__ import annotations

import pytest
import torch

import pyness
from pyness.estimators import certify
from pyness.landscape import fast
from pyness.landscape.assembly import _best_start
from pyness.landscape.mixture import Mixture, fit_mixture
from pyness.landscape.network import Network
from pyness.systems.derivatives import first_and_second
from tests.landscape.rows import check_rows

D, STIFF = 0.5, 2000.0


def _follower(x: torch.Tensor) -> torch.Tensor:
    """Where the fast coordinate rests, given the first; so flat that the noise of that one hardly moves it."""
    return 0.3 * torch.sin(x[..., 0])


def _drift(x: torch.Tensor) -> torch.Tensor:
    """A slow rotation, a fast coordinate that follows it, two that are neither."""
    turning = torch.stack([3 * x[..., 1] - x[..., 0], -3 * x[..., 0] - x[..., 1]], dim=-1)
    pulled = -STIFF * (x[..., 2] - _follower(x))
    return torch.cat([turning, pulled.unsqueeze(-1), -x[..., 3:]], dim=-1)


SYSTEM = pyness.System(
    "follower", 5, _drift, D, pyness.Box([-3] * 5, [3] * 5), solver="ImplicitEM:theta=0.5,adaptive=false,dt=5e-3",
    plan={"walkers": 1000, "burn_in": 3.0, "snapshots": 4, "spacing": 1.0},
)  # fmt: skip


def _on_the_tube(count: int, seed: int, width: float = 1.0) -> torch.Tensor:
    x = torch.randn(count, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x *= D**0.5
    x[:, 2] = _follower(x) + width * x[:, 2] / STIFF**0.5
    return x


def _check_offset(system: pyness.System, axis: int, rest, x: torch.Tensor) -> None:
    """Against where the force vanishes in closed form."""
    coordinate = _coordinate(axis)
    _, width, span = coordinate[0].tolist()
    found = fast.offset(system, fast.rests(system, coordinate, x)[0], width, span, x)

    def expected(x: torch.Tensor) -> torch.Tensor:
        return torch.asinh((x[..., axis] - rest(x)) / width) / span

    torch.testing.assert_close(found[0], expected(x), rtol=1e-7, atol=1e-7)
    for j in range(system.dim):
        for derived, exact in zip(found[1:], first_and_second(lambda x: expected(x), x, j)[1:], strict=True):
            torch.testing.assert_close(derived[:, j], exact, rtol=1e-6, atol=1e-6 * (1 + exact.abs().max().item()))


def _levelled(psi):
    """What ``functions`` shall return of a potential in closed form."""
    return lambda x: torch.stack([-torch.logaddexp(-psi(x), torch.full_like(psi(x), -c)) for c in fast.LEVELS], -1)


def _coordinate(axis: int) -> torch.Tensor:
    """What ``find`` shall return if that one is fast, the tube 0.01 wide on the scale of its offsets."""
    return torch.tensor([[axis, 0.01, 5.0]], dtype=torch.float64)


def _check(system: pyness.System, axis: int, psi, x: torch.Tensor) -> None:
    found, expected = fast.functions(system, fast.rests(system, _coordinate(axis), x), x), _levelled(psi)
    torch.testing.assert_close(found.value, expected(x), rtol=1e-7, atol=1e-7)
    for j in range(system.dim):
        _, first, second = first_and_second(expected, x, j)
        torch.testing.assert_close(found.first[..., j], first, rtol=1e-6, atol=1e-6 * (1 + first.abs().max().item()))
        torch.testing.assert_close(found.second[..., j], second, rtol=1e-6, atol=1e-6 * (1 + second.abs().max().item()))


def test_linear_force_gives_the_parabola_around_where_it_rests():
    _check(SYSTEM, 2, lambda x: STIFF * (x[..., 2] - _follower(x)).square() / (2 * D), _on_the_tube(200, 1, 3.0))


def test_offset_from_where_it_rests():
    _check_offset(SYSTEM, 2, _follower, _on_the_tube(200, 1, 3.0))


@pytest.mark.parametrize("edge", ["side", "linear wall"])
def test_force_into_a_wall_gives_the_distance_to_it(edge):
    """A force ``f`` towards a wall at distance ``s`` makes the layer ``exp(-f s / D)``."""
    side, high = edge == "side", [1.0, 1.0]
    push = -1.0 if side else 1.0
    walls = [] if side else [((-1.0, 1.0), 0.0)]

    def strength(x: torch.Tensor) -> torch.Tensor:
        return 20 + 5 * torch.sin(3 * x[..., 0])

    system = pyness.System(
        "wall", 2, lambda x: torch.stack([torch.cos(x[..., 1]), push * strength(x)], -1), D,
        pyness.Box([0.0, 0.0], high, "reflect", walls=walls),
    )  # fmt: skip
    x = system.domain.uniform(200, torch.Generator().manual_seed(2), dtype=torch.float64)
    away = (lambda x: x[..., 1]) if side else (lambda x: x[..., 0] - x[..., 1])
    _check(system, 1, lambda x: strength(x) * away(x) / D, x)
    _check_offset(system, 1, lambda x: x[..., 1] - away(x) * (1.0 if side else -1.0), x)


def test_saturating_force():
    """``-k tanh(y / w)``, ``Psi = (k w / D) log cosh(y / w)``; the quadrature is exact only for polynomials."""
    k, w = 300.0, 0.05

    def offset(x: torch.Tensor) -> torch.Tensor:
        return (x[..., 1] - 0.3 * x[..., 0].square()) / w

    system = pyness.System(
        "saturating", 2, lambda x: torch.stack([-x[..., 0], -k * torch.tanh(offset(x))], -1), D,
        pyness.Box([-1, -1], [1, 1]),
    )  # fmt: skip
    x = system.domain.uniform(300, torch.Generator().manual_seed(3), dtype=torch.float64)
    x[:, 1] = 0.3 * x[:, 0].square() + 2 * w * x[:, 1]
    found = fast.functions(system, fast.rests(system, _coordinate(1), x), x)
    expected = _levelled(lambda x: k * w / D * torch.log(torch.cosh(offset(x))))(x)
    torch.testing.assert_close(found.value, expected, rtol=1e-4, atol=1e-4)
    _check_offset(system, 1, lambda x: 0.3 * x[..., 0].square(), x)


def test_rows_of_a_network_with_fast_coordinates():
    """Closed forms by weights, in the presence of functions that have derivatives of their own."""
    x, generator = _on_the_tube(40, 4, 2.0), torch.Generator().manual_seed(0)
    network = Network.draw(SYSTEM, _on_the_tube(1000, 5), 6, generator, coordinates=_coordinate(2))
    assert network.laplacian.endswith("; of each law of 1 fast coordinates 5 nested forward passes")
    assert network.tensors["known"].tolist() == [0.0, 1.0, 0.0]
    noise = torch.randn(network.parameters.shape, generator=generator, dtype=torch.float64)
    network = network.with_parameters(network.parameters + 0.3 * noise)
    check_rows(SYSTEM, network, network.places(x))


def test_finds_the_fast_coordinate_and_no_other():
    assert fast.find(SYSTEM, _on_the_tube(2000, 6))[:, 0].tolist() == [2.0]


@pytest.mark.parametrize("name", ["gaussian-mixture-12d", "ornstein-uhlenbeck", "limit-cycle"])
def test_finds_none_where_all_are_alike(name):
    system = pyness.systems.get(name)
    x = system.domain.uniform(2000, torch.Generator().manual_seed(7), dtype=torch.float64)
    if system.truth.draw is not None:
        x = system.truth.draw(2000, torch.Generator().manual_seed(7))
    assert len(fast.find(system, x)) == 0


def test_finds_none_where_the_noise_mixes_coordinates():
    mixed = D * torch.eye(5)
    mixed[0, 1] = mixed[1, 0] = 0.1
    assert len(fast.find(pyness.System("mixed", 5, _drift, mixed, SYSTEM.domain), _on_the_tube(2000, 8))) == 0


def test_each_start_is_judged_by_its_own_functions():
    """Two wells, a start whose mixture takes them for one, and the mixture that is exact."""
    weights = torch.tensor([0.5, 0.5], dtype=torch.float64)
    means = torch.zeros(2, 5, dtype=torch.float64)
    means[:, 0] = torch.tensor([-1.0, 1.0])
    exact = Mixture(weights, means, 0.3 * torch.eye(5, dtype=torch.float64).expand(2, 5, 5))

    def drift(x: torch.Tensor) -> torch.Tensor:
        return -D * (x - means[1].to(x) * torch.tanh(x[..., :1] / 0.09)) / 0.09

    system = pyness.System("wells", 5, drift, D, pyness.Box([-3] * 5, [3] * 5))
    x = exact.draw(4000, torch.Generator().manual_seed(9))
    one_well = fit_mixture(x[:, 1:], torch.Generator().manual_seed(0)).extended(torch.zeros(1), x)
    network = Network.draw(system, x, 5, torch.Generator().manual_seed(0), one_well)
    best = _best_start(network, exact, system, x, None, 1.0)
    assert torch.equal(best.base.means, means)
    assert best.tensors["known"].tolist() == [1.0]


def test_landscape_of_a_thin_curved_tube():
    """Its cross section, D / STIFF in square, makes nearly all of ``E|grad Phi|_D^2``; without them 0.2 is left."""
    samples = pyness.sample(SYSTEM, engine="torch", seed=0, dtype="float64", progress=False)
    landscape = pyness.fit_landscape(
        SYSTEM, samples, seed=0, units=6, steps=5, points=1000, contrast=2000, progress=False
    )
    assert landscape.network.tensors["fast"][:, 0].tolist() == [2.0]
    judged = samples.split(0.5, seed=0)[0]
    found = certify(SYSTEM, judged, landscape.current_velocity, landscape.velocity_and_divergence)
    assert found.relative.value < 0.02
