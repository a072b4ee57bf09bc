"""Getting a Julia and looking after it: what ``pyness julia setup | use | status`` and ``pyness doctor`` do.

Functions return data; the command line prints it. Nothing is downloaded except by ``setup``, which says first what.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyness.errors import JuliaError
from pyness.sampling.engines.julia import installation, runtime
from pyness.sampling.engines.julia.installation import Installation
from pyness.sampling.engines.julia.session import Code
from pyness.sampling.engines.julia.worker import WorkerSession

__all__ = ["Check", "doctor", "plan", "setup", "status", "use"]

DECLARATION = installation.PACKAGE.with_name("juliapkg.json")
OFFLINE = "without a network: `pyness julia use EXE --project DIR` for a Julia you have"
#: One step of a solver, through PyNESS.jl's own dependencies.
_SOLVE = (
    "let S = PyNESS.StochasticDiffEq; "
    "S.solve(S.SDEProblem((u, p, t) -> -u, (u, p, t) -> 1.0, 1.0, (0.0, 1.0)), S.EM(); dt = 0.25).u[end] end"
)


@dataclass(frozen=True)
class Check:
    """One line of ``pyness doctor``: ``state`` is ``"ok"``, ``"warn"`` or ``"bad"``, ``remedy`` a command or None."""

    name: str
    state: str
    detail: str
    remedy: str | None = None


def plan() -> list[str]:
    """What ``setup`` is about to do, one line each; nothing is changed or downloaded.

    Raises:
        JuliaError: juliapkg is missing.
    """
    juliapkg = _juliapkg()
    declared = json.loads(DECLARATION.read_text())
    try:
        exe, version = juliapkg.find_julia.find_julia(juliapkg.compat.Compat.parse(declared["julia"]))
        julia = f"Julia {version} at {exe} is used"
    except Exception:
        julia = f"Julia {declared['julia']} is downloaded"
    names = (*installation.dependencies(), "PythonCall")
    others = sorted(
        {Path(file).parent.name for file in juliapkg.deps.deps_files()}
        - {"pyness", "juliacall", "juliapkg", "pyjuliapkg"}
    )
    return [
        julia,
        f"Julia packages are downloaded and compiled, which takes minutes: {', '.join(names)}",
        *([f"and what these ask for: {', '.join(others)}"] if others else []),
        f"the project is {juliapkg.state.STATE['project']}",
        f"the choice is remembered in {installation.config_path()}",
    ]


def setup(say: Callable[[str], None] = print) -> Installation:
    """Install Julia and the packages with juliapkg, after saying what that will be, and remember them.

    Raises:
        JuliaError: the environment names another Julia, or the installation failed.
    """
    if os.environ.get("PYTHON_JULIACALL_EXE") or os.environ.get("PYTHON_JULIACALL_PROJECT"):
        raise JuliaError(
            "PYTHON_JULIACALL_EXE or PYTHON_JULIACALL_PROJECT is set and would be used in place of what setup installs",
            "unset both",
        )
    juliapkg = _juliapkg()
    for line in plan():
        say(line)
    try:
        juliapkg.resolve()
        exe, project = juliapkg.executable(), juliapkg.project()
    except subprocess.CalledProcessError as error:
        what = f"Julia's package manager ended with status {error.returncode}, for the reason it printed"
        raise JuliaError(what, OFFLINE) from error
    except (Exception, SystemExit) as error:
        raise JuliaError(f"juliapkg could not install Julia's packages: {_first_line(error)}", OFFLINE) from error
    found = Installation(exe, project, os.environ.get("JULIA_DEPOT_PATH") or None, "setup").check()
    say(f"remembered in {installation.remember(found)}")
    return found


def use(exe: str | os.PathLike, project: str | os.PathLike) -> Installation:
    """Use a Julia that is there already, with a project that holds the packages, and remember it.

    Raises:
        JuliaError: not a Julia, too old, no such project, or packages missing from it (PythonCall among them).
    """
    found = shutil.which(os.fspath(exe))
    if found is None:
        raise JuliaError(f"{os.fspath(exe)!r} is no program", "give the julia executable, such as /opt/julia/bin/julia")
    chosen = Installation(os.path.abspath(found), os.path.abspath(os.path.expanduser(project)))
    chosen.check()
    if "PythonCall" not in chosen.packages():
        raise JuliaError(
            f"Julia project {chosen.project!r} has no PythonCall, which GPU tensors and diffeqpy objects need",
            f"run {_add_pythoncall(chosen)}",
        )
    chosen = Installation(chosen.exe, chosen.project, _depot(chosen.exe))
    installation.remember(chosen)
    return chosen


def status() -> dict[str, Any]:
    """``runtime.status()``, and whether a solve works: one is run, in a Julia process of its own.

    Returns:
        Its entries, with ``works``, ``seconds`` and the versions of Julia and of the packages that matter; where
        something is wrong ``problem`` and ``remedy`` say what.
    """
    report = runtime.status()
    report.update(works=False, seconds=None)
    if not report["ready"]:
        return report
    begun = time.perf_counter()
    try:
        session = WorkerSession(1)
        try:
            session.prepare()
            session.call("identity", Code(_SOLVE))
        finally:
            session.close()
    except JuliaError as error:
        report.update(problem=error.problem, remedy=error.remedy)
        return report
    packages = session.installation.packages()
    wanted = ("StochasticDiffEq", "SciMLBase", "DiffEqGPU", "PythonCall")
    report.update(
        works=True,
        seconds=round(time.perf_counter() - begun, 1),
        packages={name: packages[name] for name in wanted if name in packages},
    )
    return report


def doctor() -> list[Check]:
    """Everything that can keep Julia (and torch) from working, with the command that mends it; starts no Julia."""
    return list(_checks())


def _checks() -> Iterator[Check]:
    yield _check_python()
    yield from _check_torch()
    for name, why in (("juliacall", "Julia inside Python"), ("juliapkg", "`pyness julia setup`")):
        version = _installed(name)
        yield (
            Check(name, "ok", version)
            if version
            else Check(name, "warn", f"not installed; it gives {why}", f"pip install {name}")
        )
    try:
        found = installation.find()
    except JuliaError as error:
        yield Check("julia", "bad", error.problem, error.remedy)
        return
    if found is None:
        yield Check("julia", "warn", "none configured: everything runs on the torch engine", installation.SETUP)
        return
    try:
        version = ".".join(map(str, found.version))
        found.check()
    except JuliaError as error:
        yield Check("julia", "bad", error.problem, error.remedy)
        return
    yield Check("julia", "ok", f"{version} at {found.exe} (from {found.origin})")
    yield Check("julia project", "ok", found.project)
    yield from _check_packages(found)
    yield from _check_process()


def _check_python() -> Check:
    detail = f"{platform.python_version()} at {sys.executable}"
    good = sys.version_info >= (3, 11)
    return Check("python", "ok" if good else "bad", detail, None if good else "use Python 3.11 or newer")


def _check_torch() -> Iterator[Check]:
    import torch

    yield Check("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        yield Check("gpu", "ok", torch.cuda.get_device_name())
    else:
        yield Check("gpu", "ok", "none that torch can use: sampling and training run on the CPU")


def _check_packages(found: Installation) -> Iterator[Check]:
    packages = found.packages()
    for name in ("StochasticDiffEq", "SciMLBase"):
        if name in packages:
            yield Check(name, "ok", packages[name])
    yield Check("PyNESS", "ok", f"{installation.PACKAGE.resolve()}")
    ours, theirs = _installed("juliacall"), packages.get("PythonCall")
    if theirs is None:
        detail = "not in the project: no GPU tensors, no diffeqpy objects"
        yield Check("PythonCall", "warn", detail, _add_pythoncall(found))
    elif ours and theirs != ours:
        detail = f"{theirs}, but juliacall is {ours}: no GPU tensors, no diffeqpy objects"
        yield Check("PythonCall", "warn", detail, f"pip install juliacall=={theirs}")
    else:
        yield Check("PythonCall", "ok", theirs)
    import torch

    gpu = [name for name in ("CUDA", "DiffEqGPU") if name not in packages]
    if torch.cuda.is_available() and gpu:
        command = f"{found.exe} --project={found.project} -e 'using Pkg; Pkg.add({json.dumps(gpu)})'"
        yield Check(
            "julia gpu", "warn", f"the project lacks {', '.join(gpu)}: engine='julia' has the CPU only", command
        )


def _check_process() -> Iterator[Check]:
    threads = runtime.default_threads()
    yield Check("julia threads", "ok", f"{threads} (JULIA_NUM_THREADS changes it)")
    signals = os.environ.get("PYTHON_JULIACALL_HANDLE_SIGNALS")
    if signals == "no" and threads > 1:
        detail = "PYTHON_JULIACALL_HANDLE_SIGNALS=no: Julia inside Python crashes with several threads"
        yield Check("signals", "warn", detail, "unset PYTHON_JULIACALL_HANDLE_SIGNALS")
    else:
        yield Check("signals", "ok", "Julia's process has its own; Ctrl-C is Python's")
    loaded = [name for name in sys.modules if name in ("torch", "juliacall")]
    yield Check("import order", "ok", f"{' then '.join(loaded)}; of no matter while Julia has a process of its own")


def _juliapkg() -> Any:
    try:
        import juliapkg
        import juliapkg.compat
        import juliapkg.deps
        import juliapkg.find_julia
        import juliapkg.state
    except ImportError:
        raise JuliaError("juliapkg is not installed", "pip install juliacall") from None
    return juliapkg


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _add_pythoncall(found: Installation) -> str:
    version = _installed("juliacall")
    which = f'name="PythonCall"{f", version={json.dumps(version)}" if version else ""}'
    return f"{found.exe} --project={found.project} -e 'using Pkg; Pkg.add({which})'"


def _depot(exe: str) -> str | None:
    """The depot that the executable (which may be a script around Julia) works with, where it is not the default."""
    source = 'print(get(ENV, "JULIA_DEPOT_PATH", ""))'
    command = [exe, "--startup-file=no", "-O0", "--compile=min", "-e", source]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        said = (answer.stderr.strip() or "it said nothing").splitlines()[0][:200]
        raise JuliaError(f"{exe!r} did not start: {said}", "try it in a terminal")
    return answer.stdout.strip() or None


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
