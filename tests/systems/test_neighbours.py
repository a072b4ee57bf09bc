"""Cells find exactly the pairs that comparing all with all finds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyness.errors import SamplingError
from pyness.systems import neighbours
from pyness.systems.neighbours import all_pairs, close_pairs


def brute(x, width, cutoff):
    pairs = all_pairs(*x.shape[:2])
    d = x.reshape(-1, x.shape[-1])[pairs.i] - x.reshape(-1, x.shape[-1])[pairs.j]
    for axis, w in enumerate(width):
        if w is not None:
            d[:, axis] -= w * torch.round(d[:, axis] / w)
    near = d.square().sum(-1) < cutoff**2
    return as_set(pairs.i[near], pairs.j[near])


def as_set(i, j):
    return {(min(a, b), max(a, b)) for a, b in zip(i.tolist(), j.tolist(), strict=True)}


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    batch=st.integers(1, 3),
    particles=st.integers(neighbours.FEW + 1, 150),
    width=st.lists(st.one_of(st.none(), st.floats(2.0, 12.0)), min_size=1, max_size=3),
    cutoff=st.floats(0.3, 1.0),
)
def test_every_pair_once_on_tori_and_in_open_space(seed, batch, particles, width, cutoff):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([w or 7.0 for w in width], dtype=torch.float64)
    x = scale * torch.rand(batch, particles, len(width), generator=generator, dtype=torch.float64)
    found = close_pairs(x, tuple(width), cutoff)
    assert as_set(found.i, found.j) == brute(x, tuple(width), cutoff)
    assert len(found) == len(as_set(found.i, found.j))


@pytest.mark.parametrize("width", [(None,) * 3, (1e7,) * 3, (None, 1e7, 20.0)])
def test_particles_far_apart_take_no_more_cells_than_fit_into_memory(width):
    # as many cells along each axis as there are particles would be 8e9, of 8 bytes each
    x = 1e6 * torch.rand(1, 2000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[..., 2] *= 1e-3 if width[2] == 20.0 else 1.0
    x[0, 1] = x[0, 0] + 0.1
    found = close_pairs(x, width, 1.0)
    assert as_set(found.i, found.j) == brute(x, width, 1.0)
    assert (0, 1) in as_set(found.i, found.j)
    for extents in ([1e6] * 3, [3.5, 1e9, 1e9], [1e9]):
        counts = neighbours._counts(extents, 1.0, 2000)
        assert math.prod(counts) <= neighbours.ROOM * 2000
    assert counts == [2000]


def test_a_collapse_is_an_error_and_no_silent_loss(monkeypatch):
    monkeypatch.setattr(neighbours, "MOST", 1000)
    x = 0.1 * torch.rand(1, 100, 2, generator=torch.Generator().manual_seed(0))
    with pytest.raises(SamplingError, match="take a smaller dt"):
        close_pairs(x, (10.0, 10.0), 1.0)


@pytest.mark.parametrize("particles", [20, 100])
def test_many_configurations_are_no_collapse(particles, monkeypatch):
    x = 10 * torch.rand(9, particles, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = brute(x, (10.0, 10.0), 1.0)
    # of them all together there would be more pairs to look at, of one there are not
    monkeypatch.setattr(neighbours, "MOST", 3000)
    found = close_pairs(x, (10.0, 10.0), 1.0)
    assert as_set(found.i, found.j) == expected
    assert len(found) == len(expected)


def test_places_at_the_seam_are_inside():
    found = neighbours.wrapped(np.array([[-1e-18, -3.0], [10.0, 11.0], [4.0, 4.0]]), np.array([10.0, 0.0]))
    assert found.tolist() == [[0.0, -3.0], [0.0, 11.0], [4.0, 4.0]]
