"""Blocks and rounds: what fits where, decided by system and plan alone."""

from __future__ import annotations

import pytest

from pyness.sampling import Plan, portions
from pyness.sampling.portions import block_rows, rounds
from pyness.systems import get


def _plan(walkers: int, device: str = "cpu", snapshots: int = 10) -> Plan:
    plan = Plan(walkers=walkers, burn_in=10.0, snapshots=snapshots, spacing=10.0, dt=0.01)
    # as if it were there
    object.__setattr__(plan, "device", device)
    return plan


@pytest.mark.parametrize(
    ("name", "walkers", "on_cpu", "on_device"),
    [
        # plain systems: whole vectors, shared by two cores; on a device all at once
        ("double-well", 100, 128, 128),
        ("double-well", 10_000, 2560, 10_048),
        ("double-well", 1_000_000, 2560, 500_032),
        # 256 particles each: sixteen walkers make a block of 4096
        ("aoup-mips", 16, 8, 16),
        ("aoup-mips", 100, 13, 100),
        ("aoup-mips", 10_000, 16, 3334),
    ],
)
def test_blocks_are_as_large_as_suits_the_device(name, walkers, on_cpu, on_device):
    system = get(name, **({"n_particles": 256} if name == "aoup-mips" else {}))
    assert block_rows(system, _plan(walkers)) == on_cpu
    assert block_rows(system, _plan(walkers, "cuda")) == on_device


def test_rounds_of_many_particles_are_an_interruption_s_worth(monkeypatch):
    system = get("aoup-mips", n_particles=4096)
    plan = _plan(4, snapshots=200)
    found = rounds(system, plan, block_rows(system, plan))
    assert sum(part.snapshots for part in found) == 200
    assert [part.first for part in found] == [sum(p.snapshots for p in found[:k]) for k in range(len(found))]
    # 4096 particles, 1000 steps between two snapshots: 61 of them
    assert found[0].snapshots == 61
    assert found[0].plan.burn_in == 10.0
    assert all(part.plan.burn_in == 0.0 for part in found[1:])
    monkeypatch.setattr(portions, "_wider", lambda plan: portions._WIDER)
    assert len(rounds(system, plan, 4)) == 1
