"""Control variates: averages that are zero in the steady state take noise out of others and change no mean."""

from __future__ import annotations

import math

import torch

from pyness.estimators.estimate import Estimate

__all__ = ["controlled"]

#: Walkers per control that a regression needs: with fewer the controls cost more than they give.
PER_CONTROL = 10


def controlled(target: torch.Tensor, controls: torch.Tensor) -> Estimate:
    """The mean of ``target: (walkers,)`` with ``controls: (walkers, k)`` of known mean 0.

    Least squares with an intercept; the intercept is the estimate and its error comes from what is left. Controls are
    taken in the order of their correlation with the target, no more than the walkers can bear.
    """
    n = target.shape[0]
    y, z = target.double(), controls.double()
    spread = z.std(0, correction=0)
    z = z[:, (spread > 0) & torch.isfinite(spread)]
    room = min(z.shape[1], n // PER_CONTROL)
    if room == 0:
        return Estimate.over_walkers(y)
    centred = z - z.mean(0)
    correlation = (centred * (y - y.mean())[:, None]).sum(0).abs() / centred.norm(dim=0)
    z = z[:, correlation.argsort(descending=True)[:room]]
    design = torch.cat([torch.ones(n, 1, dtype=z.dtype, device=z.device), z / z.std(0)], dim=1)
    solution = torch.linalg.lstsq(design, y[:, None], driver="gelsd").solution if design.device.type == "cpu" else (
        torch.linalg.pinv(design) @ y[:, None]
    )  # fmt: skip
    residual = y - (design @ solution).squeeze(1)
    inverse = torch.linalg.pinv(design.mT @ design)
    variance = residual.square().sum() / (n - design.shape[1]) * inverse[0, 0]
    return Estimate(solution[0, 0].item(), math.sqrt(variance.item()))
