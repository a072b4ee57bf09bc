"""The options of a training: what each method takes, what is left open, what is out of range."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from pyness.errors import InputError, UnknownNameError
from pyness.landscape.collective import Collective
from pyness.numbers import check_whole
from pyness.systems import System

__all__ = ["LOW", "METHODS", "resolve_options"]

#: Up to this dimension the network starts from wider noise, beyond it from a mixture of Gaussians.
LOW = 4
_WIDENING = 4.0
#: A step costs the square of the number of weights, which is that of the units times the dimension: no more inputs of
#: units than these where nothing else is said, but always some units. Beyond the plane there may be more than in it;
#: they take longer to settle: on the 3-D cell cycle 100 of them end at a relative error of 0.067, 150 at 0.043.
_UNIT_INPUTS, _FEWEST = 480, 20
_PLANE, _MORE = 2, 1.5
#: Beyond so many dimensions every state is far from all others, and the contrast soon learns by heart which they are:
#: with 52 variables the residual is least after seven steps and three times that after 25.
_MANY, _FEW_STEPS = 24, 10
#: What each method minimises takes these options, and no others.
METHODS: dict[str, dict[str, Any]] = {
    "enhanced": {"units": 100, "steps": 100, "points": 10_000, "contrast": 40_000, "widening": None},
    "epr": {"units": 100, "steps": 100},
    "hjb": {"units": 100, "steps": 100, "points": 10_000, "widening": None},
    "flow": {"units": 64, "steps": 1000},
}
_COMMON = ("method", "held_out", "reduce", "device")
_LIBRARY = "zuko"
#: Whole numbers, and the least each may be: fewer points say nothing, nor how uncertain they are.
_WHOLE = {"units": 1, "steps": 1, "points": 100, "contrast": 100}


def resolve_options(seed: int, options: Mapping[str, Any], system: System) -> dict[str, Any]:
    """Options of ``fit_landscape`` with nothing left open; called before anything is sampled.

    Args:
        options: by name; None, or absent, is the method's default.
        system: what is to be learnt.

    Raises:
        UnknownNameError: no such method, or no such coordinate to reduce to (the nearest names are offered).
        InputError: an option out of range or of another method, named; a library that is not installed.
    """
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InputError(f"seed is {seed!r}", "give a whole number")
    method = options.get("method", "enhanced")
    if method not in METHODS:
        raise UnknownNameError.of("method", str(method), METHODS)
    if method == "flow" and importlib.util.find_spec(_LIBRARY) is None:
        raise InputError(f"method 'flow' needs {_LIBRARY}, which is not installed", "pip install 'pyness[flow]'")
    own = METHODS[method]
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in own and name not in _COMMON:
            takes = ", ".join(own)
            raise InputError(f"{name} is {given[name]!r}, but method {method!r} has no {name}", f"it takes {takes}")
    for name, least in _WHOLE.items():
        check_whole(name, given.get(name, least), least)
    widening, held_out = given.get("widening", 2), given.get("held_out", 0.5)
    if isinstance(widening, bool) or not isinstance(widening, (int, float)) or not widening > 1:
        raise InputError(f"widening is {widening!r}", "give a number above 1")
    if isinstance(held_out, bool) or not isinstance(held_out, (int, float)) or not 0 < held_out < 1:
        raise InputError(f"held_out is {held_out!r}", "give a fraction between 0 and 1")
    dim = system.dim if given.get("reduce") is None else Collective(system, given["reduce"]).dim
    resolved = {"method": method, **own, "held_out": 0.5} | given
    if "units" not in given and method != "flow":
        most = own["units"] if dim <= _PLANE else int(_MORE * own["units"])
        resolved["units"] = max(_FEWEST, min(most, _UNIT_INPUTS // dim))
    if "steps" not in given and method == "enhanced" and dim > _PLANE:
        resolved["steps"] = int(_MORE * own["steps"]) if dim <= LOW else own["steps"] if dim <= _MANY else _FEW_STEPS
    if "widening" in own and resolved["widening"] is None:
        # in many dimensions much wider states are nearly all far from the samples
        resolved["widening"] = _WIDENING if dim <= LOW else 1 + 6 / dim
    return resolved
