"""``resolve``: solver, engine and plan of a run, from what was given, what the system recommends and the defaults."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pyness import solvers
from pyness.errors import InputError, SolverError, UnknownNameError
from pyness.sampling.plan import Plan
from pyness.solvers import Solver
from pyness.systems import System

__all__ = ["ENGINES", "Resolved", "resolve"]

ENGINES = ("auto", "torch", "julia", "julia-gpu")
# keywords that steer the steps: a recommended one goes with the recommended algorithm only
_STEPPING = ("dt", "rtol", "atol", "burn_in_dt")
_DEFAULTS: Mapping[str, Any] = {"walkers": 10_000, "snapshots": 20}


@dataclasses.dataclass(frozen=True)
class Resolved:
    """What ``sample`` would do.

    Attributes:
        solver: with its options.
        engine: never ``"auto"``; ``"julia-gpu"`` also where ``"julia"`` was asked for on a device.
        plan: all of it.
        note: where ``"auto"`` was asked for, which engine that is and how to get the other.
    """

    solver: Solver
    engine: str
    plan: Plan
    note: str = ""


def resolve(
    system: System,
    solver: Any = None,
    engine: str = "auto",
    *,
    seed: int = 0,
    dtype: str = "float32",
    device: str = "cpu",
    max_failed: float = 1e-3,
    **given: Any,
) -> Resolved:
    """Everything that ``sample`` would take from these arguments, checked; nothing is sampled.

    Raises:
        InputError, SolverError, UnknownNameError: as ``sample``.
    """
    rest = {"seed": seed, "dtype": dtype, "device": device, "max_failed": max_failed}
    chosen, plan = _solver_and_plan(system, solver, given, rest)
    name, note = _engine_name(engine, chosen, system)
    if name == "julia" and not plan.device.startswith("cpu"):
        name = "julia-gpu"
    if name == "julia-gpu" and system.domain.walls:
        raise SolverError(
            f"linear walls ({system.name!r}) on engine 'julia-gpu'",
            "take engine='torch', or engine='julia' with device='cpu'",
        )
    solvers.check(chosen, system, name, dt=plan.dt)
    return Resolved(chosen, name, plan, note)


def _solver_and_plan(
    system: System, spec: Any, given: Mapping[str, Any], rest: Mapping[str, Any]
) -> tuple[Solver, Plan]:
    """Solver and plan, from what was given, the system's recommendation and the defaults, in this order."""
    recommended = solvers.parse(system.solver) if system.solver else None
    if spec is None and recommended is None:
        spec = "SOSRA" if system.diffusion.additive else "EM"
    asked = {key: value for key, value in given.items() if value is not None}
    solver = _overridden(recommended, asked) if spec is None else solvers.parse(spec)
    values = {**_DEFAULTS, **system.plan}
    if recommended is None or recommended.algorithm is not solver.algorithm:
        values = {key: value for key, value in values.items() if key not in _STEPPING}
    elif not (solver.adaptive or recommended.adaptive):
        values = {"dt": recommended["dt"], **values}
    for name in ("dt", "rtol", "atol"):
        if name in asked:
            _refuse_conflict(solver, name, asked[name])
            solver = solver.with_options(**{name: asked.pop(name)})
        if name in solver.options:
            values[name] = solver.options[name]
        elif values.get(name) is not None:
            solver = solver.with_options(**{name: values[name]})
    values.update(asked)
    for name in ("burn_in", "spacing"):
        if values.get(name) is None:
            raise InputError(
                f"{name} is not given and system {system.name!r} recommends none",
                f"give {name}= in the system's time unit",
            )
    if solver.adaptive:
        if asked.get("burn_in_dt") is not None:
            raise SolverError(
                f"burn_in_dt is {asked['burn_in_dt']!r} and {solver.name} chooses its own steps",
                "leave it out, or fix the step with adaptive=false,dt=...",
            )
        values["burn_in_dt"] = None
        only_absolute = "atol" in solver.options and "rtol" not in solver.options
        values["rtol"] = None if only_absolute else solver["rtol"]
        values["atol"] = solver.options.get("atol", 0.0)
    elif values.get("burn_in_dt") is not None and values.get("dt") is not None and "burn_in_dt" not in asked:
        values["burn_in_dt"] = max(values["burn_in_dt"], values["dt"])
    return solver, Plan(**values, **rest)


def _overridden(recommended: Solver, asked: Mapping[str, Any]) -> Solver:
    """The recommended solver without the options for which another value is asked."""
    options = {key: value for key, value in recommended.options.items() if asked.get(key) is None}
    return dataclasses.replace(recommended, options=options, label="")


def _refuse_conflict(solver: Solver, name: str, value: Any) -> None:
    if name in ("rtol", "atol") and solver.algorithm.adaptive and not solver.adaptive:
        raise SolverError(
            f"{name} is {value!r} and solver {solver.label!r} has a fixed step",
            f"give solver='{solver.name}:{name}={value}' for an adaptive one",
        )


def _engine_name(name: Any, solver: Solver, system: System) -> tuple[str, str]:
    """The engine's name, and what to say about the choice where it was left open."""
    if name not in ENGINES:
        raise UnknownNameError.of("engine", str(name), ENGINES)
    known_here = [kind for kind in ("clip", "refuse") if system.domain.axes(kind)]
    if known_here:
        if name.startswith("julia") or (solver.engine or "torch") != "torch":
            raise SolverError(f"boundary {known_here[0]!r} ({system.name!r}) on engine 'julia'", "take engine='torch'")
        return "torch", ""
    apart = system.interacts or system.domain.walls
    if name == "auto" and solver.engine is None and apart and "torch" in solver.algorithm.engines:
        return "torch", ""
    if solver.engine is not None:
        own = solver.engine
        if name not in ("auto", own, own.removesuffix("-gpu")):
            raise SolverError(f"solver {solver.label!r} on engine {name!r}", f"say engine={own!r}")
        return own, ""
    if name != "auto":
        return name, ""
    from pyness.sampling.engines.julia import ready

    has_torch = "torch" in solver.algorithm.engines
    if ready():
        other = "; engine='torch' takes the embedded one" if has_torch else ""
        return "julia", f"engine: julia, {solver.name}{other}"
    if has_torch:
        return "torch", "engine: torch (embedded); `pyness julia setup` gets the other, Julia"
    # what no engine at hand can do is refused there, with the way to Julia
    return "julia", f"engine: julia, which alone has {solver.name}"
