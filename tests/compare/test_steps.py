"""Where and when an adaptive method takes which step, from steps that are known."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

import pyness
from pyness.compare.steps import distribution, merged, summary

SYSTEM = pyness.System("square", 2, lambda x: -x, 0.1, pyness.Box([0, 0], [1, 1]))


def _samples(seed: int = 0) -> pyness.Samples:
    """Steps of 1e-2 on the left and 1e-3 on the right, ten times as long in the second snapshot."""
    states = SYSTEM.domain.uniform(4000, torch.Generator().manual_seed(seed), dtype=torch.float64).reshape(2000, 2, 2)
    steps = torch.where(states[..., 0] < 0.5, 1e-2, 1e-3) * torch.tensor([1.0, 10.0])
    return replace(pyness.Samples.from_states(SYSTEM, states), steps=steps, times=torch.tensor([5.0, 7.0]))


def test_steps_in_time_and_over_states():
    samples = _samples()
    found = summary(distribution(SYSTEM, samples))
    left = (samples.states[..., 0] < 0.5).double().mean(0)
    expected = [10 ** (-3 + left[0].item()), 10 ** (-2 + left[1].item())]
    assert found["over_time"]["times"] == [5.0, 7.0]
    assert found["over_time"]["geometric_mean"] == pytest.approx(expected)
    cells = found["over_states"]
    assert cells["coordinates"] == ["x1", "x2"]
    means = torch.tensor([[math.nan if v is None else v for v in row] for row in cells["geometric_mean"]])
    low, high = means[:12].log10(), means[12:].log10()
    # half of the snapshots are the long ones, in every cell within its noise
    assert low.nanmean().item() == pytest.approx(-1.5, abs=0.05)
    assert high.nanmean().item() == pytest.approx(-2.5, abs=0.05)
    assert found["quantiles"]["0.5"] == pytest.approx(1e-2, rel=0.13)
    assert found["quantiles"]["0.1"] == pytest.approx(1e-3, rel=0.13)
    assert found["quantiles"]["0.99"] == pytest.approx(1e-1, rel=0.13)


def test_merged_parts_are_the_whole():
    samples = _samples()
    parts = [distribution(SYSTEM, samples.select(torch.arange(a, b))) for a, b in ((0, 500), (500, 2000))]
    parts = [json.loads(json.dumps(part)) for part in parts]
    one, other = summary(merged([*parts, None])), summary(distribution(SYSTEM, samples))
    assert one["quantiles"] == other["quantiles"]
    assert one["over_time"]["geometric_mean"] == pytest.approx(other["over_time"]["geometric_mean"])
    for mine, theirs in zip(one["over_states"]["geometric_mean"], other["over_states"]["geometric_mean"], strict=True):
        assert [v is None for v in mine] == [v is None for v in theirs]
        assert [v for v in mine if v] == pytest.approx([v for v in theirs if v])


def test_unknown_steps():
    assert distribution(SYSTEM, replace(_samples(), steps=None)) is None
    assert merged([None]) is None
    assert summary(None) is None


def test_states_beyond_the_window_are_left_out():
    samples = _samples()
    far = replace(samples, states=samples.states + 10)
    assert all(v is None for row in summary(distribution(SYSTEM, far))["over_states"]["geometric_mean"] for v in row)
