"""Whether two ways to compute the same field agree, at random points."""

from __future__ import annotations

import numpy as np

from pyness.errors import TranslationError

__all__ = ["refuse_disagreement"]


def refuse_disagreement(
    what: str, points: np.ndarray, found: np.ndarray, expected: np.ndarray, rtol: float, remedy: str
) -> None:
    """Compare ``found`` with torch's ``expected`` at ``points: (n, d)``; arrays ``(n, ...)``.

    The scale of the comparison is the largest entry at a point, since sums of large terms that cancel leave errors
    of that size. NaN agrees with NaN.

    Raises:
        TranslationError: with the worst point and both values there.
    """
    n = len(points)
    found, expected = np.asarray(found, float).reshape(n, -1), np.asarray(expected, float).reshape(n, -1)
    with np.errstate(all="ignore"):
        error = np.abs(found - expected) / (np.nanmax(np.abs(expected), axis=1, keepdims=True, initial=1e-12))
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    error = np.where(same, 0.0, np.where(np.isnan(error), np.inf, error)).max(axis=1)
    worst = int(error.argmax())
    if error[worst] > rtol:
        raise TranslationError(
            f"{what} at x = {_short(points[worst])} is {_short(found[worst])} in Julia and "
            f"{_short(expected[worst])} in torch",
            remedy,
        )


def _short(values: np.ndarray) -> str:
    shown = ", ".join(f"{v:.6g}" for v in values[:8])
    return f"[{shown}{', ...' if len(values) > 8 else ''}]"
