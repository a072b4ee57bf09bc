"""What ``ParticleSystem`` refuses where it is made, and what its forces are looked at for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import torch

from pyness.errors import SystemDefinitionError
from pyness.systems.activity import Activity
from pyness.systems.box import Box

if TYPE_CHECKING:
    from pyness.systems.particles import ParticleSystem

__all__ = [
    "STARTS",
    "check_box",
    "check_forces",
    "check_numbers",
    "check_parts",
    "conservative",
    "labels_of",
]

#: What positions can be drawn as.
STARTS = ("uniform", "clustered")

#: What a pair force may be at its cutoff, as a share of its median within: where it jumps, ``lap U`` has a delta, which
#: no sample shows, and all that is made of ``div F`` lacks about this share.
JUMP = 2e-2

#: Points at which the curl of an external force is looked for, and points of a round trip.
PROBES, STATIONS = 32, 1 << 16
#: Curl and circulation below these shares of the force's own size are rounding: a force that jumps somewhere on the way
#: leaves about one part in ten thousand of the circulation.
CURL, CIRCULATION = 1e-6, 1e-3


def check_numbers(**values: float | None) -> None:
    """``n_particles``, ``space_dim``, ``noise``, ``trap`` and ``cutoff`` that are no such numbers.

    Raises:
        SystemDefinitionError: the first of them.
    """
    for what in ("n_particles", "space_dim"):
        value = values[what]
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise SystemDefinitionError(f"{what} is {value!r}", "give a whole number of at least 1")
    for what, fits, remedy in (
        ("noise", lambda v: v >= 0, "give eps of at least 0"),
        ("trap", lambda v: True, "give a finite stiffness"),
        ("cutoff", lambda v: v > 0, "give a distance greater than 0, or None where every pair interacts"),
    ):
        value = values[what]
        if what == "cutoff" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, Real) or not (math.isfinite(value) and fits(value)):
            raise SystemDefinitionError(f"{what} is {value!r}", remedy)


def check_parts(activity: Any, box: Any) -> None:
    """An activity or a box that is none.

    Raises:
        SystemDefinitionError: which.
    """
    if not isinstance(activity, Activity):
        raise SystemDefinitionError(
            f"activity is {activity!r}", "give an OrnsteinUhlenbeckActivity or a RotatingActivity"
        )
    if box is not None and not isinstance(box, Box):
        raise SystemDefinitionError(f"box is {box!r}", 'give a Box, as Box([0.0], [20.0], "periodic")')


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
            f"the cutoff {cutoff:g} is larger than half the box, {narrow[0] / 2:g}",
            "take more particles, a lower packing fraction or a shorter cutoff",
        )
    if cutoff is None and system.pair_force is not None and box.periodic:
        raise SystemDefinitionError("a pair force without a cutoff in a periodic box", "give cutoff=")
    if system.trap and box.periodic:
        raise SystemDefinitionError(
            f"a trap of stiffness {system.trap:g} in a periodic box, at whose seam its force jumps",
            "give an open box, or a force of the box's period as external=",
        )
    if system.start not in STARTS:
        raise SystemDefinitionError(f"start is {system.start!r}", f"give {' or '.join(map(repr, STARTS))}")


def check_forces(system: ParticleSystem, x: torch.Tensor) -> None:
    """Forces that are no functions entry by entry of what they are given, at configurations ``x: (n, N, d)``.

    Raises:
        SystemDefinitionError: which, and why.
    """
    if system.pair_force is not None:
        _check_function("pair_force", system.radial, torch.linspace(0.1, system.cutoff or 1.0, 7).double())
        if system.cutoff is not None:
            _check_cutoff(system)
    if system.external is not None:
        _check_function("external", lambda u: system.external(u), x[:, :3])


def _check_cutoff(system: ParticleSystem) -> None:
    """A pair force that jumps where it is cut off, for any two species there are."""
    # from a hundredth of the cutoff on, and just within it
    r = system.cutoff * torch.linspace(0.01, 1 - 1e-9, 100, dtype=torch.float64)
    for size in system.pair_forces(r).detach().abs():
        if size[-1] > JUMP * size.median():
            raise SystemDefinitionError(
                f"the pair force jumps by {size[-1] / size.median():.2g} of its median at its cutoff {system.cutoff:g}",
                "subtract its value there from it, or take a longer cutoff",
            )


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
    try:
        labels = torch.as_tensor(species)
    except (TypeError, ValueError, RuntimeError):
        raise SystemDefinitionError(f"species are {species!r}", f"give {n_particles} whole numbers") from None
    if labels.shape != (n_particles,) or labels.is_floating_point() or labels.dtype == torch.bool:
        raise SystemDefinitionError(f"species have shape {tuple(labels.shape)}", f"give {n_particles} whole numbers")
    if labels.min() < 0:
        raise SystemDefinitionError(f"a species is {labels.min().item()}", "give whole numbers of at least 0")
    return labels.long()
