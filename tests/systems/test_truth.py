"""Evaluation grids and what a truth holds."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from pyness.systems import EvaluationGrid, Truth


def test_regular_nodes_include_both_ends_in_c_order():
    grid = EvaluationGrid.regular([0.0, 10.0], [1.0, 12.0], [3, 5])
    assert grid.shape == (3, 5)
    assert grid.cap == 20.0
    nodes = grid.nodes()
    assert nodes.dtype == torch.float64
    assert nodes[0, 0].tolist() == [0.0, 10.0]
    assert nodes[2, 4].tolist() == [1.0, 12.0]
    assert nodes[1, 0].tolist() == [0.5, 10.0]


def test_uneven_axes_are_kept():
    grid = EvaluationGrid(((0.0, 1.0, 4.0),), cap=5.0)
    assert grid.nodes().squeeze(-1).tolist() == [0.0, 1.0, 4.0]
    assert grid.cap == 5.0


def test_a_truth_knows_nothing_until_told():
    truth = Truth()
    assert (truth.epr, truth.potential, truth.grid, truth.source) == (None, None, None, "")
    with pytest.raises(dataclasses.FrozenInstanceError):
        truth.epr = 1.0
