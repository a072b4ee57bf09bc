"""Adaptive steps: rejections do not bias, tolerances mean what they say, every walker keeps its own clock."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

import pyness.sampling.engines.torch.adaptive as adaptive
from pyness import solvers
from pyness.sampling import Plan
from pyness.sampling.engines import Block, Job
from pyness.sampling.engines.torch.brownian import Futures
from pyness.sampling.engines.torch.domain import Domain
from pyness.sampling.limit import Limit
from pyness.systems import Box, System

WALKERS, TIME = 4096, 1.0


class _PathAndIntegral:
    """Exact for ``x_1 = W``, ``x_2 = int W dt``; rejects large increments, as any error estimate of an SDE does."""

    needs_area, error_order = True, 1.0

    def __call__(self, x, h, w, a):
        area = h * x[..., :1] + 0.5 * h * w[..., :1] + a[..., :1]
        y = torch.cat([x[..., :1] + w[..., :1], x[..., 1:] + area], dim=-1)
        return y, w[..., :1].abs().expand(-1, 2), 1


def _wiener_ends() -> torch.Tensor:
    system = System("wiener", 2, lambda x: 0 * x, 0.5, Box([-1, -1], [1, 1], "open"))
    plan = Plan(walkers=WALKERS, burn_in=0.0, snapshots=1, spacing=TIME, dt=0.2, rtol=1.0)
    job = Job(system, solvers.parse("SOSRA"), plan, torch.full((2,), 0.3, dtype=torch.float64), WALKERS)
    out = torch.full((WALKERS, 1, 2), torch.nan)
    block = Block(0, 0, 1234, torch.zeros(WALKERS, 2), out)
    domain = Domain(system.domain, torch.float32, "cpu")
    result = adaptive.run_adaptive(job, block, _PathAndIntegral(), domain, lambda _: None, Limit())
    assert result.stats.rejected > 0.1 * result.stats.accepted
    return out[:, 0].double()


def _deviations(ends: torch.Tensor) -> list[float]:
    """Variances of path and integral from ``T`` and ``T^3 / 3``, in standard errors (``sqrt(2 / n)`` relative)."""
    expected = torch.tensor([TIME, TIME**3 / 3], dtype=torch.float64)
    return ((ends.square().mean(0) / expected - 1) * math.sqrt(WALKERS / 2)).tolist()


def test_rejected_steps_keep_their_path():
    """With a step control that dislikes large increments, path and integral still have the Wiener variances."""
    assert all(abs(z) < 3.5 for z in _deviations(_wiener_ends()))


def test_redrawing_would_be_biased(monkeypatch):
    """The same control with fresh noise after a rejection: what the test above would see, were there no bridge."""
    monkeypatch.setattr(Futures, "push", lambda self, rows, h, w, a: None)
    z = _deviations(_wiener_ends())
    assert z[0] < -10
    assert z[1] < -10


def _sample(spec: str, **options):
    from pyness.sampling import sample
    from pyness.systems.ornstein_uhlenbeck import ornstein_uhlenbeck

    return sample(ornstein_uhlenbeck([[1.0]], 1.0), spec, "torch", dtype="float64", **options)


def test_tighter_tolerances_take_shorter_steps():
    """The estimate of SOSRA goes like h^2 to h^2.5 (noise), so ten times the tolerance is 2.5 to 3.2 times the step."""
    plan = {"walkers": 256, "burn_in": 2.0, "snapshots": 2, "spacing": 2.0}
    steps = [_sample(f"SOSRA:rtol={rtol}", **plan).stats["step"]["mean"] for rtol in (1e-1, 1e-2, 1e-3)]
    assert all(1.8 < longer / shorter < 3.2 for longer, shorter in itertools.pairwise(steps))


def test_steps_are_counted_and_respect_dtmax():
    samples = _sample("SOSRA:rtol=0.3,dtmax=0.05", walkers=100, burn_in=1.0, snapshots=2, spacing=1.0)
    step, stats = samples.stats["step"], samples.stats
    assert step["max"] <= 0.05 * (1 + 1e-6)
    assert sum(step["histogram"]["counts"]) == stats["steps_accepted"]
    assert stats["steps_accepted"] >= 100 * 3.0 / 0.05
    assert stats["drift_evaluations"] == 3 * (stats["steps_accepted"] + stats["steps_rejected"])
    edges = step["histogram"]["edges"]
    assert edges[0] <= step["min"] * (1 + 1e-6)
    assert edges[-1] >= step["max"] * (1 - 1e-6)


def test_atol_and_rtol_add_up_in_units_of_the_fluctuation_scale():
    """``rtol`` times the scale of the system, given as ``atol``, is the same run bit for bit."""
    plan = {"walkers": 64, "burn_in": 0.0, "snapshots": 1, "spacing": 1.0}
    relative, absolute = (_sample(f"SOSRA:{name}=0.02", **plan) for name in ("rtol", "atol"))  # its scale is 1
    assert torch.equal(relative.states, absolute.states)


def test_a_walker_that_cannot_go_on_is_reported():
    """A pole: no step is small enough to pass it, so the walker stops there, with its time and place."""
    from pyness.errors import SamplingError
    from pyness.sampling import sample

    def drift(x):
        return torch.where(x < 2, 1.0, torch.nan) * torch.ones_like(x)

    system = System("pole", 1, drift, 1e-4, Box([0.0], [1.0], "open"))
    with pytest.raises(SamplingError, match="no step is small enough") as caught:
        sample(system, "SOSRA", "torch", walkers=8, burn_in=3.0, snapshots=1, spacing=1.0)
    assert len(caught.value.samples.failures) == 8
    for failure in caught.value.samples.failures:
        assert failure["state"][0] == pytest.approx(2, abs=0.05)
        assert 0.9 < failure["time"] < 2.2
