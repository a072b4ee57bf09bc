"""Solvers: which algorithms there are, what each may be used for, and the grammar by which they are named.

The records of ``ALGORITHMS`` are the single source for checks, help, documentation and tests. A solver is named
``NAME`` or ``NAME:option=value,option=value``, with an engine in front where it matters: ``SOSRA:rtol=1e-2``,
``julia:SOSRI``, ``torch:EM:dt=1e-3``. Nothing here imports torch or juliacall.

Example:
    >>> parse("EM:dt=1e-2").options
    {'dt': 0.01}
    >>> "SOSRA" in fitting(pyness.systems.get("double-well"))
    True
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyness._catalogue import ALGORITHMS, ENGINES, NOISE, OMITTED, Algorithm, Option
from pyness.errors import SolverError, UnknownNameError

__all__ = [
    "ALGORITHMS",
    "ENGINES",
    "NOISE",
    "OMITTED",
    "Algorithm",
    "Option",
    "Solver",
    "check",
    "fitting",
    "noise_structure",
    "parse",
    "table",
]

#: Noise kinds of an algorithm (any of them suffices) that cover each structure a diffusion can have.
_COVERED_BY = {
    "constant diagonal": frozenset(NOISE),
    "constant matrix": frozenset({"additive", "commutative", "general"}),
    "state-dependent diagonal": frozenset({"diagonal", "commutative", "general"}),
    "state-dependent matrix": frozenset({"general"}),
}


@dataclass(frozen=True)
class Solver:
    """An algorithm with the options given to it.

    Attributes:
        algorithm: its record.
        engine: the engine asked for, or None.
        options: what was given, by name, converted; what was not given is in the record's defaults.
        label: what was typed, for tables and files.
        native: a Julia algorithm object (from diffeqpy or juliacall) to be used as it is, else None.
    """

    algorithm: Algorithm
    engine: str | None = None
    options: Mapping[str, float | int | bool] = field(default_factory=dict, hash=False)
    label: str = field(default="", compare=False)
    native: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.engine is not None and self.engine not in ENGINES:
            raise UnknownNameError.of("engine", self.engine, ENGINES)
        converted = {name: _value(self.algorithm, name, value) for name, value in self.options.items()}
        object.__setattr__(self, "options", converted)
        object.__setattr__(self, "label", self.label or str(self))

    @property
    def name(self) -> str:
        return self.algorithm.name

    @property
    def adaptive(self) -> bool:
        """Whether it chooses its own steps, as given."""
        return self.algorithm.adaptive and bool(self["adaptive"])

    def __getitem__(self, option: str) -> float | int | bool | None:
        """The value of an option: as given, else the default."""
        return self.options.get(option, _option(self.algorithm, option).default)

    def with_options(self, **options: float | int | bool | None) -> Solver:
        """The same solver with further options; None means not given.

        Raises:
            SolverError: an option that the algorithm does not have, or one given before with another value.
        """
        given = {name: _value(self.algorithm, name, value) for name, value in options.items() if value is not None}
        for name, value in given.items():
            if self.options.get(name, value) != value:
                raise SolverError(
                    f"{name} is {value!r} and solver {self.label!r} says {self.options[name]!r}", f"give {name} once"
                )
        return dataclasses.replace(self, options={**self.options, **given})

    def julia(self) -> str:
        """The Julia expression that constructs the algorithm, such as ``ImplicitEM(theta=0.5)``."""
        own = [(_option(self.algorithm, name), value) for name, value in self.options.items()]
        words = [
            _written(value) if option.positional else f"{option.name}={_written(value)}"
            for option, value in sorted(own, key=lambda pair: (not pair[0].positional, pair[0].name))
            if option.keyword
        ]
        return f"{self.name}({', '.join(words)})"

    def __str__(self) -> str:
        words = [f"{name}={_written(value)}" for name, value in self.options.items()]
        return ":".join(part for part in (self.engine, self.name, ",".join(words)) if part)


def parse(spec: str | Algorithm | Solver | Any) -> Solver:
    """The solver that ``spec`` names.

    Args:
        spec: ``"NAME"``, ``"NAME:option=value,option=value"``, either with ``"torch:"`` or ``"julia:"`` in front; an
            ``Algorithm``; a ``Solver``; or an algorithm object of DifferentialEquations.jl, as ``diffeqpy`` makes them.

    Raises:
        UnknownNameError: no such algorithm or option (the nearest names are offered).
        SolverError: an option with a value it cannot have, or something that is no solver at all.
    """
    if isinstance(spec, Solver):
        return spec
    if isinstance(spec, Algorithm):
        return Solver(spec)
    if isinstance(spec, str):
        return _parse_text(spec)
    if type(spec).__module__.partition(".")[0] == "juliacall":
        return _parse_native(spec)
    raise SolverError(f"solver is {spec!r}", "give a name such as 'SOSRA' or 'EM:dt=1e-3'")


def _parse_text(text: str) -> Solver:
    parts = [part.strip() for part in text.strip().split(":")]
    engine = parts.pop(0) if len(parts) > 1 and parts[0] in ENGINES else None
    if len(parts) > 2:
        known = parts[1] in ALGORITHMS and parts[0] not in ALGORITHMS
        raise (
            UnknownNameError.of("engine", parts[0], ENGINES)
            if known
            else SolverError(f"solver {text!r} has too many colons", "write ENGINE:NAME:option=value,option=value")
        )
    algorithm = _algorithm(parts[0])
    options: dict[str, Any] = {}
    for word in filter(None, (w.strip() for w in (parts[1] if len(parts) == 2 else "").split(","))):
        name, equals, value = (piece.strip() for piece in word.partition("="))
        if not equals or not value:
            raise SolverError(f"solver {text!r}: {word!r} has no value", f"write {algorithm.name}:{name}=value")
        if name in options:
            raise SolverError(f"solver {text!r} gives {name} twice", "give it once")
        options[name] = value
    return Solver(algorithm, engine, options, text.strip())


def _parse_native(spec: Any) -> Solver:
    """A Julia object is recognised by its printed form: ``SOSRI()``, ``Module.ImplicitEM{...}(...)``."""
    printed = str(spec)
    match = re.match(r"(?:[^\W\d]\w*\.)*([^\W\d]\w*)[({]", printed)
    if match is None:
        raise SolverError(
            f"{printed[:60]!r} is no algorithm of DifferentialEquations.jl", "give one, such as de.SOSRI()"
        )
    return Solver(_algorithm(match[1]), "julia", {}, f"julia:{match[1]}", spec)


def _algorithm(name: str) -> Algorithm:
    if name in OMITTED:
        raise SolverError(f"solver {name!r} is not offered: {OMITTED[name]}", "see `pyness solvers` for those that are")
    if name not in ALGORITHMS:
        raise UnknownNameError.of("solver", name, ALGORITHMS)
    return ALGORITHMS[name]


def _option(algorithm: Algorithm, name: str) -> Option:
    if name in algorithm.options:
        return algorithm.options[name]
    if name in ("rtol", "atol", "adaptive", "dtmax") and not algorithm.adaptive:
        raise SolverError(
            f"{algorithm.name} has a fixed step and no option {name!r}", f"give dt, as in {algorithm.name}:dt=1e-3"
        )
    raise SolverError(f"{algorithm.name} has no option {name!r}", f"it has {', '.join(algorithm.options)}")


def _value(algorithm: Algorithm, name: str, value: Any) -> float | int | bool:
    """``value``, text or not, as the kind the option wants.

    Raises:
        SolverError: not of that kind, not finite, or out of bounds.
    """
    option = _option(algorithm, name)
    wanted = {bool: "true or false", int: "a whole number", float: "a number"}[option.kind]
    if option.kind is not bool:
        above = "from" if option.kind is int else "greater than"
        wanted += f" {above} {option.low:g}" + (f", at most {option.high:g}" if math.isfinite(option.high) else "")
    converted = _converted(option.kind, value)
    number = option.kind is not bool and converted is not None
    if converted is None or (number and not _within(option, converted)):
        raise SolverError(f"{algorithm.name}: {name} is {value!r}", f"give {wanted}")
    return converted


def _converted(kind: type, value: Any) -> float | int | bool | None:
    if kind is bool:
        words = {"true": True, "false": False}
        return value if isinstance(value, bool) else words.get(value.lower()) if isinstance(value, str) else None
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if kind is int:
        return int(number) if number.is_integer() else None
    return number


def _within(option: Option, value: float) -> bool:
    above = value >= option.low if option.kind is int else value > option.low
    return above and value <= option.high and math.isfinite(value)


def _written(value: float | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def noise_structure(diffusion: Any) -> str:
    """``"constant diagonal"``, ``"constant matrix"``, ``"state-dependent diagonal"`` or ``"state-dependent matrix"``.

    A scalar is diagonal, and so is a constant matrix whose other entries are all zero.
    """
    matrix = diffusion.kind == "matrix"
    if matrix and diffusion.constant:
        rows = diffusion.value.tolist()
        matrix = any(entry != 0 for i, row in enumerate(rows) for j, entry in enumerate(row) if i != j)
    return f"{'constant' if diffusion.constant else 'state-dependent'} {'matrix' if matrix else 'diagonal'}"


def fitting(system: Any, engine: str | None = None) -> list[str]:
    """Names of the algorithms that are right for the noise of ``system`` and run on ``engine`` (None: on any)."""
    structure = noise_structure(system.diffusion)
    return [a.name for a in ALGORITHMS.values() if _misfit(a, structure) is None and _runs(a, engine, system)]


def _runs(algorithm: Algorithm, engine: str | None, system: Any = None) -> bool:
    return engine is None or engine in _engines(algorithm, system)


def _engines(algorithm: Algorithm, system: Any) -> tuple[str, ...]:
    """Where an algorithm can run for a system; None: for one of no particular kind."""
    if getattr(system, "activity", None) is None:
        return algorithm.engines
    others = (engine for engine in algorithm.engines if not (system.interacts and engine == "julia-gpu"))
    return tuple(dict.fromkeys((*others, *algorithm.particles)))


def _misfit(algorithm: Algorithm, structure: str) -> str | None:
    """Why the algorithm is wrong for the noise, or None."""
    if not algorithm.noise & _COVERED_BY[structure]:
        return f"takes {_listed(algorithm.noise)} noise only"
    if algorithm.calculus == "stratonovich" and not structure.startswith("constant"):
        return "solves Stratonovich equations and these are Ito"
    return None


def _listed(noise: Iterable[str]) -> str:
    return " or ".join(kind for kind in NOISE if kind in noise)


def check(solver: Solver, system: Any, engine: str | None = None, *, dt: float | None = None) -> None:
    """Refuse a solver that would be wrong, or cannot run, on ``system``.

    Args:
        solver: what ``parse`` returned.
        system: a ``System``; its diffusion's ``kind`` and ``constant`` decide.
        engine: ``"torch"``, ``"julia"``, ``"julia-gpu"``, or None for any.
        dt: a step given elsewhere.

    Raises:
        SolverError: noise, calculus, stepping, engine or options do not fit; the message names those that do.
    """
    algorithm = solver.algorithm
    if solver.engine and engine and solver.engine != engine.removesuffix("-gpu") and solver.engine != engine:
        raise SolverError(f"solver {solver.label!r} on engine {engine!r}", f"say engine={solver.engine!r}")
    engine = engine or solver.engine
    interact = getattr(system, "interacts", False)
    structure = noise_structure(system.diffusion)
    names = fitting(system, engine)
    fit = "these fit: " + ", ".join(names) if names else f"no solver of engine {engine!r} does; take engine='julia'"
    misfit = _misfit(algorithm, structure)
    if misfit:
        raise SolverError(f"solver {solver.name!r} {misfit}, and the noise of {system.name!r} is {structure}", fit)
    if not _runs(algorithm, engine, system):
        engines = ", ".join(_engines(algorithm, system))
        there = f" (it is in: {engines})" if engines else ""
        particles = " for interacting particles" if interact else ""
        raise SolverError(f"engine {engine!r} has no solver {solver.name!r}{particles}{there}", fit)
    for name in solver.options:
        option = algorithm.options[name]
        engines = option.engines if getattr(system, "activity", None) is None else option.engines + option.particles
        if engine and engine not in engines:
            raise SolverError(
                f"{solver.name} on engine {engine!r} has no option {name!r}",
                f"it has {', '.join(o.name for o in algorithm.options.values() if engine in o.engines)}",
            )
    if engine == "julia-gpu" and interact and solver.adaptive:
        raise SolverError(
            f"the kernels of interacting particles have a fixed step, and {solver.label} chooses its own",
            f"take {solver.name}:adaptive=false,dt=1e-2, or engine='julia' with device='cpu'",
        )
    _check_stepping(solver, structure, dt, names)


def _check_stepping(solver: Solver, structure: str, dt: float | None, names: list[str]) -> None:
    name = solver.name
    if solver.adaptive and not solver.algorithm.adaptive_noise & _COVERED_BY[structure]:
        others = [n for n in names if ALGORITHMS[n].adaptive_noise & _COVERED_BY[structure]]
        raise SolverError(
            f"the step control of {name} cannot be trusted with {structure} noise",
            f"fix its step ({name}:adaptive=false,dt=1e-3)" + (f" or take {', '.join(others)}" if others else ""),
        )
    if not solver.adaptive and dt is None and solver["dt"] is None:
        others = [n for n in names if ALGORITHMS[n].adaptive_noise & _COVERED_BY[structure]]
        raise SolverError(
            f"{name} has a fixed step and no dt was given",
            f"give dt, as in {name}:dt=1e-3" + (f", or take one that adapts: {', '.join(others)}" if others else ""),
        )


def table(system: Any = None, engine: str | None = None) -> list[dict[str, Any]]:
    """The catalogue as rows of plain values, for ``pyness solvers`` and the documentation.

    Args:
        system: only those that fit it.
        engine: only those it has.
    """
    names = list(ALGORITHMS) if system is None else fitting(system)
    return [
        {
            "name": a.name,
            "family": a.family,
            "strong order": a.strong_order,
            "weak order": a.weak_order,
            "stepping": a.stepping,
            "stiff": a.stiff,
            "noise": [kind for kind in NOISE if kind in a.noise],
            "calculus": a.calculus,
            "engines": list(_engines(a, system)),
            "options": {o.name: {"type": o.kind.__name__, "default": o.default, "what": o.what} for o in
                        a.options.values()},
            "when": a.when,
            "reference": a.reference,
        }
        for a in (ALGORITHMS[name] for name in names)
        if _runs(a, engine, system)
    ]  # fmt: skip
