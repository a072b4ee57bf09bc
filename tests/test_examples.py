"""The short examples run as they stand, in an empty directory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_own_system(tmp_path):
    run = subprocess.run(
        [sys.executable, EXAMPLES / "own_system.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "epr = 105.26" in run.stdout
    assert (tmp_path / "fitzhugh-nagumo.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.validate
@pytest.mark.parametrize(("name", "said"), [("adaptive_vs_fixed", "verdict: "), ("swap_integrators", "EM:dt=0.1 ")])
def test_integrators(tmp_path, name, said):
    run = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert said in run.stdout
    assert (tmp_path / f"{name}.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.validate
def test_systems_that_are_asked_for(tmp_path):
    run = subprocess.run(
        [sys.executable, EXAMPLES / "adaptive_vs_fixed.py", "multiplicative", "aoup-ring"], cwd=tmp_path,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.count("verdict: ") == 2
    assert (tmp_path / "adaptive_vs_fixed.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.validate
def test_phase_separation(tmp_path):
    run = subprocess.run(
        [sys.executable, EXAMPLES / "mips.py", "--particles", "128", "--walkers", "4"], cwd=tmp_path,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "of the entropy production of the activities" in run.stdout
    assert all(phase in run.stdout for phase in ("gas", "interface", "dense"))
    assert (tmp_path / "mips.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.validate
def test_published_landscapes(tmp_path):
    run = subprocess.run(
        [sys.executable, EXAMPLES / "published_landscapes.py", "cell-cycle-3d"], cwd=tmp_path, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert "apparent rate of the reduced" in run.stdout
    assert (tmp_path / "cell-cycle-3d.png").read_bytes()[:4] == b"\x89PNG"
