"""The one family of exceptions. Every message states the value seen and ends with the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "InputError",
    "InterruptedRun",
    "JuliaError",
    "LimitError",
    "PynessError",
    "SamplingError",
    "SolverError",
    "StoreError",
    "SystemDefinitionError",
    "TrainingError",
    "TranslationError",
    "UnknownNameError",
    "nearest",
]


class PynessError(Exception):
    """Base of everything pyness raises on purpose.

    Args:
        problem: what is wrong, with the value seen.
        remedy: what to do about it; always the end of the message.
    """

    exit_code = 2

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}; {remedy}")

    def __reduce__(self):
        return type(self), (self.problem, self.remedy)


class InputError(PynessError, ValueError):
    """Wrong use: a value, a name, a shape or a file the call cannot work with."""


class UnknownNameError(InputError):
    """A name that is in no list; the message offers the nearest ones."""

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
        known = list(known)
        return cls(f"unknown {kind} {name!r}", nearest(name, known, kind))


class SystemDefinitionError(InputError):
    """A system whose drift, diffusion or domain cannot describe an SDE."""


class SolverError(InputError):
    """A solver that does not fit the system, or options that do not fit the solver."""


class StoreError(InputError):
    """A file or directory that exists, is truncated, foreign, or cannot be written."""


class TranslationError(InputError):
    """A torch operation in a drift or a diffusion that has no Julia translation."""


class JuliaError(PynessError, RuntimeError):
    """Julia is missing, too old or incomplete, or a Julia solve ended badly."""


class SamplingError(PynessError, RuntimeError):
    """Too many walkers failed. Carries the partial samples as ``.samples`` where they exist."""

    exit_code = 3
    samples = None


class LimitError(SamplingError):
    """A sampling run was stopped because it took more seconds or drift evaluations than it was given."""


class TrainingError(PynessError, RuntimeError):
    """Training could not reach a finite, usable model."""

    exit_code = 4


class InterruptedRun(PynessError, KeyboardInterrupt):
    """Ctrl-C arrived; what was done is on disk and the run can be resumed."""

    exit_code = 130


def nearest(name: str, known: Iterable[str], kind: str) -> str:
    """The remedy for an unknown name: the closest known ones, or all where none is close."""
    known = sorted(known)
    close = difflib.get_close_matches(str(name).lower(), [k.lower() for k in known], n=3, cutoff=0.5)
    by_lower = {k.lower(): k for k in known}
    if close:
        return "did you mean " + ", ".join(repr(by_lower[c]) for c in close) + "?"
    return f"known {kind} names: " + (", ".join(known) if known else "none")
