"""A run of particles from equations to report: it learns a score, and its files say so."""

from __future__ import annotations

import json

import pytest

import pyness
from pyness.cli import main


def test_a_run_of_particles(tmp_path, capsys):
    out = tmp_path / "run"
    command = ["run", "aoup-harmonic", "--engine", "torch", "--out", str(out), "--quiet"]
    for setting in ("walkers=300", "snapshots=2", "steps=8", "batch=64", "burn_in=5.0"):
        command += ["--set", setting]
    assert main(command) == 0
    said = capsys.readouterr().out
    for words in (
        "no bias from the network", "defect", "EPR of the activity", "truth: activity", "g even under time reversal",
        "all coordinates", "from active work", "persistence times", "  of the current", "of the current unresolved",
    ):  # fmt: skip
        assert words in said
    rows = [line.split("  ")[0] for line in said.splitlines() if line[:1].strip()]
    assert len(set(rows)) == len(rows)
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


PARTICLES = {
    # name: settings, which entropy production, warnings
    "aoup-ring": (
        ["walkers=40", "snapshots=2", "steps=3", "batch=16", "burn_in=1.0", "spacing=1.0"],
        "all coordinates",
    ),
    "aoup-mips": (
        [
            "n_particles=12",
            "walkers=2",
            "snapshots=1",
            "steps=2",
            "burn_in=0.2",
            "spacing=0.2",
            "loss=implicit",
            "start=uniform",
        ],
        "activity",
    ),
    "aoup-harmonic": (
        ["n_particles=3", "eps=0", "walkers=4", "snapshots=1", "steps=2", "batch=12", "burn_in=1.0", "hidden=4"],
        "activity",
    ),
}


@pytest.mark.parametrize("name", PARTICLES)
def test_every_kind_of_particles_runs_from_the_command_line(name, tmp_path, capsys):
    settings, which = PARTICLES[name]
    out = tmp_path / "run"
    command = ["run", name, "--engine", "torch", "--out", str(out), "--quiet"]
    assert main(command + [word for setting in settings for word in ("--set", setting)]) == 0
    said = capsys.readouterr().out
    report = json.loads((out / "report.json").read_text())
    assert pyness.Samples.load(out / "samples.zarr").metadata["start"] == "uniform"
    assert report["epr_of"] == which
    assert f"{which}, g even under time reversal" in said
    assert report["persistence_times"] > 0
    short = report["persistence_times"] < 3
    assert any("persistence times of the activity" in line for line in report["warnings"]) == short
    assert ("error_by_particle" in report) == (which == "activity") == ("score error each" in said)
    if which == "activity":
        each, excess = report["error_by_particle"]["mean"]["value"], report["excess"]["value"]
        assert each * report["parameters"]["n_particles"] == pytest.approx(excess, rel=1e-6)
    assert (out / "overview.png").stat().st_size > 10_000
