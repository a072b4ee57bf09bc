"""What ``fit_score`` refuses at the door."""

from __future__ import annotations

from typing import Any

from pyness.errors import InputError, UnknownNameError
from pyness.estimators.score_certificate import noisy
from pyness.numbers import check_number, check_whole
from pyness.sampling import Samples
from pyness.score import losses
from pyness.score.paths import steerable
from pyness.systems import System

__all__ = ["check"]


def check(system: System, samples: Samples, seed: int, options: dict[str, Any]) -> None:
    """Options out of range, and systems and samples that cannot be learnt from.

    Raises:
        InputError, UnknownNameError: the first of them.
    """
    check_whole("seed", seed, least=0)
    for name in ("steps", "batch", "accumulate", "probes"):
        check_whole(name, options[name])
    for name in ("learning_rate", "clip"):
        check_number(name, options[name], above=0)
    for name in ("held_out", "average"):
        check_number(name, options[name], above=0, below=1)
    check_number("warm_up", options["warm_up"], below=1)
    check_number("residual", options["residual"])
    if not isinstance(options["loss"], str) or options["loss"] not in losses.LOSSES:
        raise UnknownNameError.of("loss", str(options["loss"]), losses.LOSSES)
    if options["precision"] not in ("float32", "bfloat16"):
        raise InputError(f"precision is {options['precision']!r}", "give 'float32' or 'bfloat16'")
    alpha = options["alpha"]
    if options["loss"] in ("implicit", "paths", "drift"):
        if alpha is not None:
            raise InputError(
                f"alpha is {alpha!r} for loss {options['loss']!r}", "leave it out, or give loss='denoising'"
            )
    else:
        check_number("alpha", alpha, above=0)
    if options["residual"] and not bool(noisy(system).all()):
        raise InputError(
            f"residual is {options['residual']!r} for {system.name!r}, which has coordinates without noise",
            "leave it out: it needs the score of all coordinates",
        )
    if options["residual"] and options["loss"] != "implicit":
        raise InputError(f"residual is {options['residual']!r} for loss {options['loss']!r}", "leave it out")
    paths = options["paths"]
    if paths is not None:
        check_whole("paths", paths)
    if paths is not None and options["loss"] != "paths":
        raise InputError(f"paths is {paths!r} for loss {options['loss']!r}", "leave it out, or give loss='paths'")
    if options["loss"] == "paths" and not steerable(system):
        raise InputError(
            f"loss is 'paths' for {system.name!r}, whose noise is not that of self-propulsion velocities alone",
            "give 'implicit'",
        )
    if options["loss"] == "paths" and not system.conservative:
        raise InputError(
            f"loss is 'paths' for {system.name!r}, whose external force is no gradient: paths need a Hessian",
            "give 'implicit'",
        )
    if options["loss"] == "drift" and not bool(noisy(system).all()):
        raise InputError(
            f"loss is 'drift' for {system.name!r}, which has coordinates without noise", "give 'paths' or 'implicit'"
        )
    if options["perturb"] not in ("g", "xg"):
        raise InputError(f"perturb is {options['perturb']!r}", "give 'g' or 'xg'")
    if options["perturb"] == "xg" and options["loss"] != "denoising":
        raise InputError(f"perturb is 'xg' for loss {options['loss']!r}, which moves nothing", "give loss='denoising'")
    if system.domain.walled:
        raise InputError(
            f"system {system.name!r} has reflecting walls, where score matching needs surface terms",
            "learn its landscape: pyness.fit_landscape",
        )
    if not system.diffusion.constant or system.diffusion.kind == "matrix":
        raise InputError(f"the noise of {system.name!r} is no constant diagonal", "learn its landscape instead")
    if samples.walkers < 2:
        raise InputError(f"{samples.walkers} walker", "give at least two, one of them to judge the score by")
