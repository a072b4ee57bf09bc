"""What ``ParticleSystem`` refuses where it is made, and what its forces are looked at for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from pyness.errors import SystemDefinitionError
from pyness.systems.box import Box

if TYPE_CHECKING:
    from pyness.systems.particles import ParticleSystem

__all__ = ["check_box", "check_forces", "conservative", "labels_of"]

#: Points at which the curl of an external force is looked for, and points of a round trip.
PROBES, STATIONS = 32, 1 << 16
#: Curl and circulation below these shares of the force's own size are rounding: a force that jumps somewhere on the way
#: leaves about one part in ten thousand of the circulation.
CURL, CIRCULATION = 1e-6, 1e-3


def check_box(system: ParticleSystem) -> None:
    """A box that does not fit the particles or their forces.

    Raises:
        SystemDefinitionError: which, and what would fit.
    """
    box, cutoff, periods = system.box, system.cutoff, system.periods
    if box.dim != system.space_dim:
        raise SystemDefinitionError(
            f"the box has {box.dim} coordinates", f"give a Box of {system.space_dim}, the same for all particles"
        )
    if box.walled:
        raise SystemDefinitionError("particles in a reflecting box", 'give a "periodic" or an "open" one')
    narrow = [w for w in periods if w is not None and cutoff is not None and 2 * cutoff > w]
    if narrow:
        raise SystemDefinitionError(
            f"the cutoff {cutoff:g} is larger than half the box ({narrow[0]:g})",
            "take more particles, a lower packing fraction or a shorter cutoff",
        )
    if cutoff is None and system.pair_force is not None and box.periodic:
        raise SystemDefinitionError("a pair force without a cutoff in a periodic box", "give cutoff=")
    if system.start not in ("uniform", "clustered"):
        raise SystemDefinitionError(f"start is {system.start!r}", "give 'uniform' or 'clustered'")


def check_forces(system: ParticleSystem, x: torch.Tensor) -> None:
    """Forces that are no functions entry by entry of what they are given, at configurations ``x: (n, N, d)``.

    Raises:
        SystemDefinitionError: which, and why.
    """
    if system.pair_force is not None:
        _check_function("pair_force", system.radial, torch.linspace(0.1, system.cutoff or 1.0, 7).double())
    if system.external is not None:
        _check_function("external", lambda u: system.external(u), x[:, :3])


def _check_function(name: str, function: Callable, argument: torch.Tensor) -> None:
    try:
        out = function(argument)
        ok = isinstance(out, torch.Tensor) and out.shape == argument.shape and out.dtype == argument.dtype
    except Exception as error:
        raise SystemDefinitionError(
            f"{name} failed: {type(error).__name__}: {(str(error) or 'no message').splitlines()[0]}",
            "write it with torch operations, entry by entry",
        ) from error
    if not ok or not bool(torch.isfinite(out).all()):
        raise SystemDefinitionError(
            f"{name} does not return finite values of the shape and type it is given", "mend the formula"
        )


def conservative(force: Callable[[torch.Tensor], torch.Tensor], box: Box) -> bool:
    """Whether ``force``, ``(..., d) -> (..., d)``, is minus the gradient of an energy that has one value at each place.

    It has no curl at random points of the box and no circulation round its periodic sides.
    """
    generator = torch.Generator().manual_seed(0)
    # backwards: the first derivative that torch takes forwards in a process costs it a second
    with torch.enable_grad():
        x = box.uniform(PROBES, generator, torch.float64).requires_grad_()
        rows = [torch.autograd.grad(column.sum(), x, retain_graph=True)[0]
                for column in (force(x) + 0 * x).unbind(-1)]  # fmt: skip
    J = torch.stack(rows, dim=-2)
    if (J - J.mT).abs().max() > CURL * J.abs().max():
        return False
    for axis in box.periodic:
        way = box.uniform(1, generator, torch.float64).repeat(STATIONS, 1)
        share = (torch.arange(STATIONS, dtype=torch.float64) + 0.5) / STATIONS
        way[:, axis] = box.low[axis] + box.width[axis] * share
        along = force(way).detach()[:, axis]
        if along.mean().abs() > CIRCULATION * along.abs().mean():
            return False
    return True


def labels_of(species: Sequence[int], n_particles: int) -> torch.Tensor:
    """Species as ``(N,)`` whole numbers.

    Raises:
        SystemDefinitionError: others.
    """
    labels = torch.as_tensor(species)
    if labels.shape != (n_particles,) or labels.is_floating_point() or labels.dtype == torch.bool:
        raise SystemDefinitionError(f"species have shape {tuple(labels.shape)}", f"give {n_particles} whole numbers")
    return labels.long()
