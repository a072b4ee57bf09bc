"""``pyness compare``: what it prints and writes, what it refuses, and with which exit code."""

from __future__ import annotations

import json
import shlex

import pytest

from pyness.compare import runs

SMALL = [f"--set={s}" for s in ("walkers=60", "burn_in=0.5", "snapshots=2", "spacing=0.5")]
COMPARE = ["compare", "double-well", "--engine=torch", "--quiet", "--seeds=2", *SMALL]


def test_json_has_each_solver_under_the_label_that_was_typed(pyness_, tmp_path):
    out = tmp_path / "cmp"
    labels = ["EM:dt=5e-2", "SOSRA:rtol=0.3"]
    code, printed, err = pyness_(*COMPARE, *(f"--solver={label}" for label in labels), "--out", out, "--json")
    assert code == 0, err
    record = json.loads(printed)
    assert list(record["solvers"]) == labels
    for label, solver in record["solvers"].items():
        assert solver["label"] == label
        assert isinstance(solver["flagged"], bool)
        assert (solver["reason"] is not None) is solver["flagged"]
    assert record["parameters"] == {"D": 0.1, "c": 0.5}
    assert record == json.loads((out / "comparison.json").read_text())
    assert (out / "comparison.png").read_bytes()[:4] == b"\x89PNG"
    assert [line for line in err.splitlines() if not line.startswith("pyness: ")] == []


def test_the_table_is_uncut_and_goes_on(pyness_, tmp_path):
    out = tmp_path / "cmp"
    code, printed, _ = pyness_(*COMPARE, "--solver=EM:dt=0.05", "--set=D=0.2", "--out", out)
    assert code == 0
    assert printed == (out / "comparison.txt").read_text()
    assert any(line.startswith("EM:dt=0.05 ") for line in printed.splitlines())
    code, printed, _ = pyness_(*COMPARE, "--solver=EM:dt=0.025", "--set=D=0.2", "--out", out, "--resume")
    assert code == 0
    assert all(any(line.startswith(f"EM:dt={dt} ") for line in printed.splitlines()) for dt in ("0.05", "0.025"))
    assert pyness_(*COMPARE, "--set=D=0.2", "--out", out, "--resume")[:2] == (0, printed)


def test_all_adaptive_methods(pyness_, tmp_path):
    argv = ["compare", "ornstein-uhlenbeck", "--engine=torch", "--quiet", "--seeds=1", *SMALL]
    code, printed, _ = pyness_(*argv, "--all-adaptive", "--out", tmp_path / "cmp", "--json")
    assert code == 0
    assert list(json.loads(printed)["solvers"]) == ["SOSRA", "ImplicitEM"]


def test_the_exit_code_is_3_where_none_finished(pyness_, tmp_path):
    unstable = [*COMPARE, "--solver=EM:dt=2", "--set=burn_in=400", "--out", tmp_path / "cmp"]
    code, printed, _ = pyness_(*unstable)
    assert code == 3
    assert "EM:dt=2: " in printed
    assert "blew up" in printed


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        ([], "no solver is given"),
        (["--solver=EM:dt=0.1", "--solver=EM:dt=1e-1"], "is listed twice"),
        (["--solver=EM:dt=0.1,foo=1"], "EM has no option 'foo'; it has dt"),
        (["--solver=EN:dt=0.1"], "unknown solver 'EN'"),
        (["--solver=SOSRA", "--budget=lots"], "budget is 'lots'"),
        (["--solver=SOSRA", "--seeds=1.5"], "seeds is '1.5'"),
        (["--solver=SOSRA", "--seconds=-3"], "seconds is -3.0"),
        (["--solver=SOSRA", "--set=dt=0.1"], "give it to a solver"),
        (["--solver=SOSRA", "--set=burnin=1"], "did you mean 'burn_in'"),
    ],
)
def test_refusals(pyness_, tmp_path, monkeypatch, argv, text):
    monkeypatch.chdir(tmp_path)
    code, out, err = pyness_("compare", "double-well", "--engine=torch", *argv)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert text in err
    assert list(tmp_path.iterdir()) == []


def test_a_comparison_of_another_system_is_left_alone(pyness_, tmp_path):
    out = tmp_path / "cmp"
    assert pyness_(*COMPARE, "--solver=EM:dt=0.05", "--out", out)[0] == 0
    before = (out / "comparison.json").read_bytes()
    other = ["compare", "limit-cycle", "--engine=torch", "--solver=EM:dt=0.05", "--out", out]
    for flag, text in (
        ([], "is not empty: it has a comparison of 'double-well'"),
        (["--resume"], "a comparison of 'double-well', not of 'limit-cycle'"),
    ):
        code, _, err = pyness_(*other, *flag)
        assert code == 2
        assert text in err
    assert (out / "comparison.json").read_bytes() == before


def test_ctrl_c_says_how_to_go_on(pyness_, tmp_path, monkeypatch):
    """The command that is named does go on, and ends with the comparison that the first would have made."""
    out, calls = tmp_path / "cmp", []
    measured = runs.measure

    def interrupting(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measured(*arguments)

    monkeypatch.setattr(runs, "measure", interrupting)
    code, _, err = pyness_(*COMPARE, "--solver=EM:dt=0.05", "--solver=EM:dt=0.1", "--out", out)
    assert code == 130
    said = err.splitlines()[-1]
    assert f"{out} keeps what is done" in said
    again = shlex.split(said.partition("go on with: pyness ")[2])
    assert pyness_(*again, "--quiet")[0] == 0
    # two integrators and two seeds, one of them measured twice
    assert len(calls) == 5
