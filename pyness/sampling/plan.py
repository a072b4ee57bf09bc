"""``Plan``: how long, how many, how fine; plain values, validated where they are given."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from pyness.devices import usable
from pyness.errors import InputError
from pyness.numbers import check_whole

__all__ = ["DTYPES", "Plan"]

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Plan:
    """What a sampling run does, apart from the system and the algorithm.

    Snapshots are taken at ``burn_in + spacing``, ``burn_in + 2 spacing``, ...; folds at walls are recorded from
    the end of the burn-in to the last snapshot. Times are in the system's own unit.

    Attributes:
        walkers: number of independent walkers.
        burn_in: time that is thrown away first.
        snapshots: states kept of each walker.
        spacing: time between them.
        dt: the step of a fixed-step method, the first step tried of an adaptive one. A segment that is no multiple
            of it is divided into equal steps a little shorter.
        rtol: error an adaptive method allows itself in a step, in units of each coordinate's fluctuation scale
            (``pyness.sampling.scale``). At the defaults SOSRA (1e-2) makes the variance of an Ornstein-Uhlenbeck
            process 0.1 % too small whatever its rate and scale, ImplicitEM (1e-3), which is damped, 0.3 %.
        atol: the same as an absolute number; the two are added.
        burn_in_dt: a coarser step for the burn-in of a fixed-step method, all but its last hundredth (``FINE``): what
            is slow has relaxed by then, and what is fast forgets the coarse step in that hundredth.
        seed: whole number, not negative.
        dtype: ``"float32"`` or ``"float64"``.
        device: a torch device, ``"cpu"`` or ``"cuda"``.
        max_failed: largest fraction of walkers that may blow up before the run counts as failed.

    Raises:
        InputError: any of them out of range or of the wrong kind, with the value.
    """

    FINE: ClassVar[float] = 0.01

    walkers: int
    burn_in: float
    snapshots: int
    spacing: float
    dt: float | None = None
    rtol: float | None = None
    atol: float | None = None
    burn_in_dt: float | None = None
    seed: int = 0
    dtype: str = "float32"
    device: str = "cpu"
    max_failed: float = 1e-3

    def __post_init__(self) -> None:
        for name, least in (("walkers", 1), ("snapshots", 1), ("seed", 0)):
            check_whole(name, getattr(self, name), least)
        for name in ("burn_in", "spacing", "dt", "rtol", "atol", "burn_in_dt", "max_failed"):
            value = getattr(self, name)
            if value is None and name in ("dt", "rtol", "atol", "burn_in_dt"):
                continue
            may_be_zero = name in ("burn_in", "atol", "max_failed")
            object.__setattr__(self, name, _number(name, value, may_be_zero))
        if self.max_failed > 1:
            raise InputError(f"max_failed is {self.max_failed}", "give a fraction between 0 and 1")
        if self.dtype not in DTYPES:
            raise InputError(f"dtype is {self.dtype!r}", f"choose from {', '.join(DTYPES)}")
        object.__setattr__(self, "device", str(usable(self.device)))

    @property
    def torch_dtype(self) -> torch.dtype:
        return DTYPES[self.dtype]

    @property
    def elapsed(self) -> float:
        """Time during which folds are recorded, for one walker."""
        return self.snapshots * self.spacing

    @property
    def times(self) -> list[float]:
        """When the snapshots are taken, counted from the start."""
        return [self.burn_in + (k + 1) * self.spacing for k in range(self.snapshots)]

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def _number(name: str, value: Any, may_be_zero: bool) -> float:
    number = not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value)
    if not number or value < 0 or (value == 0 and not may_be_zero):
        raise InputError(f"{name} is {value!r}", f"give a number {'of at least' if may_be_zero else 'greater than'} 0")
    return float(value)
