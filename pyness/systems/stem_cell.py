"""Hill networks of any size from files of edges; the human stem-cell network with 52 genes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pyness.systems.box import Box
from pyness.systems.network_files import GeneNetwork, read_network
from pyness.systems.registry import register
from pyness.systems.system import System

__all__ = ["hill_network", "stem_cell"]

STEM_CELL = Path(__file__).parent / "networks" / "stem_cell_52.toml"


def hill_network(
    network: str | Path | GeneNetwork,
    *,
    name: str = "hill-network",
    D: float = 0.02,
    a: float = 0.37,
    b: float = 0.5,
    k: float = 1.0,
    S: float = 0.5,
    n: int = 3,
    high: float = 3.0,
    **options: Any,
) -> System:
    """``F_j = -k x_j + sum over activators a H(x_i) + sum over repressors b (1 - H(x_i))``, ``H = x^n / (S^n + x^n)``.

    Args:
        network: a file for ``read_network``, or what it returned. Its genes are the variables.
        high: the box is ``[0, high]`` in every coordinate, with no-flux walls.
        options: further keywords of ``System``.

    Raises:
        SystemDefinitionError: see ``read_network`` and ``System``.
    """
    network = network if isinstance(network, GeneNetwork) else read_network(network)
    activated, repressed = a * network.matrix(+1), b * network.matrix(-1)
    # b sum (1 - H) = sum b - b H: one product serves both signs
    influence, constant = (activated - repressed).mT, repressed.sum(1)
    threshold, dim = S**n, len(network.genes)

    def drift(x: torch.Tensor) -> torch.Tensor:
        power = x**n
        return constant.to(x) + (power / (threshold + power)) @ influence.to(x) - k * x

    parameters: Mapping[str, Any] = {"D": D, "a": a, "b": b, "k": k, "S": S, "n": n}
    box = Box([0.0] * dim, [high] * dim, "reflect")
    return System(name, dim, drift, D, box, network.genes, parameters=parameters, **options)


@register("stem-cell-52d")
def stem_cell(D: float = 0.02, a: float = 0.37, b: float = 0.5, k: float = 1.0, S: float = 0.5, n: int = 3) -> System:
    """Human stem-cell network of 52 genes, 83 activations and 39 repressions (Li, Wang, PLoS Comput. Biol. 2013).

    Two deterministic attractors, (GATA6, NANOG) = (1.05, 1.23) from nearly all of the box and (2.17, 0.01); with noise
    most of the probability is at the second one all the same: 0.70 of the states go down the landscape of the two to
    it. Walkers change sides with a relaxation time of about 160, hence the long burn-in, after which the weights are
    known to ``sqrt(0.21 / walkers)``. Only these two genes are named in the published file.
    """
    return hill_network(
        STEM_CELL, name="stem-cell-52d", D=D, a=a, b=b, k=k, S=S, n=n,
        solver="EulerHeun:dt=0.02",
        plan={"walkers": 4000, "burn_in": 500.0, "burn_in_dt": 0.1, "snapshots": 20, "spacing": 1.0},
        source="Li, Wang, PLoS Comput. Biol. 9, e1003165 (2013); EPR-Net, arXiv:2301.01946",
    )  # fmt: skip
