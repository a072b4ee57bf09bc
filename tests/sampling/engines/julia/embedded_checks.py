"""Run by test_embedded.py with a number of threads: prints a line of JSON with the outcome of each check."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import threading
import time
import traceback

import pytest
import torch

from pyness.errors import JuliaError
from pyness.sampling.engines.julia.embedded import EmbeddedSession

THREADS = int(sys.argv[1])
SOURCE = """
address(a) = UInt(pointer(a))
function garbage!(a)
    Threads.@threads for k in axes(a, 2)
        a[:, k] .= sum(sum(rand(50)) for _ in 1:2000) > 0 ? k : 0
    end
    GC.gc()
    return Threads.nthreads()
end
"""


def one_address(session):
    x = session.empty((3, 2), torch.float32)
    assert session.call("address", x) == x.data_ptr()
    assert session.call("address", x[1:]) == x[1:].data_ptr() == x.data_ptr() + 8
    y = torch.zeros(4, 5, dtype=torch.float64)
    assert session.call("size", y) == [5, 4]
    session.call("fill!", y, 2.0)
    assert y.sum().item() == 40.0


def both_collectors(session):
    assert session.threads == THREADS
    for _ in range(5):
        x = session.empty((100, 10), torch.float32)
        assert session.call("garbage!", x) == THREADS
        assert x[:, 3].tolist() == list(range(1, 101))
        (torch.randn(200, 200) @ torch.randn(200, 200)).sum()
        gc.collect()


def exceptions(session):
    with pytest.raises(JuliaError, match="DomainError") as caught:
        session.call("sqrt", -1.0)
    assert "Stacktrace" in caught.value.__cause__.trace


def held_objects(session):
    from juliacall import Main

    assert session.call("numerator", session.hold(Main.seval("3 // 4"))) == 3


def other_threads(session):
    seen = []

    def call():
        try:
            session.call("identity", 1)
        except JuliaError as error:
            seen.append(str(error))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert "another thread" in seen[0]


def ctrl_c(session):
    x = session.empty((100, 10), torch.float32)

    def compute():
        begun = time.time()
        while time.time() < begun + 20:
            session.call("garbage!", x)

    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        compute()
    assert session.call("identity", 1) == 1


CHECKS = {f.__name__: f for f in (one_address, both_collectors, exceptions, held_objects, other_threads, ctrl_c)}

if __name__ == "__main__":
    # a shell starts what it runs in the background with Ctrl-C ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    julia = EmbeddedSession(THREADS)
    julia.include(SOURCE)
    outcome = {}
    for name, check in CHECKS.items():
        try:
            check(julia)
            outcome[name] = None
        except BaseException:
            outcome[name] = traceback.format_exc()
    print(json.dumps(outcome))
