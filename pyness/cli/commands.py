"""What each command does: call the public function, show what it returns."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pyness.cli.tables import show_json, show_table
from pyness.errors import InputError

__all__ = ["report", "run", "systems"]


def systems(arguments: argparse.Namespace) -> None:
    """``pyness systems [NAME]``."""
    from pyness import systems as registry

    if arguments.name is not None:
        return _one_system(arguments.name, arguments.json)
    records = [registry.get(name).summary() for name in registry.names()]
    if arguments.json:
        return show_json(records)
    columns = ["name", "d", "parameters", "solver", "EPR", "source"]
    rows = [
        [r["name"], r["dim"], _pairs(r["parameters"]), r["solver"], _number(r["truth"]["epr"]), r["source"]]
        for r in map(_system_record, registry.names())
    ]
    show_table(columns, rows)
    return None


def _system_record(name: str) -> dict[str, Any]:
    from pyness import systems as registry

    system = registry.get(name)
    truth = {"epr": system.truth.epr, "epr_error": system.truth.epr_error, "source": system.truth.source}
    return {**system.to_dict(), "solver": system.solver, "plan": system.plan, "truth": truth}


def _one_system(name: str, as_json: bool) -> None:
    from pyness import config

    record = _system_record(name) | {"settings": config.settings(name)}
    if as_json:
        return show_json(record)
    box = zip(record["variables"], record["domain"]["low"], record["domain"]["high"], record["domain"]["boundary"])
    truth = record["truth"]
    show_table(
        [record["name"], record["source"]],
        [
            ["variables", ", ".join(f"{v} in [{_number(a)}, {_number(b)}] ({kind})" for v, a, b, kind in box)],
            ["parameters", _pairs(record["parameters"])],
            ["solver", record["solver"] or "-"],
            ["plan", _pairs(record["plan"])],
            ["EPR", _number(truth["epr"]) + (f" ({truth['source']})" if truth["source"] else "")],
            *([f"--set {section}.", ", ".join(keys)] for section, keys in record["settings"].items()),
        ],
    )
    return None


def run(arguments: argparse.Namespace) -> None:
    """``pyness run NAME|FILE.toml``."""
    from pyness import run as runs
    from pyness.config import RunConfig

    what = arguments.what
    from_file = what.endswith(".toml")
    config = RunConfig.read(what) if from_file else RunConfig(system=what)
    config = config.with_options(engine=arguments.engine, solver=arguments.solver, seed=_seed(arguments.seed))
    config = config.with_settings(arguments.settings)
    out = Path(arguments.out or Path("runs") / (Path(what).stem if from_file else what))
    done = runs.execute(
        config, out, resume=arguments.resume, overwrite=arguments.overwrite, progress=not arguments.quiet
    )
    if arguments.json:
        return show_json(done)
    _show_report(done, out)
    return None


def _seed(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise InputError(f"seed is {text!r}", "give a whole number of at least 0") from None


def _pairs(values: dict[str, Any]) -> str:
    return " ".join(f"{key}={_number(value)}" for key, value in values.items())


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
