"""Names, parameters and conversions; every registered system keeps the promises of the registry."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

import pyness
from pyness.errors import InputError, UnknownNameError
from pyness.systems import registry
from pyness.systems.derivatives import divergence

NAMES = pyness.systems.names()


def test_the_first_four_are_there():
    assert {"double-well", "limit-cycle", "ornstein-uhlenbeck", "toggle-switch"} <= set(NAMES)
    assert sorted(NAMES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_system_states_its_source_plan_and_parameters(name):
    system = pyness.systems.get(name)
    assert system.name == name
    assert system.source
    assert system.solver
    assert set(system.plan) <= {
        "walkers", "burn_in", "snapshots", "spacing", "dt", "rtol", "atol", "burn_in_dt", "start",
    }  # fmt: skip
    assert list(system.parameters) == list(pyness.systems.parameters(name))
    json.dumps(system.to_dict())
    assert registry._FACTORIES[name].__doc__


@pytest.mark.parametrize("name", NAMES)
def test_every_evaluation_grid_lies_where_the_drift_is_finite(name):
    system = pyness.systems.get(name)
    if system.evaluation is None:
        return
    nodes = system.evaluation.nodes()
    assert nodes.shape == (*system.evaluation.shape, system.dim)
    assert bool(torch.isfinite(system.drift(nodes)).all())
    assert bool(system.domain.contains(nodes).all())
    if system.truth.potential is not None:
        assert bool(torch.isfinite(system.truth.potential(nodes)).all())


@pytest.mark.parametrize("name", NAMES)
def test_pictures_show_nothing_beyond_a_wall(name):
    system = pyness.systems.get(name)
    (low, high), box = system.window, system.domain
    for axis, kind in enumerate(box.boundary):
        assert low[axis] < high[axis]
        assert kind == "open" or box.low[axis] <= low[axis] < high[axis] <= box.high[axis]


@pytest.mark.parametrize("name", [n for n in NAMES if pyness.systems.get(n).truth.potential is not None])
def test_an_exact_potential_solves_the_hamilton_jacobi_bellman_equation(name):
    """R(Phi) = div F_v + div(D grad Phi) - F_v . grad Phi - |grad Phi|_D^2 = 0 (landscapes.md 2.3)."""
    system = pyness.systems.get(name)
    x = system.domain.uniform(50, torch.Generator().manual_seed(2), dtype=torch.float64)
    phi = lambda y: system.truth.potential(y) / system.potential_scale  # noqa: E731
    gradient = torch.func.grad(lambda y: phi(y).sum())
    g = gradient(x)
    flux = divergence(lambda y: system.modified_drift(y) + system.diffusion.apply(y, gradient(y)), x)
    residual = flux - (system.modified_drift(x) * g).sum(-1) - (g * system.diffusion.apply(x, g)).sum(-1)
    size = (system.modified_drift(x) * g).sum(-1).abs().mean()
    assert residual.abs().max() < 1e-9 * size


def test_parameters_override_and_are_recorded():
    system = pyness.systems.get("double-well", D=0.05, c=1)
    assert system.parameters == {"D": 0.05, "c": 1.0}
    assert system.diffusion.scalar == 0.05
    assert pyness.systems.parameters("double-well") == {"D": 0.1, "c": 0.5}


def test_numpy_numbers_and_whole_floats_are_numbers():
    assert pyness.systems.get("double-well", D=np.float32(0.5)).parameters["D"] == 0.5
    assert pyness.systems.get("toggle-switch", n=np.int64(4)).parameters["n"] == 4
    assert pyness.systems.get("toggle-switch", n=3.0).parameters["n"] == 3


@pytest.mark.parametrize(
    ("name", "overrides", "error", "words"),
    [
        ("doublewell", {}, UnknownNameError, "did you mean 'double-well'"),
        ("qqqq", {}, UnknownNameError, "known system names: .*limit-cycle"),
        (None, {}, UnknownNameError, "unknown system None"),
        ("double-well", {"d": 0.1}, UnknownNameError, "unknown parameter .*'d'.*'D'"),
        ("double-well", {"D": "0.1"}, InputError, "parameter D .* is '0.1'"),
        ("double-well", {"D": True}, InputError, "parameter D"),
        ("double-well", {"D": math.nan}, InputError, "finite number"),
        ("double-well", {"D": -0.1}, InputError, "negative"),
        ("double-well", {"D": 0}, InputError, "zero"),
        ("toggle-switch", {"n": 2.5}, InputError, "whole number"),
        ("toggle-switch", {"n": math.nan}, InputError, "whole number"),
        ("toggle-switch", {"D": [0.1, 0.2]}, InputError, "finite number"),
        (
            "ornstein-uhlenbeck",
            {"A": "identity"},
            InputError,
            "parameter A .* is 'identity'; give a matrix, a list of rows",
        ),
        (
            "ornstein-uhlenbeck",
            {"D": "half"},
            InputError,
            "give a finite number or a list of numbers or a matrix, a list of rows",
        ),
        ("gaussian-mixture-12d", {"weights": "even"}, InputError, "is 'even'; give a list of numbers$"),
        ("toggle-switch-langevin", {"negative": 3}, InputError, "is 3; give text$"),
    ],
)
def test_refusals(name, overrides, error, words):
    with pytest.raises(error, match=words):
        pyness.systems.get(name, **overrides)


def test_register_enters_a_factory_under_its_name():
    @registry.register("test-only")
    def factory(k: float = 2.0):
        return pyness.System("test-only", 1, lambda x: -k * x, 1.0, parameters={"k": k})

    try:
        assert pyness.systems.get("test-only", k=3).parameters == {"k": 3.0}
    finally:
        del registry._FACTORIES["test-only"]
