"""Which samples a report is of, and which of them judge what was learnt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyness.errors import InputError
from pyness.estimators.score_free import check_samples
from pyness.sampling import Samples
from pyness.systems import System

__all__ = ["judging"]


def judging(
    system: System, samples: Samples | None, training: Samples | None, metadata: Mapping[str, Any]
) -> tuple[Samples, Samples]:
    """The samples, those of the ``training`` if none are given, and of these the walkers held out, of others all.

    Args:
        metadata: of what was learnt: the fingerprint of its samples, its seed and its options.

    Raises:
        InputError: no samples, or of another system.
    """
    samples = training if samples is None else samples
    if samples is None:
        raise InputError("no samples to report on", "give the training samples, or fresh ones")
    check_samples(system, samples)
    if samples.fingerprint != metadata["samples"]:
        return samples, samples
    return samples, samples.split(metadata["options"]["held_out"], seed=metadata["seed"])[0]
