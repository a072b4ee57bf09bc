"""What can be typed: the commands, their arguments and their help."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from pyness import __version__
from pyness.cli import commands
from pyness.errors import InputError, nearest

__all__ = ["build"]

MAIN = """\
examples:
  pyness run double-well --out runs/double-well
  pyness run toggle-switch --solver EM:dt=1e-3 --set walkers=20000 --out runs/toggle
  pyness report runs/double-well
"""
SYSTEMS = """\
examples:
  pyness systems
  pyness systems toggle-switch
"""
SOLVERS = """\
examples:
  pyness solvers
  pyness solvers --system limit-cycle
  pyness solvers --json | python3 -m json.tool
"""
RUN = """\
A setting is looked for among the system's parameters, then sampling, then training; where two have it, say
system.D, sampling.dt or training.steps. `pyness systems NAME` lists them all. Values are written as in TOML.

examples:
  pyness run double-well --out runs/dw
  pyness run double-well --set D=0.05 --set walkers=20000 --out runs/cold
  pyness run limit-cycle --engine julia --solver SOSRA:rtol=1e-3 --out runs/lc
  pyness run double-well --out runs/dw --resume        (after an interruption)
  pyness run runs/dw/run.toml --out runs/again         (the same run once more)
  pyness run suite.toml --out runs/suite               (a file with systems = ["double-well", ...] and [solver])
"""
COMPARE = """\
An integrator is flagged where its bias of the steady state is detectable; the verdict names the cheapest of the others.
With --all-adaptive every adaptive method that fits is taken. Settings as for `pyness run`.

examples:
  pyness compare limit-cycle --solver EM:dt=0.1 --solver EM:dt=0.01 --solver SOSRA:rtol=1e-2 --out runs/cmp
  pyness compare double-well --solver SOSRA --solver ImplicitEM --budget 1e7 --seeds 2 --out runs/dw-cmp
  pyness compare toggle-switch --all-adaptive --set walkers=500 --out runs/ts-cmp
  pyness compare limit-cycle --out runs/cmp --resume                             (after an interruption)
  pyness compare limit-cycle --solver EM:dt=0.001 --out runs/cmp --resume        (one more beside those that are done)
"""
REPORT = """\
examples:
  pyness report runs/dw
  pyness report runs/dw --json
"""
DOCTOR = """\
examples:
  pyness doctor
  pyness doctor --json
"""
JULIA = """\
examples:
  pyness julia setup                                        (download Julia packages)
  pyness julia use /path/to/julia --project /path/to/env    (what is there already, no download)
  pyness julia status
"""


class _Parser(argparse.ArgumentParser):
    """argparse with pyness's way of saying no: one line, ending with what to do."""

    def error(self, message: str) -> NoReturn:
        raise InputError(message, f"see `{self.prog} --help`")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            kind = (action.metavar or action.dest).lower()
            raise InputError(f"unknown {kind} {value!r}", nearest(str(value), action.choices, kind))


def build() -> argparse.ArgumentParser:
    """The parser; each command sets ``command`` to the function of :mod:`pyness.cli.commands` that does it."""
    parser = _Parser(
        prog="pyness",
        description="Potential landscape, current and entropy production of non-equilibrium steady states.",
        epilog=MAIN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pyness {__version__}")
    kinds = parser.add_subparsers(metavar="COMMAND", required=True)

    systems = _command(kinds, "systems", commands.systems, "list the systems that have names", SYSTEMS)
    systems.add_argument("name", nargs="?", metavar="NAME", help="show this one with all its settings")

    solvers = _command(kinds, "solvers", commands.solvers, "list the SDE solvers", SOLVERS)
    solvers.add_argument("--system", metavar="NAME", help="only those that fit this system")
    solvers.add_argument("--engine", metavar="NAME", help="only those of torch or julia")

    run = _command(kinds, "run", commands.run, "sample, train, report: one run directory", RUN)
    run.add_argument("what", metavar="NAME|FILE.toml", help="a system's name, or a run file")
    run.add_argument("--out", metavar="DIR", help="where everything goes (default: runs/NAME)")
    run.add_argument("--engine", help="auto, torch or julia (default: auto)")
    run.add_argument("--solver", help="NAME or NAME:option=value,... (default: the system's own)")
    run.add_argument("--seed", help="whole number (default: 0)")
    run.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="settings", help="a setting; may be repeated"
    )
    _exists(run, "run")
    run.add_argument("--quiet", action="store_true", help="no progress bars")

    compare = _command(kinds, "compare", commands.compare, "which integrator: bias and cost of each", COMPARE)
    compare.add_argument("what", metavar="NAME", help="a system's name")
    compare.add_argument(
        "--solver", action="append", default=[], metavar="SOLVER", dest="solvers",
        help="NAME or NAME:option=value,..., with torch: or julia: in front where it matters; may be repeated",
    )  # fmt: skip
    compare.add_argument("--all-adaptive", action="store_true", help="every adaptive method that fits the system")
    compare.add_argument("--out", metavar="DIR", help="where everything goes (default: runs/NAME-compare)")
    compare.add_argument("--engine", default="auto", help="auto, torch or julia (default: auto)")
    budget = compare.add_mutually_exclusive_group()
    budget.add_argument("--budget", metavar="N", help="drift evaluations of each integrator and seed")
    budget.add_argument("--seconds", metavar="S", help="seconds of sampling of each integrator and seed")
    compare.add_argument("--seeds", metavar="N", default="3", help="how many seeds (default: 3)")
    compare.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="settings", help="a setting; may be repeated"
    )
    compare.add_argument("--train", action="store_true", help="also train a landscape on the samples of each")
    _exists(compare, "comparison")
    compare.add_argument("--quiet", action="store_true", help="no progress bars")

    report = _command(kinds, "report", commands.report, "print the report of a run", REPORT)
    report.add_argument("directory", metavar="DIR", help="a run directory")

    _command(kinds, "doctor", commands.doctor, "what is installed, what is missing, what mends it", DOCTOR)

    julia = _group(kinds, "julia", "set up, choose or look at the Julia that samples", JULIA)
    _command(julia, "setup", commands.julia_setup, "install Julia packages for pyness", JULIA)
    use = _command(julia, "use", commands.julia_use, "use a Julia that is there already", JULIA)
    use.add_argument("executable", metavar="EXE", help="the julia program")
    use.add_argument("--project", metavar="DIR", required=True, help="a Julia project with PythonCall and PyNESS")
    _command(julia, "status", commands.julia_status, "exit 0 only when a solve would work", JULIA)
    return parser


def _exists(parser: argparse.ArgumentParser, what: str) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--resume", action="store_true", help="go on where DIR was left")
    group.add_argument("--overwrite", action="store_true", help=f"replace the {what} in DIR")


def _command(
    group: Any, name: str, function: Callable[[argparse.Namespace], int | None], about: str, examples: str
) -> argparse.ArgumentParser:
    parser = _group_entry(group, name, about, examples)
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.set_defaults(command=function)
    return parser


def _group(group: Any, name: str, about: str, examples: str) -> Any:
    return _group_entry(group, name, about, examples).add_subparsers(metavar="COMMAND", required=True)


def _group_entry(group: Any, name: str, about: str, examples: str) -> argparse.ArgumentParser:
    return group.add_parser(
        name,
        help=about,
        description=about[0].upper() + about[1:] + ".",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
