"""How particles are arranged, for comparisons: pair correlation and the largest cluster, over the seams of the box."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pyness.estimators.local import ball
from pyness.systems import ParticleSystem
from pyness.systems.neighbours import close_pairs


def pair_correlation(system: ParticleSystem, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
    """``g(r)`` of each configuration, ``(n, bins)``: pairs of ``x: (n, N, d)`` over those of an ideal gas.

    Args:
        edges: ``(bins + 1,)``, rising, at most half the box.
    """
    pairs = close_pairs(x, system.periods, edges[-1].item())
    r = system.distances(x, pairs)[0]
    inside = r >= edges[0]
    bins = (torch.bucketize(r[inside], edges) - 1).clamp_max(len(edges) - 2)
    cell = pairs.i[inside] // system.n_particles * (len(edges) - 1) + bins
    counts = torch.bincount(cell, minlength=len(x) * (len(edges) - 1)).reshape(len(x), -1)
    shells = torch.tensor([ball(system.space_dim, edge) for edge in edges.tolist()]).double().diff()
    return counts / (system.n_particles * (system.n_particles - 1) / 2 * shells / system.volume)


def largest_cluster(system: ParticleSystem, x: torch.Tensor, contact: float) -> torch.Tensor:
    """``(n,)``: share of the particles of ``x: (n, N, d)`` in the largest cluster of those within ``contact``."""
    pairs = close_pairs(x, system.periods, contact)
    rows = x.shape[0] * x.shape[1]
    graph = coo_matrix((np.ones(len(pairs)), (pairs.i.numpy(), pairs.j.numpy())), shape=(rows, rows))
    labels = torch.from_numpy(connected_components(graph, directed=False)[1].astype(np.int64))
    sizes = torch.bincount(labels)
    return sizes[labels].reshape(x.shape[:2]).amax(1).double() / x.shape[1]
