"""The scale of a system's fluctuations, in which adaptive tolerances are measured."""

from __future__ import annotations

import torch

from pyness.systems import ParticleSystem, System

__all__ = ["fluctuation_scale", "tolerance"]

PROBES = 256


def fluctuation_scale(system: System) -> torch.Tensor:
    """How far noise alone moves each coordinate before the drift answers: ``(d,)``, float64.

    ``s_i = sqrt(D_ii / lambda_i)`` with the local rate ``lambda_i = sum_j |dF_i/dx_j| sqrt(D_jj / D_ii)``, the median
    over points drawn uniformly from the box with a fixed seed. For an Ornstein-Uhlenbeck coordinate it is the
    stationary standard deviation; of a bistable system it is the width of a well, not the distance between wells.
    Unlike the size of the state it depends neither on the origin nor on the units, so that a tolerance relative to
    it means the same for every system. It is at most a quarter of the box; a coordinate without noise gets the
    median share of the box of those with noise.
    """
    if isinstance(system, ParticleSystem):
        return system.fluctuation_scale
    generator = torch.Generator().manual_seed(0)
    x = system.domain.uniform(PROBES, generator, dtype=torch.float64)
    width = torch.tensor(system.domain.width, dtype=torch.float64)
    D = system.diffusion(x)
    D = torch.diagonal(D, dim1=-2, dim2=-1) if system.diffusion.kind == "matrix" else D
    noise = D.expand(PROBES, system.dim).sqrt()
    slope = torch.nan_to_num(system.drift_jacobian(x)).abs()
    # lambda_i D_ii^{1/2} = sum_j |J_ij| D_jj^{1/2}, so s_i = D_ii^{1/2} (D_ii^{1/2} / (lambda_i D_ii^{1/2}))^{1/2}
    answer = (slope @ noise.unsqueeze(-1)).squeeze(-1).clamp_min(1e-300)
    scale = torch.minimum((noise * (noise / answer).sqrt()).median(0).values, width / 4)
    noisy = scale > 0
    share = (scale[noisy] / width[noisy]).median() if bool(noisy.any()) else torch.tensor(1e-2)
    return torch.where(noisy, scale, share * width)


def tolerance(system: System, rtol: float, atol: float) -> torch.Tensor:
    """``(d,)``, the local error an adaptive method may make in one step: ``atol + rtol * fluctuation_scale``."""
    return atol + rtol * fluctuation_scale(system)
