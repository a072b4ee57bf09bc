"""``Estimate`` against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from pyness.estimators import Estimate


def test_over_walkers_by_hand():
    """Walker means 1, 2, 6: mean 3, variance 7."""
    found = Estimate.over_walkers(torch.tensor([[0.0, 2.0], [1.0, 3.0], [6.0, 6.0]]))
    assert found.value == pytest.approx(3.0)
    assert found.stderr == pytest.approx(math.sqrt(7 / 3))
    assert found.z == pytest.approx(3.0 / math.sqrt(7 / 3))


def test_one_walker_has_no_error_bar():
    found = Estimate.over_walkers(torch.tensor([[1.0, 2.0]]))
    assert found.value == 1.5
    assert math.isnan(found.stderr)
    assert str(found) == "1.5"


def test_ratio_by_hand():
    """b = (1, 3), a = (2, 2): ratio 1, residuals (1, -1) over mean 2, hence (0.5, -0.5)."""
    a, b = torch.tensor([2.0, 2.0]).double(), torch.tensor([1.0, 3.0]).double()
    found = Estimate.ratio(a, b)
    assert found.value == pytest.approx(1.0)
    assert found.stderr == pytest.approx(math.sqrt(0.5) / math.sqrt(2))


def test_ratio_error_is_the_spread_of_repetitions():
    """Correlated numerator and denominator: the delta method against 400 repetitions (spread known to 3.5 %)."""
    generator = torch.Generator().manual_seed(0)
    b = 2 + torch.randn(400, 1000, generator=generator, dtype=torch.float64)
    a = 0.5 * b + 0.3 * torch.randn(400, 1000, generator=generator, dtype=torch.float64)
    found = [Estimate.ratio(x, y) for x, y in zip(a, b, strict=True)]
    spread = torch.tensor([f.value for f in found]).std().item()
    assert found[0].stderr == pytest.approx(spread, rel=4 * 0.035)
    assert sum(abs(f.value - 0.5) < 3 * f.stderr for f in found) > 0.98 * 400


def test_ratio_of_proportional_quantities_is_certain():
    b = 1 + torch.arange(10.0).double()
    found = Estimate.ratio(3 * b, b)
    assert found.value == pytest.approx(3.0)
    assert found.stderr < 1e-14


def test_z_without_spread():
    assert Estimate(0.0, 0.0).z == 0.0
    assert Estimate(1.0, 0.0).z == math.inf


def test_text_shows_two_digits_of_the_error():
    assert str(Estimate(2.16757, 0.0123)) == "2.168 ± 0.012"
    assert str(Estimate(532.2, 13.0)) == "532 ± 13"
    assert str(Estimate(4944113.0, 154232.0)) == "(4.94 ± 0.15)e6"
    assert str(Estimate(-3e3, 2e4)) == "(-0.3 ± 2.0)e4"
    assert Estimate(2.0, 0.5).to_dict() == {"value": 2.0, "stderr": 0.5}
