"""What each command does: call the public function, show what it returns."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyness.cli.report import show_report, show_suite
from pyness.cli.tables import number, pairs, show_json, show_table
from pyness.errors import InputError, InterruptedRun

if TYPE_CHECKING:
    from pyness.config import RunConfig

__all__ = ["compare", "doctor", "julia_setup", "julia_status", "julia_use", "report", "run", "solvers", "systems"]


def systems(arguments: argparse.Namespace) -> None:
    """``pyness systems [NAME]``."""
    from pyness import systems as registry

    if arguments.name is not None:
        return _one_system(arguments.name, arguments.json)
    records = [_system_record(name) for name in registry.names()]
    if arguments.json:
        return show_json(records)
    show_table(
        ["name", "d", "parameters", "solver", "EPR", "source"],
        [
            [r["name"], r["dim"], pairs(r["parameters"]), r["solver"], number(r["truth"]["epr"]), r["source"]]
            for r in records
        ],
    )
    return None


def _system_record(name: str) -> dict[str, Any]:
    from pyness import systems as registry

    system = registry.get(name)
    truth = {"epr": system.truth.epr, "epr_error": system.truth.epr_error, "source": system.truth.source}
    box = system.domain
    walls = [box.face_name(2 * box.dim + k, system.variables) for k in range(len(box.walls))]
    return {**system.to_dict(), "walls": walls, "solver": system.solver, "plan": system.plan, "truth": truth}


def _one_system(name: str, as_json: bool) -> None:
    from pyness import config

    record = _system_record(name) | {"settings": config.settings(name)}
    if as_json:
        return show_json(record)
    domain, truth = record["domain"], record["truth"]
    # of particles the box of one of them
    variables = record.get("variables") or [f"x{axis + 1} of each particle" for axis in range(len(domain["low"]))]
    box = zip(variables, domain["low"], domain["high"], domain["boundary"], strict=True)
    show_table(
        ["", record["name"]],
        [
            ["source", record["source"]],
            ["variables", ", ".join(f"{v} in [{number(a)}, {number(b)}] ({kind})" for v, a, b, kind in box)],
            *([["linear walls", ", ".join(record["walls"])]] if record["walls"] else []),
            ["parameters", pairs(record["parameters"])],
            ["solver", record["solver"] or "-"],
            ["plan", pairs(record["plan"])],
            ["EPR", number(truth["epr"]) + (f" ({truth['source']})" if truth["source"] else "")],
            *([f"--set {section}.", ", ".join(keys)] for section, keys in record["settings"].items()),
        ],
    )
    return None


def solvers(arguments: argparse.Namespace) -> None:
    """``pyness solvers [--system NAME] [--engine NAME]``."""
    from pyness import solvers as catalogue
    from pyness.errors import UnknownNameError

    system = None
    if arguments.system is not None:
        from pyness import systems as registry

        system = registry.get(arguments.system)
    if arguments.engine not in (None, *catalogue.ENGINES):
        raise UnknownNameError.of("engine", arguments.engine, catalogue.ENGINES)
    rows = catalogue.table(system, arguments.engine)
    if arguments.json:
        return show_json(rows)
    show_table(
        ["name", "family", "strong", "weak", "stepping", "stiff", "noise", "engines", "when to use it"],
        [
            [
                r["name"], r["family"], number(r["strong order"]), number(r["weak order"]), r["stepping"],
                "yes" if r["stiff"] else "", " ".join(r["noise"]), " ".join(r["engines"]), r["when"],
            ]
            for r in rows
        ],
    )  # fmt: skip
    return None


def run(arguments: argparse.Namespace) -> int:
    """``pyness run NAME|FILE.toml``; of a file with several systems the exit code is that of the first to fail."""
    from pyness import run as runs
    from pyness import suite
    from pyness.config import RunConfig

    what = arguments.what
    from_file = what.endswith(".toml")
    out = Path(arguments.out or Path("runs") / (Path(what).stem if from_file else what))
    how = {"resume": arguments.resume, "overwrite": arguments.overwrite, "progress": not arguments.quiet}
    if from_file and suite.is_suite(what):
        configs = {name: _adjusted(config, arguments) for name, config in suite.read(what).items()}
        try:
            results = suite.execute(configs, out, **how)
        except KeyboardInterrupt as interrupt:
            raise suite.interrupted(what, out) from interrupt
        show_json(results) if arguments.json else show_suite(results)
        return next((result["exit_code"] for result in results.values() if "error" in result), 0)
    config = _adjusted(RunConfig.read(what) if from_file else RunConfig(system=what), arguments)
    try:
        result = runs.execute(config, out, **how)
    except KeyboardInterrupt as interrupt:
        raise runs.interrupted(out) from interrupt
    show_json(result) if arguments.json else show_report(result, out)
    return 0


def _adjusted(config: RunConfig, arguments: argparse.Namespace) -> RunConfig:
    """The run with what was given on the command line put over it."""
    options = {
        "engine": arguments.engine,
        "solver": arguments.solver,
        "seed": None if arguments.seed is None else _whole("seed", arguments.seed),
    }
    options = {key: value for key, value in options.items() if value is not None}
    return dataclasses.replace(config, **options).with_settings(arguments.settings)


def compare(arguments: argparse.Namespace) -> int:
    """``pyness compare NAME``; exit code 3 where not one of the integrators finished."""
    from pyness.compare import adaptive_solvers, compare_solvers
    from pyness.config import RunConfig

    config = RunConfig(system=arguments.what).with_settings(arguments.settings)
    system, plan = config.build(), dict(config.sampling)
    for name in ("dt", "rtol", "atol", "burn_in_dt"):
        if name in plan:
            raise InputError(f"--set {name}={plan[name]}", f"give it to a solver, as in --solver EM:{name}=...")
    listed = list(arguments.solvers)
    if arguments.all_adaptive:
        listed += [name for name in adaptive_solvers(system, arguments.engine) if name not in listed]
    if not (listed or arguments.resume):
        raise InputError("no solver is given", "give --solver NAME, once or more, or --all-adaptive")
    out = Path(arguments.out or Path("runs") / f"{arguments.what}-compare")
    try:
        found = compare_solvers(
            system, listed, engine=arguments.engine, seeds=_whole("seeds", arguments.seeds),
            budget=_real("budget", arguments.budget), seconds=_real("seconds", arguments.seconds),
            train=dict(config.training) if arguments.train else False, out=out, resume=arguments.resume,
            overwrite=arguments.overwrite, progress=not arguments.quiet, **plan,
        )  # fmt: skip
    except InterruptedRun as interrupt:
        raise InterruptedRun(interrupt.problem, f"go on with: {_once_more(arguments, listed, out)}") from interrupt
    print(found.json() if arguments.json else found, end="" if arguments.json else "\n")
    return 3 if found.failed else 0


def _once_more(arguments: argparse.Namespace, solvers: list[str], out: Path) -> str:
    """The command that goes on with a comparison: the same, with ``--resume``."""
    words = ["pyness", "compare", arguments.what, *(f"--solver={label}" for label in solvers)]
    words += [f"--set={setting}" for setting in arguments.settings]
    options = {name: getattr(arguments, name) for name in ("engine", "budget", "seconds", "seeds")}
    words += [f"--{name}={value}" for name, value in options.items() if value is not None]
    return shlex.join([*words, *(["--train"] if arguments.train else []), "--out", str(out), "--resume"])


def report(arguments: argparse.Namespace) -> None:
    """``pyness report DIR``."""
    from pyness import run as runs

    result = runs.read_report(arguments.directory)
    show_json(result) if arguments.json else show_report(result, Path(arguments.directory))


def doctor(arguments: argparse.Namespace) -> int:
    """``pyness doctor``; exit code 2 where something is broken (a warning is not)."""
    from pyness.sampling.engines.julia import provision

    checks = provision.doctor()
    if arguments.json:
        show_json([dataclasses.asdict(check) for check in checks])
    else:
        show_table(
            ["", "", "what is there", "what to do"], [[c.name, c.state, c.detail, c.remedy or ""] for c in checks]
        )
    return 2 if any(check.state == "bad" for check in checks) else 0


def julia_setup(arguments: argparse.Namespace) -> None:
    """``pyness julia setup``; what it will do is said on stderr before it starts."""
    from pyness.sampling.engines.julia import provision

    found = provision.setup(say=lambda line: print("pyness:", line, file=sys.stderr, flush=True))
    _show_installation(found, arguments.json)


def julia_use(arguments: argparse.Namespace) -> None:
    """``pyness julia use EXE --project DIR``."""
    from pyness.sampling.engines.julia import provision

    _show_installation(provision.use(arguments.executable, arguments.project), arguments.json)


def _show_installation(found: Any, as_json: bool) -> None:
    record = {"exe": found.exe, "project": found.project, "version": ".".join(map(str, found.version))}
    if as_json:
        return show_json(record)
    print(f"Julia {record['version']} at {record['exe']} with project {record['project']}; see `pyness julia status`")
    return None


def julia_status(arguments: argparse.Namespace) -> int:
    """``pyness julia status``: one solve is tried; exit code 0 only if it works."""
    from pyness.sampling.engines.julia import provision

    status = provision.status()
    if arguments.json:
        show_json(status)
    else:
        rows = [[key, pairs(value) if isinstance(value, dict) else number(value)] for key, value in status.items()]
        show_table(["", "Julia"], rows)
    return 0 if status["works"] else 2


def _whole(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"{name} is {text!r}", "give a whole number of at least 0") from None


def _real(name: str, text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        raise InputError(f"{name} is {text!r}", "give a number greater than 0") from None
