"""The Lorenz system with noise: a chaotic attractor whose invariant density is smooth."""

from __future__ import annotations

import torch

from pyness.systems.box import Box
from pyness.systems.registry import register
from pyness.systems.system import System
from pyness.systems.truth import Truth


@register("lorenz")
def lorenz(D: float = 10.0, sigma: float = 10.0, rho: float = 28.0, beta: float = 8 / 3) -> System:
    """``F = (sigma (x2 - x1), x1 (rho - x3) - x2, x1 x2 - beta x3)`` (Lorenz, J. Atmos. Sci. 20, 130, 1963).

    The noise is this package's choice, the same in all coordinates: ``D = 10`` smears the sheets of the attractor into
    a smooth density and leaves both wings and the hole between them; the publication gives none. Cells of 1/96 of the
    box do not resolve it (``|F_i| h / D`` is 1.9, 3.3 and 3.9 on average), so the truth is the entropy production
    extrapolated from three grids, and the potential of one is a rough guide. ``div F = -(sigma + 1 + beta)`` is
    constant, so ``e_p = E|F|^2 / D - (sigma + 1 + beta)``.
    """
    parameters = {"D": D, "sigma": sigma, "rho": rho, "beta": beta}

    def drift(x: torch.Tensor) -> torch.Tensor:
        a, b, c = x.unbind(-1)
        return torch.stack([sigma * (b - a), a * (rho - c) - b, a * b - beta * c], dim=-1)

    return System(
        name="lorenz",
        dim=3,
        drift=drift,
        diffusion=D,
        domain=Box([-27.0, -36.0, -8.0], [27.0, 36.0, 58.0], "open"),
        parameters=parameters,
        solver="SOSRA:adaptive=false,dt=0.002",
        plan={"walkers": 10_000, "burn_in": 5.0, "burn_in_dt": 0.004, "snapshots": 20, "spacing": 0.25},
        truth=Truth(
            epr=1084.0 if parameters == {"D": 10.0, "sigma": 10.0, "rho": 28.0, "beta": 8 / 3} else None,
            epr_error=5.0,
            source="finite volume, 64^3, 96^3, 128^3 cells, extrapolated: 1128, 1092, 1086",
            grid=(96, 96, 96),
            grid_window=((-27.0, -36.0, -8.0), (27.0, 36.0, 58.0)),
        ),
        window=((-20.0, -30.0, 0.0), (20.0, 30.0, 50.0)),
        source="Lorenz, J. Atmos. Sci. 20, 130 (1963); EPR-Net, arXiv:2301.01946",
    )
