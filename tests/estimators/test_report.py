"""``Report``: what goes to the file and what is printed."""

from __future__ import annotations

import json

import pytest

import pyness
from pyness.errors import StoreError
from pyness.estimators import Estimate, Report
from tests.estimators.exact import CASES


@pytest.fixture(scope="module")
def report():
    case = CASES["double-well"]()
    names = ("epr", "epr_upper", "epr_lower", "epr_score_free", "gradient_error")
    estimates = {name: Estimate(2.0 + i, 0.1) for i, name in enumerate(names)}
    test = pyness.stationarity(case.system, case.samples(1000, seed=0))
    return Report("double-well", **estimates, stationarity=test, warnings=("mind the step",), states=1000)


def test_file(report, tmp_path):
    path = tmp_path / "report.json"
    report.to_json(path)
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record == json.loads(json.dumps(report.to_dict()))
    assert record["epr"] == {"value": 2.0, "stderr": 0.1}
    assert record["gradient_error"]["value"] == 6.0
    assert record["stationarity"]["passed"] is True
    assert (record["system"], record["states"], record["warnings"]) == ("double-well", 1000, ["mind the step"])
    assert "defect" not in record


def test_what_is_not_finite_is_null(report, tmp_path):
    """NaN, the error of a height by a method without error bars, is no JSON."""
    from dataclasses import replace

    nan = float("nan")
    basins = {"basins": [{"at": (0.0, 1.0), "height": Estimate(1.0, nan).to_dict()}]}
    replace(report, epr_lower=Estimate(nan, nan), extra=basins).to_json(tmp_path / "report.json")

    def refuse(word):
        raise ValueError(word)

    record = json.loads((tmp_path / "report.json").read_text(), parse_constant=refuse)
    assert record["epr_lower"] == {"value": None, "stderr": None}
    assert record["basins"] == [{"at": [0.0, 1.0], "height": {"value": 1.0, "stderr": None}}]


def test_text(report):
    text = str(report)
    assert "double-well, 1000 states" in text
    for line in ("entropy production rate", "upper bound", "lower bound", "without a network", "gradient error"):
        assert line in text
    assert "2.00 ± 0.10" in text
    assert text.splitlines()[-1] == "warning: mind the step"


def test_defect_is_shown_where_there_is_one(report):
    from dataclasses import replace

    scored = replace(report, defect=Estimate(0.3, 0.01), extra={"seed": 3})
    assert scored.to_dict()["defect"] == {"value": 0.3, "stderr": 0.01}
    assert scored.to_dict()["seed"] == 3
    assert "defect" in str(scored)


def test_text_of_a_score_says_which_entropy_production(report):
    from dataclasses import replace

    estimate = {"value": 0.3, "stderr": 0.01}
    extra = {
        "convention": "g even under time reversal", "epr_of": "activity", "epr_from": "E[lap U]",
        "error_against_current": {"value": 0.21, "stderr": 0.02}, "persistence_times": 0.5,
        "parts": {"activity": dict.fromkeys(("lower", "upper", "naive", "midpoint"), estimate)},
    }  # fmt: skip
    lines = str(replace(report, defect=Estimate(0.3, 0.01), extra=extra)).splitlines()
    said = {line[:30].strip(): line[30:].strip() for line in lines}
    assert said["of"] == "activity"
    assert said["convention"] == "g even under time reversal"
    assert said["from"] == "E[lap U]"
    assert said["relative to the EPR"] == "0.210 ± 0.020"
    assert said["EPR of the activity"] == "from 0.300 ± 0.010 to 0.300 ± 0.010; as learnt 0.300 ± 0.010"
    assert said["persistence times covered"] == "0.5"
    assert "gradient error" not in said
    assert len([line for line in lines if line.startswith("score error")]) == 1


def test_text_of_a_landscape_has_its_basins_and_barriers(report):
    from dataclasses import replace

    def basin(at, height, share):
        return {"at": [at] * 6, "height": {"value": height, "stderr": None}, "population": share.to_dict()}

    def saddle(there, back, joins=True):
        barriers = [Estimate(there, 0.1).to_dict(), {"value": back, "stderr": float("nan")}]
        return {"between": [0, 1], "at": [0.5] * 6, "barriers": barriers, "exact": True, "joins": joins}

    one = basin(0.25, 0.0, Estimate(0.6, 0.01))
    found = {"basins": [one, basin(2.0, 0.3, Estimate(0.4, 0.01))], "saddles": [saddle(2.0, 1.7), saddle(9, 9, False)]}
    lines = [" ".join(line.split()) for line in str(replace(report, extra=found)).splitlines()]
    assert "basin 1 0.600 ± 0.010 of the samples; minimum at (0.25, 0.25, 0.25, 0.25, ...)" in lines
    assert "basin 2 0.400 ± 0.010 of the samples; minimum at (2, 2, 2, 2, ...)" in lines
    assert [line for line in lines if "barrier" in line] == [
        "1 to 2 2.00 ± 0.10 barrier; back 1.7; at (0.5, 0.5, 0.5, 0.5, ...)"
    ]
    # a single basin is no news
    assert "basin" not in str(replace(report, extra={"basins": [one], "saddles": []}))


def test_a_path_that_cannot_be_written(report, tmp_path):
    with pytest.raises(StoreError, match="cannot write"):
        report.to_json(tmp_path / "missing" / "report.json")
