"""Finding, choosing and examining a Julia; each failure is one line with its remedy. A stand-in plays Julia."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from pyness.errors import JuliaError
from pyness.sampling.engines.julia import installation, provision, runtime
from pyness.sampling.engines.julia.installation import Installation


def test_what_is_remembered_is_found_again(tmp_path, monkeypatch):
    assert installation.find() is None
    kept = Installation("/a b/jülia", '/pro"ject\\x', depot="/d1:/d2", origin="use")
    path = installation.remember(kept)
    assert path == tmp_path / "config" / "julia.toml"
    assert installation.find() == kept
    installation.forget()
    installation.forget()
    assert installation.find() is None


def test_places_of_the_configuration(tmp_path, monkeypatch):
    monkeypatch.delenv("PYNESS_CONFIG_HOME")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert installation.config_path() == tmp_path / "xdg" / "pyness" / "julia.toml"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert installation.config_path() == tmp_path / "home" / ".config" / "pyness" / "julia.toml"


def test_the_environment_comes_before_what_is_remembered(fake, monkeypatch):
    installation.remember(Installation("/other", "/other"))
    here = fake()
    monkeypatch.setenv("PYTHON_JULIACALL_EXE", here.exe)
    monkeypatch.setenv("PYTHON_JULIACALL_PROJECT", here.project)
    found = installation.find()
    assert (found.exe, found.project, found.origin) == (here.exe, here.project, "environment")
    assert runtime.ready()


@pytest.mark.parametrize("name", ["PYTHON_JULIACALL_EXE", "PYTHON_JULIACALL_PROJECT"])
def test_half_an_environment_is_refused(monkeypatch, name):
    monkeypatch.setenv(name, "/somewhere")
    with pytest.raises(JuliaError, match=f"{name} is set and .* is not; set both or neither"):
        installation.find()
    assert not runtime.ready()
    assert "is set and" in runtime.status()["problem"]
    assert [c.state for c in provision.doctor() if c.name == "julia"] == ["bad"]


@pytest.mark.parametrize("content", ["exe = ", 'exe = "a"', 'exe = "a"\nproject = "b"\nother = 1', "\x00"])
def test_a_spoilt_configuration_is_named(content):
    path = installation.config_path()
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(JuliaError, match=r"julia\.toml.*remove it"):
        installation.find()


def test_a_configuration_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PYNESS_CONFIG_HOME", str(tmp_path / "file" / "below"))
    with pytest.raises(JuliaError, match="PYNESS_CONFIG_HOME"):
        installation.remember(Installation("a", "b"))


def test_use_remembers_a_julia_with_its_packages(fake, monkeypatch):
    here = fake(packages=[*installation.dependencies(), "PythonCall"])
    monkeypatch.setenv("JULIA_DEPOT_PATH", "/shared/depot")
    chosen = provision.use(here.exe, here.project)
    assert installation.find() == chosen
    assert chosen.depot == chosen.environment()["JULIA_DEPOT_PATH"] == "/shared/depot"
    assert (chosen.exe, chosen.project, chosen.version) == (here.exe, here.project, (1, 10, 8))
    assert runtime.status()["ready"]


def _refused(call, says: str) -> None:
    with pytest.raises(JuliaError, match=says) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert caught.value.remedy
    assert installation.find() is None


def test_use_refuses_what_would_not_work(fake, tmp_path):
    here = fake()
    whole = [*installation.dependencies(), "PythonCall"]
    _refused(lambda: provision.use(tmp_path / "nowhere", here.project), "is no program")
    _refused(lambda: provision.use(here.exe, tmp_path / "nowhere"), "is not a directory")
    (tmp_path / "empty").mkdir()
    _refused(lambda: provision.use(here.exe, tmp_path / "empty"), "no Manifest.toml")
    _refused(lambda: provision.use(here.exe, fake(packages=["PythonCall"]).project), "lacks .*StochasticDiffEq")
    _refused(lambda: provision.use(here.exe, fake(packages=whole[:-1]).project), "has no PythonCall")
    for mood, says in (("old", "1.6.7"), ("broken", "libjulia"), ("dies at once", "did not start.*sysimage")):
        other = fake(mood, whole)
        _refused(lambda other=other: provision.use(other.exe, other.project), says)


def test_a_manifest_that_cannot_be_read(fake):
    here = fake()
    with open(here.project + "/Manifest.toml", "w") as file:
        file.write("deps = [")
    with pytest.raises(JuliaError, match="cannot be read"):
        here.packages()


def test_manifests_by_version_and_of_the_old_form(fake):
    here = fake()
    with open(here.project + "/Manifest-v1.10.toml", "w") as file:
        file.write('[[Old]]\nversion = "2.0.0"\n[[Local]]\npath = "/p"\n')
    assert here.packages() == {"Old": "2.0.0", "Local": "/p"}


def test_status_runs_a_solve(fake):
    assert provision.status()["works"] is False
    installation.remember(fake())
    report = provision.status()
    assert report["works"]
    assert report["seconds"] >= 0
    assert report["version"] == "1.10.8"
    assert "StochasticDiffEq" in report["packages"]


@pytest.mark.parametrize("mood", ["old", "broken", "dies at once", "no package"])
def test_status_of_a_julia_that_does_not_work(fake, mood):
    installation.remember(fake(mood))
    report = provision.status()
    assert not report["works"]
    assert report["problem"]
    assert report["remedy"]


def _states() -> dict[str, str]:
    checks = provision.doctor()
    assert all(check.state in ("ok", "warn", "bad") and check.detail for check in checks)
    assert all(check.remedy for check in checks if check.state != "ok")
    return {check.name: check.state for check in checks}


def test_doctor_without_julia_only_warns():
    states = _states()
    assert states["python"] == states["torch"] == "ok"
    assert states["julia"] == "warn"


def test_doctor_with_a_julia(fake, monkeypatch):
    theirs = provision._installed("juliacall")
    here = fake(packages=[*installation.dependencies(), "PythonCall"])
    installation.remember(here)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert _states()["PythonCall"] == "warn"
    manifest = here.project + "/Manifest.toml"
    with open(manifest) as file:
        content = file.read()
    with open(manifest, "w") as file:
        file.write(content.replace('PythonCall]]\nversion = "1.0.0"', f'PythonCall]]\nversion = "{theirs}"'))
    assert set(_states().values()) == {"ok"}
    monkeypatch.setenv("PYTHON_JULIACALL_HANDLE_SIGNALS", "no")
    monkeypatch.setenv("JULIA_NUM_THREADS", "2")
    assert _states()["signals"] == "warn"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "some GPU")
    assert _states()["julia gpu"] == "warn"


@pytest.mark.parametrize("mood", ["old", "broken"])
def test_doctor_with_a_julia_that_cannot_be_used(fake, mood):
    installation.remember(fake(mood))
    assert _states()["julia"] == "bad"


@pytest.fixture
def juliapkg(monkeypatch, tmp_path):
    """juliapkg as ``setup`` uses it, without a network: what it would have installed is decided by the test."""

    class Nothing(Exception):
        pass

    def find(compat):
        raise Nothing("could not find Julia")

    made = SimpleNamespace(
        find_julia=SimpleNamespace(find_julia=find),
        compat=SimpleNamespace(Compat=SimpleNamespace(parse=str)),
        deps=SimpleNamespace(deps_files=lambda: ["/x/diffeqpy/juliapkg.json", "/x/juliacall/juliapkg.json"]),
        state=SimpleNamespace(STATE={"project": str(tmp_path / "env")}),
        resolve=lambda: None,
        executable=lambda: "",
        project=lambda: "",
    )
    monkeypatch.setattr(provision, "_juliapkg", lambda: made)
    return made


def test_setup_says_what_it_will_do_before_it_does_it(juliapkg, fake):
    here, said = fake(), []

    def resolve():
        assert any("StochasticDiffEq" in line for line in said)
        assert any("Julia ^1.10" in line and "downloaded" in line for line in said)
        assert any("diffeqpy" in line for line in said)

    juliapkg.resolve = resolve
    juliapkg.executable, juliapkg.project = lambda: here.exe, lambda: here.project
    found = provision.setup(said.append)
    assert found.origin == "setup"
    assert installation.find() == found


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RuntimeError("no route to host\nsecond line"), "no route to host.*pyness julia use"),
        (subprocess.CalledProcessError(1, ["julia", "-e", "import Pkg"]), "package manager ended with status 1"),
        (SystemExit(3), "could not install"),
    ],
)
def test_setup_that_fails_is_one_line(juliapkg, error, says):
    def resolve():
        raise error

    juliapkg.resolve = resolve
    _refused(lambda: provision.setup(lambda line: None), says)


def test_setup_beside_an_environment_of_its_own_is_refused(monkeypatch):
    monkeypatch.setenv("PYTHON_JULIACALL_EXE", sys.executable)
    with pytest.raises(JuliaError, match="unset both"):
        provision.setup()
