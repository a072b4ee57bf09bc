"""The stationarity test: silent on exact samples, loud on samples that are a little off."""

from __future__ import annotations

import json

import pytest
import torch
from scipy.stats import t as student

import pyness
from tests.estimators.exact import CASES, gaussian_states


@pytest.mark.parametrize("name", list(CASES))
def test_exact_samples_pass(name):
    case = CASES[name]()
    found = pyness.stationarity(case.system, case.samples(100_000, seed=11))
    assert found.passed
    assert found.warnings == []
    # 1e-3 for the whole family, so a typical largest |z| is far below the threshold and well above zero
    assert 0.3 < found.max_z < found.threshold
    assert found.threshold == pytest.approx(student.isf(5e-4 / len(found.names), 99_999))


def test_level_of_the_test():
    """50 independent sets of exact samples: chance fails one in a thousand of them, a wrong error bar far more."""
    case = CASES["ornstein-uhlenbeck"]()
    found = [pyness.stationarity(case.system, case.samples(4000, seed=100 + i)) for i in range(50)]
    assert sum(f.passed for f in found) >= 49
    z = torch.tensor([list(f.z.values()) for f in found])
    # functions of one set correlate, hence the wide margin
    assert 0.75 < z.std().item() < 1.25


@pytest.mark.parametrize("name", ["ornstein-uhlenbeck", "double-well"])
def test_samples_two_percent_too_wide(name):
    case = CASES[name]()
    states = case.draw(400_000, 12)
    if name == "double-well":
        states[:, 1] = 1.5 + 1.02 * (states[:, 1] - 1.5)
    else:
        states = 1.02 * states
    found = pyness.stationarity(case.system, pyness.Samples.from_states(case.system, states))
    assert not found.passed
    assert any("not stationary" in line and found.worst in line for line in found.warnings)
    assert str(found).startswith("NOT stationary")


def test_a_single_walker_is_not_judged():
    case = CASES["ornstein-uhlenbeck"]()
    states = case.draw(300, 15).reshape(1, 300, -1)
    found = pyness.stationarity(case.system, pyness.Samples.from_states(case.system, states))
    assert not found.judged
    assert not found.passed
    assert found.relaxation is None
    assert [line.split(":")[0] for line in found.warnings] == ["stationarity is not judged"]
    assert str(found) == "stationarity not judged: a single walker"
    assert not found.to_dict()["judged"]


def test_wrong_noise_is_seen():
    system = pyness.systems.get("ornstein-uhlenbeck", D=0.5)
    other = pyness.systems.get("ornstein-uhlenbeck", D=0.55)
    found = pyness.stationarity(other, pyness.Samples.from_states(other, gaussian_states(system, 50_000, 13)))
    assert not found.passed


def test_state_dependent_noise_needs_its_ito_drift():
    """With the drift of another interpretation of the noise (F_v for F) the same samples are not stationary."""
    case = CASES["state-dependent"]()
    other = pyness.System("kinetic", 2, case.system.modified_drift, case.system.diffusion.function, case.system.domain)
    states = case.draw(100_000, 14)
    assert not pyness.stationarity(other, pyness.Samples.from_states(other, states)).passed


def test_record():
    case = CASES["double-well"]()
    found = pyness.stationarity(case.system, case.samples(1000, seed=15))
    record = json.loads(json.dumps(found.to_dict()))
    assert record["passed"] is found.passed
    assert record["worst"] in found.names
    assert abs(record["z"][record["worst"]]) == record["max_z"]
    assert record["relaxation"] is None
