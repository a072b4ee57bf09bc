"""``Session``: the conversation with a running Julia, whichever process it lives in."""

from __future__ import annotations

import abc
import json
import os
import re
from collections.abc import Sequence
from typing import Any

import torch

from pyness.errors import JuliaError
from pyness.sampling.engines.julia import installation

__all__ = ["ELEMENTS", "Code", "JuliaTrace", "Session", "literal", "literal_dims"]

#: Element types that both sides have.
ELEMENTS = {
    torch.float32: "Float32",
    torch.float64: "Float64",
    torch.int32: "Int32",
    torch.int64: "Int64",
    torch.uint8: "UInt8",
    torch.bool: "Bool",
}


class Code(str):
    """Julia source to be passed to ``Session.call`` as it is, such as ``Code("Float32")``."""


class JuliaTrace(Exception):
    """The cause of a ``JuliaError`` that Julia raised.

    Attributes:
        kind: name of the Julia exception's type.
        message: what it says.
        trace: with its stack.
    """

    def __init__(self, kind: str, message: str, trace: str) -> None:
        super().__init__(trace)
        self.kind, self.message, self.trace = kind, message, trace


class Session(abc.ABC):
    """A running Julia with PyNESS.jl loaded.

    Attributes:
        threads: how many it has.
        julia: its version.
        installation: where it comes from.
    """

    def __init__(self, threads: int) -> None:
        self.installation = installation.require()
        self.threads = threads
        self.julia = ""
        self._owner = os.getpid()

    def prepare(self) -> None:
        """Load PyNESS.jl.

        Raises:
            JuliaError: it does not load.
        """
        self._evaluate(f"PyNESSBridge.provide({literal(str(installation.PACKAGE))}); using PyNESS")

    def include(self, source: str) -> None:
        """Evaluate ``source``, any number of statements, in ``Main``.

        Raises:
            JuliaError: Julia raised; ``__cause__`` is a ``JuliaTrace``.
        """
        self._evaluate(source + "\nnothing")

    def call(self, function: str, *arguments: Any, **options: Any) -> Any:
        """``function(arguments...; options...)`` in Julia.

        Args:
            function: its name, such as ``"PyNESS.sample!"``.
            arguments, options: numbers, bools, strings, None, ``Code``, lists (vectors) and tuples of these, and
                tensors, which Julia sees in place with their dimensions reversed (``writable`` and contiguous).

        Returns:
            The value as Python's own: number, string, None, list (of a vector or tuple), dict (of a named tuple).

        Raises:
            JuliaError: Julia raised (``__cause__`` is a ``JuliaTrace``), died, or was closed.
        """
        words = [self._literal(a) for a in arguments] + [f"{k}={self._literal(v)}" for k, v in options.items()]
        return self._evaluate(f"{function}({', '.join(words)})")

    @abc.abstractmethod
    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """A contiguous tensor of zeros or garbage whose memory Julia sees in ``call``; it outlives the session."""

    @property
    @abc.abstractmethod
    def usable(self) -> bool:
        """Whether it can still be called from this process."""

    @abc.abstractmethod
    def close(self) -> None:
        """End it; safe to call twice. Tensors stay valid."""

    @abc.abstractmethod
    def _request(self, source: str) -> str:
        """Send source, return the JSON answer."""

    def _printed(self) -> str:
        """What Julia has printed since this was last asked, where it does not go to the terminal."""
        return ""

    @abc.abstractmethod
    def _array(self, tensor: torch.Tensor) -> str:
        """The Julia expression for a contiguous tensor."""

    def _evaluate(self, source: str) -> Any:
        if os.getpid() != self._owner:
            raise JuliaError("Julia was started before this process was forked", "start it here, or use spawn")
        answer = json.loads(self._request(source))
        if "error" not in answer:
            return answer["value"]
        error = answer["error"]
        trace = JuliaTrace(
            error["kind"], error["message"], "\n\n".join(filter(None, (error["trace"], self._printed())))
        )
        raise JuliaError(*_explained(trace)) from trace

    def _literal(self, value: Any) -> str:
        if isinstance(value, torch.Tensor):
            if value.dtype not in ELEMENTS or not value.is_contiguous():
                raise JuliaError(
                    f"a tensor of {value.dtype}, strides {value.stride()}, cannot be shared with Julia",
                    "pass a contiguous one of " + ", ".join(str(d) for d in ELEMENTS),
                )
            return self._array(value)
        if isinstance(value, (list, tuple)):
            words = ", ".join(self._literal(item) for item in value)
            return f"[{words}]" if isinstance(value, list) else f"({words},)" if value else "()"
        return literal(value)


def literal(value: Any) -> str:
    """A number, string, bool or None as Julia source.

    Raises:
        JuliaError: anything else.
    """
    if isinstance(value, Code):
        return str(value)
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        if -(2**63) <= value < 2**63:
            return str(value)
        if 0 <= value < 2**64:
            return f"0x{value:016x}"
    elif isinstance(value, float):
        return {"nan": "NaN", "inf": "Inf", "-inf": "-Inf"}.get(repr(value), repr(value))
    elif isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("$", "\\$")
    raise JuliaError(f"{value!r} cannot be passed to Julia", "pass numbers, strings, lists, tuples or tensors")


def literal_dims(tensor: torch.Tensor) -> str:
    """Its shape as Julia counts it: reversed, as a tuple."""
    return "(" + "".join(f"{n}, " for n in reversed(tensor.shape)) + ")"


def _explained(trace: JuliaTrace) -> tuple[str, str]:
    """Problem and remedy in one line for what Julia raised."""
    first = trace.message.strip().partition("\n")[0][:300]
    missing = re.search(r"Package (\w+) (?:\[[-0-9a-f]+\] )?(?:not found|is required but does not)", trace.trace)
    if missing:
        return f"Julia package {missing[1]} is not installed", installation.SETUP
    broken = re.search(r"Failed to precompile (\w+)", first)
    if broken:
        return (
            f"Julia package {broken[1]} does not compile",
            "its error is in the cause; `pyness doctor` has the versions",
        )
    what = first if first.startswith(trace.kind) else f"{trace.kind}: {first}"
    return f"Julia raised {what}", "the Julia trace is in the cause of this error"
