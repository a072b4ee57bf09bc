"""The one form of a diffusion: every kind answers the same questions as the matrix it stands for."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyness.errors import SystemDefinitionError
from pyness.systems import Diffusion

SEEDS = st.integers(0, 10_000)
DIMS = st.integers(1, 5)


def positive_matrix(seed: int, dim: int) -> torch.Tensor:
    root = torch.randn(dim, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return root @ root.mT + 0.1 * torch.eye(dim, dtype=torch.float64)


def points(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)


def as_matrix(D: Diffusion, x: torch.Tensor) -> torch.Tensor:
    value = D(x)
    if D.kind == "matrix":
        return value.expand(*x.shape[:-1], D.dim, D.dim)
    return torch.diag_embed(value.expand(x.shape))


def every_kind(seed: int, dim: int) -> list[Diffusion]:
    matrix = positive_matrix(seed, dim)
    diagonal = matrix.diagonal()
    functions = [
        lambda x: diagonal * (1.5 + torch.sin(x)),
        lambda x: matrix * (1.5 + torch.sin(x.sum(-1)))[..., None, None],
    ]
    kinds = [Diffusion(spec, dim) for spec in (0.3, diagonal, matrix, *functions)]
    for D in kinds:
        D.check(points(seed, 4, dim))
    return kinds


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, dim=DIMS)
def test_apply_solve_and_noise_factor_are_those_of_the_matrix(seed, dim):
    x, u = points(seed, 2, 3, dim), points(seed + 7, 2, 3, dim)
    for D in every_kind(seed, dim):
        matrix = as_matrix(D, x)
        product = (matrix @ u[..., None])[..., 0]
        assert torch.allclose(D.apply(x, u), product, atol=1e-12)
        assert torch.allclose(D.solve(x, product), u, rtol=1e-6, atol=1e-8)
        factor = D.noise_factor(x)
        root = factor if D.kind == "matrix" else torch.diag_embed(factor.expand(x.shape))
        assert torch.allclose(root @ root.mT, 2 * matrix, atol=1e-10)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, dim=DIMS)
def test_divergence_is_that_of_the_rows(seed, dim):
    """(div D)_i = sum_j d_j D_ij, by central differences of the full matrix."""
    x, h = points(seed, 3, dim), 1e-5
    for D in every_kind(seed, dim):
        expected = torch.zeros_like(x)
        for j in range(dim):
            step = torch.zeros(dim, dtype=torch.float64)
            step[j] = h
            expected += (as_matrix(D, x + step) - as_matrix(D, x - step))[..., :, j] / (2 * h)
        assert torch.allclose(D.divergence(x), expected, atol=1e-6)


def test_kinds_and_questions_about_them():
    scalar, even, uneven = Diffusion(0.1, 2), Diffusion([0.1, 0.1], 2), Diffusion([0.1, 0.2], 2)
    matrix = Diffusion([[1.0, 0.5], [0.5, 1.0]], 2)
    assert [D.kind for D in (scalar, even, uneven, matrix)] == ["scalar", "diagonal", "diagonal", "matrix"]
    assert [D.scalar for D in (scalar, even, uneven, matrix)] == [0.1, 0.1, None, None]
    assert all(D.additive and D.constant and D.invertible for D in (scalar, even, uneven, matrix))
    state = Diffusion(lambda x: 1 + x**2, 2)
    assert not state.additive
    assert state.scalar is None
    assert state.value is None
    assert state.to_dict() == {"kind": None, "value": "function of the state"}
    state.check(points(0, 3, 2))
    assert state.kind == "diagonal"
    assert matrix.to_dict() == {"kind": "matrix", "value": [[1.0, 0.5], [0.5, 1.0]]}


def test_a_constant_takes_the_dtype_of_the_states():
    D = Diffusion([0.1, 0.2], 2)
    x = torch.zeros(3, 2)
    assert D(x).dtype == D.apply(x, x).dtype == D.noise_factor(x).dtype == torch.float32
    assert D.value.dtype == torch.float64


def test_a_tensor_given_stays_the_callers():
    given_tensor = torch.tensor([0.1, 0.2], dtype=torch.float64)
    D = Diffusion(given_tensor, 2)
    given_tensor += 1
    assert D.value.tolist() == [0.1, 0.2]


def test_directions_without_noise_have_a_factor_but_no_inverse():
    for spec in ([0.5, 0.0], [[1.0, 1.0], [1.0, 1.0]]):
        D = Diffusion(spec, 2)
        assert not D.invertible
        x = torch.zeros(1, 2, dtype=torch.float64)
        factor = D.noise_factor(x)
        root = factor if D.kind == "matrix" else torch.diag_embed(factor)
        assert torch.allclose(root @ root.mT, 2 * as_matrix(D, x), atol=1e-12)
        with pytest.raises(SystemDefinitionError, match="directions without noise"):
            D.solve(x, x)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (-0.1, "negative"),
        (0.0, "diffusion is zero"),
        ([0.0, 0.0], "diffusion is zero"),
        ([0.1, -0.2], "negative"),
        (math.nan, "not finite"),
        ([0.1, math.inf], "not finite"),
        ([0.1, 0.2, 0.3], r"shape \(3,\) in dimension 2"),
        ([[0.1], [0.2]], r"shape \(2, 1\)"),
        ([[1.0, 0.2], [0.1, 1.0]], "not symmetric"),
        ([[1.0, 2.0], [2.0, 1.0]], "eigenvalue -1"),
        ("0.1", "not numbers"),
        (None, "not numbers"),
    ],
)
def test_refuses_constants_that_are_no_diffusion(spec, words):
    with pytest.raises(SystemDefinitionError, match=words):
        Diffusion(spec, 2)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: x, "negative .* at x ="),
        (lambda x: x[..., 0], r"returned \(4,\)"),
        (lambda x: 0.1, "returned float"),
        (lambda x: x * math.nan, "not finite at x ="),
        (lambda x: torch.ones(*x.shape[:-1], 2, 2).triu(), "not symmetric at x ="),
        (lambda x: -torch.eye(2).expand(*x.shape[:-1], 2, 2), "eigenvalue -1 at x ="),
        (lambda x: x @ torch.ones(3, 3, dtype=x.dtype), "failed .*RuntimeError"),
        (lambda x: 1 + x[:, :2] ** 2, "failed .*IndexError"),
        (lambda x: 1 + x**2 / x.abs().max(), "depends on the batch"),
    ],
)
def test_refuses_functions_that_are_no_diffusion_and_says_where(function, words):
    with pytest.raises(SystemDefinitionError, match=words):
        Diffusion(function, 2).check(torch.tensor([[1.0, 1.0], [2.0, 0.5], [-1.0, 1.0], [1.0, 3.0]]))


def number(x: torch.Tensor) -> torch.Tensor:
    return 1 + x[..., :1] ** 2 * x[..., 1:]


def number_divergence(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([2 * x[..., 0] * x[..., 1], x[..., 0] ** 2], dim=-1)


def diagonal(x: torch.Tensor) -> torch.Tensor:
    return 1 + x**2


def matrix(x: torch.Tensor) -> torch.Tensor:
    a, b = x.unbind(-1)
    return torch.stack([3 + a**2, a * b, a * b, 3 + b**2], dim=-1).unflatten(-1, (2, 2))


SUPPLIED = {
    "number": (number, number_divergence),
    "diagonal": (diagonal, lambda x: 2 * x),
    # d_a (3 + a^2) + d_b (a b), d_a (a b) + d_b (3 + b^2)
    "matrix": (matrix, lambda x: 3 * x),
    "none": (lambda x: 1 + x.flip(-1) ** 2, torch.zeros_like),
}


@pytest.mark.parametrize("kind", list(SUPPLIED))
def test_a_divergence_that_is_given_is_checked_and_taken(kind):
    function, divergence = SUPPLIED[kind]
    calls = []

    def counted(x):
        calls.append(x.shape)
        return divergence(x)

    given, found, x = Diffusion(function, 2, counted), Diffusion(function, 2), points(0, 5, 2).abs()
    given.check(x)
    found.check(x)
    calls.clear()
    assert torch.allclose(given.divergence(x), found.divergence(x))
    assert calls == [x.shape]


@pytest.mark.parametrize("kind", list(SUPPLIED))
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            lambda f: lambda x: 1.01 * f(x) + 0.01,
            r"gives [\d.-]+ for coordinate 0 at x = \[.*where that of diffusion is",
        ),
        (lambda f: lambda x: f(x) * math.nan, "gives nan for coordinate 0"),
        (lambda f: lambda x: f(x)[..., 0], r"returned \(5,\) for x of shape \(5, 2\)"),
        (lambda f: lambda x: f(x).float(), "returned torch.float32"),
        (lambda f: lambda x: f(x[:, :2]), "failed for x of shape"),
        (lambda f: lambda x: 0.0, "returned float"),
    ],
)
def test_a_wrong_divergence_is_refused_in_one_line(kind, wrong, words):
    function, divergence = SUPPLIED[kind]
    with pytest.raises(SystemDefinitionError, match=words) as caught:
        Diffusion(function, 2, wrong(divergence)).check(points(0, 5, 2).abs())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("spec", "given", "words"), [(0.1, torch.zeros_like, "constant"), (diagonal, 2.0, "is 2.0")])
def test_a_divergence_without_use_is_refused(spec, given, words):
    with pytest.raises(SystemDefinitionError, match=words):
        Diffusion(spec, 2, given)
