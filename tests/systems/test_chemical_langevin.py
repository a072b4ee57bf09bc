"""The chemical Langevin toggle switch: propensities, and what is done about negative states."""

from __future__ import annotations

import pytest
import torch

import pyness
from pyness.errors import SamplingError, SolverError, SystemDefinitionError
from pyness.systems import Box
from pyness.systems.chemical_langevin import POLICIES

NAME = "toggle-switch-langevin"
PLAN = {"walkers": 400, "burn_in": 5.0, "burn_in_dt": None, "snapshots": 4, "spacing": 1.0, "engine": "torch",
        "progress": False}  # fmt: skip


def test_drift_and_diffusion_are_sum_and_difference_of_propensities():
    system = pyness.systems.get(NAME, volume=30.0)
    x = system.domain.uniform(20, torch.Generator().manual_seed(0), dtype=torch.float64)
    on = x**4 / (0.5**4 + x**4)
    made = 0.1 + on + 1 - on.flip(-1)
    assert torch.allclose(system.drift(x), made - x)
    assert torch.allclose(system.diffusion(x), (made + x) / 60)
    assert system.diffusion.kind == "diagonal"
    assert not system.diffusion.additive


@pytest.mark.parametrize("policy", POLICIES)
def test_the_policy_is_recorded_and_counted(policy):
    system = pyness.systems.get(NAME, volume=20.0, negative=policy)
    assert system.parameters["negative"] == policy
    assert system.to_dict()["domain"]["boundary"] == [policy, policy]
    samples = pyness.sample(system, "EM:dt=0.02", max_failed=1.0, **PLAN)
    counts = [samples.stats[key] for key in ("wall_hits", "clipped", "failed_walkers")]
    assert [count > 0 for count in counts] == [policy == other for other in POLICIES]
    assert samples.states.min() >= 0
    if policy == "clip":
        assert len(samples.walls) == samples.stats["clipped"]
    if policy == "refuse":
        assert samples.walkers == 400 - samples.stats["failed_walkers"]
        assert {failure["reason"] for failure in samples.failures} == {"left the domain at a side that refuses"}
        with pytest.raises(SamplingError, match="blew up"):
            pyness.sample(system, "EM:dt=0.02", **PLAN)


def test_clipping_and_reflecting_push_alike():
    """The mean displacement at a wall per unit time is ``D p`` for either, and so is the pressure on it."""
    found = {}
    for policy in ("reflect", "clip"):
        box = Box([0.0], [4.0], policy)
        system = pyness.System("ramp", 1, lambda x: -1.0 + 0 * x, 0.5, box)
        samples = pyness.sample(system, "EM:dt=0.002", **{**PLAN, "walkers": 2000})
        each = torch.zeros(2000).index_add_(0, samples.walls.walker, samples.walls.displacement.float())
        found[policy] = each / samples.walls.elapsed
    # p = 2 exp(-2 x), so D p = 1 at 0; what the drift pushes in, the wall pushes back
    for rate in found.values():
        assert abs(rate.mean().item() - 1) < 5 * rate.std().item() / 2000**0.5 + 1e-3


def test_the_grid_knows_the_law():
    system = pyness.systems.get(NAME)
    solution = pyness.grid.steady_state(system, (100, 100))
    assert solution.epr_extrapolated == pytest.approx(system.truth.epr, rel=0.01)
    assert pyness.systems.get(NAME, volume=10.0).truth.epr is None


def test_refusals():
    with pytest.raises(SystemDefinitionError, match="negative is 'ignore'"):
        pyness.systems.get(NAME, negative="ignore")
    with pytest.raises(SystemDefinitionError, match=r"volume is -1\.0"):
        pyness.systems.get(NAME, volume=-1.0)
    with pytest.raises(SystemDefinitionError, match=r"leak is 0\.0"):
        pyness.systems.get(NAME, leak=0.0)
    with pytest.raises(SolverError, match=r"boundary 'clip' .* on engine 'julia'"):
        pyness.sample(pyness.systems.get(NAME, negative="clip"), engine="julia")
