"""Two-variable yeast cell cycle: a limit cycle driven hard out of equilibrium."""

from __future__ import annotations

import torch

from pyness.systems.box import Box
from pyness.systems.registry import register
from pyness.systems.system import System
from pyness.systems.truth import EvaluationGrid, Truth


@register("limit-cycle")
def limit_cycle(
    D: float = 0.1, a: float = 0.1, b: float = 0.1, c: float = 100.0, eps: float = 0.1, tau0: float = 5.0
) -> System:
    """Yeast cell cycle with time multiplied by 100 (Wang, Xu, Wang, PNAS 105, 12271, 2008).

    ``F_x = 100 [(eps^2 + x^2) / ((1 + x^2)(1 + y)) - a x]``, ``F_y = (100 / tau0) [b - y / (1 + c x^2)]`` on
    ``[0, 8]^2`` with no-flux walls. The flux carries 99 % of the squared drift; the published step of 0.1 doubles
    it, hence the step here.
    """
    published = {"D": 0.1, "a": 0.1, "b": 0.1, "c": 100.0, "eps": 0.1, "tau0": 5.0}
    parameters = {"D": D, "a": a, "b": b, "c": c, "eps": eps, "tau0": tau0}

    def drift(z: torch.Tensor) -> torch.Tensor:
        x, y = z[..., 0], z[..., 1]
        square = x * x
        f_x = 100 * ((eps**2 + square) / ((1 + square) * (1 + y)) - a * x)
        f_y = (100 / tau0) * (b - y / (1 + c * square))
        return torch.stack([f_x, f_y], dim=-1)

    return System(
        name="limit-cycle",
        dim=2,
        drift=drift,
        diffusion=D,
        domain=Box([0.0, 0.0], [8.0, 8.0], "reflect"),
        variables=("x", "y"),
        parameters=parameters,
        # walkers from a uniform start fall into step and lose it with a time of 6; the period is 2.9, and the squared
        # drift comes in bursts, so that three periods seen densely give the entropy production to 0.4 %
        solver="EulerHeun:dt=0.005",
        plan={"walkers": 10_000, "burn_in": 30.0, "burn_in_dt": 0.02, "snapshots": 90, "spacing": 0.1},
        truth=Truth(
            epr=532.2 if parameters == published else None,
            epr_error=0.2,
            source="finite volume on [0, 8]^2, cells of 0.01 and 0.00667, extrapolated",
            grid=(800, 800),
        ),
        # the published nodes: spacing 0.02, used on [0, 8] x [0, 6]
        evaluation=EvaluationGrid.regular([0.0, 0.0], [8.0, 6.0], [401, 301]),
        window=((0.0, 0.0), (8.0, 6.0)),
        source="Wang, Xu, Wang, PNAS 105, 12271 (2008); EPR-Net, arXiv:2301.01946",
    )
