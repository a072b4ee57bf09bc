"""What numbers options must be, and how shares are told."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from pyness.errors import InputError

__all__ = ["check_number", "check_whole", "percent"]


def check_whole(name: str, value: Any, least: int = 1) -> None:
    """A whole number of at least ``least``.

    Raises:
        InputError: anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} is {value!r}", f"give a whole number of at least {least}")


def check_number(
    name: str, value: Any, *, above: float | None = None, least: float = 0.0, below: float = math.inf
) -> None:
    """A finite number greater than ``above``, or of at least ``least`` where that is None, and less than ``below``.

    Raises:
        InputError: anything else.
    """
    number = not isinstance(value, bool) and isinstance(value, Real)
    if not number or not (least <= value < below) or (above is not None and not value > above):
        range_ = f"of at least {least:g}" if above is None else f"greater than {above:g}"
        if below < math.inf:
            range_ += f" and less than {below:g}"
        raise InputError(f"{name} is {value!r}", f"give a number {range_}")


def percent(share: float) -> str:
    """``share`` in per cent, with two figures where it is less than all, and never as a power of ten."""
    return f"{100 * share:.2g} %" if abs(share) < 0.995 else f"{100 * share:.0f} %"
