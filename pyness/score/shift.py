"""The part of a score that is known beforehand, so that a network learns only the rest (active_matter.md, 7)."""

from __future__ import annotations

import torch

from pyness.errors import InputError, UnknownNameError
from pyness.systems import ParticleSystem, System
from pyness.systems.neighbours import Pairs

__all__ = ["SHIFTS", "choose", "shift_with_terms"]

SHIFTS = ("none", "equilibrium", "persistent")


def choose(system: System, shift: str | None) -> str:
    """The shift of that name, or the score of equilibrium; none of plain systems and of forces that are no gradient.

    ``"equilibrium"``: ``(-grad U / eps, -g)``, the score at ``v0 = 0``. ``"persistent"``, for ``eps = 0``:
    ``s_g = -w / v0 - H w / (gamma v0)`` with the velocity ``w = v0 g - grad U`` and the Hessian ``H`` of ``U``; it is
    exact for harmonic forces of any stiffness (derived from active_matter.md, 11.2, at ``eps = 0``), and far off
    where particles slide past each other, so it is never taken unasked.

    Raises:
        UnknownNameError: no such shift.
        InputError: one that the system cannot have.
    """
    particles = isinstance(system, ParticleSystem)
    driven = particles and system.activity.name == "ou" and system.activity.speed > 0
    if shift is None:
        return "equilibrium" if particles and system.conservative else "none"
    if shift not in SHIFTS:
        raise UnknownNameError.of("shift", str(shift), SHIFTS)
    if shift != "none" and not particles:
        raise InputError(f"shift is {shift!r} for {system.name!r}", "give 'none': only particle systems have one")
    if shift != "none" and not system.conservative:
        raise InputError(
            f"shift is {shift!r} for {system.name!r}, whose external force is no gradient",
            "give 'none': no part of its score is known",
        )
    if shift == "persistent" and (system.noise > 0 or not driven):
        raise InputError(f"shift is 'persistent' for {system.name!r} with eps = {system.noise:g}", "give 'equilibrium'")
    return shift


def shift_with_terms(
    system: System, kind: str, states: torch.Tensor, pairs: Pairs | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The shift and ``d_i (D s)_i``, ``(n, d)`` each, at ``states: (n, d)``; 0 for coordinates without noise.

    The terms of a particle's coordinates are right in sum only.
    """
    if kind == "none":
        return torch.zeros_like(states), torch.zeros_like(states)
    x, g = system.split(states)
    laplacian = system.laplacian(x, pairs).unsqueeze(-1)
    activity, d = system.activity, system.space_dim
    force = system.forces(x, pairs)
    if kind == "equilibrium":
        s_x = force / system.noise if system.noise > 0 else torch.zeros_like(x)
        t_x = (-laplacian / d).expand_as(x) if system.noise > 0 else torch.zeros_like(x)
        own = activity.divergence(system.activity_dim) / system.activity_dim
        return system.join(s_x, activity.drift(g) / activity.rate), system.join(t_x, torch.full_like(g, own))
    velocity = force + activity.push(g)
    turned = system.curvature(x, velocity, pairs)
    s_g = -velocity / activity.speed - turned / (activity.rate * activity.speed)
    t_g = (-activity.rate - laplacian / d).expand_as(g)
    return system.join(torch.zeros_like(x), s_g), system.join(torch.zeros_like(x), t_g)
