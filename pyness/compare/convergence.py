"""From the same method at several steps or tolerances: how fast its averages converge, and to what."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import chi2 as distribution

from pyness.estimators import Estimate

__all__ = ["Convergence", "converge"]

#: Orders that are tried.
ORDERS = np.arange(0.25, 4.01, 0.05)


@dataclass(frozen=True)
class Convergence:
    """Attributes:
    quantity: which average.
    knob: ``"dt"``, ``"rtol"`` or ``"atol"``.
    points: ``(knob, value, stderr)`` of each member, finest first.
    order: ``p`` of ``a + b knob^p`` fitted to all points; None where no trend is seen, an error of NaN where it is
        assumed.
    extrapolated: ``a``, the value at zero, with its error.
    """

    quantity: str
    knob: str
    points: tuple[tuple[float, float, float], ...]
    order: Estimate | None
    extrapolated: Estimate

    def to_dict(self) -> dict[str, Any]:
        return {
            "quantity": self.quantity,
            "knob": self.knob,
            "points": [list(point) for point in self.points],
            "order": None if self.order is None else self.order.to_dict(),
            "extrapolated": self.extrapolated.to_dict(),
        }

    def __str__(self) -> str:
        if self.order is None:
            how = f"no trend in {self.knob} beyond the errors"
        elif math.isnan(self.order.stderr):
            how = f"order {self.order.value:g} assumed"
        else:
            how = f"order {self.order}"
        return f"{self.quantity} -> {self.extrapolated} as {self.knob} -> 0 ({how})"


def converge(
    quantity: str, knob: str, steps: Sequence[float], values: Sequence[Estimate], nominal: float | None
) -> Convergence:
    """Fit ``a + b step^p`` by weighted least squares: the order, and the value at zero.

    The order comes from all members, if there are three; two cannot tell it. The value at zero takes ``p`` from the
    method's record where it has one, and of the members as many of the finest as that line fits, so that a step too
    coarse for any order does not spoil it; else ``p`` is the fitted one. Where all members agree within their errors
    no order is stated, and the value is their weighted mean.

    Args:
        steps: at least two different ones.
        nominal: the order that the method has by its record, or None.
    """
    order = np.argsort(steps)
    h = np.array(steps, dtype=float)[order]
    y = np.array([values[i].value for i in order])
    error = np.array([values[i].stderr for i in order])
    points = tuple(zip(h.tolist(), y.tolist(), error.tolist(), strict=True))
    h = h / h.max()
    if _acceptable(_chi2_flat(y, error), len(h) - 1):
        return Convergence(quantity, knob, points, None, _flat(y, error))
    fitted, limit = _free(h, y, error) if len(h) > 2 else (Estimate(nominal or 1.0, math.nan), None)
    if nominal is not None or limit is None:
        limit = _asymptotic(h, y, error, nominal or 1.0)
    return Convergence(quantity, knob, points, fitted, limit)


def _free(h: np.ndarray, y: np.ndarray, error: np.ndarray) -> tuple[Estimate, Estimate]:
    """The order that fits best, and the value at zero with it."""
    fits = [_line(h, y, error, p) for p in ORDERS]
    chi2 = np.array([fit.chi2 for fit in fits])
    best = int(chi2.argmin())
    # one standard error: where chi^2 rises by one, in units of what is left of it where no order fits
    within = chi2 <= chi2[best] + max(1.0, chi2[best] / max(1, len(h) - 3))
    orders, limits = ORDERS[within], np.array([fit.value for fit in fits])[within]
    uncertain = max(0.5 * (orders[-1] - orders[0]), 0.5 * (ORDERS[1] - ORDERS[0]))
    error_of_limit = math.hypot(fits[best].error, 0.5 * (limits.max() - limits.min()))
    return Estimate(float(ORDERS[best]), float(uncertain)), Estimate(fits[best].value, error_of_limit)


def _asymptotic(h: np.ndarray, y: np.ndarray, error: np.ndarray, p: float) -> Estimate:
    """The value at zero from as many of the finest members as lie on ``a + b h^p``, with the error of the finest two.

    That members lie on the line within their errors does not prove that their limit does. Where only two are left
    nothing says that they are on the line at all, and half of the correction counts as an error too.
    """
    two = _line(h[:2], y[:2], error[:2], p)
    for count in range(len(h), 2, -1):
        fit = _line(h[:count], y[:count], error[:count], p)
        if _acceptable(fit.chi2, count - 2):
            return Estimate(fit.value, two.error)
    return Estimate(two.value, math.hypot(two.error, 0.5 * (two.value - y[0])))


def _acceptable(chi2: float, freedom: int) -> bool:
    """Whether chance leaves so much, at 5 %."""
    return bool(distribution.sf(chi2, freedom) > 0.05)


@dataclass(frozen=True)
class _Fit:
    value: float
    error: float
    slope: float
    slope_error: float
    chi2: float


def _line(h: np.ndarray, y: np.ndarray, error: np.ndarray, p: float) -> _Fit:
    """``y = a + b h^p``, weighted by ``1 / error^2``."""
    design = np.stack([np.ones_like(h), h**p], axis=1) / error[:, None]
    covariance = np.linalg.inv(design.T @ design)
    a, b = covariance @ design.T @ (y / error)
    chi2 = float(np.square(design @ np.array([a, b]) - y / error).sum())
    return _Fit(float(a), math.sqrt(covariance[0, 0]), float(b), math.sqrt(covariance[1, 1]), chi2)


def _flat(y: np.ndarray, error: np.ndarray) -> Estimate:
    weight = error**-2
    return Estimate(float((weight * y).sum() / weight.sum()), float(weight.sum() ** -0.5))


def _chi2_flat(y: np.ndarray, error: np.ndarray) -> float:
    return float(np.square((y - _flat(y, error).value) / error).sum())
