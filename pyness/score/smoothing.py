"""How much a smoothing width hides: a scan over it, and what the entropy production tends to without smoothing.

The score of samples whose activities are moved by ``alpha z`` is that of a density ``alpha`` wider. Of a mode in which
activities scatter by ``V`` at given positions, its product with the true current is smaller by ``1 + alpha^2 / V``
(derived from active_matter.md, section 10), so the inverse of the product is a straight line in ``alpha^2``. In the
product noise of the networks averages out, while it adds to the square of a learnt current.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pyness.errors import InputError, TrainingError
from pyness.estimators import Estimate
from pyness.estimators.score_certificate import certify_score
from pyness.numbers import check_number
from pyness.sampling import Samples
from pyness.score.fit import fit_score
from pyness.score.score import Score
from pyness.systems import ParticleSystem

__all__ = ["AlphaScan", "scan_alpha"]


@dataclass(frozen=True)
class AlphaScan:
    """What scores of several smoothing widths find on unperturbed samples.

    Attributes:
        alphas: the widths, smallest first.
        scores: what was learnt with each.
        activity: ``E[v_g . phi_g] / gamma`` with the current velocity ``phi`` of each score: the part of it that is
            current.
        against_current: ``E|s_t - s|_D^2`` of each, relative to the entropy production.
        exact: ``E[lap U]`` where positions have no noise of their own, else None.
        limit: ``activity`` at ``alpha = 0``, from a straight line of its inverse in ``alpha^2``.
    """

    alphas: tuple[float, ...]
    scores: tuple[Score, ...]
    activity: tuple[Estimate, ...]
    against_current: tuple[Estimate, ...]
    exact: Estimate | None
    limit: Estimate

    def __str__(self) -> str:
        columns = zip(self.alphas, self.activity, self.against_current, strict=True)
        lines = [f"alpha = {a:<10.4g} activity part {value}   error against the current {e}" for a, value, e in columns]
        known = "" if self.exact is None else f"   exact {self.exact}"
        return "\n".join([*lines, f"alpha -> 0         activity part {self.limit}{known}"])


def scan_alpha(
    system: ParticleSystem, samples: Samples, alphas: Sequence[float], seed: int = 0, **options: Any
) -> AlphaScan:
    """Train by denoising the activities with each of ``alphas``, and extrapolate to none.

    The line is drawn through the values on the walkers held out; its error bar is theirs and knows nothing of what
    the networks have not learnt, which ``against_current`` shows. Widths must resolve the scatter of activities at
    given positions, ``alpha^2`` of about ``gamma / stiffness`` or less.

    Args:
        alphas: two widths at least.
        options: of ``fit_score``, but for the loss and what it moves.

    Raises:
        InputError: fewer than two different widths, or one that is not positive; no particles; no current at all.
    """
    if not isinstance(alphas, Iterable) or isinstance(alphas, str):
        raise InputError(f"alphas are {alphas!r}", "give two different widths or more, all greater than 0")
    for alpha in alphas:
        check_number("alpha", alpha, above=0)
    widths = tuple(sorted({float(a) for a in alphas}))
    if len(widths) < 2:
        raise InputError(f"alphas are {list(alphas)!r}", "give two different widths or more, all greater than 0")
    if not isinstance(system, ParticleSystem):
        raise InputError(f"{system.name!r} has no activities to smooth", "give a ParticleSystem")
    own = [name for name in ("loss", "alpha", "perturb") if name in options]
    if own:
        raise InputError(f"{own[0]} is {options[own[0]]!r} in a scan over alpha", "leave it out: the scan chooses it")
    scores, found = [], []
    for alpha in widths:
        score = fit_score(system, samples, seed, loss="denoising", alpha=alpha, perturb="g", **options)
        judged = samples.split(score.metadata["options"]["held_out"], seed=seed)[0]
        scores.append(score)
        found.append(certify_score(system, judged, score.with_terms))
    activity = tuple(f.blocks["activity"].midpoint for f in found)
    return AlphaScan(
        alphas=widths,
        scores=tuple(scores),
        activity=activity,
        against_current=tuple(f.against_current for f in found),
        exact=None if found[0].complete else found[0].epr,
        limit=extrapolated(widths, activity),
    )


def extrapolated(alphas: Sequence[float], values: Sequence[Estimate]) -> Estimate:
    """The value at ``alpha = 0`` of a line through the inverse values against ``alpha^2``, weighted by its errors.

    Raises:
        TrainingError: a value that is not positive, now or at ``alpha = 0``.
    """
    if not all(v.value > 0 for v in values):
        raise TrainingError("a score of the scan finds no current", "train longer, or with smaller widths")
    kind = {"dtype": torch.float64}
    squares, y = torch.tensor(alphas, **kind) ** 2, 1 / torch.tensor([v.value for v in values], **kind)
    # of one number per walker the error is unknown: all count alike then
    spread = torch.tensor([v.stderr / v.value**2 for v in values], **kind)
    weight = 1 / spread if bool((spread > 0).all()) else torch.ones_like(spread)
    A = weight.unsqueeze(1) * torch.stack([torch.ones_like(squares), squares / squares.max()], dim=1)
    inverse = torch.linalg.inv(A.mT @ A)
    start = (inverse @ (A.mT @ (weight * y)))[0].item()
    if not start > 0:
        raise TrainingError("the scan does not extrapolate", "give smaller widths: the smallest one hides most of it")
    error = inverse[0, 0].sqrt().item() if bool((spread > 0).all()) else float("nan")
    return Estimate(1 / start, error / start**2)
