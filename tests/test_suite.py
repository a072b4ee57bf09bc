"""One run file for several systems, each with its own integrator."""

from __future__ import annotations

import json
import sys

import pytest

import pyness
from pyness import suite
from pyness.config import RunConfig
from pyness.errors import InputError, SolverError, StoreError, UnknownNameError
from pyness.sampling import Samples
from tests import learner

SUITE = """
systems = ["double-well", {name = "ornstein-uhlenbeck", A = [[1.0, 0.5], [-0.5, 1.0]]}]
engine = "torch"
seed = 3
[solver]
default = "SOSRA:rtol=0.05"
ornstein-uhlenbeck = "EM:dt=0.05"
[sampling]
walkers = 40
burn_in = 0.5
snapshots = 2
spacing = 0.1
[sampling.double-well]
walkers = 60
[training]
steps = 5
"""


@pytest.fixture(autouse=True)
def landscape(monkeypatch):
    fake = learner.module()
    monkeypatch.setattr("pyness.run._draw", lambda *_: None)
    monkeypatch.setitem(sys.modules, "pyness.landscape", fake)
    monkeypatch.setattr(pyness, "landscape", fake, raising=False)
    return fake


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "suite.toml"
    path.write_text(SUITE)
    return path


def test_each_system_has_its_own_solver_and_plan(file):
    configs = suite.read(file)
    assert list(configs) == ["double-well", "ornstein-uhlenbeck"]
    assert [config.solver for config in configs.values()] == ["SOSRA:rtol=0.05", "EM:dt=0.05"]
    assert [config.sampling["walkers"] for config in configs.values()] == [60, 40]
    assert [config.seed for config in configs.values()] == [3, 3]
    assert configs["ornstein-uhlenbeck"].parameters == {"A": [[1.0, 0.5], [-0.5, 1.0]]}
    assert suite.is_suite(file)


def test_without_a_default_each_takes_its_recommended_solver(file):
    file.write_text('systems = ["double-well", "limit-cycle"]\n[solver]\nlimit-cycle = "EM:dt=1e-3"\n')
    assert [config.solver for config in suite.read(file).values()] == [None, "EM:dt=1e-3"]
    file.write_text('systems = ["double-well", "limit-cycle"]\nsolver = "EM:dt=1e-3"\n')
    assert [config.solver for config in suite.read(file).values()] == ["EM:dt=1e-3"] * 2


def test_a_run_file_of_one_system_may_have_overrides_too(tmp_path):
    path = tmp_path / "one.toml"
    for name, solver in (("limit-cycle", "EM:dt=1e-3"), ("double-well", "SOSRA")):
        path.write_text(f'system = "{name}"\n[solver]\ndefault = "SOSRA"\nlimit-cycle = "EM:dt=1e-3"\n')
        assert RunConfig.read(path).solver == solver
        assert not suite.is_suite(path)
    path.write_text('system = "double-well"\n[solver]\nlimit-cicle = "EM:dt=1e-3"\n')
    with pytest.raises(UnknownNameError, match="'limit-cycle'"):
        RunConfig.read(path)


def test_a_suite_runs_and_goes_on(pyness_, file, tmp_path):
    out = tmp_path / "runs"
    code, printed, err = pyness_("run", file, "--quiet", "--out", out)
    assert code == 0, err
    for name, solver in (("double-well", "SOSRA:rtol=0.05"), ("ornstein-uhlenbeck", "EM:dt=0.05")):
        assert any(line.startswith(f"{name} ") and solver in line for line in printed.splitlines())
        assert RunConfig.read(out / name / "run.toml").solver == solver
    assert Samples.load(out / "ornstein-uhlenbeck" / "samples.zarr").system.parameters["A"] == [[1.0, 0.5], [-0.5, 1.0]]
    assert json.loads((out / "suite.json").read_text())["double-well"]["epr"] == {"value": 2.17, "stderr": 0.01}
    assert pyness_("run", file, "--quiet", "--out", out)[0] == 2
    code, printed, _ = pyness_("run", file, "--quiet", "--out", out, "--resume", "--json")
    assert code == 0
    assert set(json.loads(printed)) == {"double-well", "ornstein-uhlenbeck"}


def test_one_that_fails_does_not_stop_the_others(pyness_, file, tmp_path, landscape):
    landscape.fate = landscape.failed
    code, printed, err = pyness_("run", file, "--quiet", "--out", tmp_path / "runs")
    assert code == 4
    assert "double-well: loss is nan at step 7" in printed
    assert "double-well: loss is nan" in err
    assert (tmp_path / "runs" / "ornstein-uhlenbeck" / "report.json").exists()
    assert json.loads((tmp_path / "runs" / "suite.json").read_text())["double-well"]["exit_code"] == 4
    assert pyness_("run", file, "--quiet", "--out", tmp_path / "runs", "--resume")[0] == 0


def test_ctrl_c_says_how_to_go_on(pyness_, file, tmp_path, landscape):
    landscape.fate = KeyboardInterrupt()
    code, _, err = pyness_("run", file, "--quiet", "--out", tmp_path / "runs")
    assert code == 130
    assert err.splitlines()[-1].endswith(f"go on with: pyness run {file} --out {tmp_path / 'runs'} --resume")


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("systems = []", InputError, "list them"),
        ('systems = "double-well"', InputError, "list them"),
        ('systems = ["double-well", 3]', InputError, "has 3"),
        ('systems = ["double-well", "double-well"]', InputError, "twice"),
        ('systems = ["double-wel"]', UnknownNameError, "'double-well'"),
        ('system = "double-well"\nsystems = ["double-well"]', InputError, "both system and systems"),
        ('systems = ["double-well"]\n[solver]\nlimit-cycle = "SOSRA"', InputError, "name one of the systems"),
        ('systems = ["double-well"]\n[sampling.limit-cycle]\nwalkers = 3', InputError, "name one of the systems"),
        ('systems = ["double-well"]\n[sampling]\nwalker = 3', UnknownNameError, "'walkers'"),
        ('systems = ["double-well"]\nwalkers = 3', UnknownNameError, "'walkers'"),
        ('systems = ["double-well"]\nsolver = 3', InputError, "solver is 3"),
    ],
)
def test_refusals(file, text, error, said):
    file.write_text(text)
    with pytest.raises(error, match=said) as caught:
        suite.read(file)
    assert "\n" not in str(caught.value)


def test_everything_is_refused_before_anything_runs(file, tmp_path):
    file.write_text('systems = ["double-well", "limit-cycle"]\nengine = "torch"\nsolver = "EM"\n')
    configs = suite.read(file)
    with pytest.raises(SolverError, match="no dt was given"):
        suite.execute(configs, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(StoreError, match="is a file"):
        suite.execute({}, tmp_path / "taken")
