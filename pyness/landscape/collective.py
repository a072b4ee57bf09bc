"""Collective variables ``z = xi(x)``: coordinates, linear combinations of them, or any differentiable map."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import torch

from pyness.errors import InputError, UnknownNameError
from pyness.landscape.metric import full_diffusion
from pyness.sampling import Samples
from pyness.sampling.walls import Walls
from pyness.systems import Box, System
from pyness.systems.derivatives import jacobian

__all__ = ["MOST", "Collective"]

MOST = 3
CONSTANT, DEPENDENT = 1e-9, 1e-6
JUDGED = 20_000
#: States at which a function is tried.
PROBES = 8
MARGIN = 0.05


class Collective:
    """``z = xi(x)`` with what Ito's formula needs of it (landscapes.md, 2.4).

    Args:
        system: of ``x``.
        reduce: names of coordinates, a ``(k, d)`` matrix, or a function ``(..., d) -> (..., k)`` made of torch
            operations; ``k`` up to 3.

    Attributes:
        names: of the ``k`` variables.
        axes: which coordinates they are, None where they are not coordinates.
        matrix: ``(k, d)`` float64, None for a function.

    Raises:
        UnknownNameError: no such coordinate (the nearest names are offered).
        InputError: what is neither, more than three variables, a matrix of another dimension or of lower rank, a
            function that is not made of torch operations, or not for ``x: (..., d)``.
    """

    def __init__(self, system: System, reduce: Any) -> None:
        self.system, self.axes, self.matrix = system, None, None
        if callable(reduce) and not isinstance(reduce, torch.Tensor):
            self._function = reduce
            self._of_function(reduce)
        elif _are_names(reduce):
            self._of_names([reduce] if isinstance(reduce, str) else list(reduce))
        else:
            self._of_matrix(reduce)
        if not 1 <= self.dim <= MOST:
            raise InputError(f"reduce gives {self.dim} variables", f"give one to {MOST}")

    def _of_function(self, function: Callable) -> None:
        x = self.system.domain.uniform(PROBES, torch.Generator().manual_seed(0), dtype=torch.float64)
        z = _called(function, x)
        if not isinstance(z, torch.Tensor):
            raise InputError(f"reduce returned {type(z).__name__}", "make it of torch operations, returning a tensor")
        if z.ndim != 2 or z.shape[0] != len(x):
            raise InputError(
                f"reduce returned {tuple(z.shape)} for x of shape {tuple(x.shape)}", "return (..., k), k up to 3"
            )
        if z.dtype != x.dtype:
            raise InputError(f"reduce turned {x.dtype} into {z.dtype}", "convert constants with .to(x)")
        d, k = self.system.dim, z.shape[1]
        batch = _called(function, x[:6].reshape(2, 3, d))
        same = batch.shape == (2, 3, k) and torch.allclose(batch.reshape(6, k), z[:6], 1e-9, 1e-12, equal_nan=True)
        if not same:
            raise InputError(
                f"reduce of a point depends on the batch it stands in: {tuple(batch.shape)} for x of shape {(2, 3, d)}",
                "use x[..., i], sum(-1), torch.stack(..., dim=-1), so that leading dimensions are a batch",
            )
        self.names = tuple(f"z{i + 1}" for i in range(k))
        # as many digits as any machine gives
        values = " ".join(f"{value:.6g}" for value in z.flatten().tolist())
        self._told_by = hashlib.sha256(values.encode()).hexdigest()[:16]

    def _of_names(self, names: list[str]) -> None:
        for name in names:
            if name not in self.system.variables:
                raise UnknownNameError.of(f"coordinate of system {self.system.name!r}:", name, self.system.variables)
        if len(set(names)) != len(names):
            raise InputError(f"reduce is {names}", "give different coordinates")
        self.names, self.axes = tuple(names), tuple(self.system.variables.index(name) for name in names)
        self.matrix = torch.eye(self.system.dim, dtype=torch.float64)[list(self.axes)]

    def _of_matrix(self, reduce: Any) -> None:
        try:
            matrix = torch.as_tensor(reduce, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError):
            raise InputError(
                f"reduce is {reduce!r}", "give names of coordinates, a (k, d) matrix or a function"
            ) from None
        if matrix.ndim == 0:
            raise InputError(f"reduce is {reduce!r}", "give names of coordinates, a (k, d) matrix or a function")
        d = self.system.dim
        if matrix.ndim != 2 or matrix.shape[1] != d:
            raise InputError(f"reduce is a matrix of shape {tuple(matrix.shape)}", f"give (k, {d}), k up to {MOST}")
        for row, entries in enumerate(matrix):
            if not bool(torch.isfinite(entries).all()):
                raise InputError(f"row {row} of reduce is {entries.tolist()}", "give finite coefficients")
            if not bool(entries.any()):
                raise InputError(f"row {row} of reduce is zero, so z{row + 1} is constant", "leave it out")
        if self.system.domain.periodic and bool((matrix[:, list(self.system.domain.periodic)] != 0).any()):
            raise InputError(
                "reduce combines a periodic coordinate with others", "name it, or give a periodic function"
            )
        if torch.linalg.matrix_rank(matrix) < len(matrix):
            raise InputError(
                f"the rows of reduce, a {tuple(matrix.shape)} matrix, are dependent", "give independent variables"
            )
        self.matrix, self.names = matrix, tuple(f"z{i + 1}" for i in range(len(matrix)))

    @property
    def dim(self) -> int:
        return len(self.names)

    @property
    def spec(self) -> list | None:
        """What a file holds of it: names or a matrix; None for a function."""
        if self.axes is not None:
            return list(self.names)
        return None if self.matrix is None else self.matrix.tolist()

    @property
    def record(self) -> list | str:
        """What tells it from others: its ``spec``, of a function its values at a few states."""
        return self.spec or f"a function, {self._told_by}"

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """``z: (..., k)`` at ``x: (..., d)``."""
        if self.axes is not None:
            return x[..., list(self.axes)]
        return self._function(x) if self.matrix is None else x @ self.matrix.to(x).mT

    def slopes(self, x: torch.Tensor) -> torch.Tensor:
        """``grad xi: (n, k, d)`` at ``x: (n, d)``."""
        if self.matrix is None:
            return jacobian(self._function, x)
        return self.matrix.to(x).expand(len(x), -1, -1)

    def drift(self, x: torch.Tensor) -> torch.Tensor:
        """``grad xi F + D : grad grad xi``, ``(n, k)``: the drift of ``z`` at ``x: (n, d)``."""
        along = (self.slopes(x) @ self.system.drift(x).unsqueeze(-1)).squeeze(-1)
        if self.matrix is not None:
            return along
        root = torch.linalg.cholesky(full_diffusion(self.system, x))
        for k in range(x.shape[1]):
            along = along + _second(self._function, x, root[:, :, k])
        return along

    def diffusion(self, x: torch.Tensor) -> torch.Tensor:
        """``grad xi D grad xi^T``, ``(n, k, k)`` at ``x: (n, d)``."""
        slopes = self.slopes(x)
        return slopes @ full_diffusion(self.system, x) @ slopes.mT

    def box(self, z: torch.Tensor) -> Box:
        """The domain of ``z``: that of its coordinates with the walls across them, or open around ``z: (n, k)``."""
        domain = self.system.domain
        if self.axes is not None:
            low, high, kinds = zip(
                *((domain.low[a], domain.high[a], domain.boundary[a]) for a in self.axes), strict=True
            )
            walls = [(tuple(domain.walls[wall][0][a] for a in self.axes), domain.walls[wall][1]) for wall in self.walls]
            return Box(low, high, kinds, walls)
        low, high = z.min(0).values, z.max(0).values
        room = MARGIN * (high - low)
        return Box((low - room).tolist(), (high + room).tolist(), "open")

    @property
    def walls(self) -> list[int]:
        """Which linear walls of ``x`` are walls of ``z``: those across coordinates that ``z`` has."""
        left_out = [axis for axis in range(self.system.dim) if axis not in (self.axes or ())]
        return [k for k, (a, _) in enumerate(self.system.domain.walls) if not any(a[axis] for axis in left_out)]

    def samples(self, reduced: System, samples: Samples) -> Samples:
        """The same walkers in ``z``, with the folds at walls that are walls of ``z`` too."""
        states = self(samples.states.double())
        walls = samples.walls
        if walls is not None:
            walls = self._walls(walls, states)
        return Samples(states, samples.times, walls, samples.stats, reduced, samples.failures, samples.metadata)

    def _walls(self, walls: Walls, states: torch.Tensor) -> Walls:
        number = self._faces().to(walls.face)
        face = number[walls.face]
        kept = face >= 0
        position = self(walls.position[kept].double()) if bool(kept.any()) else states.new_zeros(0, self.dim)
        return Walls(walls.walker[kept], face[kept], position, walls.displacement[kept].double(), walls.elapsed)

    def _faces(self) -> torch.Tensor:
        """For each face of ``x`` its number among those of ``z``, -1 where it is none of them."""
        d = self.system.dim
        number = torch.full((2 * d + len(self.system.domain.walls),), -1)
        for k, axis in enumerate(self.axes or ()):
            number[2 * axis], number[2 * axis + 1] = 2 * k, 2 * k + 1
        for k, wall in enumerate(self.walls):
            number[2 * d + wall] = 2 * self.dim + k
        return number

    def pushed(self, samples: Samples) -> float:
        """How fast walls that are no walls of ``z`` push ``z``, relative to its drift: what the reduced drift lacks."""
        walls = samples.walls
        if walls is None or not len(walls):
            return 0.0
        own = self._faces().to(walls.face)[walls.face] >= 0
        normals = self.system.domain.normals().to(walls.position.device)[walls.face]
        # a fold moves a walker by its displacement against the outward normal
        moved = (self.slopes(walls.position.double()) @ normals.unsqueeze(-1)).squeeze(-1).abs()
        push = (moved * walls.displacement.double()[:, None])[~own].sum(0) / (samples.walkers * walls.elapsed)
        drift = self.drift(samples.states[:2000, -1].double()).abs().mean(0)
        return (push / drift.clamp_min(1e-300)).max().item()

    def check(self, samples: Samples) -> None:
        """Refuse variables that do not vary, that depend on one another, or have no noise.

        Raises:
            InputError: names the variable.
        """
        flat = samples.states.reshape(-1, self.system.dim)
        x = flat[:: max(1, len(flat) // JUDGED)].double()
        z = self(x)
        if not bool(torch.isfinite(z).all()):
            raise InputError("reduce is not finite on all samples", "give a map that is finite there")
        spread, size = z.std(0), z.abs().amax(0).clamp_min(1e-300)
        for name, flat_one in zip(self.names, (spread <= CONSTANT * size).tolist(), strict=True):
            if flat_one:
                raise InputError(f"reduced coordinate {name} is constant over the samples", "leave it out")
        if self.dim > 1 and torch.linalg.eigvalsh(torch.corrcoef(z.mT))[0] < DEPENDENT:
            raise InputError(
                f"reduced coordinates {', '.join(self.names)} are dependent over the samples", "leave one out"
            )
        noise = self.diffusion(x)
        scale = torch.diagonal(noise, dim1=1, dim2=2).mean(0).rsqrt()
        lowest = torch.linalg.eigvalsh(noise * scale[:, None] * scale).amin(1)
        if not bool(torch.isfinite(lowest).all()) or lowest.min() < CONSTANT:
            at = z[int(lowest.nan_to_num(nan=-1.0).argmin())].tolist()
            raise InputError(
                f"reduced coordinates {', '.join(self.names)} have a direction without noise at "
                f"{[round(v, 4) for v in at]}",
                "give variables whose gradients are independent on all samples",
            )


def _are_names(reduce: Any) -> bool:
    if isinstance(reduce, str):
        return True
    return isinstance(reduce, Sequence) and len(reduce) > 0 and all(isinstance(name, str) for name in reduce)


def _called(function: Callable, x: torch.Tensor) -> Any:
    try:
        return function(x)
    except Exception as error:
        words = (str(error).strip() or "no message").splitlines()[0]
        raise InputError(
            f"reduce failed on x of shape {tuple(x.shape)}: {type(error).__name__}: {words}",
            "write it for x: (..., d) of torch operations, with x[..., i] for coordinate i",
        ) from error


def _second(function: Callable, x: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """The second derivative of ``function`` along ``direction: (n, d)``, held fixed; ``(n, k)``."""

    def once(y: torch.Tensor) -> torch.Tensor:
        return torch.func.jvp(function, (y,), (direction,))[1]

    return torch.func.jvp(once, (x,), (direction,))[1]
