"""Folding, wrapping and fold records, against the definition by repeated reflection."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pyness.sampling.engines.torch.domain import Domain
from pyness.systems import Box

corners = st.floats(-5, 5, allow_nan=False)
widths = st.floats(0.1, 5)
points = st.floats(-60, 60, allow_nan=False)


def _domain(low: float, width: float, kind: str) -> Domain:
    return Domain(Box([low], [low + width], kind), torch.float64, "cpu")


def _folds(domain: Domain, y: list[list[float]], rows: list[int]):
    return domain.folds(*domain.crossings(torch.tensor(y, dtype=torch.float64), torch.tensor(rows)))


def _reflected(y: float, low: float, high: float) -> tuple[float, float]:
    """Bounce by bounce: where a point ends, and the whole way it was moved."""
    moved = 0.0
    while y < low or y > high:
        wall = low if y < low else high
        moved += 2 * abs(wall - y)
        y = 2 * wall - y
    return y, moved


@given(corners, widths, points)
def test_folds_however_far_a_step_overshoots(low, width, y):
    domain = _domain(low, width, "reflect")
    high = domain.high.item()
    x = domain.restore(torch.tensor([[y]], dtype=torch.float64))
    expected, moved = _reflected(y, low, high)
    assert x.item() == pytest.approx(expected, abs=1e-9)
    folds = _folds(domain, [[y]], [7])
    if low <= y <= high:
        assert x.item() == y
        assert folds.row.numel() == 0
    else:
        assert folds.row.tolist() == [7]
        assert folds.face.tolist() == [int(y > high)]
        assert folds.position.item() == (high if y > high else low)
        assert folds.displacement.item() == pytest.approx(moved, abs=1e-8)


@given(corners, widths, points)
def test_wraps_round_periodic_sides(low, width, y):
    domain = _domain(low, width, "periodic")
    x = domain.restore(torch.tensor([[y]], dtype=torch.float64)).item()
    assert low - 1e-9 <= x <= low + width + 1e-9
    turns = (y - x) / width
    assert turns == pytest.approx(round(turns), abs=1e-7)


@given(st.lists(points, min_size=3, max_size=3))
def test_each_side_has_its_own_condition(y):
    domain = Domain(Box([0, 0, 0], [1, 1, 1], ["reflect", "periodic", "open"]), torch.float64, "cpu")
    x = domain.restore(torch.tensor([y], dtype=torch.float64))[0]
    assert x[0].item() == pytest.approx(_reflected(y[0], 0.0, 1.0)[0], abs=1e-9)
    assert (y[1] - x[1].item()) == pytest.approx(round(y[1] - x[1].item()), abs=1e-9)
    assert x[2].item() == y[2]


def test_a_corner_is_two_records():
    domain = Domain(Box([0, 0], [1, 1], "reflect"), torch.float64, "cpu")
    folds = _folds(domain, [[-0.25, 1.5], [0.5, 0.5]], [3, 4])
    assert folds.row.tolist() == [3, 3]
    assert folds.face.tolist() == [0, 3]
    assert folds.position.tolist() == [[0.0, 0.5], [0.25, 1.0]]
    assert folds.displacement.tolist() == [0.5, 1.0]


def test_stages_are_evaluated_inside():
    domain = Domain(Box([0, 0], [1, 1], ["reflect", "periodic"]), torch.float64, "cpu")
    nearest = domain.nearest(torch.tensor([[-3.0, 1.25], [0.5, 0.5]], dtype=torch.float64))
    assert nearest.tolist() == [[0.0, 0.25], [0.5, 0.5]]


def test_what_is_not_finite_leaves_no_record():
    domain = Domain(Box([0.0], [1.0], "reflect"), torch.float64, "cpu")
    folds = _folds(domain, [[float("nan")], [float("inf")]], [0, 1])
    assert folds.row.numel() == 0
