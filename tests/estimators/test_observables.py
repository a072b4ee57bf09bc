"""Test functions and their generators against automatic differentiation."""

from __future__ import annotations

import pytest
import torch

import pyness
from pyness.estimators.observables import Observables

BOX = pyness.Box([-1.0, 0.5, -2.0], [2.0, 1.5, 3.0], ["reflect", "periodic", "open"])
# a reflecting coordinate has noise of its own only: anything else is no no-flux wall
MATRIX = [[0.5, 0.0, 0.0], [0.0, 0.4, -0.2], [0.0, -0.2, 0.6]]
DIFFUSIONS = {
    "scalar": 0.3,
    "diagonal": [0.2, 0.5, 0.9],
    "matrix": torch.tensor(MATRIX, dtype=torch.float64),
    "diagonal of the state": lambda x: 0.3 + 0.1 * x**2,
    "matrix of the state": lambda x: torch.tensor(MATRIX).to(x) * (1 + 0.1 * x[..., :1, None] ** 2),
}


def _drift(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([x[..., 1] - x[..., 0], torch.sin(x[..., 2]), -(x[..., 2] ** 3) + x[..., 0]], dim=-1)


def _of(diffusion) -> tuple[pyness.System, Observables]:
    system = pyness.System("test", 3, _drift, diffusion, BOX)
    center, scale = torch.tensor([[0.3, 1.0, 0.4], [1.0, 0.2, 0.7]], dtype=torch.float64)
    return system, Observables(system, center, scale)


SYSTEMS = {name: _of(diffusion) for name, diffusion in DIFFUSIONS.items()}


@pytest.mark.parametrize("kind", list(DIFFUSIONS))
def test_generator(kind):
    system, observables = SYSTEMS[kind]
    x = torch.rand(200, 3, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    x = torch.tensor([-1.0, 0.5, -6.0]).double() + torch.tensor([3.0, 1.0, 12.0]).double() * x

    def values(y: torch.Tensor) -> torch.Tensor:
        return observables.values(y[None])[0]

    gradient = torch.func.vmap(torch.func.jacfwd(values))(x)
    hessian = torch.func.vmap(torch.func.jacfwd(torch.func.jacfwd(values)))(x)
    D = system.diffusion(x)
    D = D if system.diffusion.kind == "matrix" else torch.diag_embed(D.expand(x.shape))
    expected = torch.einsum("nki,ni->nk", gradient, system.drift(x))
    expected += torch.einsum("nkij,nij->nk", hessian, D.expand(200, 3, 3))
    torch.testing.assert_close(observables.generator(system, x), expected, rtol=1e-9, atol=1e-9)
    flux = torch.einsum("nij,nkj->nki", D.expand(200, 3, 3), gradient)
    torch.testing.assert_close(observables.flux(system, x), flux, rtol=1e-9, atol=1e-9)


def test_no_flux_through_walls_and_periodic():
    system, observables = SYSTEMS["scalar"]
    x = torch.rand(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5
    for wall in (-1.0, 2.0):
        x[:, 0] = wall
        assert observables.flux(system, x)[..., 0].abs().max() < 1e-12
    around = x.clone()
    around[:, 1] += 1.0
    torch.testing.assert_close(observables.values(x), observables.values(around), rtol=1e-12, atol=1e-12)


def test_family_by_hand():
    """Names in order, and the values at the centre of the open coordinate."""
    _, observables = SYSTEMS["scalar"]
    assert observables.names[:6] == ["cos(1pi x1)", "cos(2pi x1)", "cos(x2)", "sin(x2)", "odd(x3)", "bell(x3)"]
    assert observables.names[6:] == ["cos(1pi x1)*cos(x2)", "cos(1pi x1)*odd(x3)", "cos(x2)*odd(x3)"]
    assert len(observables) == 9
    at = torch.tensor([[0.5, 0.75, 0.4]], dtype=torch.float64)
    expected = torch.tensor([[0, -1, 0, 1, 0, 1, 0, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(observables.values(at), expected, rtol=0, atol=1e-12)


def test_open_functions_stay_bounded():
    _, observables = SYSTEMS["scalar"]
    far = torch.tensor([[0.0, 1.0, 1e6], [0.0, 1.0, -1e6]], dtype=torch.float64)
    assert observables.values(far).abs().max() <= 1


def test_products_only_in_few_dimensions():
    for dim, expected in ((12, 24 + 66), (13, 26)):
        system = pyness.System("many", dim, lambda x: -x, 1.0)
        assert len(Observables(system, torch.zeros(dim), torch.ones(dim))) == expected
