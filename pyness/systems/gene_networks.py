"""Gene regulation by Hill functions: the two-gene toggle switch."""

from __future__ import annotations

import torch

from pyness.systems.box import Box
from pyness.systems.registry import register
from pyness.systems.system import System
from pyness.systems.truth import EvaluationGrid, Truth


@register("toggle-switch")
def toggle_switch(
    D: float = 0.01, a: float = 1.0, b: float = 1.0, k: float = 1.0, S: float = 0.5, n: int = 4
) -> System:
    """Two genes, each activating itself and repressing the other (Wang, Zhang, Xu, Wang, PNAS 108, 8257, 2011).

    ``F_j = -k x_j + a x_j^n / (S^n + x_j^n) + b S^n / (S^n + x_i^n)`` on ``[0, 3]^2`` with no-flux walls. The side
    wells lie on the walls, and the slowest relaxation time is 979 at the published parameters, while the entropy
    production needs fine steps: burn in coarsely, then finely.
    """
    published = {"D": 0.01, "a": 1.0, "b": 1.0, "k": 1.0, "S": 0.5, "n": 4}
    parameters = {"D": D, "a": a, "b": b, "k": k, "S": S, "n": n}
    threshold = S**n

    def drift(x: torch.Tensor) -> torch.Tensor:
        power = x**n
        active = a * power / (threshold + power)
        repressed = b * threshold / (threshold + power)
        return -k * x + active + repressed.flip(-1)

    return System(
        name="toggle-switch",
        dim=2,
        drift=drift,
        diffusion=D,
        domain=Box([0.0, 0.0], [3.0, 3.0], "reflect"),
        variables=("x1", "x2"),
        parameters=parameters,
        # the populations need four relaxation times, for which a step of 0.1 is fine enough; the entropy production
        # needs a finer one, and what is not a population forgets the coarse step in a few times 2.3
        solver="EulerHeun:dt=0.01",
        plan={"walkers": 10_000, "burn_in": 4000.0, "burn_in_dt": 0.1, "snapshots": 60, "spacing": 1.0},
        truth=Truth(
            epr=0.0728 if parameters == published else None,
            epr_error=1e-4,
            source="finite volume on 0.02 / 0.01 / 0.005 cells: 0.07267 / 0.07280 / 0.07283",
            grid=(300, 300),
        ),
        evaluation=EvaluationGrid.regular([0.0, 0.0], [3.0, 3.0], [301, 301]),
        source="Wang, Zhang, Xu, Wang, PNAS 108, 8257 (2011); EPR-Net, arXiv:2301.01946",
    )
