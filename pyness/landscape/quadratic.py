"""The quadratic potential nearest to the drift, in closed form: where a network of many dimensions may start.

With ``grad Phi = (S z + l) / h`` in scaled coordinates ``z = (x - center) / h`` the EPR loss is a quadratic function of
the symmetric ``S`` and of ``l``. With ``a_i = D_ii / h_i^2``, ``b_i = F_v,i / h_i``, ``C`` the covariance of ``z`` and
``B = Cov(z, b)`` its minimum solves the Lyapunov equation ``a S C + C S a = -(B + B^T)``.
"""

from __future__ import annotations

import torch

from pyness.landscape.metric import own_diffusion, stretch
from pyness.landscape.network import Network
from pyness.systems import System

__all__ = ["nearest_quadratic"]


def nearest_quadratic(network: Network, system: System, states: torch.Tensor, drift: torch.Tensor) -> Network:
    """``network`` with the quadratic potential of least EPR loss over ``states: (n, d)`` and nothing else.

    Args:
        network: without periodic coordinates.
        drift: ``F_v`` at the states, ``(n, d)``.
    """
    half = network.tensors["half_width"]
    z, b = (states - network.tensors["center"]) / half, drift / half
    a = stretch(own_diffusion(system, states)).mean(0) / half**2
    mean, push = z.mean(0), b.mean(0)
    z, b = z - mean, b - push
    root = a.sqrt()
    spread, vectors = torch.linalg.eigh((z.mT @ z) / len(z) / root / root[:, None])
    both = (z.mT @ b) / len(z)
    right = vectors.mT @ ((both + both.mT) / root / root[:, None]) @ vectors
    symmetric = vectors @ (-right / (spread + spread[:, None]).clamp_min(1e-300)) @ vectors.mT / root / root[:, None]
    linear = -symmetric @ mean - push / a
    # monomials z_i z_j of the upper triangle: Phi = l . z + z . S z / 2
    first, second = torch.triu_indices(system.dim, system.dim, device=states.device).unbind(0)
    pairs = symmetric[first, second] * torch.where(first == second, 0.5, 1.0)
    tensors = {name: torch.zeros_like(network.tensors[name]) for name in ("output", "known")}
    return network.with_tensors(tensors | {"quadratic": torch.cat([linear, pairs])})
