"""Julia inside this process, through juliacall: for GPU tensors and for algorithm objects made by diffeqpy.

What was measured (Julia 1.10.8, juliacall 0.9.34, torch 2.13, Linux; six runs each of threaded, garbage-making
Julia between torch operations): the order in which torch and juliacall are imported makes no difference; several
Julia threads without Julia's own signal handling end in SIGSEGV in every run, with it in none; Ctrl-C then ends the
process, unless SIGINT is unblocked again for Python's main thread, as here, and then raises KeyboardInterrupt.
"""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Sequence
from typing import Any

import torch

from pyness.errors import JuliaError
from pyness.sampling.engines.julia.session import ELEMENTS, Code, Session, literal, literal_dims
from pyness.sampling.engines.julia.worker import BRIDGE

__all__ = ["EmbeddedSession"]


class EmbeddedSession(Session):
    """The Julia of this process: started here, or the one that juliacall (diffeqpy) has started before."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self._thread = threading.current_thread()
        self._main = self._start()
        self._main.seval(f"Base.include(Main, {literal(str(BRIDGE))})")
        self._main.seval("PyNESSBridge.BLAS.set_num_threads(1)")
        about = self._evaluate("PyNESSBridge.about()")
        self.julia, self.threads = about["julia"], about["threads"]

    def _start(self) -> Any:
        before = dict(os.environ)
        on_interrupt = signal.getsignal(signal.SIGINT)
        os.environ.update(self._environment())
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="torch was imported before juliacall")
                import juliacall
        except Exception as error:
            raise JuliaError(
                f"juliacall did not start Julia: {str(error).strip().partition(chr(10))[0][:200]}",
                "see `pyness doctor`",
            ) from error
        finally:
            for name in self._environment():
                os.environ.pop(name)
                os.environ.update({name: before[name]} if name in before else {})
        if threading.current_thread() is threading.main_thread() and on_interrupt is not None:
            # Julia took Ctrl-C for itself
            signal.signal(signal.SIGINT, on_interrupt)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        return juliacall.Main

    def _environment(self) -> dict[str, str]:
        """What juliacall reads when it is imported."""
        return {
            "PYTHON_JULIACALL_EXE": self.installation.exe,
            "PYTHON_JULIACALL_PROJECT": self.installation.project,
            "PYTHON_JULIACALL_THREADS": str(self.threads),
            # Julia's garbage collector stops its threads with a signal
            "PYTHON_JULIACALL_HANDLE_SIGNALS": "yes" if self.threads > 1 else "no",
            **({"JULIA_DEPOT_PATH": self.installation.depot} if self.installation.depot else {}),
        }

    @property
    def usable(self) -> bool:
        return os.getpid() == self._owner

    def hold(self, native: Any) -> Code:
        """The expression by which ``call`` passes an object of Julia's own, as diffeqpy makes them."""
        return Code(f"PyNESSBridge.HELD[{self._main.PyNESSBridge.hold(native)}]")

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(tuple(shape), dtype=dtype)

    def close(self) -> None:
        """Nothing: Julia ends with the process."""

    def _request(self, source: str) -> str:
        if threading.current_thread() is not self._thread:
            raise JuliaError("Julia was called from another thread", "call it from the thread that started it")
        return str(self._main.PyNESSBridge.answer(source))

    def _array(self, tensor: torch.Tensor) -> str:
        where = f"UInt({tensor.data_ptr()}), {ELEMENTS[tensor.dtype]}, {literal_dims(tensor)}"
        return f"PyNESS.on_device({where})" if tensor.is_cuda else f"PyNESSBridge.at({where})"
