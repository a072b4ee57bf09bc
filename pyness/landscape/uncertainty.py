"""How uncertain a potential is: how far it would move, had the walkers been others.

The landscape minimises averages over walkers, over points of the contrast and over points of the residual, so to first
order it moves by ``-H^{-1}`` times the change of the slope when groups of them count more or less: the infinitesimal
jackknife, a bootstrap whose refits are solved linearly from the normal matrix that the last Levenberg-Marquardt step
has anyway (landscapes.md, 2.7). What is left of the slope, where the iteration ended early, counts as one group more.
"""

from __future__ import annotations

import math

import torch
from torch.nn.functional import softplus

from pyness.landscape.network import Network
from pyness.landscape.newton import Problem
from pyness.landscape.objective import Contrast, balance

__all__ = ["GROUPS", "deviations"]

#: Of walkers, at the most; a standard error is itself known to one part in ``sqrt(2 GROUPS)``.
GROUPS = 64
DAMPING = 1e-6


def deviations(problem: Problem, network: Network) -> torch.Tensor | None:
    """``(P, groups + 1)`` whose square sum over the groups is the covariance of the weights.

    None without samples, and where fewer than two walkers, or points, are there to be told apart.
    """
    evidence, residual = problem.evidence, problem.residual
    if evidence is None:
        return None
    objective = problem.weighed(network)
    groups, count = _grouped(problem)
    if count < 2:
        return None
    parameters = network.parameters.detach().requires_grad_()
    moving = network.with_parameters(parameters)
    shift, along, curved = _constant(evidence.contrast, moving, parameters)
    slopes = []
    for group in range(count):
        # the points of the reference and of the residual are drawn too, and scatter as the samples do
        drawn = slice(group, None, count)
        rows = torch.nonzero(groups[: len(evidence.epr.at)] == group).flatten()
        total = objective.weights["epr"] * evidence.epr.loss(moving, rows)
        pull = 0.0
        if residual is not None:
            total = total + objective.weights["hjb"] * residual.loss(moving, drawn)
        if evidence.contrast is not None:
            rows = torch.nonzero(groups[: len(evidence.contrast.samples)] == group).flatten()
            u, v = (logit + shift for logit in evidence.contrast.unbalanced(moving, rows, drawn))
            total = total + objective.weights["contrast"] * (softplus(-u).mean() + softplus(v).mean())
            pull = torch.sigmoid(v.detach()).mean() - torch.sigmoid(-u.detach()).mean()
        (slope,) = torch.autograd.grad(total, parameters)
        slopes.append(slope - objective.weights.get("contrast", 0.0) * along * (pull / curved))
    slopes = torch.stack(slopes, dim=1)
    slopes = (slopes - slopes.mean(1, keepdim=True)) / math.sqrt(count * (count - 1))
    (left,) = torch.autograd.grad(objective.weigh(objective.parts(moving)), parameters)
    hessian = objective.hessian(network, outer=False)
    unit = hessian.diagonal()[network.outer].mean()
    hessian = hessian + DAMPING * unit * torch.eye(len(hessian), dtype=hessian.dtype, device=hessian.device)
    slopes = torch.cat([slopes, left.unsqueeze(1)], dim=1)
    return torch.cholesky_solve(slopes, torch.linalg.cholesky(hessian)).contiguous()


def _grouped(problem: Problem) -> tuple[torch.Tensor, int]:
    """The group of each state's walker, ``(n,)``, and how many groups: none of them is without states or points.

    Walkers are dealt out in the order they come in, so that the first states, which each term has, hold all groups.
    """
    evidence, residual = problem.evidence, problem.residual
    terms = [] if evidence.contrast is None else [evidence.contrast.samples, evidence.contrast.reference]
    fewest = min(len(part) for part in (evidence.epr.at, *terms[:1]))
    drawn = [len(part) for part in (*terms[1:], *([] if residual is None else [residual.at]))]
    _, number = torch.unique(evidence.walker, return_inverse=True)
    place = torch.arange(len(number), device=number.device)
    first = torch.full_like(number, len(number)).scatter_reduce(0, number, place, "amin")[: int(number.max()) + 1]
    count = min(GROUPS, int((first < fewest).sum()), *drawn)
    return first.argsort().argsort()[number] % max(count, 1), count


def _constant(
    contrast: Contrast | None, network: Network, parameters: torch.Tensor
) -> tuple[torch.Tensor | float, torch.Tensor | float, torch.Tensor | float]:
    """The constant of the contrast, how its slope changes with the weights, and with the constant itself."""
    if contrast is None:
        return 0.0, 0.0, 1.0
    u, v = contrast.unbalanced(network)
    shift = balance(u.detach(), v.detach())
    p, q = torch.sigmoid(u + shift), torch.sigmoid(v + shift)
    (along,) = torch.autograd.grad(q.mean() + p.mean(), parameters)
    curved = ((p * (1 - p)).mean() + (q * (1 - q)).mean()).detach()
    return shift, along, curved.clamp_min(1e-300)
