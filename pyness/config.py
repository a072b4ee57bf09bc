"""What a run is: system, engine, solver, seed and the settings of each stage; read from TOML, written back resolved."""

from __future__ import annotations

import inspect
import json
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyness.errors import InputError, StoreError, UnknownNameError
from pyness.numbers import check_whole

if TYPE_CHECKING:
    from pyness.systems import System

__all__ = ["ENGINES", "RunConfig"]

ENGINES = ("auto", "torch", "julia", "julia-gpu")
SECTIONS = ("system", "sampling", "training")
_TOP = ("engine", "solver", "seed", *SECTIONS)
# what `sample` and the learner take from the run itself rather than from a setting
_NOT_SETTINGS = {
    "system", "samples", "engine", "solver", "seed", "start", "store", "resume", "overwrite", "progress", "checkpoint",
    "log",
}  # fmt: skip


@dataclass(frozen=True)
class RunConfig:
    """One run, from equations to report.

    Attributes:
        system: a registered name.
        parameters: keyword parameters of the system.
        engine: ``"auto" | "torch" | "julia" | "julia-gpu"``.
        solver: ``"NAME"`` or ``"NAME:option=value,..."``; None takes the system's own.
        seed: whole number, not negative, from which sampling and training both start; None is 0.
        sampling: keyword arguments of ``pyness.sample``.
        training: keyword arguments of ``pyness.fit_landscape``, of particle systems ``pyness.fit_score``.

    Raises:
        UnknownNameError: a system or a setting that does not exist.
        InputError: an engine or a seed of the wrong kind.
    """

    system: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    engine: str = "auto"
    solver: str | None = None
    seed: int | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise UnknownNameError.of("engine", str(self.engine), ENGINES)
        if self.solver is not None and not isinstance(self.solver, str):
            raise InputError(f"solver is {self.solver!r}", 'give "NAME" or "NAME:option=value"')
        if self.seed is not None:
            check_whole("seed", self.seed, least=0)
        for section, known in settings(self.system).items():
            for key in self._section(section):
                if key not in known:
                    raise UnknownNameError.of(f"{section} setting", key, known)

    def _section(self, name: str) -> Mapping[str, Any]:
        return self.parameters if name == "system" else getattr(self, name)

    def build(self) -> System:
        """The system with its parameters.

        Raises:
            InputError: a parameter of the wrong type or an impossible value.
        """
        from pyness import systems

        return systems.get(self.system, **self.parameters)

    def resolved(self) -> RunConfig:
        """The same run with nothing left open: parameters, engine, solver with its tolerances, plan, training.

        Raises:
            InputError, SolverError: a value or a combination that makes no sense.
        """
        from pyness import landscape, sampling, score, systems
        from pyness.sampling.portions import start_kind

        settings = {key: value for key, value in self.sampling.items() if key not in ("chunk", "start")}
        system, seed = self.build(), self.seed or 0
        chosen = sampling.resolve(system, self.solver, self.engine, seed=seed, **settings)
        solver, plan = chosen.solver, chosen.plan.to_dict()
        if solver.adaptive and plan["rtol"]:
            solver = solver.with_options(rtol=plan["rtol"])
        if isinstance(system, systems.ParticleSystem):
            plan["start"] = start_kind(system, self.sampling.get("start"))
        in_solver = ("dt", "rtol", "atol", "seed")
        learn = learner(self.system)
        training = _defaults(learn) | dict(self.training)
        if learn is landscape.fit_landscape:
            training = landscape.resolve_options(seed, training, system)
        else:
            training = score.resolve_options(system, chosen.plan, seed, training)
        return replace(
            self,
            parameters=systems.parameters(self.system) | dict(self.parameters),
            engine=chosen.engine,
            solver=str(solver),
            seed=seed,
            sampling={key: value for key, value in plan.items() if key not in in_solver and value is not None},
            training=training,
        )

    def under(self, other: RunConfig) -> RunConfig:
        """``other`` with what is said here put over it."""
        return RunConfig(
            system=self.system,
            parameters={**other.parameters, **self.parameters},
            engine=other.engine if self.engine == "auto" else self.engine,
            solver=self.solver or other.solver,
            seed=other.seed if self.seed is None else self.seed,
            sampling={**other.sampling, **self.sampling},
            training={**other.training, **self.training},
        )

    def with_settings(self, assignments: Iterable[str]) -> RunConfig:
        """A copy with each ``"key=value"`` put where its key belongs (see :func:`locate`); values as in TOML."""
        changed = {section: dict(self._section(section)) for section in SECTIONS}
        for assignment in assignments:
            key, equals, text = assignment.partition("=")
            if not equals or not key.strip() or not text.strip():
                raise InputError(f"setting {assignment!r} is not key=value", "write for example --set walkers=20000")
            section, name = locate(self.system, key.strip())
            changed[section][name] = parse_value(text.strip())
        return replace(self, parameters=changed["system"], sampling=changed["sampling"], training=changed["training"])

    @classmethod
    def read(cls, path: str | Path) -> RunConfig:
        """From a TOML file with ``engine``, ``solver``, ``seed`` and the tables ``system`` (``name`` and the
        parameters), ``sampling`` and ``training``; only ``system`` is needed, and ``system = "name"`` will do.
        ``solver`` may be a table of a ``default`` and of overrides by the name of the system.

        Raises:
            StoreError: no such file, or not TOML.
            InputError: a key that has no meaning, or a value of the wrong kind.
        """
        return cls.from_table(read_table(path), path)

    @classmethod
    def from_table(cls, table: Mapping[str, Any], path: str | Path) -> RunConfig:
        """From what a run file holds; ``path`` is named in complaints."""
        for key in table:
            if key not in _TOP:
                raise UnknownNameError.of(f"key in {path}:", key, _TOP)
        system = table.get("system")
        system = {"name": system} if isinstance(system, str) else system
        if not isinstance(system, dict) or not isinstance(system.get("name"), str):
            raise InputError(f"{path} names no system", 'add system = "double-well" (or a [system] table with name)')
        system = dict(system)
        for section in ("sampling", "training"):
            if not isinstance(table.get(section, {}), dict):
                raise InputError(f"{section} in {path} is {table[section]!r}", f"make it a table: [{section}]")
        name = system.pop("name")
        solver = table.get("solver")
        return cls(
            system=name,
            parameters=system,
            engine=table.get("engine", "auto"),
            solver=_own(solver, name, path) if isinstance(solver, dict) else solver,
            seed=table.get("seed"),
            sampling=table.get("sampling", {}),
            training=table.get("training", {}),
        )

    def to_toml(self) -> str:
        """The text :meth:`read` reads back; None is left out, since TOML has no such value."""
        lines = [f"engine = {_toml(self.engine)}"]
        if self.solver is not None:
            lines.append(f"solver = {_toml(self.solver)}")
        if self.seed is not None:
            lines.append(f"seed = {self.seed}")
        for section in SECTIONS:
            values = {"name": self.system, **self.parameters} if section == "system" else self._section(section)
            lines += ["", f"[{section}]"]
            lines += [f"{key} = {_toml(value)}" for key, value in values.items() if value is not None]
        return "\n".join(lines) + "\n"

    def differences(self, other: RunConfig) -> list[str]:
        """Where ``other`` says something else, as ``"key (mine, theirs)"``; empty where both are the same run."""
        mine, theirs = self._flat(), other._flat()
        return [
            f"{key} ({mine.get(key)!r}, {theirs.get(key)!r})"
            for key in dict.fromkeys([*mine, *theirs])
            if _plain(mine.get(key)) != _plain(theirs.get(key))
        ]

    def _flat(self) -> dict[str, Any]:
        flat = {"system": self.system, "engine": self.engine, "solver": self.solver, "seed": self.seed}
        flat |= {f"{section}.{key}": value for section in SECTIONS for key, value in self._section(section).items()}
        return flat


