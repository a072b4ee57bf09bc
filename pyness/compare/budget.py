"""How many walkers a budget buys: a first portion tells what one costs, the next ones spend what is left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyness.compare.measure import Measurement
from pyness.errors import InputError, SamplingError

__all__ = ["Budget"]

#: Walkers of the first portion: few, but enough for an error bar.
FIRST = 32
#: The most by which a portion may outgrow all before it, while seconds are being spent.
GROWTH = 16
#: A rest below this share of the budget is left.
REST = 0.05


@dataclass(frozen=True)
class Budget:
    """What one integrator may spend on one seed; with none of the three it gets ``walkers``.

    Attributes:
        walkers: of an integrator without a budget.
        evaluations: drift evaluations.
        seconds: of sampling.

    Raises:
        InputError: both budgets, or one that is no positive number.
    """

    walkers: int
    evaluations: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.evaluations is not None and self.seconds is not None:
            raise InputError("a budget in drift evaluations and one in seconds", "give one of them")
        for name in ("evaluations", "seconds"):
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
            if value is not None and not (number and value > 0):
                what = "budget" if name == "evaluations" else name
                raise InputError(f"{what} is {value!r}", "give a number greater than 0")

    def refuse_less_than(self, label: str, evaluations: float) -> None:
        """Refuse a budget that does not even take one walker to its first save.

        Raises:
            InputError: with what would be needed.
        """
        if self.evaluations is not None and self.evaluations < evaluations:
            raise InputError(
                f"a budget of {self.evaluations:g} drift evaluations is too small for one save of {label!r}, to which "
                f"one walker takes {evaluations:.3g} or more",
                f"give {2 * FIRST * evaluations:.2g} or more",
            )

    @property
    def limits(self) -> dict[str, float | None]:
        """Keywords of ``pyness.sample`` that stop a portion which alone costs the whole budget."""
        return {"max_seconds": self.seconds, "max_evaluations": self.evaluations}

    def next(self, done: Sequence[Measurement], label: str) -> int:
        """Walkers of the next portion; 0 when the budget is spent.

        Raises:
            SamplingError: the first portion has already cost more than the budget.
        """
        if self.evaluations is None and self.seconds is None:
            return 0 if done else self.walkers
        if not done:
            return FIRST
        limit, what = (self.evaluations, "drift evaluations") if self.seconds is None else (self.seconds, "seconds")
        costs = [part.evaluations if self.seconds is None else part.seconds for part in done]
        spent, walkers = sum(costs), sum(part.walkers for part in done)
        if len(done) == 1 and spent > limit:
            raise SamplingError(
                f"{label}: {FIRST} walkers took {spent:.3g} {what}, more than the budget of {limit:g}",
                f"give at least {2 * spent:.2g}",
            )
        left = limit - spent
        if left < REST * limit:
            return 0
        # many walkers at once cost less time each than few, so that seconds are spent in growing portions
        wanted = left / costs[-1] * done[-1].walkers if self.seconds is not None else left / (spent / walkers)
        number = int(wanted if self.seconds is None else min(wanted, GROWTH * walkers))
        return number if number >= 2 else 0

    def seed(self, seed: int, portion: int) -> int:
        """The seed of a portion: the first has the seed itself, so that it is what ``pyness.sample`` draws."""
        return seed if portion == 0 else int(np.random.SeedSequence((seed, portion)).generate_state(1)[0])

    def to_dict(self) -> dict[str, Any]:
        return {"walkers": self.walkers, "evaluations": self.evaluations, "seconds": self.seconds}

    def __str__(self) -> str:
        if self.evaluations is not None:
            return f"{self.evaluations:.3g} drift evaluations"
        return f"{self.seconds:g} seconds" if self.seconds is not None else f"{self.walkers} walkers"
