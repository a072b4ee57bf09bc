"""Runs from equations to report by other methods than the default: reduced coordinates, a flow."""

from __future__ import annotations

import json

import pytest

from pyness.landscape import assembly as module

SAMPLING = ("walkers=300", "burn_in=5", "snapshots=2", "spacing=1", "EM:dt=0.02")


@pytest.fixture(autouse=True)
def _few_widened_states(monkeypatch):
    from pyness.landscape import reduced

    monkeypatch.setattr(module, "CLOUD", 500)
    monkeypatch.setattr(reduced, "CLOUD", 500)


def _run(pyness_, out, *settings: str) -> dict:
    *sampling, solver = SAMPLING
    chosen = [part for setting in (*sampling, *settings) for part in ("--set", setting)]
    arguments = ("--engine", "torch", "--solver", solver, "--out", out, "--quiet", *chosen)
    code, printed, error = pyness_("run", "ornstein-uhlenbeck", *arguments)
    assert code == 0, error
    return json.loads((out / "report.json").read_text()) | {"printed": printed}


def test_reduced_coordinates(pyness_, tmp_path):
    small = ("units=6", "points=300", "contrast=400", "steps=4")
    report = _run(pyness_, tmp_path / "run", 'reduce=["x1", "x3"]', *small)
    assert report["reduced_to"] == ["x1", "x3"]
    # the rate that is quoted is that of all three coordinates
    assert abs(report["epr"]["value"] - 1.887) < 4 * report["epr"]["stderr"] + 0.05
    assert report["apparent_epr"]["value"] < report["epr"]["value"]
    assert report["laplacian"] == "closed form, one forward pass"
    assert "potential_error" not in report
    assert "apparent rate" in report["printed"]
    assert (tmp_path / "run" / "overview.png").stat().st_size > 1000
    assert 'reduce = ["x1", "x3"]' in (tmp_path / "run" / "run.toml").read_text()
    code, printed, _ = pyness_("run", tmp_path / "run" / "run.toml", "--out", tmp_path / "run", "--resume", "--json")
    assert code == 0
    assert json.loads(printed)["apparent_epr"] == report["apparent_epr"]


def test_flow(pyness_, tmp_path):
    pytest.importorskip("zuko")
    report = _run(pyness_, tmp_path / "run", "method=flow", "units=8", "steps=60")
    assert report["method"] == "flow"
    assert report["gradient_error"]["value"] < 1
    assert report["potential_error"]["points_are"] == "samples"
    assert "widening" not in (tmp_path / "run" / "run.toml").read_text()
    assert not (tmp_path / "run" / "training.png").exists()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ('reduce=["x1", "z"]', "unknown coordinate of system 'ornstein-uhlenbeck': 'z'"),
        ("method=flows", "unknown method 'flows'"),
    ],
)
def test_refused_before_anything_is_sampled(pyness_, tmp_path, setting, words):
    code, _, error = pyness_("run", "ornstein-uhlenbeck", "--out", tmp_path / "run", "--set", setting)
    assert code == 2
    assert words in error
    assert not (tmp_path / "run").exists()
