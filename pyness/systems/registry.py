"""The systems that have names: ``get``, ``names``, ``parameters`` and the decorator that adds one."""

from __future__ import annotations

import inspect
import math
import numbers
import typing
from collections.abc import Callable, Sequence
from typing import Any

from pyness.errors import InputError, UnknownNameError
from pyness.systems.system import System

__all__ = ["get", "kind", "names", "parameters", "register"]

_FACTORIES: dict[str, Callable[..., System]] = {}


def register(name: str) -> Callable[[Callable[..., System]], Callable[..., System]]:
    """Enter a factory under ``name``. Its annotated keyword parameters become the system's parameters."""

    def enter(factory: Callable[..., System]) -> Callable[..., System]:
        _FACTORIES[name] = factory
        return factory

    return enter


def names() -> list[str]:
    """All registered names, sorted."""
    return sorted(_FACTORIES)


def parameters(name: str) -> dict[str, Any]:
    """The parameters of a registered system with their default values.

    Raises:
        UnknownNameError: no such system.
    """
    return {key: p.default for key, p in inspect.signature(_factory(name)).parameters.items()}


def kind(name: str) -> type[System]:
    """What the factory of a registered system says it makes: ``System`` or a class of its own.

    Raises:
        UnknownNameError: no such system.
    """
    return typing.get_type_hints(_factory(name)).get("return", System)


def get(name: str, /, **overrides: Any) -> System:
    """The registered system ``name``; keyword parameters override the published ones.

    Example:
        >>> get("double-well", D=0.05).diffusion.scalar
        0.05

    Raises:
        UnknownNameError: no such system or parameter (the nearest names are offered).
        InputError: a parameter of the wrong type.
    """
    factory = _factory(name)
    hints = typing.get_type_hints(factory)
    known = inspect.signature(factory).parameters
    for key in overrides:
        if key not in known:
            raise UnknownNameError.of(f"parameter of system {name!r}:", key, known)
    converted = {key: _convert(name, key, value, hints.get(key, Any)) for key, value in overrides.items()}
    return factory(**converted)


def _factory(name: str) -> Callable[..., System]:
    if name not in _FACTORIES:
        raise UnknownNameError.of("system", name, _FACTORIES)
    return _FACTORIES[name]


def _convert(system: str, key: str, value: Any, hint: Any) -> Any:
    wrong = InputError(f"parameter {key} of system {system!r} is {value!r}", f"give {_in_words(hint)}")
    if hint is float:
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
            raise wrong
        return float(value)
    if hint is int:
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not float(value).is_integer():
            raise wrong
        return int(value)
    if hint is str and not isinstance(value, str):
        raise wrong
    if isinstance(value, str) and hint not in (str, Any):
        raise wrong
    structured = isinstance(value, (Sequence, type(None))) or hasattr(value, "shape")
    if hint not in (str, Any, float, int) and not structured and not isinstance(value, (int, float)):
        raise wrong
    return value


def _in_words(hint: Any) -> str:
    """What an annotation asks for, as one would say it."""
    plain = {float: "a finite number", int: "a whole number", str: "text"}
    if hint in plain:
        return plain[hint]
    parts = typing.get_args(hint)
    if isinstance(typing.get_origin(hint), type) and issubclass(typing.get_origin(hint), Sequence):
        return "a list of numbers" if parts[0] in plain else "a matrix, a list of rows"
    return " or ".join(_in_words(part) for part in parts) or str(hint)
