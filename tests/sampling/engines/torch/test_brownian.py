"""Bridges: the pieces of a split increment have the joint law of a Brownian path and add up to the whole."""

from __future__ import annotations

import math

import pytest
import torch

from pyness.sampling.engines.torch.brownian import Futures, area, split

N = 200_000


def _normals(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, N, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("part", [0.1, 0.5, 0.83])
def test_split_has_the_law_of_two_independent_pieces(part):
    """Increments and areas of both pieces: N(0, s), N(0, s^3/12), N(0, r), N(0, r^3/12), all uncorrelated."""
    h = torch.full((N, 1), 0.7, dtype=torch.float64)
    s = part * h
    z = _normals(5)
    w, a = torch.sqrt(h) * z[0], area(h, z[1])
    pieces = torch.cat(split(w, a, h, s, (z[2], z[3], z[4])), dim=-1)
    expected = [0.7 * part, (0.7 * part) ** 3 / 12, 0.7 * (1 - part), (0.7 * (1 - part)) ** 3 / 12]
    unit = pieces / torch.tensor(expected, dtype=torch.float64).sqrt()
    # each entry of the covariance of N standard normal rows has standard error 1/sqrt(N), sqrt(2) of it on the diagonal
    deviation = (unit.T @ unit / N - torch.eye(4, dtype=torch.float64)) * math.sqrt(N)
    assert deviation.abs().max().item() < 4.5 * math.sqrt(2)


def test_pieces_add_up_to_the_whole():
    h, z = torch.full((N, 1), 0.3, dtype=torch.float64), _normals(5, seed=1)
    w, a = torch.sqrt(h) * z[0], area(h, z[1])
    s = 0.4 * h
    w1, a1, w2, a2 = split(w, a, h, s, (z[2], z[3], z[4]))
    assert torch.allclose(w1 + w2, w, atol=1e-12)
    # the integral of the path is w h / 2 + a on every interval, and the second piece starts at height w1
    whole = 0.5 * h * w + a
    parts = (0.5 * s * w1 + a1) + (h - s) * w1 + (0.5 * (h - s) * w2 + a2)
    assert torch.allclose(parts, whole, atol=1e-12)


def test_futures_give_back_what_was_put_in():
    """Taken in uneven portions, the pieces sum to the increment that was pushed, and the stack is empty at the end."""
    futures = Futures(3, 2, torch.float64, "cpu", depth=1)
    generator = torch.Generator().manual_seed(0)
    rows = torch.tensor([0, 2])
    w, a = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64)
    futures.push(rows, torch.full((2,), 1.0, dtype=torch.float64), w, a)
    taken, passed = torch.zeros_like(w), 0.0
    for s in (0.25, 0.5):
        normals = tuple(torch.randn(3, 2, 2, dtype=torch.float64, generator=generator))
        length = torch.full((2,), s, dtype=torch.float64)
        piece, _ = futures.take(rows, length, torch.zeros(2, dtype=torch.bool), normals)
        taken, passed = taken + piece, passed + s
        assert torch.allclose(futures.top(rows), torch.full((2,), 1 - passed, dtype=torch.float64))
    normals = tuple(torch.randn(3, 2, 2, dtype=torch.float64, generator=generator))
    piece, _ = futures.take(rows, futures.top(rows), torch.ones(2, dtype=torch.bool), normals)
    assert torch.allclose(taken + piece, w)
    assert futures.depth.tolist() == [0, 0, 0]


def test_a_stack_grows_as_deep_as_it_must():
    futures = Futures(1, 1, torch.float64, "cpu", depth=1)
    row, one = torch.tensor([0]), torch.ones(1, dtype=torch.float64)
    for level in range(20):
        futures.push(row, one * 2.0**-level, one.reshape(1, 1) * level, one.reshape(1, 1))
    for level in reversed(range(20)):
        w, _ = futures.take(
            row, futures.top(row), torch.tensor([True]), tuple(torch.zeros(3, 1, 1, dtype=torch.float64))
        )
        assert w.item() == level
