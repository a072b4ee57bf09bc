"""The report of a run as a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyness.cli.tables import number, pairs, show_table

__all__ = ["show_report", "show_suite"]

ESTIMATES = {
    "epr": ("entropy production rate", "k_B per unit time; the network is a control variate only"),
    "epr_upper": ("  upper bound", "both bounds close on it as grad V nears grad U"),
    "epr_lower": ("  lower bound", ""),
    "epr_score_free": ("  without a network", "from the samples and the drift alone"),
    "gradient_error": ("gradient error", "E|grad V - grad U|^2 / E|grad U|^2, no truth needed"),
    "apparent_epr": ("apparent rate", "of the closed dynamics of the reduced coordinates, at most the full one"),
}


# what a score's report says otherwise: nothing in it assumes a gradient
OF_SCORES = {
    "epr": ("entropy production rate", "k_B per unit time; no bias from the network"),
    "epr_upper": ("  upper bound", "right for every score: its defect is taken off"),
    "epr_score_free": ("  without a score", "E[F . D^-1 F + div F], or E[lap U] of activities alone; no controls"),
    "gradient_error": ("score error", "E|s_t - s|^2 / E|s|^2 in the norm of D, no truth needed"),
    "error_against_current": ("  of the current", "E|s_t - s|^2 / EPR: what of the current is not resolved, stricter"),
    "defect": ("defect", "E[v . (s_t - s)], 0 for the truth and, where all have noise, for a gradient"),
}


def show_report(report: Mapping[str, Any], out: Path) -> None:
    """Numbers with their errors, what is known of the truth, where the time went, and every warning."""
    from pyness.estimators.topography import topography

    truth, error, sampling = report.get("truth"), report.get("potential_error"), report["sampling"]
    said = ESTIMATES | OF_SCORES if report.get("defect") else ESTIMATES
    rows = [[name, _with_error(report[key]), what] for key, (name, what) in said.items() if report.get(key)]
    if "epr_from" in report:
        defined = f"{report['epr_of']}, {report['convention']}"
        rows.insert(1, ["  which", defined, f"from {report['epr_from']}, with control variates where walkers allow"])
    for name, part in report.get("parts", {}).items():
        low, high, learnt = (_with_error(part[key]) for key in ("lower", "upper", "naive"))
        rows.append([f"EPR of the {name}", f"from {low}", f"to {high}, both bounds; as learnt {learnt}"])
    for name, found in report.get("regions", {}).items():
        share = f"{_with_error(found['share'])} of the activity part"
        rows.append([f"  {name}", _with_error(found["particles"]), f"of the particles, {share}"])
    if "error_by_particle" in report:
        mean, *ends = (_with_error(report["error_by_particle"][key]) for key in ("mean", "least", "most"))
        rows.append(["score error each", mean, f"gamma E|s_t - s|^2 of a particle; least {ends[0]}, most {ends[1]}"])
    if "persistence_times" in report:
        rows.append(["persistence times", number(report["persistence_times"]), "of the activity, in each trajectory"])
    rows += topography(report)
    if truth and "epr" in truth:
        rows.append(["truth: EPR", _with_error({"value": truth["epr"], "stderr": truth["epr_error"]}), truth["source"]])
        rows.append(["  deviation", _deviation(report["epr"], truth), "standard errors"])
    if truth and "activity_epr" in truth:
        rows.append(["truth: activity", number(truth["activity_epr"]), "E[v_g^2] / gamma"])
    if report.get("score_error"):
        rows.append(["truth: score", number(report["score_error"]["relative_square"]), "squared distance, relative"])
    if error:
        weighted = number(error["rrmse_weighted"])
        rows.append(["truth: potential", number(error["rrmse"]), f"rRMSE; {weighted} weighted by density, best shift"])
        if "basin_offset" in error:
            rows.append(["  between basins", number(error["basin_offset"]), "offset in D"])
    found = report["stationarity"]
    if found.get("judged", True):
        verdict = "passed" if found["passed"] else "NOT passed"
        what = f"largest |z| of E[L g], {found['worst']}; chance explains {found['threshold']:.2f}"
        rows.append(["stationarity", f"{verdict}, {found['max_z']:.2f}", what])
    else:
        rows.append(["stationarity", "not judged", "a single walker has no standard errors"])
    if found.get("relaxation"):
        rows.append(["  slow exchange", *_exchange(found["relaxation"])])
    steps = sampling.get("steps_accepted")
    if steps is not None:
        rejected, hits, failed = sampling["steps_rejected"], sampling["wall_hits"], sampling["failed_walkers"]
        rows.append(
            ["steps", f"{steps:.3g}", f"rejected {rejected:.3g}, wall hits {hits:.3g}, failed walkers {failed}"]
        )
    seconds = {stage: round(spent, 1) for stage, spent in report["seconds"].items()}
    rows.append(["seconds", f"{sum(seconds.values()):.1f}", pairs(seconds)])
    show_table([report["system"], report["solver"], f"engine {report['engine']}, seed {report['seed']}, {out}"], rows)
    for warning in report["warnings"]:
        print(f"warning: {warning}")


def show_suite(results: Mapping[str, Mapping[str, Any]]) -> None:
    """One line for each system, then what went wrong or is warned of."""
    rows = []
    for name, result in results.items():
        if "error" in result:
            rows.append([name, "FAILED", "-", "-", "-", "-"])
            continue
        truth = result.get("truth", {}).get("epr")
        seconds = f"{sum(result['seconds'].values()):.1f}"
        error = _with_error(result["gradient_error"]) if result.get("gradient_error") else "-"
        rows.append([name, result["solver"], _with_error(result["epr"]), number(truth), error, seconds])
    show_table(["system", "solver", "EPR", "truth", "gradient error", "seconds"], rows)
    for name, result in results.items():
        lines = [result["error"]] if "error" in result else result["warnings"]
        for line in lines:
            print(f"{name}: {line}")


def _exchange(found: Mapping[str, Any]) -> tuple[str, str]:
    if found["time"] is None:
        return "none seen", "no walker changed sides"
    between = {"halves": found["halves"], "starts": found.get("starts")}
    what = [f"between {name} {_with_error(shift)}" for name, shift in between.items() if shift is not None]
    return f"{found['covered']:.3g}", "relaxation times covered; populations " + ", ".join(what)


def _with_error(estimate: Mapping[str, float | None]) -> str:
    from pyness.estimators.estimate import Estimate

    value, stderr = estimate["value"], estimate["stderr"]
    return "-" if value is None else str(Estimate(value, float("nan") if stderr is None else stderr))


def _deviation(epr: Mapping[str, float | None], truth: Mapping[str, float]) -> str:
    if epr["value"] is None or not epr["stderr"]:
        return "-"
    return f"{(epr['value'] - truth['epr']) / (epr['stderr'] ** 2 + truth['epr_error'] ** 2) ** 0.5:+.2f}"
