"""Three-variable cell cycle of CDK1, Plk1 and APC: a limit cycle in three dimensions."""

from __future__ import annotations

import torch

from pyness.systems.box import Box
from pyness.systems.registry import register
from pyness.systems.system import System
from pyness.systems.truth import Truth


@register("cell-cycle-3d")
def cell_cycle_3d(
    D: float = 0.01,
    alpha1: float = 0.1,
    alpha2: float = 3.0,
    alpha3: float = 3.0,
    beta1: float = 3.0,
    beta2: float = 1.0,
    beta3: float = 1.0,
    K: float = 0.5,
    n: int = 8,
) -> System:
    """CDK1 drives Plk1, Plk1 drives APC, APC destroys CDK1 (Ferrell, Tsai, Yang, Cell 144, 874, 2011), time x 10.

    ``F1 = 10 [alpha1 - beta1 x1 H(x3)]``, ``F2 = 10 [alpha2 (1 - x2) H(x1) - beta2 x2]``, ``F3 = 10 [alpha3 (1 - x3)
    H(x2) - beta3 x3]`` with ``H(u) = u^n / (K^n + u^n)`` on ``[0, 1]^3`` with no-flux walls. Euler-Maruyama at the
    published step of 0.01 has ``E[x1] = 0.297`` in place of 0.335, hence the step here.
    """
    parameters = {"D": D, "alpha1": alpha1, "alpha2": alpha2, "alpha3": alpha3, "beta1": beta1, "beta2": beta2,
                  "beta3": beta3, "K": K, "n": n}  # fmt: skip
    published = list(parameters.values()) == [0.01, 0.1, 3.0, 3.0, 3.0, 1.0, 1.0, 0.5, 8]
    threshold = K**n

    def drift(x: torch.Tensor) -> torch.Tensor:
        cdk1, plk1, apc = x.unbind(-1)
        power = x**n
        by_cdk1, by_plk1, by_apc = (power / (threshold + power)).unbind(-1)
        return 10 * torch.stack(
            [
                alpha1 - beta1 * cdk1 * by_apc,
                alpha2 * (1 - plk1) * by_cdk1 - beta2 * plk1,
                alpha3 * (1 - apc) * by_plk1 - beta3 * apc,
            ],
            dim=-1,
        )

    return System(
        name="cell-cycle-3d",
        dim=3,
        drift=drift,
        diffusion=D,
        domain=Box([0.0] * 3, [1.0] * 3, "reflect"),
        variables=("CDK1", "Plk1", "APC"),
        parameters=parameters,
        # walkers go round in 0.45 and lose their phase with a time of 0.5; the published step of Euler-Maruyama is 9 %
        # off in the entropy production, a tenth of it 2 %
        solver="EulerHeun:dt=0.001",
        plan={"walkers": 10_000, "burn_in": 10.0, "burn_in_dt": 0.005, "snapshots": 40, "spacing": 0.25},
        truth=Truth(
            epr=2204.0 if published else None,
            epr_error=3.0,
            source="finite volume, cells of 1/32, 1/48, 1/64, 1/96, extrapolated: 2225, 2210, 2206, 2205",
            grid=(64, 64, 64),
            grid_refined=True,
        ),
        window=((0.0, 0.0, 0.0), (0.8, 0.8, 0.8)),
        source="Ferrell, Tsai, Yang, Cell 144, 874 (2011); EPR-Net, arXiv:2301.01946",
    )
