"""Run files: what they take, what they refuse, and that a resolved one repeats itself."""

from __future__ import annotations

import sys
import tomllib

import pytest

import pyness
import pyness.systems
from pyness.config import RunConfig, locate, parse_value
from pyness.errors import InputError, SolverError, StoreError, UnknownNameError
from pyness.solvers import ALGORITHMS
from tests import learner


@pytest.fixture(autouse=True)
def landscape(monkeypatch):
    """Training's options are those of the stand-in: ``steps`` and ``device``."""
    fake = learner.module()
    monkeypatch.setitem(sys.modules, "pyness.landscape", fake)
    monkeypatch.setattr(pyness, "landscape", fake, raising=False)


def test_a_key_is_found_in_the_section_that_has_it():
    assert locate("double-well", "D") == ("system", "D")
    assert locate("double-well", "walkers") == locate("double-well", "sampling.walkers") == ("sampling", "walkers")
    assert locate("double-well", "steps") == ("training", "steps")


def test_an_ambiguous_key_is_refused_with_both_ways_to_say_it():
    with pytest.raises(InputError, match=r"'device' is ambiguous; say sampling\.device or training\.device"):
        locate("double-well", "device")
    assert locate("double-well", "training.device") == ("training", "device")


@pytest.mark.parametrize("key", ["walker", "sampling.walker"])
def test_an_unknown_key_is_refused_with_the_nearest(key):
    with pytest.raises(UnknownNameError, match="'walkers'"):
        locate("double-well", key)


@pytest.mark.parametrize("key", ["store", "resume", "overwrite", "progress", "checkpoint", "seed", "engine"])
def test_what_the_run_decides_is_no_setting(key):
    with pytest.raises(UnknownNameError):
        locate("double-well", key)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("20_000", 20_000),
        ("1e-2", 0.01),
        (".5", 0.5),
        ("2.", 2.0),
        ("true", True),
        ("float64", "float64"),
        ("[[1, 0.5], [0, 2]]", [[1, 0.5], [0, 2]]),
        ("none", None),
        ('"none"', "none"),
    ],
)
def test_values_are_those_of_toml(text, value):
    got = parse_value(text)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize("assignment", ["walkers", "walkers=", "=3", ""])
def test_a_setting_that_is_no_assignment_is_refused(assignment):
    with pytest.raises(InputError, match="is not key=value"):
        RunConfig("double-well").with_settings([assignment])


@pytest.mark.parametrize("system", pyness.systems.names())
def test_a_resolved_run_comes_back_from_its_file_and_resolves_to_itself(tmp_path, system):
    run = RunConfig(system, engine="torch", seed=3, sampling={"walkers": 500}, training={"steps": 7}).resolved()
    path = tmp_path / "run.toml"
    path.write_text(run.to_toml())
    again = RunConfig.read(path)
    assert run.differences(again) == []
    assert run.differences(again.resolved()) == []
    assert run.sampling["walkers"] == 500
    particles = issubclass(pyness.systems.kind(system), pyness.systems.ParticleSystem)
    assert run.training["steps"] == 7
    assert run.training["device"] == "cpu"
    assert ("probes" in run.training) == particles


def test_nothing_is_left_open():
    run = RunConfig("double-well", engine="torch", solver="SOSRA").resolved()
    assert (run.seed, run.engine) == (0, "torch")
    assert run.solver == f"SOSRA:rtol={ALGORITHMS['SOSRA'].options['rtol'].default}"
    assert run.parameters == {"D": 0.1, "c": 0.5}
    assert {"walkers", "burn_in", "snapshots", "spacing", "dtype", "device"} <= set(run.sampling)


def test_a_step_given_as_setting_or_as_option_is_the_same_run():
    setting = RunConfig("double-well", engine="torch", solver="EM").with_settings(["dt=1e-3"]).resolved()
    option = RunConfig("double-well", engine="torch", solver="EM:dt=0.001").resolved()
    assert setting.differences(option) == []


def test_differences_name_the_key_and_both_values():
    run = RunConfig("double-well", seed=1)
    assert run.differences(RunConfig("double-well", seed=2)) == ["seed (1, 2)"]


