"""``Limit``: the signal on which engines stop, given by hand or once a run has cost more than it may."""

from __future__ import annotations

import math
import threading
import time

from pyness.errors import InputError

__all__ = ["Limit"]


class Limit(threading.Event):
    """Set by ``set()``, or by itself once a run has taken more than it may.

    Args:
        seconds: of the clock, from ``begin()`` on; None for any number.
        evaluations: of the drift; None for any number.

    Raises:
        InputError: one that is no number greater than 0.
    """

    def __init__(self, seconds: float | None = None, evaluations: float | None = None) -> None:
        super().__init__()
        for name, value in (("max_seconds", seconds), ("max_evaluations", evaluations)):
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if value is not None and not (number and value > 0):
                raise InputError(f"{name} is {value!r}", "give a number greater than 0")
        self._given = {"seconds": seconds, "drift evaluations": evaluations}
        self._end = math.inf
        self._evaluations = math.inf if evaluations is None else float(evaluations)
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Start the clock."""
        if self._given["seconds"] is not None:
            self._end = time.perf_counter() + self._given["seconds"]

    def spend(self, evaluations: int) -> None:
        """Count drift evaluations that were made; from any thread."""
        with self._lock:
            self._evaluations -= evaluations

    @property
    def seconds(self) -> float:
        """How many are left."""
        return max(0.0, self._end - time.perf_counter())

    @property
    def evaluations(self) -> float:
        """How many are left."""
        return max(0.0, self._evaluations)

    def is_set(self) -> bool:
        return super().is_set() or self._evaluations < 0 or time.perf_counter() > self._end

    def __str__(self) -> str:
        return " or ".join(f"{value:.3g} {what}" for what, value in self._given.items() if value is not None)
