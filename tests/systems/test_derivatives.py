"""Forward-mode Jacobians and divergences against backward mode and closed forms."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyness.systems.derivatives import divergence, jacobian, value_and_divergence


def field_of(seed: int, dim: int, out: int):
    """A smooth field with mixed terms: B tanh(A x) + x_1 c."""
    generator = torch.Generator().manual_seed(seed)
    A = torch.randn(dim, dim, generator=generator, dtype=torch.float64)
    B = torch.randn(out, dim, generator=generator, dtype=torch.float64)
    c = torch.randn(out, generator=generator, dtype=torch.float64)
    return lambda x: torch.tanh(x @ A.mT) @ B.mT + x[..., :1] * c


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), dim=st.integers(1, 5), out=st.integers(1, 4))
def test_jacobian_equals_backward_mode(seed, dim, out):
    field = field_of(seed, dim, out)
    x = torch.randn(3, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    ours = jacobian(field, x)
    assert ours.shape == (3, out, dim)
    for point, matrix in zip(x, ours, strict=True):
        assert torch.allclose(matrix, torch.autograd.functional.jacobian(field, point), atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), dim=st.integers(1, 5))
def test_divergence_is_the_trace_of_the_jacobian(seed, dim):
    field = field_of(seed, dim, dim)
    x = torch.randn(4, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    value, total = value_and_divergence(field, x)
    assert torch.equal(value, field(x))
    assert torch.equal(total, divergence(field, x))
    assert torch.allclose(total, jacobian(field, x).diagonal(dim1=-2, dim2=-1).sum(-1), atol=1e-12)


def test_batches_of_any_shape_and_single_points():
    field = field_of(1, 3, 3)
    x = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert divergence(field, x).shape == (2, 5)
    assert jacobian(field, x).shape == (2, 5, 3, 3)
    assert torch.allclose(divergence(field, x[1, 3]), divergence(field, x)[1, 3])


def test_divergence_can_be_differentiated_again():
    x = torch.tensor([[0.3, -0.7]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(divergence(lambda y: y**3, x).sum(), x)
    assert torch.allclose(gradient, 6 * x)


def test_threads_that_differentiate_at_once_do_not_meet():
    field = field_of(1, 3, 3)
    points = torch.randn(64, 200, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def nested(x):
        return divergence(lambda y: (jacobian(field, y) * field(y).unsqueeze(-2)).sum(-1), x)

    alone = [nested(x) for x in points]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(nested, points))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
