"""Basins of a landscape: their minima and populations, the saddles between them, and barrier heights.

States of the samples go downhill to the minima; a path between each pair of minima is relaxed across the valley until
it is a minimum energy path (the string method of E, Ren, Vanden-Eijnden 2007), and its highest point goes on to the
saddle by Newton's method. Lengths are those of coordinates scaled by the samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import torch

from pyness.estimators import Estimate
from pyness.sampling import Samples

if TYPE_CHECKING:
    from pyness.landscape.landscape import Landscape

__all__ = ["Basin", "Basins", "Saddle", "find_basins"]

#: States that go downhill, places they end at that are tried for a minimum, and minima.
STATES, TRIED, MOST = 2000, 36, 12
DESCENTS, FIRST_STEP = 300, 1e-2
#: A state that falls by less than this, in k_B T, in so many steps has arrived.
ROUND, ARRIVED = 30, 1e-6
NEAR, LEAP, FLAT, TOUCH = 0.1, 0.05, 1e-6, 1e-9
IMAGES, RELAXATIONS = 33, 400
NEWTON, TRUST = 40, 0.1
#: In k_B T: minima with less than this between them are one basin.
RIDGE = 0.5


@dataclass(frozen=True)
class Basin:
    """One basin.

    Attributes:
        at: ``(d,)``, its minimum.
        height: of the minimum above the lowest one, in units of the potential.
        population: share of the samples that go downhill to it, with its error over walkers; of at most 2000 states,
            of all walkers evenly, which is what the error counts.
    """

    at: torch.Tensor
    height: Estimate
    population: Estimate


@dataclass(frozen=True)
class Saddle:
    """The lowest way between two basins.

    Attributes:
        between: their numbers, by depth.
        at: ``(d,)``.
        barriers: how far it lies above each of the two minima, in units of the potential.
        exact: whether the slope vanishes there; at a wall, or where Newton's method fails, it is the top of the path.
        joins: whether its basins are first connected here as a level rises: of ``n`` basins ``n - 1`` such saddles
            make the disconnectivity graph (Becker, Karplus 1997), and any other way between two is higher than these.
    """

    between: tuple[int, int]
    at: torch.Tensor
    barriers: tuple[Estimate, Estimate]
    exact: bool
    joins: bool


@dataclass(frozen=True)
class Basins:
    """All basins, the lowest first, and the saddles between neighbours."""

    basins: tuple[Basin, ...]
    saddles: tuple[Saddle, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "basins": [
                {"at": b.at.tolist(), "height": b.height.to_dict(), "population": b.population.to_dict()}
                for b in self.basins
            ],
            "saddles": [
                {
                    "between": list(s.between),
                    "at": s.at.tolist(),
                    "barriers": [barrier.to_dict() for barrier in s.barriers],
                    "exact": s.exact,
                    "joins": s.joins,
                }
                for s in self.saddles
            ],
        }


def find_basins(landscape: Landscape, samples: Samples) -> Basins:
    """Minima, saddles and barriers of a learnt potential, from the samples' own places.

    Args:
        samples: in the coordinates of the landscape.

    Raises:
        InputError: samples of another dimension.
    """
    surface = _Surface(landscape, samples)
    step = max(1, samples.walkers * samples.snapshots // STATES)
    flat = samples.states.reshape(-1, samples.dim)[::step].double()
    walker = torch.arange(samples.walkers * samples.snapshots)[::step] // samples.snapshots
    ends, label = surface.downhill(surface.scaled(flat))
    saddles = surface.saddles(ends)
    ends, label, saddles = _merged(surface, ends, label, saddles)
    minima = [surface.plain(end) for end in ends]
    basins = []
    for k, at in enumerate(minima):
        share = _per_walker((label == k).double(), walker)
        basins.append(Basin(at, landscape.difference(at, minima[0]), Estimate.over_walkers(share)))
    found, joining = [], _joining(surface, len(ends), saddles)
    for (a, b), top, exact in saddles:
        at = surface.plain(top)
        barriers = tuple(landscape.difference(at, minima[k]) for k in (a, b))
        found.append(Saddle((a, b), at, barriers, exact, (a, b) in joining))
    return Basins(tuple(basins), tuple(found))


class _Surface:
    """The potential in scaled coordinates ``y = (x - center) / scale``, kept within walls."""

    def __init__(self, landscape: Landscape, samples: Samples) -> None:
        self.network, system = landscape.network, landscape.system
        flat = samples.states.reshape(-1, samples.dim).double()
        self.center, self.scale = flat.mean(0), flat.std(0).clamp_min(1e-12)
        infinite = torch.full_like(self.center, float("inf"))
        self.low, self.high, self.period = -infinite, infinite.clone(), infinite.clone()
        for axis in system.domain.reflecting:
            self.low[axis] = (system.domain.low[axis] - self.center[axis]) / self.scale[axis]
            self.high[axis] = (system.domain.high[axis] - self.center[axis]) / self.scale[axis]
        # linear walls m . y <= o in scaled coordinates
        normals, offsets = system.domain.linear(self.center.dtype, self.center.device)
        length = (normals * self.scale).norm(dim=1)
        self.normals, self.offsets = normals * self.scale / length[:, None], (offsets - normals @ self.center) / length
        for axis in system.domain.periodic:
            self.period[axis] = system.domain.width[axis] / self.scale[axis]

    def scaled(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.center) / self.scale

    def plain(self, y: torch.Tensor) -> torch.Tensor:
        return self.center + self.scale * y

    def value(self, y: torch.Tensor) -> torch.Tensor:
        return self.network.value(self.network.places(self.plain(y), 0))

    def slope(self, y: torch.Tensor) -> torch.Tensor:
        """The gradient, without what points out of a wall that the state is at."""
        return self._slope(y, self.network.places(self.plain(y), 1))

    def value_and_slope(self, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        places = self.network.places(self.plain(y), 1)
        return self.network.value(places), self._slope(y, places)

    def _slope(self, y: torch.Tensor, places: Any) -> torch.Tensor:
        slope = self.network.gradient(places) * self.scale
        out = ((y <= self.low) & (slope > 0)) | ((y >= self.high) & (slope < 0))
        slope = torch.where(out, 0.0, slope)
        for normal, offset in zip(self.normals, self.offsets, strict=True):
            outwards = ((y @ normal >= offset - TOUCH) * (slope @ normal)).clamp_max(0.0)
            slope = slope - outwards[:, None] * normal
        return slope

    def hessian(self, y: torch.Tensor, step: float = 1e-4) -> torch.Tensor:
        """``(n, d, d)`` at ``y: (n, d)``, by differences of the gradient."""
        n, d = y.shape
        moved = step * torch.eye(d, dtype=y.dtype)
        at = torch.cat([y.unsqueeze(1) + moved, y.unsqueeze(1) - moved], dim=1).flatten(0, 1)
        slope = self.network.gradient(self.network.places(self.plain(at), 1)) * self.scale
        ahead, back = slope.reshape(n, 2, d, d).unbind(1)
        rows = (ahead - back) / (2 * step)
        return 0.5 * (rows + rows.mT)

    def within(self, y: torch.Tensor) -> torch.Tensor:
        for normal, offset in zip(self.normals, self.offsets, strict=True):
            y = y - (y @ normal - offset).clamp_min(0.0).unsqueeze(-1) * normal
        return torch.maximum(torch.minimum(y, self.high), self.low)

    def between(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """``b - a``, the short way round."""
        apart = b - a
        turns = torch.where(torch.isfinite(self.period), torch.round(apart / self.period), 0.0)
        return apart - torch.where(turns != 0, turns * self.period, 0.0)

    def downhill(self, y: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The minima that states ``y: (n, d)`` lead to, the lowest first, and which of them each leads to, ``(n,)``."""
        y, value = self._descended(y)
        starts: list[torch.Tensor] = []
        for start in y[value.argsort()]:
            if len(starts) < TRIED and not self._among(start, starts):
                starts.append(start)
        ends: list[torch.Tensor] = []
        for end, exact in zip(*self.newton(torch.stack(starts), 0), strict=True):
            if len(ends) < MOST and bool(exact) and not self._among(end, ends):
                ends.append(end)
        if not ends:
            ends = [y[value.argmin()]]
        ends.sort(key=lambda end: self.value(end[None]).item())
        apart = torch.stack([self.between(end, y).norm(dim=1) for end in ends], dim=1)
        return ends, apart.argmin(1)

    def _descended(self, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Where gradient descent takes states ``y: (n, d)``, and the potential there, ``(n,)``."""
        y, left = y.clone(), torch.arange(len(y))
        value, slope = self.value_and_slope(y)
        step, before = torch.full_like(y[:, :1], FIRST_STEP), value.clone()
        for descent in range(1, DESCENTS + 1):
            move = step[left] * slope[left]
            # a long step would leap over a ridge
            move = move * (LEAP / move.norm(dim=1, keepdim=True).clamp_min(LEAP))
            moved = self.within(y[left] - move)
            tried, ahead = self.value_and_slope(moved)
            better = tried < value[left]
            went = left[better]
            y[went], value[went], slope[went] = moved[better], tried[better], ahead[better]
            step[left] *= torch.where(better[:, None], 1.3, 0.4)
            if descent % ROUND == 0:
                left = left[before[left] - value[left] > ARRIVED]
                before = value.clone()
                if not len(left):
                    break
        return y, value

    def _among(self, y: torch.Tensor, others: list[torch.Tensor]) -> bool:
        return any(self.between(other, y).norm() < NEAR for other in others)

    def newton(self, y: torch.Tensor, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Points without slope near ``y: (n, d)`` with ``index`` directions downhill, and where there is one, ``(n,)``.

        Where there is none the point is returned as it was.
        """
        start = y
        for _ in range(NEWTON):
            slope, inside = self.slope(y), (y > self.low) & (y < self.high)
            moving = slope.norm(dim=1) >= FLAT
            if not bool(moving.any()):
                break
            free = inside | (slope != 0)
            values, vectors = torch.linalg.eigh(self._of_free(self.hessian(y), free))
            values = values.abs().clamp_min(1e-6)
            values[:, :index] *= -1
            slope = torch.where(free, slope, 0.0).unsqueeze(2)
            change = -(vectors @ ((vectors.mT @ slope) / values.unsqueeze(2))).squeeze(2)
            change = torch.where(free & moving.unsqueeze(1), change, 0.0)
            length = change.norm(dim=1, keepdim=True).clamp_min(1e-300)
            y = self.within(y + change * (TRUST / length).clamp_max(1.0))
        inside = (y > self.low) & (y < self.high)
        downhill = (torch.linalg.eigvalsh(self._of_free(self.hessian(y), inside)) < 0).sum(1)
        ok = (self.slope(y).norm(dim=1) < 1e3 * FLAT) & (downhill == index)
        ok = ok & (self.between(start, y).norm(dim=1) < 1.0)
        return torch.where(ok.unsqueeze(1), y, start), ok

    @staticmethod
    def _of_free(bend: torch.Tensor, free: torch.Tensor) -> torch.Tensor:
        """Hessians ``(n, d, d)`` of the free coordinates; the others count as steep."""
        both = free.unsqueeze(2) & free.unsqueeze(1)
        steep = bend.abs().amax((1, 2)).clamp_min(1.0)
        return torch.where(both, bend, 0.0) + torch.diag_embed(torch.where(free, 0.0, 2 * steep.unsqueeze(1)))

    def saddles(self, ends: list[torch.Tensor]) -> list[tuple[tuple[int, int], torch.Tensor, bool]]:
        """Tops of the paths between neighbours, those that do not lead over a third minimum."""
        pairs = list(combinations(range(len(ends)), 2))
        if not pairs:
            return []
        first, second = (torch.stack([ends[pair[k]] for pair in pairs]) for k in (0, 1))
        direct, tops = [], []
        for (a, b), path in zip(pairs, self.paths(first, second), strict=True):
            inner = path[1:-1]
            others = [end for k, end in enumerate(ends) if k not in (a, b)]
            if any(self.between(end, inner).norm(dim=1).min() < 2 * NEAR for end in others):
                continue
            direct.append((a, b))
            tops.append(inner[self.value(inner).argmax()])
        if not direct:
            return []
        tops, exact = self.newton(torch.stack(tops), 1)
        return list(zip(direct, tops, exact.tolist(), strict=True))

    def paths(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """``(m, IMAGES, d)``: the strings between minima ``a: (m, d)`` and ``b: (m, d)``, evenly spaced."""
        share = torch.linspace(0, 1, IMAGES, dtype=a.dtype)[:, None]
        apart = self.between(a, b)
        path = self.within(a[:, None] + share * apart[:, None])
        spacing = 0.2 * apart.norm(dim=1)[:, None, None] / IMAGES
        bends = [self.hessian(ends) for ends in (a, b)]
        steepest = torch.maximum(*(torch.linalg.eigvalsh(bend)[:, -1] for bend in bends))
        step = (0.5 / steepest.clamp_min(1e-300)).clamp_max(FIRST_STEP)
        for _ in range(RELAXATIONS):
            slope = self.slope(path.flatten(0, 1)).reshape(path.shape)
            # no image moves further than a part of the distance to the next
            move = step[:, None, None] * slope
            move = move * (spacing / torch.maximum(move.norm(dim=2, keepdim=True), spacing))
            move[:, [0, -1]] = 0.0
            path = _evenly(self.within(path - move))
        return path


def _evenly(path: torch.Tensor) -> torch.Tensor:
    length = (path[:, 1:] - path[:, :-1]).norm(dim=2)
    along = torch.nn.functional.pad(length.cumsum(1), (1, 0))
    wanted = torch.linspace(0, 1, path.shape[1], dtype=path.dtype) * along[:, -1:]
    cell = torch.searchsorted(along, wanted).clamp(1, path.shape[1] - 1)
    before, after = along.gather(1, cell - 1), along.gather(1, cell)
    share = (wanted - before) / (after - before).clamp_min(1e-300)
    first, second = (path.gather(1, which[:, :, None].expand(path.shape)) for which in (cell - 1, cell))
    return first + share[:, :, None] * (second - first)


def _merged(
    surface: _Surface,
    ends: list[torch.Tensor],
    label: torch.Tensor,
    saddles: list[tuple[tuple[int, int], torch.Tensor, bool]],
) -> tuple[list[torch.Tensor], torch.Tensor, list[tuple[tuple[int, int], torch.Tensor, bool]]]:
    """With minima that hardly a ridge parts counted as one, the deeper of them."""
    height = [surface.value(end[None]).item() for end in ends]
    owner = list(range(len(ends)))

    def root(k: int) -> int:
        return k if owner[k] == k else root(owner[k])

    for (a, b), top, _ in saddles:
        low, high = sorted((root(a), root(b)), key=lambda k: height[k])
        if low != high and surface.value(top[None]).item() - height[high] < RIDGE:
            owner[high] = low
    kept = sorted({root(k) for k in owner}, key=lambda k: height[k])
    number = {k: n for n, k in enumerate(kept)}
    lowest: dict[tuple[int, int], tuple[torch.Tensor, bool]] = {}
    for (a, b), top, exact in saddles:
        pair = tuple(sorted((number[root(a)], number[root(b)])))
        if pair[0] == pair[1]:
            continue
        if pair not in lowest or surface.value(top[None]) < surface.value(lowest[pair][0][None]):
            lowest[pair] = (top, exact)
    label = torch.tensor([number[root(k)] for k in label.tolist()])
    return [ends[k] for k in kept], label, [(pair, top, exact) for pair, (top, exact) in sorted(lowest.items())]


def _joining(
    surface: _Surface, count: int, saddles: list[tuple[tuple[int, int], torch.Tensor, bool]]
) -> set[tuple[int, int]]:
    """Between which of ``count`` basins the saddles lie over which they are first connected (Kruskal's algorithm)."""
    owner, joining = list(range(count)), set()
    for (a, b), _, _ in sorted(saddles, key=lambda saddle: surface.value(saddle[1][None]).item()):
        if owner[a] != owner[b]:
            joining.add((a, b))
            owner = [owner[a] if k == owner[b] else k for k in owner]
    return joining


def _per_walker(inside: torch.Tensor, walker: torch.Tensor) -> torch.Tensor:
    """``(walkers seen,)``: the mean over the states of each walker."""
    _, which, count = torch.unique(walker, return_inverse=True, return_counts=True)
    return torch.zeros(len(count), dtype=inside.dtype).index_add_(0, which, inside) / count
