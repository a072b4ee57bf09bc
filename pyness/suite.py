"""Several systems from one run file, each with its own integrator: read, run one after the other, summed up."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyness import run
from pyness.config import RunConfig, read_table
from pyness.errors import InputError, InterruptedRun, PynessError, StoreError
from pyness.files import write_whole

__all__ = ["execute", "is_suite", "read"]

log = logging.getLogger("pyness")

SUMMARY = "suite.json"


def is_suite(path: str | Path) -> bool:
    """Whether a run file names several systems.

    Raises:
        StoreError: no such file, or not TOML.
    """
    return "systems" in read_table(path)


def read(path: str | Path) -> dict[str, RunConfig]:
    """One run for each system of the file, by the system's name.

    ``systems`` is a list of names or of tables with ``name`` and the parameters. ``solver`` is one for all, or a table
    with ``default`` and overrides by system; ``[sampling]`` and ``[training]`` are for all, and
    ``[sampling.NAME]`` overrides for one. ``engine`` and ``seed`` are for all.

    Raises:
        StoreError: no such file, or not TOML.
        InputError: a system listed twice, an override for a system that is not listed, a key without meaning.
    """
    table = dict(read_table(path))
    listed = table.pop("systems")
    if not isinstance(listed, list) or not listed:
        raise InputError(f"systems in {path} is {listed!r}", 'list them: systems = ["double-well", "limit-cycle"]')
    if "system" in table:
        raise InputError(f"{path} has both system and systems", "keep one of them")
    entries = [{"name": entry} if isinstance(entry, str) else entry for entry in listed]
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise InputError(f"systems in {path} has {entry!r}", 'give a name, or {name = "...", parameter = ...}')
    names = [entry["name"] for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path} lists {name!r} twice", "give each its own file")
    for section in ("solver", "sampling", "training"):
        _refuse_strangers(table.get(section), section, names, path)
    return {
        name: RunConfig.from_table({**_of(table, name, names), "system": entry}, path)
        for name, entry in zip(names, entries, strict=True)
    }


def _refuse_strangers(table: Any, section: str, names: list[str], path: str | Path) -> None:
    """An override for a system that is not in the file would be silently without effect."""
    if not isinstance(table, Mapping):
        return
    for key, value in table.items():
        own = key != "default" if section == "solver" else isinstance(value, Mapping)
        if own and key not in names:
            raise InputError(f"[{section}] in {path} has {key!r}", f"name one of the systems: {', '.join(names)}")


def _of(table: Mapping[str, Any], name: str, names: list[str]) -> dict[str, Any]:
    """The file as it is for one system."""
    own = dict(table)
    for section in ("sampling", "training"):
        values = table.get(section, {})
        if isinstance(values, Mapping):
            common = {key: value for key, value in values.items() if key not in names}
            own[section] = common | dict(values.get(name, {}))
    return own


def execute(
    configs: Mapping[str, RunConfig],
    out: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> dict[str, dict[str, Any]]:
    """Run each system in a directory of its own under ``out``; one that fails does not stop the others.

    Args:
        configs: as :func:`read` returns them.
        out, resume, overwrite, progress: as for :func:`pyness.run.execute`, for each directory.

    Returns:
        By system what ``report.json`` holds, or ``{"error": ..., "exit_code": ...}``; ``suite.json`` has a summary.

    Raises:
        InputError, SolverError: settings of any system that make no sense; nothing is run then.
        StoreError: a directory in use.
        InterruptedRun: Ctrl-C.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise StoreError(f"{out} is a file", "give a directory")
    for name, config in configs.items():
        config.resolved()
        there = out / name
        if not (resume or overwrite) and there.exists() and (not there.is_dir() or any(there.iterdir())):
            raise StoreError(
                f"{there} is not empty", "give another directory, --resume to go on, --overwrite to replace"
            )
    results: dict[str, dict[str, Any]] = {}
    for number, (name, config) in enumerate(configs.items()):
        log.info("%s (%d of %d)", name, number + 1, len(configs))
        try:
            results[name] = run.execute(config, out / name, resume=resume, overwrite=overwrite, progress=progress)
        except KeyboardInterrupt:
            raise
        except PynessError as error:
            log.warning("%s: %s", name, error)
            results[name] = {"system": name, "error": str(error), "exit_code": error.exit_code}
    write_whole(
        {out / SUMMARY: json.dumps({name: _short(result) for name, result in results.items()}, indent=2) + "\n"}
    )
    return results


def _short(result: Mapping[str, Any]) -> dict[str, Any]:
    if "error" in result:
        return dict(result)
    names = ("solver", "engine", "epr", "epr_score_free", "gradient_error", "potential_error", "warnings")
    return {name: result[name] for name in names if name in result} | {"seconds": sum(result["seconds"].values())}


def interrupted(path: str | Path, out: str | Path) -> InterruptedRun:
    """What to say after Ctrl-C."""
    command = shlex.join(["pyness", "run", str(path), "--out", str(out), "--resume"])
    return InterruptedRun(f"interrupted; {out} keeps what is done", f"go on with: {command}")
