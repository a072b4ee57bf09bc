"""Julia in a process of its own: requests through a socket, tensors in shared memory."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import queue
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Sequence
from math import prod
from pathlib import Path

import torch

from pyness.errors import JuliaError
from pyness.sampling.engines.julia.session import ELEMENTS, JuliaTrace, Session, literal, literal_dims

__all__ = ["WorkerSession"]

BRIDGE = Path(__file__).with_name("bridge.jl")
#: Seconds that an interrupted call is given to come to its end before the worker is killed.
GRACE = 5.0
_HEADER = struct.Struct("<Q")


class WorkerSession(Session):
    """A spawned ``julia`` that answers requests one at a time and ends when this process does."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        if not hasattr(socket, "AF_UNIX"):
            raise JuliaError("a Julia process of its own needs Unix sockets", "take engine='torch' on this system")
        self._lock = threading.Lock()
        self._regions = _Regions()
        self._heard = 0
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the worker)
        with (
            tempfile.TemporaryDirectory(prefix="pyness-", dir="/tmp") as directory,
            socket.socket(socket.AF_UNIX) as server,
        ):
            path = os.path.join(directory, "socket")
            server.bind(path)
            server.listen(1)
            self._worker = self._spawn(path)
            self._socket = self._accept(server)
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        # a thread that no signal reaches, so that Ctrl-C can never tear an answer in two
        threading.Thread(target=_read_answers, args=(self._socket, self._answers), daemon=True).start()
        about = json.loads(self._answer())
        self.julia, self.threads = about["julia"], about["threads"]

    @property
    def pid(self) -> int:
        """Of the worker."""
        return self._worker.pid

    @property
    def usable(self) -> bool:
        return os.getpid() == self._owner and self._worker.poll() is None

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        return self._regions.empty(tuple(shape), dtype)

    def close(self) -> None:
        if os.getpid() != self._owner:
            return
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        try:
            self._worker.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._kill()

    def _spawn(self, path: str) -> subprocess.Popen:
        command = [
            self.installation.exe,
            "--startup-file=no",
            f"--project={self.installation.project}",
            f"--threads={self.threads}",
            "-e",
            f"include({literal(str(BRIDGE))}); PyNESSBridge.serve({literal(path)})",
        ]
        try:
            # in a group of its own: Ctrl-C in the terminal is for Python, which then decides
            return subprocess.Popen(
                command,
                env=self.installation.environment(),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,
            )
        except OSError as error:
            raise JuliaError(f"{command[0]!r} cannot be run ({error})", "see `pyness doctor`") from error

    def _accept(self, server: socket.socket) -> socket.socket:
        server.settimeout(0.1)
        try:
            while self._worker.poll() is None:
                with contextlib.suppress(TimeoutError):
                    connection = server.accept()[0]
                    connection.settimeout(None)
                    return connection
        except BaseException:
            self._kill()
            raise
        raise self._death()

    def _request(self, source: str) -> str:
        with self._lock:
            if not self.usable:
                raise self._death()
            payload = (self._regions.news() + source).encode()
            try:
                self._socket.sendall(_HEADER.pack(len(payload)) + payload)
                return self._answer()
            except OSError:
                raise self._death() from None
            except KeyboardInterrupt:
                self._abandon()
                raise

    def _answer(self, timeout: float | None = None) -> str:
        answer = self._answers.get(timeout=timeout)
        if answer is None:
            raise self._death()
        return answer

    def _abandon(self) -> None:
        """Let the call that was interrupted come to its end; where it does not, end the worker."""
        try:
            self._answer(GRACE)
        except BaseException:
            self._kill()

    def _kill(self) -> None:
        self._worker.kill()
        self._worker.wait()

    def _death(self) -> JuliaError:
        """The error for a worker that is gone, with the end of what it printed as the cause."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._worker.wait(GRACE)
        self._kill()
        code = self._worker.returncode
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        said = self._printed()
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        first = next((line for line in lines if line.startswith("ERROR")), lines[0] if lines else "it said nothing")
        error = JuliaError(f"the Julia process {how}: {first[:200]}", "see `pyness doctor`; the cause has all it said")
        error.__cause__ = JuliaTrace("ProcessExited", first, said)
        return error

    def _printed(self) -> str:
        said = os.pread(self._log.fileno(), 1 << 20, self._heard)
        self._heard += len(said)
        return said.decode(errors="replace")[-20_000:].strip()

    def _array(self, tensor: torch.Tensor) -> str:
        region, offset = self._regions.locate(tensor)
        return f"PyNESSBridge.shared({region}, {offset}, {ELEMENTS[tensor.dtype]}, {literal_dims(tensor)})"


class _Regions:
    """Shared memory that both processes map: anonymous files where the system has them, else unlinked ones."""

    def __init__(self) -> None:
        self._count = 0
        self._known: dict[int, int] = {}
        self._unattached: dict[int, tuple[str, int, contextlib.ExitStack]] = {}
        self._attached: list[contextlib.ExitStack] = []
        self._gone: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        size = max(1, prod(shape) * dtype.itemsize)
        self._count += 1
        region = self._count
        try:
            descriptor, path, cleanup = _anonymous_file()
            os.ftruncate(descriptor, size)
            memory = mmap.mmap(descriptor, size)
        except OSError as error:
            raise JuliaError(
                f"no {size} bytes of shared memory ({error})", "sample fewer walkers or snapshots"
            ) from None
        tensor = torch.frombuffer(memory, dtype=torch.uint8)
        address = tensor.data_ptr()
        self._known[address] = region
        self._unattached[region] = (path, size, cleanup)
        # the mapping ends with the last tensor that uses it, wherever in Python that is
        weakref.finalize(memory, self._gone.put, (region, address)).atexit = False
        return tensor[: prod(shape) * dtype.itemsize].view(dtype).view(shape)

    def locate(self, tensor: torch.Tensor) -> tuple[int, int]:
        """Region and byte offset of a tensor that ``empty`` made, or of a part of one."""
        storage = tensor.untyped_storage().data_ptr()
        if storage not in self._known:
            raise JuliaError("a tensor that the Julia process cannot see", "allocate it with Session.empty")
        return self._known[storage], tensor.storage_offset() * tensor.dtype.itemsize

    def news(self) -> str:
        """Source that tells the worker of regions made and dropped since the last request."""
        for cleanup in self._attached:
            cleanup.close()
        self._attached.clear()
        words = []
        with contextlib.suppress(queue.Empty):
            while True:
                region, address = self._gone.get_nowait()
                if self._known.get(address) == region:
                    del self._known[address]
                if region in self._unattached:
                    self._unattached.pop(region)[2].close()
                else:
                    words.append(f"PyNESSBridge.release({region}); ")
        for region, (path, size, cleanup) in self._unattached.items():
            words.append(f"PyNESSBridge.attach({region}, {literal(path)}, {size}); ")
            self._attached.append(cleanup)
        self._unattached.clear()
        return "".join(words)


def _anonymous_file() -> tuple[int, str, contextlib.ExitStack]:
    """Descriptor, a path by which another process of this user can open it, and what to undo once it has."""
    cleanup = contextlib.ExitStack()
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("pyness")
        path = f"/proc/{os.getpid()}/fd/{descriptor}"
    else:
        descriptor, path = tempfile.mkstemp(prefix="pyness-")
        cleanup.callback(os.unlink, path)
    cleanup.callback(os.close, descriptor)
    return descriptor, path, cleanup


def _read_answers(connection: socket.socket, answers: queue.SimpleQueue[str | None]) -> None:
    stream = connection.makefile("rb")
    with contextlib.suppress(OSError, struct.error, ValueError):
        while True:
            (size,) = _HEADER.unpack(stream.read(_HEADER.size))
            answers.put(stream.read(size).decode())
    answers.put(None)
