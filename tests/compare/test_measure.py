"""Measurements against exact laws, pooling against the whole, and what states are worth."""

from __future__ import annotations

import json
import math

import pytest
import torch

import pyness
from pyness.compare.measure import Measurement, measure, pooled
from pyness.compare.reference import known
from tests.estimators.exact import double_well_states, gaussian_states

SYSTEM = pyness.systems.get("double-well")


def _samples(walkers: int, seed: int) -> pyness.Samples:
    return pyness.Samples.from_states(SYSTEM, double_well_states(2 * walkers, seed).reshape(walkers, 2, 2))


def test_exact_samples_agree_with_what_is_known():
    reference = known(SYSTEM)
    found = measure(SYSTEM, _samples(20_000, 1), reference.cells)
    assert set(found.quantities) == set(reference.quantities)
    for name, value in found.quantities.items():
        expected = reference.quantities[name]
        assert abs(value.value - expected.value) < 4 * math.hypot(value.stderr, expected.stderr), name
    z = [
        (f.value - e.value) / math.hypot(f.stderr, e.stderr)
        for f, e in zip(found.cells, reference.cells.share, strict=True)
    ]
    # 36 shares that add up to one
    assert sum(v * v for v in z) == pytest.approx(35, abs=4 * math.sqrt(70))
    assert sum(share.value for share in found.cells) == pytest.approx(1)


def test_the_grid_and_a_closed_form_agree():
    """The same system with its truth taken away is solved on a grid."""
    exact = known(SYSTEM)
    plain = pyness.System("plain", 2, SYSTEM.drift, 0.1, SYSTEM.domain, ("x", "y"))
    solved = known(plain)
    assert solved.source.startswith("averages: finite volume")
    for name, value in exact.quantities.items():
        # the error stated is the correction itself, which leaves less
        assert abs(solved.quantities[name].value - value.value) < solved.quantities[name].stderr + 1e-4, name


def test_nothing_is_known_of_many_dimensions():
    system = pyness.System("cube", 4, lambda x: -x, 0.1)
    reference = known(system)
    assert (reference.source, reference.quantities, reference.cells) == ("", {}, None)
    ou = known(pyness.systems.get("ornstein-uhlenbeck", A=torch.eye(4).tolist()))
    assert list(ou.quantities) == ["EPR"]


def test_pooled_parts_are_the_whole():
    cells = known(SYSTEM).cells
    whole = _samples(900, 2)
    parts = [measure(SYSTEM, whole.select(torch.arange(a, b)), cells) for a, b in ((0, 300), (300, 900))]
    both, one = pooled(parts), measure(SYSTEM, whole, cells)
    assert both.walkers == 900
    for name in ("mean(x)", "mean(y)", "EPR", "E|F|^2"):
        assert both.quantities[name].value == pytest.approx(one.quantities[name].value, rel=1e-9)
        assert both.quantities[name].stderr == pytest.approx(one.quantities[name].stderr, rel=0.1)
    assert [c.value for c in both.cells] == pytest.approx([c.value for c in one.cells])
    assert both.effective == pytest.approx(one.effective, rel=0.15)


@pytest.mark.parametrize("memory", [0.0, 0.9])
def test_effective_samples(memory):
    """Of an autoregressive walker: the variance of a mean of s snapshots has a closed form."""
    walkers, snapshots = 4000, 10
    system = pyness.systems.get("ornstein-uhlenbeck", A=[[1.0]], D=1.0)
    noise = gaussian_states(system, walkers * snapshots, 3).reshape(walkers, snapshots, 1)
    states = [noise[:, 0]]
    for k in range(1, snapshots):
        states.append(memory * states[-1] + math.sqrt(1 - memory**2) * noise[:, k])
    found = measure(system, pyness.Samples.from_states(system, torch.stack(states, dim=1)))
    inflation = 1 + 2 * sum((1 - k / snapshots) * memory**k for k in range(1, snapshots))
    # the variance of 4000 means is known to sqrt(2 / 4000)
    assert found.effective == pytest.approx(walkers * snapshots / inflation, rel=4 * math.sqrt(2 / walkers) + 0.01)


def test_counts_of_several_runs_add_up():
    parts = [
        pyness.sample(SYSTEM, "SOSRA", "torch", walkers=w, burn_in=0.2, snapshots=2, spacing=0.1, progress=False)
        for w in (10, 30)
    ]
    stats = pooled([measure(SYSTEM, part) for part in parts]).stats
    for name in ("steps_accepted", "steps_rejected", "drift_evaluations", "failed_walkers"):
        assert stats[name] == sum(part.stats[name] for part in parts)
    assert stats["step"]["min"] == min(part.stats["step"]["min"] for part in parts)
    assert stats["step"]["mean"] == pytest.approx(40 * 0.4 / stats["steps_accepted"])
    histogram = stats["step"]["histogram"]
    assert sum(histogram["counts"]) == stats["steps_accepted"]
    for part in parts:
        for edge, count in zip(part.stats["step"]["histogram"]["edges"], part.stats["step"]["histogram"]["counts"],
                               strict=False):  # fmt: skip
            at = min(range(len(histogram["edges"])), key=lambda i: abs(histogram["edges"][i] / edge - 1))
            assert histogram["counts"][at] >= count
    assert histogram["edges"][0] <= stats["step"]["min"] <= stats["step"]["max"] <= histogram["edges"][-1]


def test_records_come_back():
    found = measure(SYSTEM, _samples(50, 4), known(SYSTEM).cells)
    assert Measurement.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_without_fold_records_there_is_no_entropy_production():
    system = pyness.systems.get("toggle-switch")
    states = system.domain.uniform(50, torch.Generator().manual_seed(5), dtype=torch.float64)
    assert "EPR" not in measure(system, pyness.Samples.from_states(system, states)).quantities


def test_periodic_coordinates_have_no_mean():
    system = pyness.System("ring", 1, lambda x: 1 + torch.sin(x), 0.5, pyness.Box([0], [2 * math.pi], "periodic"))
    samples = pyness.sample(system, "EM:dt=0.01", "torch", walkers=400, burn_in=4.0, snapshots=4, spacing=1.0,
                            progress=False)  # fmt: skip
    found, reference = measure(system, samples), known(system)
    assert {"cos(x1)", "sin(x1)"} <= set(found.quantities)
    for name, value in found.quantities.items():
        expected = reference.quantities[name]
        assert abs(value.value - expected.value) < 4 * math.hypot(value.stderr, expected.stderr), name
