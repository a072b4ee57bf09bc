"""What vanishes on average at stationarity for the true score of particles, whatever their forces and number.

Identities of active_matter.md, section 4, each as left side minus right side; I6, which needs no score, is
``active_work_epr``. Of a learnt score they vanish to first order in its error only: I4 and I7 where it is one of least
squares, I2, I3 and I8 but for its error and its defect.
"""

from __future__ import annotations

import torch

from pyness.systems import ParticleSystem

__all__ = ["identities", "names"]

#: In the order of the columns; without noise of positions the second alone.
OF_ALL, OF_ACTIVITIES = ("I1", "I2", "I3", "I4, positions"), ("I4, activities", "I5", "I7", "I8")


def names(system: ParticleSystem) -> tuple[str, ...]:
    """Which identities of ``system`` need a score."""
    return OF_ACTIVITIES if system.noise == 0 else OF_ALL + OF_ACTIVITIES


def identities(
    system: ParticleSystem, drift: torch.Tensor, divergence: torch.Tensor, s: torch.Tensor, terms: torch.Tensor
) -> list[torch.Tensor]:
    """For each of ``names`` ``(n,)``, of states at which all that follows was taken.

    Args:
        drift, divergence: ``F`` and ``div F``.
        s: the score, 0 where a coordinate has no noise.
        terms: ``d_i (D s)_i`` of each coordinate.
    """
    (s_x, s_g), (t_x, t_g), (F_x, F_g) = (system.split(part) for part in (s, terms, drift))
    eps, gamma = system.noise, system.activity.rate
    own = system.n_particles * system.activity.divergence(system.activity_dim)
    bend = own - divergence
    v_g = F_g - gamma * s_g

    def over(field: torch.Tensor) -> torch.Tensor:
        return field.sum((-1, -2))

    div_g, part, square = own - over(t_g), over(v_g.square()) / gamma, gamma * over(s_g.square())
    still = eps * over(s_x.square())
    of_activities = [square + over(t_g), div_g - part, part - square - own, div_g - bend + still]
    if eps == 0:
        return of_activities
    div = div_g - bend - over(t_x)
    passed = over((F_x - eps * s_x) * s_x) + over(v_g * s_g)
    return [div + passed, div, passed, still + over(t_x), *of_activities]