def test_what_is_asked_goes_over_what_was_there():
    there = RunConfig("double-well", {"D": 0.2}, engine="torch", solver="EM:dt=0.1", seed=4, sampling={"walkers": 9})
    asked = RunConfig("double-well", sampling={"snapshots": 2})
    assert (
        asked.under(there).differences(
            RunConfig("double-well", {"D": 0.2}, "torch", "EM:dt=0.1", 4, {"walkers": 9, "snapshots": 2})
        )
        == []
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("system = ", "is not TOML"),
        ("seed = 1", "names no system"),
        ("system = 3", "names no system"),
        ("[system]\nD = 1.0", "names no system"),
        ('system = "double-wel"', "unknown system 'double-wel'; did you mean 'double-well'"),
        ('sytem = "double-well"', "unknown key .*'sytem'; did you mean 'system'"),
        ('system = "double-well"\nseed = 1.5', "seed is 1.5"),
        ('system = "double-well"\nseed = -1', "seed is -1"),
        ('system = "double-well"\nseed = true', "seed is True"),
        ('system = "double-well"\nengine = "tourch"', "unknown engine 'tourch'; did you mean 'torch'"),
        ('system = "double-well"\nsolver = 3', "solver is 3"),
        ('system = "double-well"\nsampling = 3', r"sampling in .* is 3"),
        ('system = "double-well"\n[sampling]\nwalker = 3', "unknown sampling setting 'walker'; did you mean 'walkers'"),
        ('[system]\nname = "double-well"\nE = 3', "unknown system setting 'E'"),
        ('system = "double-well"\n[training]\nstep = 3', "unknown training setting 'step'; did you mean 'steps'"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path, text, problem):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=problem) as caught:
        RunConfig.read(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_not_text(tmp_path):
    with pytest.raises(StoreError, match="cannot read"):
        RunConfig.read(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StoreError, match="is not TOML"):
        RunConfig.read(tmp_path / "bytes.toml")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (["walkers=0"], "walkers is 0"),
        (["walkers=1.5"], "walkers is 1.5"),
        (["dt=0"], "dt"),
        (["rtol=-1"], "rtol"),
        (["spacing=0"], "spacing is 0"),
        (["dtype=int8"], "dtype is 'int8'"),
        (["steps=0"], "steps is 0"),
        (["D=-1"], "negative"),
        (["D=much"], "D of system 'double-well' is 'much'"),
    ],
)
def test_values_are_refused_before_anything_runs(settings, problem):
    with pytest.raises(InputError, match=problem):
        RunConfig("double-well", engine="torch").with_settings(settings).resolved()


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (["arch=local-transformer", "neighbours=64"], "64 neighbours of 60 particles"),
        (["arch=attention", "radius=100.0"], "radius is 100"),
        (["loss=denoising"], "alpha is None"),
        (["shift=best"], "unknown shift 'best'"),
        (["walkers=1"], "1 walker"),
        (["training.device=abacus"], "device 'abacus' cannot be used"),
    ],
)
def test_what_a_score_cannot_be_learnt_with_is_refused_before_anything_is_sampled(settings, problem):
    run = RunConfig("aoup-mips", engine="torch").with_settings(["n_particles=60", *settings])
    with pytest.raises(InputError, match=problem):
        run.resolved()


def test_the_start_of_particles_is_a_setting_and_that_of_others_is_not(tmp_path):
    particles = RunConfig("aoup-mips", engine="torch").with_settings(["n_particles=60"])
    assert particles.resolved().sampling["start"] == "clustered"
    assert particles.with_settings(["packing=0.2"]).resolved().sampling["start"] == "uniform"
    asked = particles.with_settings(["start=uniform"]).resolved()
    assert asked.sampling["start"] == "uniform"
    assert particles.resolved().differences(asked) == ["sampling.start ('clustered', 'uniform')"]
    path = tmp_path / "run.toml"
    path.write_text(asked.to_toml())
    assert RunConfig.read(path).resolved() == asked
    for wrong, shown in (("start=clusterd", "'clusterd'"), ("start=3", "3"), ("start=[1.0]", r"\[1.0\]")):
        with pytest.raises(InputError, match=f"start is {shown}; give 'uniform' or 'clustered'") as caught:
            particles.with_settings([wrong]).resolved()
        assert "\n" not in str(caught.value)
    assert "start" not in RunConfig("double-well", engine="torch").resolved().sampling
    with pytest.raises(UnknownNameError, match="unknown setting 'start'"):
        RunConfig("double-well").with_settings(["start=uniform"])


def test_a_solver_that_does_not_fit_is_refused():
    with pytest.raises(SolverError, match="EM has a fixed step and no dt was given"):
        RunConfig("double-well", engine="torch", solver="EM").resolved()
    with pytest.raises(UnknownNameError, match=r"did you mean .*'SOSRA'"):
        RunConfig("double-well", engine="torch", solver="SOSAR").resolved()


def test_text_survives_the_file():
    odd = RunConfig("double-well", solver='a "quoted" \\ name\n')
    assert tomllib.loads(odd.to_toml())["solver"] == odd.solver
