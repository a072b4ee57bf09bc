"""Budding-yeast cell cycle: eight variables, stiff, with poles just outside the physical range."""

from __future__ import annotations

import torch

from pyness.systems.box import Box
from pyness.systems.registry import register
from pyness.systems.system import System

VARIABLES = ("CycB", "Cdh1", "Cdc20", "Cdc20A", "IE", "CKI", "SK", "TF")


@register("cell-cycle-8d")
def cell_cycle_8d(
    D: float = 0.01,
    m: float = 0.8,
    k1: float = 0.04,
    k21: float = 0.04,
    k22: float = 1.0,
    k23: float = 1.0,
    k31: float = 1.0,
    k32: float = 10.0,
    k4: float = 35.0,
    k41: float = 2.0,
    k51: float = 0.005,
    k52: float = 0.2,
    k6: float = 0.1,
    k7: float = 1.0,
    k8: float = 0.5,
    Mad: float = 1.0,
    k9: float = 0.1,
    k10: float = 0.02,
    k11: float = 1.0,
    k121: float = 0.2,
    k122: float = 50.0,
    k123: float = 100.0,
    k131: float = 0.0,
    k132: float = 1.0,
    k14: float = 1.0,
    k151: float = 1.5,
    k152: float = 0.05,
    k161: float = 1.0,
    k162: float = 3.0,
    J3: float = 0.04,
    J4: float = 0.04,
    J5: float = 0.3,
    J7: float = 0.001,
    J8: float = 0.001,
    J15: float = 0.01,
    J16: float = 0.01,
    Keq: float = 1000.0,
) -> System:
    """Budding-yeast cell cycle, time x 1000 (Wang, Li, Wang, PNAS 107, 8195, 2010), within its physical limits.

    Total CycB, Cdh1, total and active Cdc20, IE, CKI, SK and TF; ``T = 2 x1 x6 / (S + sqrt(S^2 - 4 x1 x6))`` is the
    complex of CycB and CKI, ``S = x1 + x6 + 1 / Keq``, and ``y = m (x1 - T)`` the free CycB. The formulas are those of
    ``drift`` below, in the order of the paper.

    No-flux walls: all concentrations at least 0; the fractions Cdh1, IE and TF at most 1 and active Cdc20 at most total
    Cdc20 (a linear wall), because the Michaelis-Menten rates ``(1 - x2) / (J3 + 1 - x2)``, ``(1 - x8) / (J15 + 1 -
    x8)`` and ``(x3 - x4) / (J7 + x3 - x4)`` have poles a distance J beyond, and those of the backward reactions a
    distance J below 0. The other upper sides are far above what is reached. Rates near the walls are up to 5e5 per unit
    time. The recommended solver is the torch engine's, whose Newton iteration is damped; those of Julia are thrown over
    the poles. Julia's explicit adaptive ones are quicker still and without a bias of their step: ``engine="julia",
    solver="SOSRA:rtol=0.1"`` (docs/integrators.md).
    """
    parameters = dict(locals())

    def drift(x: torch.Tensor) -> torch.Tensor:
        cycb, cdh1, cdc20, active, ie, cki, sk, tf = x.unbind(-1)
        total = cycb + cki + 1 / Keq
        product = cycb * cki
        free = m * (cycb - 2 * product / (total + torch.sqrt(total * total - 4 * product)))
        fourth = free**4
        inactive = cdc20 - active
        return 1000 * torch.stack(
            [
                k1 - (k21 + k22 * cdh1 + k23 * active) * cycb,
                (k31 + k32 * active) * (1 - cdh1) / (J3 + 1 - cdh1) - (k4 * free + k41 * sk) * cdh1 / (J4 + cdh1),
                k51 + k52 * fourth / (J5**4 + fourth) - k6 * cdc20,
                k7 * ie * inactive / (J7 + inactive) - k8 * Mad * active / (J8 + active) - k6 * active,
                k9 * free * (1 - ie) - k10 * ie,
                k11 - (k121 + k122 * sk + k123 * free) * cki,
                k131 + k132 * tf - k14 * sk,
                (k151 * m + k152 * sk) * (1 - tf) / (J15 + 1 - tf) - (k161 + k162 * free) * tf / (J16 + tf),
            ],
            dim=-1,
        )

    return System(
        name="cell-cycle-8d",
        dim=8,
        drift=drift,
        diffusion=D,
        domain=Box(
            [0.0] * 8,
            [1.25, 1.0, 2.0, 2.0, 1.0, 1.25, 1.25, 1.0],
            "reflect",
            walls=[((0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, 0.0), 0.0)],
        ),
        variables=VARIABLES,
        parameters=parameters,
        # explicit steps of 1e-5 lose nobody but heat the fast variables so much that the entropy production is several
        # times too large; the trapezoidal rule has their variance exactly at any step (examples/adaptive_vs_fixed.py),
        # and at this one 1.7(1.9) % more entropy production than at half of it, at twice it 7.4(1.9) %.
        # Walkers lose their phase with a time of 0.17; what is left of it averages out over the period of the snapshots
        solver="ImplicitEM:theta=0.5,adaptive=false,dt=5e-5",
        plan={"walkers": 10_000, "burn_in": 0.5, "burn_in_dt": 2e-4, "snapshots": 5, "spacing": 0.0072},
        window=((0.0,) * 8, (0.75, 1.0, 1.25, 1.25, 1.0, 1.25, 1.25, 1.0)),
        source="Wang, Li, Wang, PNAS 107, 8195 (2010); EPR-Net, arXiv:2301.01946",
    )
