"""Which particles are within a cutoff of each other, each pair once, in time proportional to their number.

Particles are put into cells at least as wide as the cutoff and compared with half of the cells around. Lists have
the length they need, so there is no table that could overflow and no pair that could be lost.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch

from pyness.errors import SamplingError

__all__ = ["Pairs", "all_pairs", "close_pairs", "minimum_image", "wrapped"]

#: Candidates compared at a time at the most: 2^27 of them take about 4 GiB.
MOST = 1 << 27
#: Up to so many particles comparing all with all is faster than cells.
FEW = 48
#: Cells of a configuration at the most, for each of its particles: far apart they would have more empty ones than fit
#: into memory.
ROOM = 8


@dataclass(frozen=True)
class Pairs:
    """Pairs among ``batch x particles`` rows: ``i, j: (pairs,)``, indices into the flattened rows."""

    i: torch.Tensor
    j: torch.Tensor

    def __len__(self) -> int:
        return self.i.shape[0]


def minimum_image(difference: torch.Tensor, width: float | None) -> torch.Tensor:
    """A coordinate difference to the nearest periodic image; itself where ``width`` is None."""
    return difference if width is None else difference - width * torch.round(difference / width)


def all_pairs(batch: int, particles: int, device: torch.device | str = "cpu") -> Pairs:
    """Every pair of every configuration."""
    i, j = torch.triu_indices(particles, particles, 1, device=device)
    offset = (particles * torch.arange(batch, device=device)).unsqueeze(1)
    return Pairs((i + offset).flatten(), (j + offset).flatten())


def close_pairs(x: torch.Tensor, width: tuple[float | None, ...], cutoff: float) -> Pairs:
    """All pairs nearer than ``cutoff``, in each configuration of ``x: (batch, particles, space)``.

    Args:
        width: period of each coordinate, None where it is open; a period is at least twice the cutoff.

    Raises:
        SamplingError: so many particles in one place that the list of candidates does not fit into memory.
    """
    batch, particles, space = x.shape
    sides = [_side(x[..., axis], width[axis]) for axis in range(space)]
    counts = _counts([extent for _, extent in sides], cutoff, particles)
    narrow = any(w is not None and n < 3 for w, n in zip(width, counts, strict=True))
    if particles <= FEW or narrow:
        if batch * particles**2 // 2 > MOST:
            return _in_halves(x, width, cutoff, batch * particles**2 // 2)
        return _within(x, all_pairs(batch, particles, x.device), width, cutoff)
    cells = [_cells_along(x[..., k], width[k], *sides[k], counts[k]).reshape(-1) for k in range(space)]
    return _by_cells(x, width, cutoff, counts, cells)


def _side(x: torch.Tensor, width: float | None) -> tuple[torch.Tensor, float]:
    """Where the cells along a coordinate begin, and over what they extend."""
    if width is not None:
        return torch.zeros((), dtype=x.dtype, device=x.device), width
    low, high = torch.aminmax(x)
    return low, (high - low).item()


def _counts(extents: list[float], cutoff: float, particles: int) -> list[int]:
    """Cells along each coordinate: none narrower than the cutoff, and not many more than there are particles."""
    # more cells than particles along a line would only be empty; the tiny shrink keeps rounding from narrowing a cell
    counts = [int(max(1, min(extent / cutoff * (1 - 1e-6), particles))) for extent in extents]
    while _product(counts) > ROOM * particles:
        most = counts.index(max(counts))
        counts[most] = (counts[most] + 1) // 2
    return counts


def _cells_along(x: torch.Tensor, width: float | None, low: torch.Tensor, extent: float, count: int) -> torch.Tensor:
    """The cell of each particle along a coordinate, ``(batch, particles)``."""
    cell = torch.floor((x - low) * (count / extent if extent > 0 else 0.0)).long()
    return cell.remainder(count) if width is not None else cell.clamp(0, count - 1)


def _by_cells(
    x: torch.Tensor, width: tuple[float | None, ...], cutoff: float, counts: list[int], coordinates: list[torch.Tensor]
) -> Pairs:
    batch, particles, space = x.shape
    rows = batch * particles
    owner = torch.arange(batch, device=x.device).repeat_interleave(particles)
    home = _ravel(coordinates, counts, owner)
    order = torch.argsort(home, stable=True)
    home, owner = home[order], owner[order]
    coordinates = [c[order] for c in coordinates]
    total = batch * _product(counts)
    held = torch.bincount(home, minlength=total)
    begin = held.cumsum(0) - held
    rank = torch.arange(rows, device=x.device)
    first, many = [rank + 1], [begin[home] + held[home] - rank - 1]
    for offset in _half_of_the_stencil(space):
        moved, inside = [], None
        for axis, step in enumerate(offset):
            at = coordinates[axis] + step
            if width[axis] is not None:
                at = at.remainder(counts[axis])
            elif step:
                within = (at >= 0) & (at < counts[axis])
                inside = within if inside is None else inside & within
                at = at.clamp(0, counts[axis] - 1)
            moved.append(at)
        other = _ravel(moved, counts, owner)
        first.append(begin[other])
        many.append(held[other] if inside is None else held[other] * inside)
    first, many = torch.cat(first), torch.cat(many)
    candidates = int(many.sum())
    if candidates > MOST:
        return _in_halves(x, width, cutoff, candidates)
    run = torch.arange(len(many), device=x.device).repeat_interleave(many)
    within_run = torch.arange(candidates, device=x.device) - (many.cumsum(0) - many)[run]
    i, j = run.remainder(rows), first[run] + within_run
    near = _within(x.reshape(rows, space)[order].reshape(x.shape), Pairs(i, j), width, cutoff)
    # sorted rows are spatially close, so lists in their order are kind to the cache
    return Pairs(order[near.i], order[near.j])


def _within(x: torch.Tensor, pairs: Pairs, width: tuple[float | None, ...], cutoff: float) -> Pairs:
    square = 0.0
    for axis, column in enumerate(x.reshape(-1, x.shape[-1]).unbind(-1)):
        column = column.contiguous()
        d = column.index_select(0, pairs.i) - column.index_select(0, pairs.j)
        square = square + minimum_image(d, width[axis]).square()
    near = torch.nonzero(square < cutoff * cutoff).flatten()
    return Pairs(pairs.i[near], pairs.j[near])


def _half_of_the_stencil(space: int) -> list[tuple[int, ...]]:
    """Offsets to the cells around, one of each opposite couple."""
    around = itertools.product((-1, 0, 1), repeat=space)
    return [offset for offset in around if offset > (0,) * space]


def _ravel(coordinates: list[torch.Tensor], counts: list[int], owner: torch.Tensor) -> torch.Tensor:
    index = owner
    for coordinate, count in zip(coordinates, counts, strict=True):
        index = index * count + coordinate
    return index


def _product(counts: list[int]) -> int:
    total = 1
    for count in counts:
        total *= count
    return total


def _in_halves(x: torch.Tensor, width: tuple[float | None, ...], cutoff: float, candidates: int) -> Pairs:
    """Of many configurations those of one half after those of the other; a single one has collapsed."""
    batch, particles, _ = x.shape
    if batch == 1:
        raise SamplingError(
            f"{candidates:.3g} pairs of particles share their cells, more than fit into memory",
            "particles have collapsed onto each other or are started so: take a smaller dt or a wider start",
        )
    half = batch // 2
    a, b = (close_pairs(part, width, cutoff) for part in (x[:half], x[half:]))
    return Pairs(torch.cat([a.i, b.i + half * particles]), torch.cat([a.j, b.j + half * particles]))


def wrapped(x: np.ndarray, periods: np.ndarray) -> np.ndarray:
    """Positions ``(n, d)`` in ``[0, period)`` where it is not 0, as periodic trees want them."""
    inside = np.where(periods > 0, np.mod(x, np.where(periods > 0, periods, 1.0)), x)
    return np.where((periods > 0) & (inside >= periods), 0.0, inside)  # what rounding has put onto the far side
