"""Julia, started once per process: ``ready``, ``status`` and ``start``, which returns a ``Session``.

A session is the same in both of its modes. Python sends Julia source, Julia answers with plain values, and tensors
that ``Session.empty`` made are seen by both sides without a copy, dimensions reversed (a contiguous ``(N, T, d)``
tensor is a Julia ``Array`` of size ``(d, T, N)``).

* **worker** (the default): Julia runs in a process of its own and the tensors lie in shared memory. It owns its threads
  and signals, shares no library with torch, leaves Ctrl-C to Python, and its crash is a ``JuliaError``.
* **embedded**: Julia runs inside this process through juliacall. Needed where pointers must cross: GPU tensors and
  algorithm objects made by diffeqpy.

Example:
    >>> session = start(threads=2)
    >>> x = session.empty((3, 2), torch.float64)
    >>> session.include("fill_squares!(a) = (a .= reshape(1:length(a), size(a)) .^ 2; sum(a))")
    >>> session.call("fill_squares!", x)      # x is now [[1, 4], [9, 16], [25, 36]]
    91.0
"""

from __future__ import annotations

import atexit
import os
import threading
from typing import Any

from pyness.errors import JuliaError
from pyness.numbers import check_whole
from pyness.sampling.engines.julia import installation
from pyness.sampling.engines.julia.session import Code, JuliaTrace, Session

__all__ = ["Code", "JuliaTrace", "Session", "default_threads", "ready", "start", "status"]

_sessions: dict[bool, Session] = {}
_lock = threading.Lock()


def ready() -> bool:
    """Whether a Julia solve should work; nothing but ``julia --version`` is run."""
    try:
        installation.require()
    except JuliaError:
        return False
    return True


def status() -> dict[str, Any]:
    """What ``ready`` looked at: ``ready``, ``exe``, ``project``, ``origin``, ``version``, ``problem``, ``remedy``."""
    report: dict[str, Any] = dict.fromkeys(("exe", "project", "origin", "version", "problem", "remedy"))
    try:
        found = installation.find()
        if found is not None:
            report.update(exe=found.exe, project=found.project, origin=found.origin)
            report["version"] = ".".join(map(str, found.version))
        installation.require()
    except JuliaError as error:
        report.update(problem=error.problem, remedy=error.remedy)
    return {"ready": report["problem"] is None, **report}


def default_threads() -> int:
    """``$PYTHON_JULIACALL_THREADS`` or ``$JULIA_NUM_THREADS`` where they are numbers, else the cores to be had."""
    for name in ("PYTHON_JULIACALL_THREADS", "JULIA_NUM_THREADS"):
        value = os.environ.get(name, "")
        if value.isdecimal() and int(value) > 0:
            return int(value)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start(threads: int | None = None, *, embedded: bool = False) -> Session:
    """The session of this process, started when it is first asked for.

    Args:
        threads: of Julia; ``default_threads()`` if not given. A worker with another number is replaced by a new one; an
            embedded Julia keeps the threads it was started with.
        embedded: Julia inside this process instead of a worker.

    Raises:
        InputError: threads is not a whole number of at least 1.
        JuliaError: no usable Julia (the remedy says how to get one), or it did not start.
    """
    if threads is not None:
        check_whole("threads", threads)
    with _lock:
        session = _sessions.get(embedded)
        if session is not None and session.usable and (embedded or threads in (None, session.threads)):
            return session
        if session is not None:
            _sessions.pop(embedded).close()
        if embedded:
            from pyness.sampling.engines.julia.embedded import EmbeddedSession as kind
        else:
            from pyness.sampling.engines.julia.worker import WorkerSession as kind
        session = kind(threads or default_threads())
        try:
            session.prepare()
        except BaseException:
            session.close()
            raise
        _sessions[embedded] = session
        return session


@atexit.register
def _close() -> None:
    for session in _sessions.values():
        session.close()
