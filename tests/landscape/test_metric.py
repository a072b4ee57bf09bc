"""The metric of inputs: its diagonal alone says the same as all of it."""

from __future__ import annotations

import pytest
import torch

import pyness
from pyness.landscape.metric import Metric, full_diffusion, own_diffusion
from pyness.landscape.network import Inputs

KINDS = {
    "number": 0.3,
    "diagonal": lambda x: torch.stack([0.1 + x[..., 0] ** 2, 0.2 + 0 * x[..., 1], 0.3 + x[..., 2] ** 2], dim=-1),
    "matrix": [[0.5, 0.1, 0.0], [0.1, 0.4, 0.2], [0.0, 0.2, 0.6]],
}


# inputs of one coordinate each, two of one coordinate, one of two coordinates
@pytest.mark.parametrize(
    ("axis", "column"), [([2, 0, 1], [0, 1, 2]), ([0, 0, 1, 2], [0, 1, 2, 3]), ([0, 1, 2, 0, 2], [0, 1, 2, 3, 3])]
)
@pytest.mark.parametrize("kind", list(KINDS))
def test_the_diagonal_says_all_there_is(kind, axis, column):
    system = pyness.System("any", 3, lambda x: -x, KINDS[kind])
    generator = torch.Generator().manual_seed(0)
    x, first = (torch.randn(5, n, generator=generator, dtype=torch.float64) for n in (3, len(axis)))
    e = max(column) + 1
    weights = torch.randn(e, 4, generator=generator, dtype=torch.float64)
    inputs = Inputs(first[:, :e], first, first, torch.tensor(axis), torch.tensor(column))
    found = Metric.between(inputs, own_diffusion(system, x))
    assert found.diagonal == (kind != "matrix" and len(axis) == 3)
    each = full_diffusion(system, x)[:, axis][:, :, axis] * first.unsqueeze(2) * first.unsqueeze(1)
    owner = torch.eye(e, dtype=torch.float64)[column]
    full = owner.mT @ each @ owner
    torch.testing.assert_close(found.form(weights), torch.einsum("nef,eu,fu->nu", full, weights, weights))
    for k in range(e):
        torch.testing.assert_close(found.along(k, weights), full[:, k] @ weights)
    a, b = torch.triu_indices(e, e)
    torch.testing.assert_close(found.pairs(a, b), full[:, a, b])
    matrix = weights @ weights.mT + torch.ones(e, e, dtype=torch.float64).tril()
    torch.testing.assert_close(found.contracted(matrix), torch.einsum("nef,ef->n", full, matrix))
