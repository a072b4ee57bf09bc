"""Order and limit from made-up values whose law is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pyness.compare.convergence import converge
from pyness.estimators import Estimate


def _values(steps, law, error, seed=0):
    noise = np.random.default_rng(seed).standard_normal(len(steps))
    return [Estimate(law(h) + error * e, error) for h, e in zip(steps, noise, strict=True)]


@pytest.mark.parametrize("order", [0.5, 1.0, 2.0])
def test_order_and_limit(order):
    steps = [0.4, 0.2, 0.1, 0.05, 0.025]
    found = converge("EPR", "dt", steps, _values(steps, lambda h: 2 + 3 * h**order, 0.01), order)
    assert abs(found.order.value - order) < 4 * found.order.stderr
    assert abs(found.extrapolated.value - 2) < 4 * found.extrapolated.stderr
    assert found.points[0][0] == 0.025


def test_errors_of_order_and_limit():
    """Over many draws the deviations are as large as the errors say."""
    steps = [0.4, 0.2, 0.1, 0.05]
    draws = [
        converge("EPR", "rtol", steps, _values(steps, lambda h: 2 + 3 * h, 0.02, seed), None) for seed in range(60)
    ]
    for z in (
        [(d.order.value - 1) / d.order.stderr for d in draws],
        [(d.extrapolated.value - 2) / d.extrapolated.stderr for d in draws],
    ):
        assert 0.4 < np.std(z) < 1.3
        assert abs(np.mean(z)) < 0.6


def test_a_step_too_coarse_for_any_order_does_not_count():
    steps = [1.0, 0.2, 0.1, 0.05]
    law = lambda h: 2 + 3 * h if h < 1 else 40.0  # noqa: E731
    found = converge("EPR", "dt", steps, _values(steps, law, 0.01), 1.0)
    assert abs(found.extrapolated.value - 2) < 4 * found.extrapolated.stderr
    assert found.extrapolated.stderr < 0.1


def test_two_members_take_the_order_of_the_record():
    found = converge("EPR", "dt", [0.2, 0.1], [Estimate(2.4, 0.01), Estimate(2.1, 0.01)], 2.0)
    assert found.order.value == 2.0
    assert math.isnan(found.order.stderr)
    # Richardson at second order: (4 * 2.1 - 2.4) / 3
    assert found.extrapolated.value == pytest.approx(2.0)
    # the correction is 0.1, and that the order holds is not known
    assert found.extrapolated.stderr == pytest.approx(math.hypot(math.hypot(4 * 0.01, 0.01) / 3, 0.05))
    assert "assumed" in str(found)


def test_no_trend_is_called_so():
    steps = [0.4, 0.2, 0.1]
    found = converge("EPR", "dt", steps, _values(steps, lambda h: 2.0, 0.03), 1.0)
    assert found.order is None
    assert found.extrapolated.stderr == pytest.approx(0.03 / math.sqrt(3))
    assert "no trend" in str(found)
