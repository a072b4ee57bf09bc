"""What each method takes, what is left open, what is refused before anything is sampled."""

from __future__ import annotations

import importlib.util

import pytest

import pyness
from pyness.errors import InputError, UnknownNameError
from pyness.landscape import METHODS, resolve_options

PLANE, MANY = pyness.systems.get("double-well"), pyness.System("many", 12, lambda x: -x, 1.0)
NOTHING = {"method": "enhanced", "units": None, "steps": None, "points": None, "contrast": None, "widening": None}


def test_what_is_left_open_is_filled_in():
    assert resolve_options(0, NOTHING, PLANE) == {
        "method": "enhanced", "units": 100, "steps": 100, "points": 10_000, "contrast": 40_000, "widening": 4.0,
        "held_out": 0.5,
    }  # fmt: skip
    asked = resolve_options(0, NOTHING | {"units": 7, "widening": 2}, PLANE)
    assert (asked["units"], asked["widening"], asked["points"]) == (7, 2, 10_000)
    # wide enough to reach up the flanks, not so wide that nothing is left near the samples
    assert resolve_options(0, {}, MANY)["widening"] == pytest.approx(1.5)
    # of very many coordinates the contrast is soon learnt by heart
    genes = pyness.systems.get("stem-cell-52d")
    assert [resolve_options(0, given, genes)["steps"] for given in ({}, {"steps": 30}, {"method": "epr"})] == [
        10,
        30,
        100,
    ]
    assert resolve_options(0, {}, MANY)["steps"] == 100
    space = resolve_options(0, {}, pyness.System("space", 3, lambda x: -x, 1.0))
    assert (space["units"], space["steps"]) == (150, 150)


def test_resolving_twice_changes_nothing():
    for method in METHODS:
        once = resolve_options(0, {"method": method}, MANY)
        assert resolve_options(0, once, MANY) == once


@pytest.mark.parametrize(
    ("method", "option"),
    [("epr", "points"), ("epr", "widening"), ("hjb", "contrast"), ("flow", "points"), ("flow", "widening")],
)
def test_options_of_another_method_are_refused(method, option):
    with pytest.raises(
        InputError, match=f"{option} is 3, but method '{method}' has no {option}; it takes units, steps"
    ):
        resolve_options(0, NOTHING | {"method": method, option: 3}, PLANE)


@pytest.mark.parametrize(("option", "least"), [("units", 1), ("steps", 1), ("points", 100), ("contrast", 100)])
def test_too_few_are_refused(option, least):
    assert resolve_options(0, {option: least}, PLANE)[option] == least
    with pytest.raises(InputError, match=f"{option} is {least - 1}; give a whole number of at least {least}"):
        resolve_options(0, {option: least - 1}, PLANE)


def test_unknown_methods_are_refused():
    with pytest.raises(UnknownNameError, match=r"unknown method 'enhancd'.*enhanced"):
        resolve_options(0, {"method": "enhancd"}, PLANE)


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"'flow' needs zuko, which is not installed; pip install 'pyness\[flow\]'"):
        resolve_options(0, {"method": "flow"}, PLANE)


def test_a_run_says_what_its_method_takes():
    config = pyness.config.RunConfig("double-well", training={"method": "epr"}, engine="torch").resolved()
    assert config.training == {"method": "epr", "units": 100, "steps": 100, "held_out": 0.5, "device": "cpu"}
    with pytest.raises(InputError, match="points is 5, but method 'epr'"):
        pyness.config.RunConfig("double-well", training={"method": "epr", "points": 5}, engine="torch").resolved()
