"""Non-equilibrium steady states from equations of motion: landscape, current and entropy production, with error bars.

Importing this package starts neither torch nor Julia; each public name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Box": "pyness.systems",
    "System": "pyness.systems",
    "sample": "pyness.sampling",
    "Samples": "pyness.sampling",
    "Plan": "pyness.sampling",
    "Estimate": "pyness.estimators",
    "Report": "pyness.estimators",
    "stationarity": "pyness.estimators",
    "score_free_epr": "pyness.estimators",
    "Landscape": "pyness.landscape",
    "fit_landscape": "pyness.landscape",
    "Score": "pyness.score",
    "fit_score": "pyness.score",
    "scan_alpha": "pyness.score",
    "Comparison": "pyness.compare",
    "compare_solvers": "pyness.compare",
}
_ROOMS = (
    "systems",
    "solvers",
    "sampling",
    "estimators",
    "landscape",
    "score",
    "grid",
    "compare",
    "plots",
    "errors",
    "config",
    "run",
    "cli",
)

__all__ = [*_HOMES, *_ROOMS]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _ROOMS:
        return importlib.import_module(f"pyness.{name}")
    raise AttributeError(f"module 'pyness' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
