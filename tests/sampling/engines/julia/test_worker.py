"""The real Julia in its process: threads, garbage collection, crashes and Ctrl-C while it computes."""

from __future__ import annotations

import gc
import os
import signal
import threading

import pytest
import torch

from pyness.errors import JuliaError
from pyness.sampling.engines.julia import installation, runtime
from pyness.sampling.engines.julia.session import Code, JuliaTrace
from pyness.sampling.engines.julia.worker import WorkerSession

pytestmark = pytest.mark.julia

SOURCE = """
squares!(a) = (a .= reshape(1:length(a), size(a)) .^ 2; sum(a))
function garbage!(a)
    Threads.@threads for k in axes(a, 2)
        a[:, k] .= sum(sum(rand(50)) for _ in 1:2000) > 0 ? k : 0
        GC.safepoint()
    end
    GC.gc()
    return Threads.nthreads()
end
function busy(seconds)
    until = time() + seconds
    while time() < until end
    return seconds
end
"""


@pytest.fixture(scope="module")
def session():
    """A process without PyNESS.jl, which these tests do not need."""
    made = WorkerSession(2)
    made.include(SOURCE)
    yield made
    made.close()


def test_values_go_there_and_come_back(session):
    for value in (3, -1.5, 1e-300, 2**64 - 1, True, None, 'é $x "\\\n', [1.0, 2.0], [1, "a", None]):
        assert session.call("identity", value) == value
    assert session.call("identity", (1, (2.0,))) == [1, [2.0]]
    assert str(session.call("identity", float("nan"))) == "nan"
    assert session.call("((; kw...) -> NamedTuple(kw))", a=1, b="x") == {"a": 1, "b": "x"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int32, torch.int64, torch.uint8])
def test_julia_sees_tensors_with_reversed_dimensions(session, dtype):
    x = session.empty((2, 3), dtype)
    assert session.call("squares!", x) == 91
    assert x.tolist() == [[1, 4, 9], [16, 25, 36]]
    assert session.call("size", x) == [3, 2]
    session.call("squares!", x[1:])
    assert x.tolist() == [[1, 4, 9], [1, 4, 9]]
    assert session.call("size", session.empty((0, 3), dtype)) == [3, 0]


def test_tensors_survive_both_garbage_collectors(session):
    tensors = [session.empty((100, 10), torch.float32) for _ in range(5)]
    for _ in range(3):
        for x in tensors:
            assert session.call("garbage!", x) == 2
            assert x[:, 0].tolist() == list(range(1, 101))
    view = tensors[0][3:5]
    tensors.clear()
    gc.collect()
    assert session.call("(() -> (GC.gc(); length(PyNESSBridge.REGIONS)))") >= 1
    assert view[:, 0].tolist() == [4.0, 5.0]
    view.fill_(7.0)
    assert session.call("sum", view) == 140.0


def test_a_julia_exception_is_one_line_with_its_trace(session):
    with pytest.raises(JuliaError, match="DomainError") as caught:
        session.call("sqrt", -1.0)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value.__cause__, JuliaTrace)
    assert "Stacktrace" in caught.value.__cause__.trace
    with pytest.raises(JuliaError, match="DomainError"):
        session.call("(() -> fetch(Threads.@spawn sqrt(-1.0)))")
    with pytest.raises(JuliaError, match="Julia package Nowhere is not installed"):
        session.include("using Nowhere")


def test_ctrl_c_while_julia_computes(session, request):
    # a shell starts what it runs in the background with Ctrl-C ignored
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        session.call("busy", 1.0)
    timer.join()
    assert session.call("identity", 3) == 3


def test_a_crash_is_an_error():
    session = WorkerSession(1)
    x = session.empty((3,), torch.float64)
    session.call("fill!", x, 2.0)
    with pytest.raises(JuliaError, match=r"SIGSEGV|SIGABRT"):
        session.call("(() -> unsafe_store!(Ptr{Int}(8), 1))")
    assert x.tolist() == [2.0, 2.0, 2.0]


def test_a_project_without_the_package(tmp_path, monkeypatch):
    real = installation.require()
    monkeypatch.setattr(installation, "require", lambda: installation.Installation(real.exe, str(tmp_path), real.depot))
    session = WorkerSession(1)
    with pytest.raises(JuliaError, match="is not installed"):
        session.prepare()
    session.close()


def test_the_session_of_the_process_has_the_package():
    assert runtime.start().call("nameof", Code("PyNESS")) == "PyNESS"
