"""The conversation with Julia: values, shared tensors, crashes, Ctrl-C. A stand-in plays Julia where it can."""

from __future__ import annotations

import gc
import os
import signal
import threading

import pytest
import torch

from pyness.errors import InputError, JuliaError
from pyness.sampling.engines.julia import installation, runtime
from pyness.sampling.engines.julia.session import Code, JuliaTrace, literal


@pytest.fixture
def session(fake):
    installation.remember(fake())
    return runtime.start(threads=2)


def test_a_session_is_started_once_and_again_for_other_threads(session):
    assert session.threads == 2
    assert session.julia == "1.10.8"
    assert runtime.start() is session
    assert runtime.start(threads=2) is session
    other = runtime.start(threads=1)
    assert other.threads == 1
    assert not session.usable


@pytest.mark.parametrize("threads", [0, -1, True, 1.5, "2"])
def test_threads_are_a_whole_number(threads):
    with pytest.raises(InputError, match="threads is"):
        runtime.start(threads=threads)


def test_julia_writes_into_tensors_and_parts_of_them(session):
    states = session.empty((4, 3), torch.float64).zero_()
    assert session.call("fill!", states, 2.0) == [3, 4]
    assert torch.equal(states, torch.full((4, 3), 2.0, dtype=torch.float64))
    session.call("fill!", states[1:3], -1.5)
    assert states[:, 0].tolist() == [2.0, -1.5, -1.5, 2.0]
    assert session.call("fill!", session.empty((0, 3), torch.float64), 1.0) == [3, 0]


def test_tensors_outlive_the_session_and_their_memory_is_given_back(session):
    kept, dropped = session.empty((2, 2), torch.float64), session.empty((2, 2), torch.float64)
    session.call("fill!", kept, 3.0)
    session.call("fill!", dropped, 4.0)
    assert session.call("regions") == [1, 2]
    view = dropped[0]
    del dropped
    gc.collect()
    assert session.call("regions") == [1, 2]
    assert view.tolist() == [4.0, 4.0]
    del view
    gc.collect()
    assert session.call("regions") == [1]
    session.close()
    assert kept.sum().item() == 12.0


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(2, dtype=torch.float16), torch.zeros(2, 2).T, torch.zeros(3)],
    ids=["element type", "strides", "memory of this process only"],
)
def test_other_tensors_are_refused(session, tensor):
    with pytest.raises(JuliaError):
        session.call("echo", tensor)


@pytest.mark.parametrize(
    ("value", "source"),
    [
        (3, "3"),
        (2**63, "0x8000000000000000"),
        (0.1, "0.1"),
        (1e-5, "1e-05"),
        (float("inf"), "Inf"),
        (float("nan"), "NaN"),
        (True, "true"),
        (None, "nothing"),
        ('a "$x" \\ \n é', r'"a \"\$x\" \\ \n é"'),
        (Code("Float32"), "Float32"),
    ],
)
def test_values_as_julia_source(value, source):
    assert literal(value) == source


def test_arguments_and_options_are_written_in_order(session):
    assert session.call("echo", 1, [1.0, 2.0], (3,), (), dt=0.5) == "1, [1.0, 2.0], (3,), (), dt=0.5"
    with pytest.raises(JuliaError, match="cannot be passed"):
        session.call("echo", object())


def test_what_julia_raises_is_one_line_with_the_trace_as_cause(session):
    with pytest.raises(JuliaError, match="DomainError: sqrt of -1") as caught:
        session.call("fail")
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value.__cause__, JuliaTrace)
    assert caught.value.__cause__.kind == "DomainError"
    assert "[1] f" in caught.value.__cause__.trace
    assert session.call("echo", 1) == "1"


def test_a_crash_of_julia_is_an_error_and_the_next_start_is_a_new_one(session):
    with pytest.raises(JuliaError, match="SIGKILL"):
        session.call("die")
    with pytest.raises(JuliaError, match="SIGKILL"):
        session.call("echo", 1)
    fresh = runtime.start(threads=2)
    assert fresh is not session
    assert fresh.call("echo", 1) == "1"


def test_ctrl_c_reaches_python_and_a_call_that_ends_soon_is_let_end(session):
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        session.call("slow", 1.0)
    timer.join()
    assert session.call("echo", 7) == "7"


def test_ctrl_c_ends_a_worker_that_does_not_answer(session, monkeypatch):
    monkeypatch.setattr("pyness.sampling.engines.julia.worker.GRACE", 0.2)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        session.call("slow", 60.0)
    timer.join()
    assert not session.usable


def test_the_worker_ends_with_its_session(session):
    pid = session.pid
    session.close()
    session.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_forked_child_may_not_use_it(session):
    child = os.fork()
    if child == 0:
        try:
            session.call("echo", 1)
        except JuliaError:
            os._exit(17)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 17
    assert session.call("echo", 2) == "2"


def test_no_julia():
    assert not runtime.ready()
    assert runtime.status()["problem"] == "no Julia is configured"
    with pytest.raises(JuliaError, match="pyness julia setup"):
        runtime.start()


@pytest.mark.parametrize(
    ("mood", "says"),
    [("old", "1.6.7.*older than 1.10"), ("broken", "is no Julia.*libjulia")],
)
def test_a_julia_that_cannot_be_used_is_refused_before_it_is_started(fake, mood, says):
    installation.remember(fake(mood))
    assert not runtime.ready()
    with pytest.raises(JuliaError, match=says) as caught:
        runtime.start()
    assert "\n" not in str(caught.value)


def test_a_julia_that_dies_at_once_says_what_it_said(fake):
    installation.remember(fake("dies at once"))
    assert runtime.ready()
    with pytest.raises(JuliaError, match="status 3: ERROR: could not load sysimage"):
        runtime.start()


def test_a_package_that_does_not_load_is_named(fake):
    installation.remember(fake("no package"))
    with pytest.raises(JuliaError, match="StaticArrays is not installed") as caught:
        runtime.start()
    assert isinstance(caught.value.__cause__, JuliaTrace)


def test_default_threads_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("JULIA_NUM_THREADS", "auto")
    assert runtime.default_threads() >= 1
    monkeypatch.setenv("JULIA_NUM_THREADS", "7")
    assert runtime.default_threads() == 7
    monkeypatch.setenv("PYTHON_JULIACALL_THREADS", "3")
    assert runtime.default_threads() == 3
