"""``Report``: every number of a steady state with its error bar, and what speaks against trusting it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyness.estimators.estimate import Estimate
from pyness.estimators.stationarity import Stationarity
from pyness.estimators.topography import topography
from pyness.files import strict, write_whole

__all__ = ["Report"]


@dataclass(frozen=True)
class Report:
    """What a steady state is made of. Rates in k_B per unit time.

    Attributes:
        system: name of the system.
        epr: the entropy production rate to quote: the midpoint, in which the network is a control variate only.
        epr_upper, epr_lower: bounds from the learnt velocity, off by the gradient error on either side.
        epr_score_free: from samples and drift alone.
        gradient_error: the certificate ``E|grad V - grad U|^2 / E|grad U|^2`` (in the norm of ``D``), no truth needed.
        stationarity: the test of the samples.
        warnings: one line each.
        states: how many states the averages are over.
        defect: of a score, ``E[v . (s_t - s)]`` over coordinates with noise; None for a landscape.
        apparent_epr: of reduced coordinates, what their closed dynamics produces, at most the full rate; else None.
    """

    system: str
    epr: Estimate
    epr_upper: Estimate
    epr_lower: Estimate
    epr_score_free: Estimate
    gradient_error: Estimate
    stationarity: Stationarity
    warnings: tuple[str, ...] = ()
    states: int = 0
    defect: Estimate | None = None
    apparent_epr: Estimate | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As strict JSON has it: what is not finite, the error of what has none, is None."""
        names = ("epr", "epr_upper", "epr_lower", "epr_score_free", "gradient_error")
        result: dict[str, Any] = {"system": self.system}
        result |= {name: getattr(self, name).to_dict() for name in names}
        for name in ("defect", "apparent_epr"):
            if getattr(self, name) is not None:
                result[name] = getattr(self, name).to_dict()
        result["stationarity"] = self.stationarity.to_dict()
        result["states"] = self.states
        result["warnings"] = list(self.warnings)
        return strict(result | dict(self.extra))

    def to_json(self, path: str | Path) -> None:
        """Write the report.

        Raises:
            StoreError: the file cannot be written.
        """
        write_whole({path: json.dumps(self.to_dict(), indent=2) + "\n"}, "give a path that can be written")

    def _definition(self) -> list[tuple[str, str]]:
        """Which entropy production a score's report quotes, and from what."""
        names = {"epr_of": "  of", "convention": "  convention", "epr_from": "  from"}
        return [(name, str(self.extra[key])) for key, name in names.items() if key in self.extra]

    def _of_score(self) -> list[tuple[str, str]]:
        extra = self.extra
        rows = [("score error, relative to E|s|^2", str(self.gradient_error))]
        if "error_against_current" in extra:
            rows.append(("  relative to the EPR", _text(extra["error_against_current"])))
        rows.append(("defect", str(self.defect)))
        for name, part in extra.get("parts", {}).items():
            low, high, learnt = (_text(part[key]) for key in ("lower", "upper", "naive"))
            rows.append((f"EPR of the {name}", f"from {low} to {high}; as learnt {learnt}"))
        if "persistence_times" in extra:
            rows.append(("persistence times covered", f"{extra['persistence_times']:.3g}"))
        return rows

    def __str__(self) -> str:
        rows = [
            ("entropy production rate", str(self.epr)),
            ("  upper bound", str(self.epr_upper)),
            ("  lower bound", str(self.epr_lower)),
            ("  without a network", str(self.epr_score_free)),
        ]
        if self.defect is None:
            rows.append(("gradient error", str(self.gradient_error)))
        else:
            rows = [rows[0], *self._definition(), *rows[1:], *self._of_score()]
        if self.apparent_epr is not None:
            rows.append(("apparent rate of the reduced", str(self.apparent_epr)))
        rows += [(name, f"{value} {what}") for name, value, what in topography(self.extra)]
        width = max(len(name) for name, _ in rows)
        lines = [f"{self.system}, {self.states} states", *(f"{name:<{width}}  {value}" for name, value in rows)]
        lines.append(str(self.stationarity))
        lines += [f"warning: {warning}" for warning in self.warnings]
        return "\n".join(lines)


def _text(estimate: Mapping[str, float]) -> str:
    return str(Estimate(**estimate))
