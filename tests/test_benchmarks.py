"""The table of `benchmarks/landscapes.py`: what it calls met is met, and its systems are those whose truth is known."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import pyness
from tests.estimators.exact import matrix_diffusion
from tests.systems.test_prescribed import BOX, diagonal, number, turning, well


@pytest.fixture(scope="module")
def landscapes():
    path = Path(__file__).parents[1] / "benchmarks" / "landscapes.py"
    spec = importlib.util.spec_from_file_location("landscapes_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def report(epr, alone=(1.0, 0.1), shares=()):
    basins = [{"population": {"value": v, "stderr": 0.01}} for v in shares]
    estimates = [pyness.Estimate(*value) for value in (epr, alone)]
    return SimpleNamespace(epr=estimates[0], epr_score_free=estimates[1], extra={"basins": basins})


def test_every_system_has_its_row(landscapes):
    known = {n for n in pyness.systems.names() if pyness.systems.kind(n) is pyness.System}
    assert set(landscapes.WANTED) - set(landscapes.NOISES) == known - {"ornstein-uhlenbeck"}


@pytest.mark.parametrize(
    ("name", "case"), [("number-noise", number), ("diagonal-noise", diagonal), ("matrix-noise", matrix_diffusion)]
)
def test_constructed_systems_are_those_of_the_tests(landscapes, name, case):
    mine = landscapes.system_of(name)
    theirs = pyness.systems.from_potential("made", 2, well, case, turning, BOX)
    x = BOX.uniform(100, torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(mine.drift(x), theirs.drift(x))
    assert mine.truth.epr == pytest.approx(theirs.truth.epr, rel=1e-12)


def test_verdicts_on_the_entropy_production(landscapes):
    system = SimpleNamespace(truth=pyness.systems.Truth(epr=2.0))
    for value, said in ((2.03, "within 2 %: met"), (2.05, "within 2 %: MISSED"), (1.95, "within 2 %: MISSED")):
        assert said in landscapes.epr_cell(system, report((value, 0.1)), {"apart": 0.02})
    unknown = SimpleNamespace(truth=pyness.systems.Truth())
    for bar, said in ((0.05, "bar <= 5 %: met"), (0.2, "bar <= 5 %: MISSED")):
        assert said in landscapes.epr_cell(unknown, report((2.0, bar)), {"bar": 0.05})
    for alone, said in ((1.9, "agree: met"), (1.5, "agree: MISSED")):
        assert said in landscapes.epr_cell(unknown, report((2.0, 0.1), (alone, 0.1)), {"agree": 2.0})


@pytest.mark.parametrize(
    ("shares", "met"),
    [((0.61, 0.39), True), ((0.63, 0.37), False), ((0.4,), False), ((0.39, 0.6, 0.01), False), ((), False)],
)
def test_verdicts_on_shares_do_not_depend_on_their_order(landscapes, shares, met):
    said = landscapes.basins_cell(report((1.0, 0.1), shares=shares), {"shares": ((0.4, 0.6), 0.02)})
    assert ("MISSED" not in said) is met
    assert ("met" in said) is met


def test_columns_are_aligned(landscapes):
    words = ("few", "longer-than-the-name-of-any-column")
    lines = landscapes.table([dict.fromkeys(landscapes.COLUMNS, word) for word in words]).splitlines()
    starts = [[found.start() for found in re.finditer(word, line)] for line, word in zip(lines[1:], words, strict=True)]
    assert starts[0] == starts[1] == sorted(lines[0].index(name) for name in landscapes.COLUMNS)
