"""The potential network: one wide layer of tanh units and low polynomials over a linear output.

Its inner weights are drawn from the data (random directions over the hull of the samples, and differences of
neighbouring points where the drift changes fast); only the output is solved for. That makes the entropy production
loss and the contrast convex, and leaves a smooth potential whose value, gradient and ``div(D grad)`` come out of one
forward pass in closed form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from pyness.landscape.warp import measure, warp
from pyness.systems import System

__all__ = ["Evaluated", "Features"]

SHARPEST, BLUNTEST = 8.0, 0.5
PAIR_SHARPNESS = 0.5
SHORTEST_PAIR = 0.05
CONFINEMENT = 50.0
RANK_TOLERANCE = 1e-13


@dataclass(frozen=True)
class Evaluated:
    """The basis at ``n`` points: column ``j < m`` belongs to coefficient ``j``, the last one to the confinement.

    Attributes:
        value: ``(n, m + 1)``.
        gradient: ``(n, d, m + 1)``.
        noise_gradient: ``D grad``, ``(n, d, m + 1)``.
        curvature: ``div(D grad)``, ``(n, m + 1)``.
    """

    value: torch.Tensor
    gradient: torch.Tensor
    noise_gradient: torch.Tensor
    curvature: torch.Tensor


class Features:
    """The basis functions of a potential, orthonormal over the points they were whitened on.

    Args:
        tensors: ``weights (u, e)``, ``bias (u,)``, ``center (d,)``, ``half_width (d,)``, ``variation (d, bins)``,
            ``mean (f,)``, ``whitening (f, m)``, all float64; ``e`` is the number of embedded coordinates (a periodic
            one gives two).
        system: gives the boundary of each coordinate.
    """

    def __init__(self, tensors: dict[str, torch.Tensor], system: System) -> None:
        self.tensors = tensors
        self.dim = system.dim
        self.periodic = system.domain.periodic
        self.open = system.domain.axes("open")
        self.wave = {axis: 2 * math.pi / system.domain.width[axis] for axis in self.periodic}

    @classmethod
    def draw(
        cls, system: System, cloud: torch.Tensor, count: int, generator: torch.Generator, low=None, high=None
    ) -> Features:
        """Inner weights for ``count`` units from points ``cloud: (n, d)`` of the region of interest."""
        low = cloud.min(0).values if low is None else low
        high = cloud.max(0).values if high is None else high
        center, half_width = (low + high) / 2, (high - low).clamp_min(1e-12) / 2
        blank = {"center": center, "half_width": half_width, "variation": measure(system, cloud, center, half_width)}
        shell = cls(blank, system)
        inputs = shell._embed(cloud, warped=True)[0]
        spread, middle = inputs.std(0).clamp_min(1e-12), inputs
        isotropic = count // 2
        direction = torch.randn(isotropic, inputs.shape[1], generator=generator, dtype=torch.float64)
        sharpness = BLUNTEST + (SHARPEST - BLUNTEST) * torch.rand(
            isotropic, 1, generator=generator, dtype=torch.float64
        )
        wide = sharpness * direction / direction.norm(dim=1, keepdim=True)
        at = 2 * torch.rand(isotropic, inputs.shape[1], generator=generator, dtype=torch.float64) - 1
        steep, steep_bias = _from_pairs(system, cloud, middle, spread, count - isotropic, generator)
        blank["weights"] = torch.cat([wide, steep])
        blank["bias"] = torch.cat([-(wide * at).sum(1), steep_bias])
        raw = shell._units(cloud)
        blank["mean"] = raw.mean(0)
        centred = raw - blank["mean"]
        size, basis = torch.linalg.eigh(centred.mT @ centred / len(cloud))
        keep = size > RANK_TOLERANCE * size[-1]
        blank["whitening"] = basis[:, keep] / size[keep].sqrt()
        return shell

    def folded(self, coefficients: torch.Tensor) -> Features:
        """The network whose one basis function is ``basis @ coefficients``: the same potential, far cheaper."""
        return self._with(whitening=(self.tensors["whitening"] @ coefficients)[:, None])

    def _with(self, **tensors: torch.Tensor) -> Features:
        other = object.__new__(Features)
        other.__dict__.update(self.__dict__)
        other.tensors = self.tensors | tensors
        return other

    @property
    def count(self) -> int:
        """How many coefficients there are, ``m``."""
        return self.tensors["whitening"].shape[1]

    def value(self, x: torch.Tensor) -> torch.Tensor:
        """``(n, m + 1)`` at ``x: (n, d)``, float64."""
        basis = (self._units(x) - self.tensors["mean"]) @ self.tensors["whitening"]
        return torch.cat([basis, self._confinement(x)[0]], dim=1)

    def evaluate(self, system: System, x: torch.Tensor) -> Evaluated:
        """Value and derivatives at ``x: (n, d)``, float64."""
        inputs, first, second = self._embed(x, warped=True)
        weights = self.tensors["weights"]
        units = len(weights)
        outer, inner = self.tensors["whitening"][:units], self.tensors["whitening"][units:]
        t = torch.tanh(inputs @ weights.mT + self.tensors["bias"])
        slope = 1 - t * t
        bend = -2 * t * slope
        D = _full(system, x)
        quadratic = self._quadratics(x)
        gradient = self._gradient(x, slope, outer, inner, first, quadratic)
        curvature = self._bent(bend, slope, outer, D, first, second) + quadratic.curvature(D) @ inner
        value = (t - self.tensors["mean"][:units]) @ outer + (quadratic.value - self.tensors["mean"][units:]) @ inner
        extra, _, extra_second = self._confinement(x)
        value = torch.cat([value, extra], dim=1)
        diagonal = torch.diagonal(D, dim1=1, dim2=2)
        curvature = torch.cat([curvature, (diagonal * extra_second).sum(1, keepdim=True)], dim=1)
        if not system.diffusion.constant:
            curvature = curvature + (system.diffusion.divergence(x).unsqueeze(-1) * gradient).sum(1)
        return Evaluated(value, gradient, self._noisy(system, x, gradient), curvature)

    def noise_gradient(self, system: System, x: torch.Tensor) -> torch.Tensor:
        """``D grad`` alone, ``(n, d, m + 1)``: what a velocity needs."""
        inputs, first, _ = self._embed(x, warped=True)
        units = len(self.tensors["weights"])
        outer, inner = self.tensors["whitening"][:units], self.tensors["whitening"][units:]
        t = torch.tanh(inputs @ self.tensors["weights"].mT + self.tensors["bias"])
        return self._noisy(system, x, self._gradient(x, 1 - t * t, outer, inner, first))

    def _gradient(self, x, slope, outer, inner, first, quadratic=None) -> torch.Tensor:
        quadratic = self._quadratics(x) if quadratic is None else quadratic
        parts = [self._chain(slope, outer, i, first) + part @ inner for i, part in enumerate(quadratic.gradient)]
        return torch.cat([torch.stack(parts, dim=1), self._confinement(x)[1].unsqueeze(-1)], dim=2)

    @staticmethod
    def _noisy(system: System, x: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        scalar = system.diffusion.scalar
        return _full(system, x) @ gradient if scalar is None else scalar * gradient

    def _chain(self, slope: torch.Tensor, outer: torch.Tensor, axis: int, first: torch.Tensor) -> torch.Tensor:
        """``sum_u slope_u (d a_u / d x_axis) outer[u]``; the weights are folded into ``outer``, which is small."""
        weights, total = self.tensors["weights"], 0.0
        for column in self._inputs_of(axis):
            total = total + first[:, column, None] * (slope @ (weights[:, column, None] * outer))
        return total

    def _bent(self, bend, slope, outer, D, first, second) -> torch.Tensor:
        """``D : grad grad`` of the units, combined by ``outer``."""
        weights, total = self.tensors["weights"], 0.0
        for i in range(self.dim):
            for j in range(self.dim):
                if not bool((D[:, i, j] != 0).any()):
                    continue
                for a in self._inputs_of(i):
                    for b in self._inputs_of(j):
                        mixed = (weights[:, a] * weights[:, b])[:, None] * outer
                        total = total + (D[:, i, j] * first[:, a] * first[:, b])[:, None] * (bend @ mixed)
            for a in self._inputs_of(i):
                total = total + (D[:, i, i] * second[:, a])[:, None] * (slope @ (weights[:, a, None] * outer))
        return total

    def _embed(self, x: torch.Tensor, warped: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Inputs ``(n, e)`` of order one, and their first and second derivatives by the coordinate they come from."""
        center, half = self.tensors["center"], self.tensors["half_width"]
        columns, first, second = [], [], []
        for axis in range(self.dim):
            if axis in self.periodic:
                k = self.wave[axis]
                c, s = torch.cos(k * x[:, axis]), torch.sin(k * x[:, axis])
                columns += [c, s]
                first += [-k * s, k * c]
                second += [-k * k * c, -k * k * s]
            else:
                z = (x[:, axis] - center[axis]) / half[axis]
                u, du, ddu = (
                    warp(z, self.tensors["variation"][axis]) if warped else (z, torch.ones_like(z), torch.zeros_like(z))
                )
                columns.append(u)
                first.append(du / half[axis])
                second.append(ddu / half[axis] ** 2)
        return tuple(torch.stack(part, dim=1) for part in (columns, first, second))

    def _inputs_of(self, axis: int) -> list[int]:
        """Which embedded columns come from coordinate ``axis``."""
        start = sum(2 if a in self.periodic else 1 for a in range(axis))
        return [start, start + 1] if axis in self.periodic else [start]

    def _units(self, x: torch.Tensor) -> torch.Tensor:
        inputs, _, _ = self._embed(x, warped=True)
        t = torch.tanh(inputs @ self.tensors["weights"].mT + self.tensors["bias"])
        return torch.cat([t, self._quadratics(x).value], dim=1)

    def _quadratics(self, x: torch.Tensor) -> _Quadratics:
        """Linear and quadratic monomials of the plain inputs; with these a Gaussian steady state is exact."""
        return _Quadratics(*self._embed(x, warped=False), [self._inputs_of(axis) for axis in range(self.dim)])

    def _confinement(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """A fixed cubic rise beyond the hull in open directions, so that ``exp(-Phi)`` can be normalised."""
        center, half = self.tensors["center"], self.tensors["half_width"]
        z = (x - center) / half
        beyond = (z.abs() - 1.05).clamp_min(0.0)
        mask = torch.zeros(self.dim, dtype=x.dtype, device=x.device)
        mask[list(self.open)] = CONFINEMENT
        value = (mask * beyond**3).sum(1, keepdim=True)
        return value, mask * 3 * beyond**2 * z.sign() / half, mask * 6 * beyond / half**2


class _Quadratics:
    def __init__(self, z: torch.Tensor, first: torch.Tensor, second: torch.Tensor, inputs: list[list[int]]) -> None:
        e = z.shape[1]
        a, b = torch.triu_indices(e, e).unbind(0)
        self.value = torch.cat([z, z[:, a] * z[:, b]], dim=1)
        steps = []
        for columns in inputs:
            step = torch.zeros_like(z)
            step[:, columns] = first[:, columns]
            steps.append(step)
        self.gradient = [torch.cat([s, s[:, a] * z[:, b] + z[:, a] * s[:, b]], dim=1) for s in steps]
        self._steps, self._z, self._second, self._inputs = steps, z, second, inputs

    def curvature(self, D: torch.Tensor) -> torch.Tensor:
        """``D : grad grad`` of each monomial, ``(n, f)``."""
        z, steps = self._z, self._steps
        a, b = torch.triu_indices(z.shape[1], z.shape[1]).unbind(0)
        total = torch.zeros_like(self.value)
        for i, one in enumerate(steps):
            for j, two in enumerate(steps):
                mixed = one[:, a] * two[:, b] + two[:, a] * one[:, b]
                bend = torch.zeros_like(z)
                if i == j:
                    bend[:, self._inputs[i]] = self._second[:, self._inputs[i]]
                    mixed = mixed + bend[:, a] * z[:, b] + z[:, a] * bend[:, b]
                total = total + D[:, i, j, None] * torch.cat([bend, mixed], dim=1)
        return total


def _full(system: System, x: torch.Tensor) -> torch.Tensor:
    """``D`` as ``(n, d, d)``."""
    D = system.diffusion(x)
    if system.diffusion.kind != "matrix":
        D = torch.diag_embed(D.expand(x.shape))
    return D.expand(len(x), *D.shape[-2:])


def _from_pairs(system, cloud, inputs, spread, count, generator):
    """Units that switch over the distance between two points, likelier where the drift differs much between them.

    After Bolager et al., "Sampling weights of deep neural networks" (2023), with the drift in place of the unknown
    function: the landscape bends where the drift does.
    """
    candidates = 30 * count
    one, two = torch.randint(0, len(cloud), (2, candidates), generator=generator)
    shrink = torch.exp(math.log(SHORTEST_PAIR) * torch.rand(candidates, 1, generator=generator, dtype=torch.float64))
    start, end = cloud[one], cloud[one] + shrink * (cloud[two] - cloud[one])
    begin, finish = inputs[one], inputs[one] + shrink * (inputs[two] - inputs[one])
    difference = (finish - begin) / spread
    distance = difference.norm(dim=1).clamp_min(1e-3)
    chance = (system.drift(end) - system.drift(start)).norm(dim=1) / distance
    chance = torch.nan_to_num(chance, nan=0.0, posinf=0.0) + 1e-12
    chosen = torch.multinomial(chance, count, generator=generator)
    direction = difference[chosen] / distance[chosen, None] ** 2
    weights = PAIR_SHARPNESS * direction / spread
    middle = (begin + finish)[chosen] / 2
    return weights, -(weights * middle).sum(1)
