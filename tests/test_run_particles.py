"""A run of particles from equations to report: it learns a score, and its files say so."""

from __future__ import annotations

import json

import pyness
from pyness.cli import main


def test_a_run_of_particles(tmp_path, capsys):
    out = tmp_path / "run"
    command = ["run", "aoup-harmonic", "--engine", "torch", "--out", str(out), "--quiet"]
    for setting in ("walkers=300", "snapshots=2", "steps=8", "batch=64", "burn_in=5.0"):
        command += ["--set", setting]
    assert main(command) == 0
    said = capsys.readouterr().out
    for words in ("no bias from the network", "defect", "EPR of the activity", "truth: activity"):
        assert words in said
    report = json.loads((out / "report.json").read_text())
    system = pyness.systems.get("aoup-harmonic")
    assert report["truth"]["activity_epr"] == system.truth.activity_epr
    assert abs(report["epr"]["value"] - system.truth.epr) < 5 * report["epr"]["stderr"]
    assert report["score_error"]["relative_square"] > 0
    assert report["defect"]["stderr"] > 0
    assert report["convention"] == "g even under time reversal"
    assert (out / "overview.png").stat().st_size > 10_000
    score = pyness.Score.load(out / "model.safetensors")
    assert score.score(pyness.Samples.load(out / "samples.zarr").states).shape == (300, 2, 4)
    assert main([*command, "--resume"]) == 0
