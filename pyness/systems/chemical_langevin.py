"""The toggle switch as a chemical reaction network: noise from the propensities, so that ``D`` depends on the state."""

from __future__ import annotations

import torch

from pyness.errors import SystemDefinitionError
from pyness.systems.box import Box
from pyness.systems.registry import register
from pyness.systems.system import System
from pyness.systems.truth import Truth

POLICIES = ("reflect", "clip", "refuse")


@register("toggle-switch-langevin")
def toggle_switch_langevin(
    volume: float = 50.0,
    a: float = 1.0,
    b: float = 1.0,
    k: float = 1.0,
    S: float = 0.5,
    n: int = 4,
    leak: float = 0.1,
    negative: str = "reflect",
) -> System:
    """Chemical Langevin equation of two self-activating genes that repress each other.

    Gene ``j`` is made with the propensity ``f_j = leak + a x_j^n / (S^n + x_j^n) + b S^n / (S^n + x_i^n)`` and lost
    with ``k x_j``, each reaction changing ``x_j`` by one molecule, ``1 / volume`` (Gillespie, J. Chem. Phys. 113, 297,
    2000): ``F_j = f_j - k x_j`` and ``D_jj = (f_j + k x_j) / (2 volume)``, Ito. The drift is that of ``toggle-switch``
    and a leak, without which the noise of a repressed gene nearly vanishes at 0.

    A chemical Langevin step may end below 0, where propensities mean nothing. ``negative`` says what is done then:
    ``reflect`` (the no-flux wall; folds are recorded and counted in ``wall_hits``), ``clip`` (the walker is put to 0,
    recorded and counted in ``clipped``; further from the no-flux law at the same step) or ``refuse`` (the walker has
    failed, is counted and listed, and too many of them fail the run). The same is done at the upper sides of the box,
    where hardly a walker comes. The policy is part of the system's domain and parameters, hence of every file.

    Raises:
        SystemDefinitionError: an unknown policy, a volume or a leak that is not positive.
    """
    if negative not in POLICIES:
        raise SystemDefinitionError(f"negative is {negative!r}", f"choose from {', '.join(POLICIES)}")
    for name, value in (("volume", volume), ("leak", leak)):
        if not value > 0:
            raise SystemDefinitionError(f"{name} is {value!r}", "give a positive number")
    published = (volume, a, b, k, S, n, leak) == (50.0, 1.0, 1.0, 1.0, 0.5, 4, 0.1)
    threshold = S**n

    def made(x: torch.Tensor) -> torch.Tensor:
        power = x**n
        return leak + a * power / (threshold + power) + (b * threshold / (threshold + power)).flip(-1)

    def drift(x: torch.Tensor) -> torch.Tensor:
        return made(x) - k * x

    def diffusion(x: torch.Tensor) -> torch.Tensor:
        return (made(x) + k * x) / (2 * volume)

    return System(
        name="toggle-switch-langevin",
        dim=2,
        drift=drift,
        diffusion=diffusion,
        domain=Box([0.0, 0.0], [4.0, 4.0], negative),
        variables=("x1", "x2"),
        parameters={"volume": volume, "a": a, "b": b, "k": k, "S": S, "n": n, "leak": leak, "negative": negative},
        # the populations of the three wells relax with a time of about 600 (from a start over the box the middle one
        # holds 0.72, 0.67, 0.62, 0.59 and 0.574 after 100, 300, 700, 1100 and 1500, and 0.571 by the grid); at a step
        # of 0.01 the entropy production without a network comes out as 0.040(5), at 0.0025 as 0.024(5)
        solver="EM:dt=0.001",
        plan={"walkers": 10_000, "burn_in": 2500.0, "burn_in_dt": 0.02, "snapshots": 40, "spacing": 1.0},
        truth=Truth(
            epr=0.0220 if published else None,
            epr_error=1e-4,
            source="finite volume, 100^2, 200^2, 300^2 cells, extrapolated: 0.02195, 0.02199, 0.02200",
            grid=(200, 200),
        ),
        window=((0.0, 0.0), (3.0, 3.0)),
        source="Gillespie, J. Chem. Phys. 113, 297 (2000); rates of Wang, Zhang, Xu, Wang, PNAS 108, 8257 (2011)",
    )