def read_table(path: str | Path) -> dict[str, Any]:
    """What a TOML file holds.

    Raises:
        StoreError: no such file, or not TOML.
    """
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}", "give an existing run file (TOML)") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} is not TOML: {error}", "mend that line") from error


def _own(solvers: Mapping[str, Any], system: str, path: str | Path) -> Any:
    """The solver of a system from a table of a default and overrides.

    Raises:
        UnknownNameError: an override for a system that does not exist.
    """
    from pyness import systems

    known = ["default", *systems.names()]
    for key in solvers:
        if key not in known:
            raise UnknownNameError.of(f"key in [solver] of {path}:", key, known)
    return solvers.get(system, solvers.get("default"))


def learner(system: str) -> Callable[..., Any]:
    """What is learnt of a registered system: of particle systems a score, of others a landscape.

    Raises:
        UnknownNameError: no such system.
    """
    from pyness import systems

    if issubclass(systems.kind(system), systems.ParticleSystem):
        from pyness import score

        return score.fit_score
    from pyness import landscape

    return landscape.fit_landscape


def settings(system: str) -> dict[str, list[str]]:
    """The keys each section takes: ``system``, ``sampling`` and ``training``.

    Raises:
        UnknownNameError: no such system.
    """
    from pyness import sampling, systems

    particles = issubclass(systems.kind(system), systems.ParticleSystem)
    return {
        "system": list(systems.parameters(system)),
        # only of particles is there a choice that has a name
        "sampling": [*_keywords(sampling.sample), *(["start"] if particles else [])],
        "training": _keywords(learner(system)),
    }


def locate(system: str, key: str) -> tuple[str, str]:
    """The section and the name a key stands for; ``"walkers"`` and ``"sampling.walkers"`` are the same.

    Raises:
        UnknownNameError: no section has it (the nearest names are offered).
        InputError: several have it.
    """
    known = settings(system)
    section, dot, name = key.partition(".")
    if dot and section in known and name in known[section]:
        return section, name
    found = [s for s, keys in known.items() if key in keys]
    if len(found) == 1:
        return found[0], key
    if found:
        raise InputError(f"setting {key!r} is ambiguous", "say " + " or ".join(f"{s}.{key}" for s in found))
    names = known[section] if dot and section in known else [k for keys in known.values() for k in keys]
    raise UnknownNameError.of("setting", name if dot and section in known else key, dict.fromkeys(names))


def parse_value(text: str) -> Any:
    """A TOML value; ``none`` is None and anything else is taken as the text itself."""
    if text.lower() == "none":
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        pass
    try:
        return float(text)  # ".5" and "1." are numbers to everyone but TOML
    except ValueError:
        return text


def _keywords(function: Any) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.name not in _NOT_SETTINGS and p.kind is not p.VAR_KEYWORD]


def _defaults(function: Any) -> dict[str, Any]:
    given = inspect.signature(function).parameters
    return {key: given[key].default for key in _keywords(function)}


def _toml(value: Any) -> str:
    value = _plain(value)
    if isinstance(value, list):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # a JSON string is a TOML basic string
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    raise InputError(f"{value!r} cannot be written to a run file", "use numbers, text, lists and tables")


def _plain(value: Any) -> Any:
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value
