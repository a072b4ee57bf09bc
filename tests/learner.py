"""A stand-in for the landscape room that learns nothing: the exact potential at once, a report of fixed numbers."""

from __future__ import annotations

import json
import types
from pathlib import Path

from pyness.errors import InputError, TrainingError
from pyness.estimators.estimate import Estimate


class Report:
    epr, epr_upper, epr_lower = Estimate(2.17, 0.01), Estimate(2.18, 0.01), Estimate(2.16, 0.01)
    epr_score_free, gradient_error = Estimate(2.2, 0.05), Estimate(float("nan"), float("nan"))

    def to_dict(self):
        names = ("epr", "epr_upper", "epr_lower", "epr_score_free", "gradient_error")
        estimates = {name: getattr(self, name).to_dict() for name in names}
        return {
            **estimates,
            "stationarity": {"passed": True, "max_z": 1.2, "worst": "bell(x)", "threshold": 3.7},
            "warnings": ["these numbers are made up"],
        }


class Landscape:
    def __init__(self, system):
        self.system = system

    def potential(self, x):
        return self.system.truth.potential(x)

    def current_velocity(self, x):
        return 0.1 * x

    def save(self, path):
        Path(path).write_bytes(b"weights")
        Path(path).with_suffix(".json").write_text("{}")

    def report(self, samples=None):
        return Report()


def module() -> types.ModuleType:
    """``calls`` holds the options of each fit; ``fate`` is an exception to raise in the next one."""

    def resolve_options(seed, options, system):
        if options["steps"] < 1:
            raise InputError(f"steps is {options['steps']}", "give at least 1")
        return options

    def fit_landscape(
        system, samples, seed=0, *, steps=50, device="cpu", checkpoint=None, log=None, resume=False, progress=False
    ):
        fake.calls.append({"seed": seed, "steps": steps, "resume": resume, "walkers": samples.walkers})
        if fake.fate is not None:
            fate, fake.fate = fake.fate, None
            raise fate
        Path(checkpoint).write_bytes(b"state")
        Path(log).write_text(
            "".join(json.dumps({"step": s, "gradient_error": 1 / s, "hjb": 0.1}) + "\n" for s in (1, 2, 3))
        )
        return Landscape(system)

    fake = types.ModuleType("pyness.landscape")
    fake.resolve_options, fake.fit_landscape, fake.Landscape = resolve_options, fit_landscape, Landscape
    fake.calls, fake.fate = [], None
    fake.failed = TrainingError("loss is nan at step 7", "take a smaller rate")
    return fake
