"""``Estimate``: a number with its standard error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

__all__ = ["Estimate"]


@dataclass(frozen=True)
class Estimate:
    """A mean over independent walkers and its standard error.

    Attributes:
        value: the estimate.
        stderr: one standard error; NaN where fewer than two independent walkers exist.
    """

    value: float
    stderr: float

    @classmethod
    def over_walkers(cls, integrand: torch.Tensor) -> Estimate:
        """Mean of ``integrand: (walkers, ...)``; snapshots of one walker are averaged first, since they correlate."""
        per_walker = integrand.double().reshape(integrand.shape[0], -1).mean(-1)
        n = per_walker.numel()
        stderr = (per_walker.std() / math.sqrt(n)).item() if n > 1 else math.nan
        return cls(per_walker.mean().item(), stderr)

    @classmethod
    def ratio(cls, numerator: torch.Tensor, denominator: torch.Tensor) -> Estimate:
        """Mean of one per-walker quantity ``(walkers,)`` over the mean of another, error by the delta method."""
        value = (numerator.mean() / denominator.mean()).item()
        residual = (numerator - value * denominator) / denominator.mean()
        return cls(value, cls.over_walkers(residual).stderr)

    @classmethod
    def of(cls, record: Mapping[str, float | None]) -> Estimate:
        """From what ``to_dict`` gives, or a file, where None stands for what is not finite."""
        value, stderr = (math.nan if record[name] is None else record[name] for name in ("value", "stderr"))
        return cls(value, stderr)

    @property
    def z(self) -> float:
        """The value in standard errors from zero."""
        return self.value / self.stderr if self.stderr > 0 else (0.0 if self.value == 0 else math.inf)

    def to_dict(self) -> dict[str, float]:
        return {"value": self.value, "stderr": self.stderr}

    def __str__(self) -> str:
        if not math.isfinite(self.stderr) or self.stderr <= 1e-13 * abs(self.value):
            return f"{self.value:.5g}"
        if self.stderr >= 1e4:
            power = math.floor(math.log10(max(abs(self.value), self.stderr)))
            return f"({Estimate(self.value / 10**power, self.stderr / 10**power)})e{power}"
        digits = max(0, 1 - math.floor(math.log10(self.stderr)))
        return f"{self.value:.{digits}f} ± {self.stderr:.{digits}f}"
