"""The command line: what it prints, what it writes, what it refuses, and with which exit code."""

from __future__ import annotations

import functools
import itertools
import json
import signal
import subprocess
import sys
import time
import warnings

import pytest

import pyness
import pyness.systems
from pyness.cli import main
from pyness.config import RunConfig
from pyness.sampling import Samples
from pyness.sampling.store import Store
from tests import learner

SMALL = [f"--set={s}" for s in ("walkers=64", "burn_in=0.5", "snapshots=2", "spacing=0.1", "steps=5")]
RUN = ["run", "double-well", "--engine", "torch", "--solver", "SOSRA:rtol=0.05", "--quiet", *SMALL]


@pytest.fixture
def figures():
    """The figures are drawn; without this fixture they are left out, since they take most of the time."""


@pytest.fixture
def landscape(monkeypatch, request):
    fake = learner.module()
    if "figures" not in request.fixturenames:
        monkeypatch.setattr("pyness.run._draw", lambda *_: None)
    monkeypatch.setitem(sys.modules, "pyness.landscape", fake)
    monkeypatch.setattr(pyness, "landscape", fake, raising=False)
    return fake


@pytest.fixture
def refused(pyness_):
    """``refused(*argv)``: the one line with which a wrong use is refused; nothing is printed on standard output."""

    def call(*argv, code=2):
        got, out, err = pyness_(*argv)
        assert got == code, err
        assert out == ""
        *said, line = err.splitlines()
        assert line.startswith("pyness: "), err
        assert all(other.startswith("pyness: ") for other in said), err
        return line

    return call


