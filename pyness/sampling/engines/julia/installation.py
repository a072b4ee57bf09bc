"""Which Julia is used: found in the environment or in the user's configuration, and checked without starting it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tomllib
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from pyness.errors import JuliaError

__all__ = ["MINIMUM", "PACKAGE", "SETUP", "Installation", "config_path", "find", "forget", "remember", "require"]

MINIMUM = (1, 10)
#: The Julia package PyNESS.jl: real files in the wheel, a link to ``julia/`` in a checkout.
PACKAGE = Path(__file__).parents[3] / "_julia"

SETUP = "run `pyness julia setup`, or `pyness julia use EXE --project DIR` for a Julia you have"
_VARIABLES = ("PYTHON_JULIACALL_EXE", "PYTHON_JULIACALL_PROJECT")
_STDLIB = frozenset(
    {"Artifacts", "Base64", "Dates", "Distributed", "Libdl", "LinearAlgebra", "Logging", "Markdown", "Mmap", "Pkg"}
    | {"Printf", "Random", "SHA", "Serialization", "Sockets", "SparseArrays", "Statistics", "TOML", "Test", "UUIDs"}
)


@dataclass(frozen=True)
class Installation:
    """A Julia executable and the project that holds its packages.

    Attributes:
        exe, project: absolute paths.
        depot: the ``JULIA_DEPOT_PATH`` it needs, or None for Julia's own default.
        origin: ``"environment"``, ``"use"`` or ``"setup"``.
    """

    exe: str
    project: str
    depot: str | None = None
    origin: str = "use"

    @property
    def version(self) -> tuple[int, int, int]:
        """Of the executable.

        Raises:
            JuliaError: it is missing, cannot be run, or does not answer like Julia.
        """
        try:
            stamp = os.stat(self.exe).st_mtime_ns
        except OSError:
            raise JuliaError(f"Julia executable {self.exe!r} does not exist", SETUP) from None
        return _version(self.exe, stamp)

    def packages(self) -> dict[str, str]:
        """Name -> version (or path) of the packages in the project's manifest.

        Raises:
            JuliaError: no such project, or one that was never resolved.
        """
        directory = Path(self.project)
        major, minor, _ = self.version
        names = [f"{stem}-v{major}.{minor}.toml" for stem in ("JuliaManifest", "Manifest")]
        manifests = [directory / name for name in (*names, "JuliaManifest.toml", "Manifest.toml")]
        manifest = next((m for m in manifests if m.is_file()), None)
        if manifest is None:
            what = "is not a directory" if not directory.is_dir() else "has no Manifest.toml"
            raise JuliaError(f"Julia project {self.project!r} {what}", SETUP)
        try:
            content = tomllib.loads(manifest.read_text())
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise JuliaError(f"{str(manifest)!r} cannot be read ({error})", SETUP) from None
        entries = content.get("deps", content)
        return {
            name: str(blocks[0].get("version") or blocks[0].get("path") or "")
            for name, blocks in entries.items()
            if isinstance(blocks, list) and blocks
        }

    def missing(self) -> list[str]:
        """What PyNESS.jl needs and the project does not have."""
        has = self.packages()
        return sorted(name for name in dependencies() if name not in has)

    def check(self) -> Installation:
        """Itself, where a solve should work; nothing is started but ``julia --version``.

        Raises:
            JuliaError: missing, broken, too old, or without the packages PyNESS.jl needs.
        """
        version = self.version
        if version[:2] < MINIMUM:
            raise JuliaError(
                f"Julia {'.'.join(map(str, version))} at {self.exe!r} is older than {'.'.join(map(str, MINIMUM))}",
                "give a newer one: `pyness julia use EXE --project DIR`, or `pyness julia setup`",
            )
        missing = self.missing()
        if missing:
            raise JuliaError(
                f"Julia project {self.project!r} lacks {', '.join(missing)}",
                f"run {self.exe} --project={self.project} -e 'using Pkg; Pkg.add({_julia_list(missing)})'",
            )
        return self

    def environment(self) -> dict[str, str]:
        """The environment for a process that runs this Julia."""
        return {**os.environ, **({"JULIA_DEPOT_PATH": self.depot} if self.depot else {})}


def _julia_list(names: list[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


@lru_cache
def _version(exe: str, _stamp: int) -> tuple[int, int, int]:
    try:
        answer = subprocess.run([exe, "--version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise JuliaError(f"{exe!r} cannot be run ({error})", SETUP) from None
    words = answer.stdout.split()
    try:
        if answer.returncode == 0 and words[:2] == ["julia", "version"]:
            numbers = words[2].partition("-")[0].partition("+")[0].split(".")
            return (int(numbers[0]), int(numbers[1]), int(numbers[2]))
    except (IndexError, ValueError):
        pass
    said = (answer.stdout + answer.stderr).strip().partition("\n")[0][:100]
    raise JuliaError(f"{exe!r} is no Julia: to --version it said {said!r} (status {answer.returncode})", SETUP)


@lru_cache
def dependencies() -> tuple[str, ...]:
    """The registered packages PyNESS.jl depends on, from its own Project.toml.

    Raises:
        JuliaError: it is not where the wheel puts it.
    """
    try:
        content = tomllib.loads((PACKAGE / "Project.toml").read_text())
    except OSError:
        raise JuliaError(f"PyNESS.jl is not at {str(PACKAGE)!r}", "install pyness again") from None
    return tuple(sorted(set(content.get("deps", {})) - _STDLIB))


def config_path() -> Path:
    """Where ``pyness julia use`` and ``setup`` remember what they found."""
    home = os.environ.get("PYNESS_CONFIG_HOME")
    if home:
        return Path(home) / "julia.toml"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "pyness" / "julia.toml"


def find() -> Installation | None:
    """The Julia that the environment names, else the one remembered, else None.

    Raises:
        JuliaError: half an environment, or a configuration file that cannot be read.
    """
    exe, project = (os.environ.get(name) or None for name in _VARIABLES)
    if exe and project:
        found = shutil.which(exe)
        return Installation(os.path.abspath(found or exe), os.path.abspath(project), None, "environment")
    if exe or project:
        given, absent = _VARIABLES if exe else _VARIABLES[::-1]
        raise JuliaError(f"{given} is set and {absent} is not", "set both or neither")
    path = config_path()
    try:
        content = tomllib.loads(path.read_text())
        return Installation(**content)
    except FileNotFoundError:
        return None
    except (OSError, tomllib.TOMLDecodeError, TypeError) as error:
        raise JuliaError(f"{str(path)!r} cannot be used ({error})", f"remove it, then {SETUP}") from None


def require() -> Installation:
    """The Julia to use, checked.

    Raises:
        JuliaError: none is configured, or it cannot do what is needed.
    """
    installation = find()
    if installation is None:
        raise JuliaError("no Julia is configured", SETUP)
    return installation.check()


def remember(installation: Installation) -> Path:
    """Write it to the user's configuration; returns the file.

    Raises:
        JuliaError: the file cannot be written.
    """
    path = config_path()
    values = {key: value for key, value in asdict(installation).items() if value is not None}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(
            "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())
        )
        os.replace(temporary, path)
    except OSError as error:
        raise JuliaError(
            f"{str(path)!r} cannot be written ({error})", "set PYNESS_CONFIG_HOME to a place you own"
        ) from None
    return path


def forget() -> None:
    """Remove what was remembered."""
    config_path().unlink(missing_ok=True)
