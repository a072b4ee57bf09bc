"""What vanishes on average at stationarity for the true score of particles, whatever their forces and number.

Identities of active_matter.md, section 4, each as left side minus right side; I6, which needs no score, is
``active_work_epr``. Of a learnt score they vanish to first order in its error only: I4 and I7 where it is one of least
squares, I2, I3 and I8 but for its error and its defect.
"""

from __future__ import annotations

import torch

from pyness.systems import ParticleSystem

__all__ = ["identities"]


def identities(
    system: ParticleSystem, x: torch.Tensor, drift: torch.Tensor, s: torch.Tensor, terms: torch.Tensor
) -> dict[str, torch.Tensor]:
    """By name, ``(n,)`` at states ``x: (n, dim)``; without noise of positions those that are left of activities.

    Args:
        s: the score, 0 where a coordinate has no noise.
        terms: ``d_i (D s)_i`` of each coordinate.
    """
    (s_x, s_g), (t_x, t_g), (F_x, F_g) = (system.split(part) for part in (s, terms, drift))
    eps, gamma = system.noise, system.activity.rate
    own = system.n_particles * system.activity.divergence(system.activity_dim)
    bend = system.laplacian(system.split(x)[0]).sum(-1)
    v_g = F_g - gamma * s_g

    def over(field: torch.Tensor) -> torch.Tensor:
        return field.sum((-1, -2))

    div_g, part, square = own - over(t_g), over(v_g.square()) / gamma, gamma * over(s_g.square())
    still = eps * over(s_x.square())
    found = {
        "I4, activities": square + over(t_g),
        "I5": div_g - part,
        "I7": part - square - own,
        "I8": div_g - bend + still,
    }
    if eps == 0:
        return found
    div = div_g - bend - over(t_x)
    passed = over((F_x - eps * s_x) * s_x) + over(v_g * s_g)
    return {"I1": div + passed, "I2": div, "I3": passed, "I4, positions": still + over(t_x), **found}
