"""Fast coordinates: one that relaxes far quicker than the others move it has a law, given them, that is known.

Given the others such a coordinate is at equilibrium in its own force (adiabatic elimination; Gardiner, Handbook of
Stochastic Methods, section 6.4), so that up to a constant and a slowly varying part

    -log p(x_i | others) = Psi_i = -int_{x_i*}^{x_i} F_i dx_i / D_i

where ``x_i*`` is where the force vanishes, or the wall it leads to. This is what makes the tube around a stiff limit
cycle, of a width that no unit of a network would find. While the coordinate is on its way from one ``x_i*`` to another
it is not at equilibrium, hence functions ``-log(exp(-Psi_i) + exp(-c))`` that level off at heights ``c``.

It lags behind where it rests too, by ``(dx_i*/dt) / |dF_i/dx_i|`` to first order, several widths of the tube where the
others move it quickly. What that and all else does within the tube the units find, for which they get an input: the
offset ``x_i - x_i*`` on the scale of the tube, its logarithm far away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from pyness.systems import System
from pyness.systems.derivatives import first_and_second

__all__ = ["LEVELS", "Functions", "Rest", "find", "functions", "offset", "rests"]

#: Heights in k_B T at which the functions of each fast coordinate level off; the network starts from the one in the
#: middle alone.
LEVELS = (4.0, 8.0, 16.0)
#: A coordinate is fast if, at most of the states, equilibrium in its force is this much narrower than all states are,
#: and the force is of the size that it has there.
NARROW, CALM = 0.1, 4.0
#: Up to how many times its usual width the tube is seen on an even scale.
WIDTHS = 10.0
STATES = 2_000
DOUBLINGS, HALVINGS, NODES = 24, 6, 8


@dataclass(frozen=True)
class Functions:
    """Given functions of the coordinates, with as many derivatives as were asked for.

    Attributes:
        value: ``(n, m)``.
        first: their gradients, ``(n, m, d)``.
        second: the diagonals of their second derivatives, ``(n, m, d)``.
    """

    value: torch.Tensor
    first: torch.Tensor | None = None
    second: torch.Tensor | None = None

    def __getitem__(self, rows: slice | torch.Tensor) -> Functions:
        return Functions(*(None if part is None else part[rows] for part in (self.value, self.first, self.second)))


@dataclass(frozen=True)
class Rest:
    """Where the force along coordinate ``axis`` leads from each of ``n`` states.

    Attributes:
        place: ``(n,)``.
        moves: its gradient, ``(n, d)``.
        follows: ``(n,)``, whether the force vanishes there; else it is a wall, or far away.
    """

    axis: int
    place: torch.Tensor
    moves: torch.Tensor
    follows: torch.Tensor


def find(system: System, states: torch.Tensor) -> torch.Tensor:
    """Which coordinates are fast at ``states: (n, d)``: ``(k, 3)`` of coordinate, width and span, for ``offset``.

    None where the noise depends on the state or mixes coordinates.
    """
    none = torch.zeros(0, 3, dtype=torch.float64, device=states.device)
    if system.diffusion.kind == "matrix" or not system.diffusion.constant:
        return none
    states = states[:STATES]
    D, spread = _diagonal(system, states), states.std(0)
    found = []
    for axis in range(system.dim):
        if axis in system.domain.periodic:
            continue
        force, slopes = _force(system, axis, states)
        stiffness = (-slopes[:, axis]).clamp_min(1e-300)
        narrow = (D[axis] / stiffness).sqrt() < NARROW * spread[axis]
        calm = force.square() < CALM * D[axis] * stiffness
        if (narrow & calm).double().mean() > 0.5:
            away = (states[:, axis] - _rest(system, axis, states).place).abs()
            width = WIDTHS * (D[axis] / stiffness).sqrt().median()
            found.append([axis, width.item(), torch.asinh(away.max() / width).item()])
    return none.new_tensor(found).reshape(-1, 3)


def rests(system: System, coordinates: torch.Tensor, x: torch.Tensor) -> list[Rest]:
    """Those of fast ``coordinates: (k, 3)`` at ``x: (n, d)``."""
    with torch.no_grad():
        return [_rest(system, int(axis), x.detach()) for axis in coordinates[:, 0].tolist()]


def offset(
    system: System, rest: Rest, width: float, span: float, x: torch.Tensor, order: int = 2
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """``asinh((x_i - x_i*) / width) / span`` at ``x: (n, d)``, ``(n,)``, its gradient and the diagonal of its second
    derivatives, ``(n, d)`` each; the latter only if ``order`` is 2."""
    axis = rest.axis
    away, first = x[:, axis] - rest.place, -rest.moves
    first[:, axis] = 1.0
    steep = torch.rsqrt(away * away + width * width).unsqueeze(1)
    value, slope = torch.asinh(away / width) / span, steep * first / span
    if order < 2:
        return value, slope, None
    _, slopes = _force(system, axis, _with(x, axis, rest.place))

    def force(y: torch.Tensor) -> torch.Tensor:
        return system.drift(_with(y, axis, rest.place + ((y - x) * rest.moves).sum(1)))[:, axis]

    # the force vanishes all along the resting places, so what it gains on a tangent of theirs is how they bend
    bends = torch.stack([first_and_second(force, x, other)[2] for other in range(system.dim)], dim=1)
    second = torch.where(rest.follows.unsqueeze(1), bends / slopes[:, axis, None], torch.zeros_like(bends))
    return value, slope, (steep * second - away.unsqueeze(1) * steep**3 * first * first) / span


def functions(system: System, rests: list[Rest], x: torch.Tensor, order: int = 2) -> Functions:
    """Those of fast coordinates with ``rests`` at ``x: (n, d)``, each at every level: ``m = k len(LEVELS)``.

    Args:
        order: of the highest derivatives, 0 to 2.
    """
    empty = x.new_zeros(len(x), 0)
    parts = [[empty, empty.unsqueeze(2).expand(-1, -1, x.shape[1]), empty.unsqueeze(2).expand(-1, -1, x.shape[1])]]
    parts += [_levelled(*_equilibrium(system, rest, x, order)) for rest in rests]
    return Functions(*(torch.cat(kind, dim=1) for kind in zip(*parts, strict=False)))


def _levelled(psi: torch.Tensor, first: torch.Tensor | None = None, second: torch.Tensor | None = None) -> list:
    levels = psi.new_tensor(LEVELS)
    psi = psi.unsqueeze(1)
    found = [-torch.logaddexp(-psi, -levels)]
    share = torch.sigmoid(levels - psi).unsqueeze(2)
    if first is not None:
        found.append(share * first.unsqueeze(1))
    if second is not None:
        found.append(share * second.unsqueeze(1) - share * (1 - share) * first.square().unsqueeze(1))
    return found


def _equilibrium(system: System, rest: Rest, x: torch.Tensor, order: int) -> list[torch.Tensor]:
    """``Psi: (n,)`` of a coordinate, its gradient and the diagonal of its second derivatives, ``(n, d)`` each."""
    axis, here, D = rest.axis, x.detach(), _diagonal(system, x)[rest.axis]
    nodes, weights = (x.new_tensor(part) for part in np.polynomial.legendre.leggauss(NODES))

    def psi(y: torch.Tensor) -> torch.Tensor:
        # the end of the integral is known to first order around x, which two derivatives of Psi need: there the force
        # vanishes, or it lies on a wall and moves linearly
        end = rest.place + ((y - here) * rest.moves).sum(1)
        reach = y[:, axis] - end
        places = torch.stack([_with(y, axis, end + (1 + node) / 2 * reach) for node in nodes])
        return -reach * (weights @ system.drift(places)[..., axis]) / (2 * D)

    found = [psi(x)]
    if order > 0:
        found.append(torch.func.grad(lambda y: psi(y).sum())(x))
    if order > 1:
        found.append(torch.stack([first_and_second(psi, x, other)[2] for other in range(system.dim)], dim=1))
    return found


def _rest(system: System, axis: int, x: torch.Tensor) -> Rest:
    """Where the force along ``axis`` leads from ``x: (n, d)``.

    The first place where the force vanishes, found by doubling a step, then by the Illinois variant of regula falsi
    (Dowell, Jarratt, BIT 11, 168, 1971) and halving in turns, else a wall.
    """
    D = _diagonal(system, x)[axis]
    force, slopes = _force(system, axis, x)
    way = torch.where(force < 0, -1.0, 1.0).to(x)
    step = 0.5 * torch.minimum(D / force.abs(), (D / slopes[:, axis].abs()).sqrt())
    end, moves = _wall(system, axis, x, way)
    left = (end - x[:, axis]).abs()
    near, far = x[:, axis], end.clone()
    before, beyond = force * way, -torch.ones_like(force)
    met = torch.zeros_like(near, dtype=torch.bool)
    for k in range(1, DOUBLINGS + 1):
        # the last look is at the wall, if there is one: a resting place before it must not be passed over
        ahead = (2**k - 1) * step
        walled = (left < ahead) | ((k == DOUBLINGS) & left.isfinite())
        place = x[:, axis] + way * torch.where(walled, left, ahead)
        push = system.drift(_with(x, axis, place))[:, axis] * way
        turned = (push < 0) & ~met
        near, before = torch.where(met | turned, near, place), torch.where(met | turned, before, push)
        far, beyond = torch.where(turned, place, far), torch.where(turned, push, beyond)
        met |= turned
        if bool((met | walled).all()):
            break
    for _ in range(HALVINGS):
        onwards = torch.ones_like(met)
        for secant in (False, True, True):
            share = before / (before - beyond) if secant else torch.full_like(before, 0.5)
            middle = near + share.nan_to_num(0.5) * (far - near)
            push = system.drift(_with(x, axis, middle))[:, axis] * way
            # the side that stays counts half when it stays twice
            again, onwards = (push > 0) == onwards, push > 0
            near, far = torch.where(onwards, middle, near), torch.where(onwards, far, middle)
            before = torch.where(onwards, push, torch.where(again, before / 2, before))
            beyond = torch.where(onwards, torch.where(again, beyond / 2, beyond), push)
    rest = torch.where(met, middle, torch.where(end.isfinite(), end, near))
    _, slopes = _force(system, axis, _with(x, axis, rest))
    follows = -slopes / slopes[:, axis, None]
    follows[:, axis] = 0.0
    return Rest(axis, rest, torch.where(met.unsqueeze(1), follows, moves), met)


def _force(system: System, axis: int, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """``F_i: (n,)`` and its gradient ``(n, d)``."""
    force, back = torch.func.vjp(lambda y: system.drift(y)[:, axis], x)
    return force, back(torch.ones_like(force))[0]


def _wall(system: System, axis: int, x: torch.Tensor, way: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The wall ahead of ``x: (n, d)`` along ``axis``, ``(n,)``, infinite if none, and how it moves, ``(n, d)``."""
    end, moves = way * torch.inf, torch.zeros_like(x)
    if axis in system.domain.reflecting:
        low, high = system.domain.low[axis], system.domain.high[axis]
        end = torch.where(way < 0, torch.full_like(end, low), torch.full_like(end, high))
    for normal, offset in system.domain.walls:
        a = x.new_tensor(normal)
        if a[axis] == 0:
            continue
        place = x[:, axis] + (offset - x @ a) / a[axis]
        nearer = (way * a[axis] > 0) & (way * place < way * end)
        tilt = torch.where(torch.arange(system.dim, device=x.device) == axis, 0.0, -a / a[axis])
        end, moves = torch.where(nearer, place, end), torch.where(nearer.unsqueeze(1), tilt, moves)
    return end, moves


def _diagonal(system: System, x: torch.Tensor) -> torch.Tensor:
    return system.diffusion(x[:1]).to(x).expand(1, system.dim)[0]


def _with(x: torch.Tensor, axis: int, values: torch.Tensor) -> torch.Tensor:
    """``x: (n, d)`` with another coordinate, not in place."""
    return torch.cat([x[:, :axis], values.unsqueeze(1), x[:, axis + 1 :]], dim=1)
