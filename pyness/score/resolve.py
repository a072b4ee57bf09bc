"""What a training of a score will do, nothing left open; known and checked before anything is sampled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyness.devices import usable
from pyness.errors import InputError
from pyness.estimators.score_certificate import noisy
from pyness.sampling import Plan, Samples
from pyness.score.networks import KEYWORDS, build, describe
from pyness.score.options import check
from pyness.score.paths import steerable
from pyness.score.shift import choose
from pyness.systems import System

__all__ = ["resolve", "resolve_options"]

#: Training steps, learning rate, and particles of a batch where none are given.
STEPS = {"dense": 1000, "contacts": 700, "attention": 800, "local-transformer": 2000}
RATE = {"dense": 5e-3, "contacts": 3e-3, "attention": 2e-3, "local-transformer": 3e-4}
BATCH = {"dense": 1024, "contacts": 1536, "attention": 2048, "local-transformer": 512}
#: Weight of the stationarity residual where it is exact: it vanishes pointwise at the true score, so it has no noise.
RESIDUAL = 10.0


def resolve(
    system: System, samples: Samples | Plan, seed: int, given: Mapping[str, Any]
) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """Architecture with its keywords, shift, and options of a training, from those ``given``; None is the default.

    Args:
        samples: of which only the number of walkers counts here.

    Raises:
        InputError, UnknownNameError: the first that is out of range, unknown, or does not fit the system.
    """
    network = describe(system, given.get("arch"), {key: given.get(key) for own in KEYWORDS.values() for key in own})
    kind = network["arch"]
    shift = choose(system, given.get("shift"))
    gradient = network.get("gradient", kind == "dense")
    loss = given.get("loss") or _loss(system, kind, gradient)
    if loss == "drift" and not gradient:
        remedy = "give 'implicit'" + (", or gradient=True" if bool(noisy(system).all()) else " or 'paths'")
        raise InputError("loss is 'drift' for a score that is no gradient", remedy)
    exact = kind == "dense" and loss == "implicit" and bool(noisy(system).all())
    defaults = {
        "loss": loss, "residual": RESIDUAL if exact else 0.0, "steps": STEPS[kind], "batch": BATCH[kind],
        "learning_rate": RATE[kind],
    }  # fmt: skip
    names = (
        "loss", "alpha", "paths", "perturb", "residual", "steps", "batch", "accumulate", "learning_rate", "warm_up",
        "average", "clip", "probes", "held_out", "precision",
    )  # fmt: skip
    options = {name: defaults.get(name) if given.get(name) is None else given[name] for name in names}
    check(system, samples, seed, options)
    return network, shift, options


def _loss(system: System, kind: str, gradient: bool) -> str:
    """The loss where none is given: one without divergences where a network has them along random directions only."""
    if kind == "contacts" or (kind == "attention" and gradient):
        if steerable(system) and system.conservative:
            return "paths"
        if gradient and bool(noisy(system).all()):
            return "drift"
    return "implicit"


def resolve_options(system: System, plan: Plan, seed: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords of ``fit_score`` with nothing left open but how many paths there are; called before anything is sampled.

    Raises:
        InputError, UnknownNameError: as ``fit_score``.
    """
    network, shift, options = resolve(system, plan, seed, given)
    build(system, network, shift)
    usable(given.get("device", "cpu"))
    return {**given, **network, "shift": shift, **options}
