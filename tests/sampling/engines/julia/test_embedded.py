"""Julia inside Python, in a process of its own since it cannot be unloaded; torch is imported first, as in pyness."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.julia

CHECKS = ("one_address", "both_collectors", "exceptions", "held_objects", "other_threads", "ctrl_c")


@pytest.fixture(scope="module", params=[pytest.param(1, marks=pytest.mark.validate), 2], ids=["1 thread", "2 threads"])
def outcome(request):
    command = [sys.executable, str(Path(__file__).with_name("embedded_checks.py")), str(request.param)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("check", CHECKS)
def test_embedded(outcome, check):
    assert outcome[check] is None, outcome[check]


def test_every_check_is_asked_for(outcome):
    assert set(outcome) == set(CHECKS)
