"""The slowest mode of walkers whose relaxation is known: exact autoregressive processes, no integrator."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

import pyness

SYSTEM = pyness.System("line", 1, lambda x: -x, 1.0, pyness.Box([-3], [3], "open"))


def _autoregressive(rho: float, walkers: int, snapshots: int, spacing: float, seed: int) -> pyness.Samples:
    """An Ornstein-Uhlenbeck process seen at intervals over which it forgets all but ``rho``."""
    noise = torch.randn(walkers, snapshots, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    states = [noise[:, 0]]
    for k in range(1, snapshots):
        states.append(rho * states[-1] + math.sqrt(1 - rho * rho) * noise[:, k])
    samples = pyness.Samples.from_states(SYSTEM, torch.stack(states, dim=1).unsqueeze(-1))
    return replace(samples, times=40.0 + spacing * torch.arange(snapshots, dtype=torch.float64))


@pytest.mark.parametrize("rho", [0.5, 0.8, 0.95])
def test_time_of_a_known_process(rho):
    spacing, snapshots, walkers = 0.3, 11, 20_000
    found = pyness.stationarity(SYSTEM, _autoregressive(rho, walkers, snapshots, spacing, seed=3)).relaxation
    exact = -spacing / math.log(rho)
    # the lagged correlation of N pairs has variance (1 - rho^2) / N; time = -spacing / log(rho)
    error = math.sqrt((1 - rho**2) / (walkers * (snapshots - 1))) * spacing / (rho * math.log(rho) ** 2)
    assert abs(found.time - exact) < 4 * error
    assert found.covered == pytest.approx((40.0 + spacing * (snapshots - 1)) / found.time)
    assert abs(found.population.value - 0.5) < 4 * found.population.stderr + 0.01
    assert abs(found.halves.z) < 4
    assert found.warnings == []


def test_independent_snapshots_have_no_slow_mode():
    found = pyness.stationarity(SYSTEM, _autoregressive(0.0, 5000, 4, 1.0, seed=4)).relaxation
    assert found.time < 0.5
    assert found.warnings == []


WELLS = pyness.System("wells", 1, lambda x: 4 * x - 4 * x**3, 0.1, pyness.Box([-2], [2], "open"))


def _two_wells(side: torch.Tensor, seed: int) -> pyness.Samples:
    """States around -1 or 1 as ``side: (walkers, snapshots)`` says, with fresh noise in each snapshot."""
    noise = torch.randn(side.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return pyness.Samples.from_states(WELLS, (side + 0.1 * noise).unsqueeze(-1))


def test_walkers_that_never_cross():
    start = torch.where(torch.rand(2000, 1, generator=torch.Generator().manual_seed(5)) < 0.3, 1.0, -1.0).double()
    found = pyness.stationarity(WELLS, _two_wells(start.expand(2000, 8), seed=6)).relaxation
    assert math.isinf(found.time)
    assert found.covered == 0
    assert found.crossings == 0
    share = (start > 0).double().mean().item()
    assert min(abs(found.population.value - share), abs(1 - found.population.value - share)) < 1e-12
    assert any("slow exchange" in line for line in found.warnings)
    assert json.loads(json.dumps(found.to_dict()))["time"] is None


def test_populations_that_drift():
    """Every walker hops at each snapshot, from 30 % in the right well to 70 %: fast, and not stationary."""
    share = torch.linspace(0.3, 0.7, 8, dtype=torch.float64)
    draw = torch.rand(4000, 8, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    found = pyness.stationarity(WELLS, _two_wells(torch.where(draw < share, 1.0, -1.0).double(), seed=8)).relaxation
    # means of the halves: 0.386 and 0.614
    assert abs(abs(found.halves.value) - 0.2286) < 4 * found.halves.stderr
    assert found.crossings > 0.9
    assert any("populations drift" in line for line in found.warnings)


def test_populations_that_stay():
    draw = torch.rand(4000, 8, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    found = pyness.stationarity(WELLS, _two_wells(torch.where(draw < 0.4, 1.0, -1.0).double(), seed=10)).relaxation
    assert found.warnings == []
    assert abs(found.halves.z) < 4


def _telegraph(start: torch.Tensor, memory: float, snapshots: int, seed: int) -> torch.Tensor:
    """``(walkers, snapshots)``: the side of walkers that at each snapshot keep it, or with ``1 - memory`` draw anew."""
    generator = torch.Generator().manual_seed(seed)
    sides = [start]
    for _ in range(snapshots):
        drawn = torch.where(torch.rand(len(start), generator=generator) < 0.5, 1.0, -1.0).double()
        sides.append(torch.where(torch.rand(len(start), generator=generator) < memory, sides[-1], drawn))
    return torch.stack(sides[1:], dim=1)


def test_populations_that_remember_the_start():
    """From equal numbers on either side nothing drifts, so only the comparison between starts can see it."""
    start = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(1000)
    memory, snapshots = 0.8, 10
    samples = _two_wells(_telegraph(start, memory, snapshots, seed=11), seed=12)
    samples = replace(samples, start=start.unsqueeze(-1), times=1.0 + torch.arange(snapshots, dtype=torch.float64))
    found = pyness.stationarity(WELLS, samples).relaxation
    kept = sum(memory**k for k in range(1, snapshots + 1)) / snapshots
    assert abs(found.starts.value - kept) < 4 * found.starts.stderr
    assert abs(found.halves.z) < 4
    assert any("remember the start" in line for line in found.warnings)
    assert json.loads(json.dumps(found.to_dict()))["starts"]["value"] == found.starts.value
    # the same walkers, told apart by something that does not matter
    alike = replace(
        samples, start=start[torch.randperm(2000, generator=torch.Generator().manual_seed(13))].unsqueeze(-1)
    )
    again = pyness.stationarity(WELLS, alike).relaxation
    assert abs(again.starts.z) < 4
    assert not any("remember the start" in line for line in again.warnings)
    assert pyness.stationarity(WELLS, replace(samples, start=None)).relaxation.starts is None
    assert pyness.stationarity(WELLS, replace(samples, start=torch.ones(2000, 1))).relaxation.starts is None


def test_a_double_well_burnt_in_too_shortly():
    """Two thirds start on the right; the run covers three relaxation times, and its halves look alike."""
    system = pyness.System("wells", 1, lambda x: 4 * x - 4 * x**3, 0.25, pyness.Box([-1], [2], "open"))
    plan = {"walkers": 4000, "snapshots": 10, "spacing": 5.0, "seed": 1, "progress": False}
    short = pyness.sample(system, "EM:dt=0.02", "torch", burn_in=40.0, **plan)
    found = pyness.stationarity(system, short)
    assert found.passed
    assert abs(found.relaxation.halves.z) < 4
    assert any("remember the start" in line for line in found.warnings)
    # the relaxation time is 30, so this is an eighth of the memory, and a third of one standard error
    enough = pyness.stationarity(system, pyness.sample(system, "EM:dt=0.02", "torch", burn_in=300.0, **plan))
    assert enough.warnings == []
    assert abs(enough.relaxation.starts.z) < 4