def test_import_loads_neither_torch_nor_julia():
    source = (
        "import sys, pyness, pyness.cli, pyness.config, pyness.solvers\n"
        "print([m for m in ('torch', 'juliacall', 'juliapkg', 'matplotlib', 'zarr') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_python_m_pyness_is_the_command():
    done = subprocess.run([sys.executable, "-m", "pyness", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"pyness {pyness.__version__}"
    done = subprocess.run([sys.executable, "-m", "pyness", "rum"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "pyness: unknown command 'rum'; did you mean 'run'?\n")


def test_a_reader_that_leaves_is_no_error():
    command = f"{sys.executable} -m pyness solvers --json | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[\n", "")


COMMANDS = ["", "systems", "solvers", "run", "compare", "report", "doctor", "julia", "julia use"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "examples:" in out
    assert f"pyness {command}".rstrip() in out.split("examples:")[1]


def test_systems_are_listed_uncut(pyness_):
    code, out, _ = pyness_("systems")
    assert code == 0
    for name in pyness.systems.names():
        assert any(line.startswith(f"{name} ") for line in out.splitlines())
    assert "…" not in out
    code, out, _ = pyness_("systems", "--json")
    records = {record["name"]: record for record in json.loads(out)}
    assert list(records) == pyness.systems.names()
    assert records["double-well"]["truth"]["epr"] == pytest.approx(2.1676, abs=1e-4)


def test_one_system_shows_what_can_be_set(pyness_, landscape):
    code, out, _ = pyness_("systems", "toggle-switch")
    assert code == 0
    assert "burn_in_dt" in out
    assert "linear walls" not in out
    assert "-1 Cdc20 +1 Cdc20A <= 0" in pyness_("systems", "cell-cycle-8d")[1]
    assert "x1 of each particle in [0, 160.424] (periodic)" in pyness_("systems", "aoup-mips")[1]
    _, out, _ = pyness_("systems", "toggle-switch", "--json")
    settings = json.loads(out)["settings"]
    assert settings["system"] == ["D", "a", "b", "k", "S", "n"]
    assert settings["training"] == ["steps", "device"]


def test_solvers_are_listed_and_filtered(pyness_):
    code, out, _ = pyness_("solvers", "--json")
    assert code == 0
    everything = [row["name"] for row in json.loads(out)]
    _, out, _ = pyness_("solvers", "--engine", "torch", "--system", "double-well", "--json")
    some = [row["name"] for row in json.loads(out)]
    assert {"EM", "SOSRA"} <= set(some) < set(everything)
    _, out, _ = pyness_("solvers")
    assert all(any(line.startswith(f"{name} ") for line in out.splitlines()) for name in everything)


def test_doctor_says_what_is_there(pyness_):
    code, out, _ = pyness_("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(out)}
    assert checks["torch"]["state"] == "ok"
    assert code == (2 if any(check["state"] == "bad" for check in checks.values()) else 0)


def test_julia_status_without_julia(pyness_, monkeypatch, tmp_path):
    for name in ("PYTHON_JULIACALL_EXE", "PYTHON_JULIACALL_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYNESS_CONFIG_HOME", str(tmp_path))
    code, out, _ = pyness_("julia", "status", "--json")
    assert code != 0
    assert json.loads(out)["works"] is False


def test_julia_use_refuses_what_is_no_julia(refused, tmp_path):
    line = refused("julia", "use", tmp_path / "julia", "--project", tmp_path)
    assert "is no program" in line


def test_a_run_leaves_a_full_directory(pyness_, landscape, figures, tmp_path):
    out = tmp_path / "dw"
    code, printed, err = pyness_(*RUN, "--seed", "3", "--out", out)
    assert code == 0, err
    assert "entropy production rate" in printed
    assert "2.170 ± 0.010" in printed
    assert "warning: these numbers are made up" in printed
    names = {path.name for path in out.iterdir()}
    assert names == {
        "run.toml", "samples.zarr", "model.safetensors", "model.json", "checkpoint.pt", "log.jsonl", "report.json",
        "overview.png", "training.png", "steps.png",
    }  # fmt: skip
    report = json.loads((out / "report.json").read_text())
    assert report["epr"] == {"value": 2.17, "stderr": 0.01}
    assert report["gradient_error"] == {"value": None, "stderr": None}
    assert (report["system"], report["engine"], report["seed"]) == ("double-well", "torch", 3)
    assert report["solver"] == "SOSRA:rtol=0.05"
    assert report["sampling"]["failed_walkers"] == 0
    assert set(report["seconds"]) == {"sampling", "training", "report", "figures"}
    assert report["truth"]["epr"] == pytest.approx(2.1676, abs=1e-4)
    assert report["potential_error"]["rrmse"] == pytest.approx(0, abs=1e-12)
    assert report["potential_error"]["basin_offset"] == pytest.approx(0, abs=1e-12)
    assert landscape.calls == [{"seed": 3, "steps": 5, "resume": True, "walkers": 64}]
    assert Samples.load(out / "samples.zarr").states.shape == (64, 2, 2)


def test_the_whole_line_without_a_stand_in(pyness_, tmp_path):
    """Sampling, training and report as a user has them, only smaller; the EPR is held against the exact one."""
    out = tmp_path / "dw"
    plan = ("walkers=2000", "burn_in=3", "snapshots=5", "units=20", "points=1500", "contrast=4000", "steps=6")
    settings = [f"--set={s}" for s in plan]
    code, printed, err = pyness_("run", "double-well", "--engine=torch", "--quiet", *settings, "--out", out, "--json")
    assert code == 0, err
    report = json.loads(printed)
    assert {
        "system", "engine", "solver", "seed", "epr", "epr_upper", "epr_lower", "epr_score_free", "gradient_error",
        "stationarity", "sampling", "seconds", "warnings", "truth", "potential_error",
    } <= set(report)  # fmt: skip
    for key in ("epr", "epr_score_free"):
        assert report[key]["value"] == pytest.approx(report["truth"]["epr"], abs=4 * report[key]["stderr"])
    loaded = pyness.Landscape.load(out / "model.safetensors")
    points = Samples.load(out / "samples.zarr").states[:, -1]
    assert loaded.potential(points).shape == (2000,)
    assert (out / "training.png").stat().st_size > 0


def test_a_walled_system_without_a_stand_in(pyness_, tmp_path):
    """Too short to be stationary, and says so; its log has the misfit at walls in place of the gradient error."""
    out = tmp_path / "ts"
    plan = (
        "walkers=600",
        "burn_in=2",
        "burn_in_dt=0.1",
        "snapshots=2",
        "units=8",
        "points=600",
        "contrast=800",
        "steps=2",
    )
    settings = [f"--set={s}" for s in plan]
    code, printed, err = pyness_("run", "toggle-switch", "--engine=torch", "--quiet", *settings, "--out", out, "--json")
    assert code == 0, err
    assert json.loads(printed)["potential_error"]["points_are"] == "grid"
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [set(record) & {"walls", "gradient_error"} for record in records] == [{"walls"}] * 2
    assert (out / "training.png").stat().st_size > 0


def test_json_is_all_that_is_printed(pyness_, landscape, tmp_path):
    code, printed, _ = pyness_(*RUN, "--out", tmp_path / "dw", "--json")
    assert code == 0
    assert json.loads(printed) == json.loads((tmp_path / "dw" / "report.json").read_text())
    code, again, _ = pyness_("report", tmp_path / "dw", "--json")
    assert (code, again) == (0, printed)


def test_a_report_is_printed_uncut(pyness_, landscape, tmp_path):
    pyness_(*RUN, "--out", tmp_path / "dw")
    code, printed, _ = pyness_("report", tmp_path / "dw")
    assert code == 0
    assert "double-well" in printed
    assert str(tmp_path / "dw") in printed


def test_the_run_file_repeats_the_run(pyness_, landscape, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert pyness_(*RUN, "--seed", "5", "--out", first)[0] == 0
    assert pyness_("run", first / "run.toml", "--quiet", "--out", second)[0] == 0
    assert (first / "run.toml").read_text() == (second / "run.toml").read_text()
    one, two = (Samples.load(out / "samples.zarr").states for out in (first, second))
    assert one.equal(two)


def test_a_short_run_file_and_settings_over_it(pyness_, landscape, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('system = "double-well"\nseed = 2\n[sampling]\nwalkers = 9\nsnapshots = 2\n')
    settings = ["--set=walkers=70", "--set=burn_in=0.1", "--set=spacing=0.1", "--set=D=0.2"]
    code, _, err = pyness_(
        "run", path, "--engine=torch", "--solver=EM:dt=0.01", "--quiet", *settings, "--out", tmp_path / "o"
    )
    assert code == 0, err
    run = RunConfig.read(tmp_path / "o" / "run.toml")
    assert (run.seed, run.solver, run.parameters["D"], run.sampling["walkers"]) == (2, "EM:dt=0.01", 0.2, 70)


def test_without_out_the_directory_has_the_name_of_the_run(pyness_, landscape, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert pyness_(*RUN)[0] == 0
    assert (tmp_path / "runs" / "double-well" / "report.json").exists()


def test_resume_of_an_absent_and_an_empty_directory_is_a_run(pyness_, landscape, tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("absent", "empty"):
        assert pyness_(*RUN, "--out", tmp_path / name, "--resume")[0] == 0


def test_resume_of_a_finished_run_changes_nothing(pyness_, landscape, tmp_path):
    out = tmp_path / "dw"
    _, first, _ = pyness_(*RUN, "--out", out, "--json")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    code, second, err = pyness_("run", "double-well", "--out", out, "--resume", "--json")
    assert (code, second) == (0, first)
    assert "is finished" in err
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert len(landscape.calls) == 1


def test_ctrl_c_in_training_leaves_a_directory_that_goes_on(pyness_, refused, landscape, tmp_path):
    out = tmp_path / "d w"
    landscape.fate = KeyboardInterrupt()
    line = refused(*RUN, "--seed", "7", "--out", out, code=130)
    assert line.endswith(f"go on with: pyness run '{out}/run.toml' --out '{out}' --resume")
    assert not (out / "report.json").exists()
    sampled = (out / "samples.zarr" / "zarr.json").stat().st_mtime_ns
    code, _, err = pyness_("run", out / "run.toml", "--out", out, "--resume", "--quiet")
    assert code == 0, err
    assert (out / "samples.zarr" / "zarr.json").stat().st_mtime_ns == sampled
    assert json.loads((out / "report.json").read_text())["seed"] == 7


def test_seconds_count_every_process_of_a_run(pyness_, refused, landscape, tmp_path, monkeypatch):
    """A clock that moves by one second whenever it is read: training is interrupted once and then done."""
    ticks = itertools.count()
    out = tmp_path / "dw"
    monkeypatch.setattr("pyness.run.time.perf_counter", lambda: float(next(ticks)))
    landscape.fate = KeyboardInterrupt()
    refused(*RUN, "--out", out, code=130)
    code, _, err = pyness_(*RUN, "--out", out, "--resume")
    assert code == 0, err
    seconds = json.loads((out / "report.json").read_text())["seconds"]
    assert (seconds["training"], seconds["report"]) == (2.0, 1.0)
    assert not (out / "seconds.json").exists()


def test_ctrl_c_in_sampling_leaves_a_directory_that_goes_on(refused, pyness_, landscape, tmp_path, monkeypatch):
    append, interrupted, whole = Store.append, tmp_path / "interrupted", tmp_path / "whole"
    two_blocks = [*RUN, "--set=walkers=5000"]

    def then_interrupt(self, *args, **options):
        append(self, *args, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Store, "append", then_interrupt)
        assert "--resume" in refused(*two_blocks, "--out", interrupted, code=130)
    assert 0 < len(Samples.load(interrupted / "samples.zarr")) < 5000
    for out in (interrupted, whole):
        code, _, err = pyness_(*two_blocks, "--out", out, "--resume")
        assert code == 0, err
    one, two = (Samples.load(out / "samples.zarr").states for out in (interrupted, whole))
    assert one.equal(two)


def test_ctrl_c_itself(tmp_path):
    """The signal reaches a run in a process of its own, with the threads that sampling has; the run is far too long."""
    out = tmp_path / "dw"
    long = [f"--set={s}" for s in ("walkers=20000", "burn_in=1000", "snapshots=2")]
    argv = ["run", "double-well", "--engine=torch", "--solver=EM:dt=1e-3", "--quiet", *long, "--out", str(out)]
    running = subprocess.Popen([sys.executable, "-m", "pyness", *argv], stderr=subprocess.PIPE, text=True)
    try:
        while not (out / "samples.zarr" / "zarr.json").exists() and running.poll() is None:
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate()
    finally:
        running.kill()
    assert running.returncode == 130, err
    assert err.splitlines()[-1].endswith(f"--out {out} --resume")


def test_failed_training_is_4_and_failed_sampling_3(refused, landscape, tmp_path):
    landscape.fate = landscape.failed
    assert "loss is nan" in refused(*RUN, "--out", tmp_path / "a", code=4)
    unstable = [*RUN, "--solver", "EM:dt=2", "--set=burn_in=400"]  # the last --solver counts
    assert "blew up" in refused(*unstable, "--out", tmp_path / "b", code=3)


def test_a_directory_in_use_is_refused_and_left_alone(refused, pyness_, landscape, tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "notes.txt").write_text("keep me")
    assert "is not empty; give another directory, --resume to go on" in refused(*RUN, "--out", out)
    for flag in ("--resume", "--overwrite"):
        assert "it is no run of pyness" in refused(*RUN, "--out", out, flag)
    assert [path.name for path in out.iterdir()] == ["notes.txt"]
    file = tmp_path / "file"
    file.write_text("keep me too")
    assert "is a file" in refused(*RUN, "--out", file)
    assert file.read_text() == "keep me too"


def test_overwrite_replaces_the_run_and_nothing_else(pyness_, landscape, tmp_path):
    out = tmp_path / "dw"
    pyness_(*RUN, "--out", out)
    (out / "notes.txt").write_text("keep me")
    code, _, err = pyness_(*RUN, "--seed", "9", "--out", out, "--overwrite")
    assert code == 0, err
    assert json.loads((out / "report.json").read_text())["seed"] == 9
    assert (out / "notes.txt").read_text() == "keep me"


def test_another_run_is_not_resumed(refused, pyness_, landscape, tmp_path):
    out = tmp_path / "dw"
    pyness_(*RUN, "--out", out)
    line = refused("run", "limit-cycle", "--engine", "torch", "--out", out, "--resume")
    assert "is a run of 'double-well', not of 'limit-cycle'" in line
    line = refused("run", "double-well", "--set", "walkers=65", "--out", out, "--resume")
    assert "sampling.walkers (64, 65)" in line
    assert "seed (0, 1)" in refused("run", "double-well", "--seed", "1", "--out", out, "--resume")
    assert "system.D (0.1, 0.2)" in refused("run", "double-well", "--set", "D=0.2", "--out", out, "--resume")


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        ([], "the following arguments are required"),
        (["run"], "the following arguments are required: NAME|FILE.toml; see `pyness run --help`"),
        (["run", "double-wel"], "unknown system 'double-wel'; did you mean 'double-well'?"),
        (["run", "none.toml"], "cannot read none.toml"),
        (["run", "double-well", "--solver", "SOSAR"], "unknown solver 'SOSAR'; did you mean"),
        (["run", "double-well", "--solver", "EM"], "EM has a fixed step and no dt was given"),
        (["run", "double-well", "--solver", "EM:dt=-1"], "dt is '-1'"),
        (["run", "double-well", "--solver", "EM:rtol=1"], "no option 'rtol'"),
        (["run", "double-well", "--engine", "jula"], "unknown engine 'jula'; did you mean 'julia'"),
        (["run", "double-well", "--seed", "1.5"], "seed is '1.5'"),
        (["run", "double-well", "--seed=-1"], "seed is -1"),
        (["run", "double-well", "--set", "walkers=0"], "walkers is 0"),
        (["run", "double-well", "--set", "walkrs=10"], "unknown setting 'walkrs'; did you mean 'walkers'?"),
        (["run", "double-well", "--set", "device=cpu"], "ambiguous; say sampling.device or training.device"),
        (["run", "double-well", "--set", "rtol=0"], "rtol is 0"),
        (["run", "double-well", "--set", "D=0"], "diffusion is zero"),
        (["run", "double-well", "--set", "D"], "is not key=value"),
        (["run", "double-well", "--resume", "--overwrite"], "not allowed with argument"),
        (["systems", "toggle"], "unknown system 'toggle'; did you mean 'toggle-switch'?"),
        (["solvers", "--engine", "jula"], "unknown engine 'jula'"),
        (["solvers", "--system", "toggle"], "unknown system 'toggle'"),
        (["report", "nowhere"], "nowhere is no directory"),
        (["julia", "start"], "unknown command 'start'; did you mean 'status'"),
        (["doctor", "now"], "unrecognized arguments: now"),
    ],
)  # fmt: skip
def test_wrong_use_is_one_line_and_nothing_is_written(refused, landscape, tmp_path, monkeypatch, argv, problem):
    monkeypatch.chdir(tmp_path)
    assert problem in refused(*argv)
    assert list(tmp_path.iterdir()) == []


def test_reports_that_are_not_there_or_damaged(refused, pyness_, landscape, tmp_path):
    assert "has no report.json; give another" in refused("report", tmp_path)
    out = tmp_path / "dw"
    landscape.fate = KeyboardInterrupt()
    pyness_(*RUN, "--out", out)
    assert "has no report.json; finish it: pyness run" in refused("report", out)
    for text in ("{", "[]", '{"system": "double-well"}', "null"):
        (out / "report.json").write_text(text)
        assert "is damaged or no report of pyness" in refused("report", out)


def test_a_damaged_store_is_refused_and_left_alone(refused, pyness_, landscape, tmp_path):
    out = tmp_path / "dw"
    landscape.fate = KeyboardInterrupt()
    pyness_(*RUN, "--out", out)
    (out / "samples.zarr" / "zarr.json").write_text("{")
    assert "samples.zarr" in refused("run", "double-well", "--out", out, "--resume")
    assert (out / "samples.zarr" / "zarr.json").read_text() == "{"


def test_a_full_disk_is_one_line(refused, landscape, tmp_path):
    landscape.fate = OSError(28, "No space left on device", "model.safetensors")
    line = refused(*RUN, "--out", tmp_path / "dw")
    assert "No space left on device (model.safetensors)" in line


def test_warnings_are_one_line_on_stderr(pyness_, landscape, monkeypatch, tmp_path):
    @functools.wraps(landscape.fit_landscape)
    def fit(*args, **kwargs):
        warnings.warn("a warning\nof two lines", stacklevel=1)
        raise landscape.failed

    monkeypatch.setattr(landscape, "fit_landscape", fit)
    code, _, err = pyness_(*RUN, "--out", tmp_path / "o")
    assert code == 4
    assert "pyness: warning: a warning of two lines\n" in err
