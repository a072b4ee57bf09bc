"""A stand-in for Julia, so that everything around it is tested where there is none."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from pyness.sampling.engines.julia import installation, runtime
from pyness.sampling.engines.julia.worker import WorkerSession

PACKAGES = ("StaticArrays", "StochasticDiffEq", "PythonCall")


@pytest.fixture(autouse=True)
def _no_julia_from_outside(request, monkeypatch, tmp_path):
    """A test without the ``julia`` marker sees neither the user's configuration nor their environment."""
    if request.node.get_closest_marker("julia"):
        yield
        return
    for name in ("PYTHON_JULIACALL_EXE", "PYTHON_JULIACALL_PROJECT", "JULIA_NUM_THREADS", "PYTHON_JULIACALL_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYNESS_CONFIG_HOME", str(tmp_path / "config"))
    kept = dict(runtime._sessions)
    runtime._sessions.clear()
    yield
    for session in runtime._sessions.values():
        session.close()
    runtime._sessions.clear()
    runtime._sessions.update(kept)


@pytest.fixture(scope="session")
def single():
    """A session of one thread, beside that of the process."""
    made = WorkerSession(1)
    made.prepare()
    yield made
    made.close()


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """``fake(mood)``: an ``Installation`` whose executable is a stand-in of that mood."""

    def make(mood: str = "", packages=None) -> installation.Installation:
        directory = tmp_path / (mood.replace(" ", "-") or "well")
        directory.mkdir(exist_ok=True)
        exe = directory / "julia"
        source = (Path(__file__).with_name("fake_julia.py")).read_text()
        exe.write_text(source.replace("#!/usr/bin/env python3", f"#!{sys.executable} -S", 1))
        exe.chmod(0o755)
        project = directory / "project"
        shutil.rmtree(project, ignore_errors=True)
        project.mkdir()
        names = installation.dependencies() if packages is None else packages
        blocks = "".join(f'[[deps.{name}]]\nversion = "1.0.0"\n' for name in names)
        (project / "Manifest.toml").write_text(f'julia_version = "1.10.8"\nmanifest_format = "2.0"\n{blocks}')
        monkeypatch.setenv("FAKE_JULIA_MOOD", mood)
        return installation.Installation(str(exe), str(project))

    return make
