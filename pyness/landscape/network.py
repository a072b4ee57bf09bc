"""The potential network: one layer of tanh units and quadratic monomials, every weight of it trained.

Its potential is ``Phi(x) = sum_u c_u tanh(w_u . e(x) + b_u) + l . z + z . Q z + r . f(x) + fixed(x)``, with ``e`` the
warped inputs (and those of wall layers, ``layers.py``, and of fast coordinates, ``fast.py``) and ``z`` the plain ones,
so that value, gradient and ``div(D grad)`` come out of one forward pass in closed form, and so do their derivatives by
the weights (``tangent.py``). With the monomials a Gaussian steady state is exact. ``f`` are functions given beforehand,
in many dimensions: ``-log q`` of a mixture of Gaussians (``mixture.py``) and those of fast coordinates (``fast.py``).
What is fixed is a confinement beyond the hull.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pyness.landscape import fast
from pyness.landscape.metric import Metric, own_diffusion, stretch
from pyness.landscape.mixture import Mixture
from pyness.landscape.warp import measure, warp
from pyness.systems import System

__all__ = ["BASE", "NAMES", "Inputs", "Network", "Places", "known_curvature"]

SHARPEST, BLUNTEST = 8.0, 0.5
PAIR_SHARPNESS = 0.5
SHORTEST_PAIR = 0.05
CONFINEMENT = 50.0
#: Its tensors, in a file as in memory.
NAMES = (
    "weights", "bias", "output", "quadratic", "known", "center", "half_width", "variation", "layers", "fast",
)  # fmt: skip
#: Those that are trained, the ones that the potential is linear in first.
OUTER = ("output", "quadratic", "known")
TRAINED = (*OUTER, "bias", "weights")
#: Those of the mixture, where there is one.
BASE = ("mixture_weights", "mixture_means", "mixture_factors")


@dataclass(frozen=True)
class Inputs:
    """Inputs of order one made of the coordinates, a periodic one giving two.

    Attributes:
        value: ``(n, e)``.
        first, second: ``(n, s)``, derivatives of one input by one coordinate each: of most there is one, since they are
            made of one coordinate. No second ones where none were asked for.
        axis, column: ``(s,)``, which coordinate and which input that is.
    """

    value: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor | None
    axis: torch.Tensor
    column: torch.Tensor

    def __getitem__(self, rows: slice | torch.Tensor) -> Inputs:
        second = None if self.second is None else self.second[rows]
        return Inputs(self.value[rows], self.first[rows], second, self.axis, self.column)

    def along(self, axis: int) -> torch.Tensor:
        """Derivatives of all inputs by one coordinate, ``(n, e)``."""
        return self.collected((self.axis == axis) * self.first)

    def collected(self, parts: torch.Tensor) -> torch.Tensor:
        """``parts: (n, s)`` summed for each input, ``(n, e)``."""
        return torch.zeros_like(self.value).index_add(1, self.column, parts)


@dataclass(frozen=True)
class Places:
    """Points with all that the network needs of them and that does not depend on its weights.

    Attributes:
        x: ``(n, d)``.
        units, plain: inputs of the units, and of the monomials.
        known: the functions given beforehand.
        fixed, fixed_first, fixed_second: the part without weights ``(n,)``, its gradient ``(n, d)`` and its second
            derivatives, ``(n, d, d)`` where ``D`` is a matrix, else their diagonal ``(n, d)``.
    """

    x: torch.Tensor
    units: Inputs
    plain: Inputs
    known: fast.Functions
    fixed: torch.Tensor
    fixed_first: torch.Tensor
    fixed_second: torch.Tensor

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: slice | torch.Tensor) -> Places:
        return Places(
            self.x[rows], self.units[rows], self.plain[rows], self.known[rows],
            self.fixed[rows], self.fixed_first[rows], self.fixed_second[rows],
        )  # fmt: skip


class Network:
    """A potential in units of ``k_B T``, up to a constant.

    Args:
        tensors: ``weights (e, u)``, ``bias (u,)``, ``output (u,)``, ``quadratic (f,)``, ``known (m,)``, and the fixed
            ``center (d,)``, ``half_width (d,)``, ``variation (d, bins)``, ``layers (k, 4)``, ``fast (j, 3)``, all
            float64; ``e`` counts the warped inputs, fast coordinates and layers, ``f = z + z (z + 1) / 2`` the plain
            inputs ``z``, ``m`` the functions given beforehand; and those of a mixture, if any.
        system: gives the boundary of each coordinate, the kind of ``D``, and the drift of fast coordinates.
    """

    def __init__(self, tensors: dict[str, torch.Tensor], system: System) -> None:
        self.tensors = tensors
        self.system, self.dim = system, system.dim
        self.periodic = system.domain.periodic
        self.open = system.domain.axes("open")
        self.full = system.diffusion.kind == "matrix"
        self.wave = {axis: 2 * math.pi / system.domain.width[axis] for axis in self.periodic}

    @classmethod
    def draw(
        cls,
        system: System,
        cloud: torch.Tensor,
        count: int,
        generator: torch.Generator,
        base: Mixture | None = None,
        layers: torch.Tensor | None = None,
        coordinates: torch.Tensor | None = None,
    ) -> Network:
        """``count`` units that are at work on ``cloud: (n, d)``, their outputs zero, beside ``-log q`` of a base.

        They are level across ``layers``, which have units of their own (``with_layer_units``). Fast ``coordinates`` are
        at equilibrium at the start.
        """
        low, high = cloud.min(0).values, cloud.max(0).values
        center, half_width = (low + high) / 2, (high - low).clamp_min(1e-12) / 2
        layers = cloud.new_zeros(0, 4) if layers is None else layers
        tensors = {
            "center": center, "half_width": half_width, "variation": measure(system, cloud, center, half_width),
            "layers": layers, "fast": cloud.new_zeros(0, 3) if coordinates is None else coordinates,
        }  # fmt: skip
        network = cls(tensors, system)
        inputs = network.places(cloud, 0).units.value
        e, isotropic = inputs.shape[1] - len(layers), count // 2
        inputs = inputs[:, :e]
        wide, at = (
            _any_way(isotropic, e, generator),
            2 * torch.rand(isotropic, e, generator=generator, dtype=torch.float64) - 1,
        )
        steep, steep_bias = _from_pairs(system, cloud, inputs, count - isotropic, generator)
        weights = torch.cat([wide.to(cloud), steep])
        tensors["weights"] = torch.cat([weights, weights.new_zeros(count, len(layers))], dim=1).mT.contiguous()
        tensors["bias"] = torch.cat([-(wide * at).sum(1).to(cloud), steep_bias])
        tensors["output"] = cloud.new_zeros(count)
        z = network.dim + len(network.periodic)
        tensors["quadratic"] = cloud.new_zeros(z + z * (z + 1) // 2)
        middle = torch.arange(len(fast.LEVELS), device=cloud.device) == len(fast.LEVELS) // 2
        tensors["known"] = middle.to(cloud).repeat(len(tensors["fast"]))
        if base is not None:
            tensors["known"] = torch.cat([cloud.new_ones(1), tensors["known"]])
            tensors |= dict(zip(BASE, (base.weights, base.means, base.factors), strict=True))
        return network

    def with_layer_units(self, points: torch.Tensor, count: int, generator: torch.Generator) -> Network:
        """The same potential with ``count`` more units, which switch around some of ``points: (n, d)`` in layers."""
        chosen = points[torch.randint(0, len(points), (count,), generator=generator)]
        inputs = self.places(chosen, 0).units.value
        weights = _any_way(count, inputs.shape[1], generator).to(points)
        more = {"weights": weights.mT, "bias": -(weights * inputs).sum(1), "output": points.new_zeros(count)}
        return self.with_tensors(
            {name: torch.cat([self.tensors[name], tensor], dim=-1) for name, tensor in more.items()}
        )

    def with_mixture(self, base: Mixture) -> Network:
        """The same network with another mixture, and of the functions given beforehand only that."""
        known = torch.zeros_like(self.tensors["known"])
        known[0] = 1.0
        mixture = dict(zip(BASE, (base.weights, base.means, base.factors), strict=True))
        return self.with_tensors(mixture | {"known": known})

    @property
    def base(self) -> Mixture | None:
        """The mixture whose ``-log q`` is the first of the functions given beforehand."""
        return Mixture(*(self.tensors[name] for name in BASE)) if BASE[0] in self.tensors else None

    @property
    def laplacian(self) -> str:
        """How second derivatives are taken."""
        quick, D = len(self.tensors["fast"]), self.system.diffusion
        said = "closed form, one forward pass"
        if quick:
            said += f"; of each law of {quick} fast coordinates {self.dim} nested forward passes"
        if not D.constant:
            said += f"; div D {'as supplied' if D.supplied else passes(self.system)}"
        return said

    @property
    def parameters(self) -> torch.Tensor:
        """All trained weights in a row, ``(P,)``: output, quadratic, known, bias, weights."""
        return torch.cat([self.tensors[name].flatten() for name in TRAINED])

    @property
    def outer(self) -> slice:
        """Which of the parameters the potential is linear in."""
        return slice(0, sum(len(self.tensors[name]) for name in OUTER))

    def with_parameters(self, parameters: torch.Tensor) -> Network:
        """The same network with other weights."""
        parts = parameters.split([self.tensors[name].numel() for name in TRAINED])
        return self.with_tensors(
            {name: part.reshape(self.tensors[name].shape) for name, part in zip(TRAINED, parts, strict=True)}
        )

    def with_tensors(self, changed: dict[str, torch.Tensor]) -> Network:
        """The same network with some of its tensors replaced."""
        other = object.__new__(Network)
        other.__dict__.update(self.__dict__)
        other.tensors = self.tensors | changed
        return other

    def places(self, x: torch.Tensor, order: int = 2) -> Places:
        """Points ``x: (n, d)``, float64; for value, gradient or curvature as ``order`` is 0, 1 or 2.

        It is functions of the fast coordinates that are costly to differentiate.
        """
        rests = fast.rests(self.system, self.tensors["fast"], x)
        units, plain = self._inputs(x, rests, order, warped=True), self._inputs(x, (), order, warped=False)
        return Places(x, units, plain, self._known(x, rests, order), *self._fixed(x))

    def value(self, at: Places) -> torch.Tensor:
        """``Phi``, ``(n,)``."""
        linear, form = self.monomials()
        z = at.plain.value
        trained = self.activations(at) @ self.tensors["output"] + z @ linear + ((z @ form) * z).sum(1)
        return trained + at.known.value @ self.tensors["known"] + at.fixed

    def gradient(self, at: Places) -> torch.Tensor:
        """``grad Phi``, ``(n, d)``."""
        return self._derivatives(at, self.activations(at))

    def gradient_and_curvature(self, system: System, at: Places) -> tuple[torch.Tensor, torch.Tensor]:
        """``grad Phi: (n, d)`` and ``div(D grad Phi): (n,)``."""
        t = self.activations(at)
        gradient = self._derivatives(at, t)
        D, c, weights = own_diffusion(system, at.x), self.tensors["output"], self.tensors["weights"]
        linear, form = self.monomials()
        slope = 1 - t * t
        bent = (-2 * t * slope * c * Metric.between(at.units, D).form(weights)).sum(1)
        stretched = stretch(D)
        by_input = (slope * c) @ weights.mT
        bent = bent + (by_input[:, at.units.column] * stretched[:, at.units.axis] * at.units.second).sum(1)
        z, symmetric = at.plain, form + form.mT
        bent = bent + Metric.between(z, D).contracted(symmetric)
        bent = bent + ((linear + z.value @ symmetric) * stretched[:, z.axis] * z.second).sum(1)
        bent = bent + known_curvature(at, D) @ self.tensors["known"]
        bent = bent + (D * at.fixed_second).flatten(1).sum(1)
        if not system.diffusion.constant:
            bent = bent + (system.diffusion.divergence(at.x) * gradient).sum(1)
        return gradient, bent

    def activations(self, at: Places) -> torch.Tensor:
        """``tanh`` of each unit, ``(n, u)``."""
        return torch.tanh(at.units.value @ self.tensors["weights"] + self.tensors["bias"])

    def monomials(self) -> tuple[torch.Tensor, torch.Tensor]:
        """``l: (e,)`` and the upper triangle ``Q: (e, e)``."""
        quadratic, e = self.tensors["quadratic"], self.dim + len(self.periodic)
        a, b = torch.triu_indices(e, e, device=quadratic.device).unbind(0)
        form = quadratic.new_zeros(e, e).index_put((a, b), quadratic[e:])
        return quadratic[:e], form

    def _derivatives(self, at: Places, t: torch.Tensor) -> torch.Tensor:
        linear, form = self.monomials()
        by_input = ((1 - t * t) * self.tensors["output"]) @ self.tensors["weights"].mT
        by_units = by_input[:, at.units.column] * at.units.first
        by_plain = (linear + at.plain.value @ (form + form.mT)) * at.plain.first
        fixed = at.fixed_first + self.tensors["known"] @ at.known.first
        return fixed.index_add(1, at.units.axis, by_units).index_add(1, at.plain.axis, by_plain)

    def _fixed(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """A cubic rise beyond the hull in open directions, so that exp(-Phi) can be normalised."""
        half = self.tensors["half_width"]
        z = (x - self.tensors["center"]) / half
        beyond = (z.abs() - 1.05).clamp_min(0.0)
        strength = torch.zeros(self.dim, dtype=x.dtype, device=x.device)
        strength[list(self.open)] = CONFINEMENT
        value, first = (strength * beyond**3).sum(1), strength * 3 * beyond**2 * z.sign() / half
        second = strength * 6 * beyond / half**2
        second = torch.diag_embed(second) if self.full else second
        return value, first, second

    def _known(self, x: torch.Tensor, rests: list[fast.Rest], order: int) -> fast.Functions:
        found = fast.functions(self.system, rests, x, order)
        if self.base is None:
            return found
        if order == 0:
            return fast.Functions(torch.cat([-self.base.log_density(x).unsqueeze(1), found.value], dim=1))
        mixture = [part.unsqueeze(1) for part in self.base.potential(x, self.full, order)]
        if self.full:  # where noise mixes coordinates none is fast
            return fast.Functions(*mixture)
        both = zip(mixture, (found.value, found.first, found.second), strict=False)
        return fast.Functions(*(torch.cat(pair, dim=1) for pair in both))

    def _inputs(self, x: torch.Tensor, rests: Sequence[fast.Rest], order: int, warped: bool) -> Inputs:
        center, half = self.tensors["center"], self.tensors["half_width"]
        columns, first, second, axes = [], [], [], []
        for axis in range(self.dim):
            if axis in self.periodic:
                k = self.wave[axis]
                c, s = torch.cos(k * x[:, axis]), torch.sin(k * x[:, axis])
                columns += [c, s]
                first += [-k * s, k * c]
                second += [-k * k * c, -k * k * s]
                axes += [axis, axis]
                continue
            z = (x[:, axis] - center[axis]) / half[axis]
            one, none = torch.ones_like(z), torch.zeros_like(z)
            u, du, ddu = warp(z, self.tensors["variation"][axis]) if warped else (z, one, none)
            columns.append(u)
            first.append(du / half[axis])
            second.append(ddu / half[axis] ** 2)
            axes.append(axis)
        slots = list(range(len(axes)))
        for rest, (_, width, span) in zip(rests, self.tensors["fast"].tolist(), strict=False):
            value, gradient, bend = fast.offset(self.system, rest, width, span, x, order)
            slots += [len(columns)] * self.dim
            axes += range(self.dim)
            columns.append(value)
            first += gradient.unbind(1)
            second += [] if bend is None else bend.unbind(1)
        for axis, position, inwards, width in self.tensors["layers"].tolist() if warped else ():
            near = torch.exp((position - x[:, int(axis)]) * inwards / width)
            slots.append(len(columns))
            axes.append(int(axis))
            columns.append(near)
            first.append(-inwards / width * near)
            second.append(near / width**2)
        value, first = torch.stack(columns, dim=1), torch.stack(first, dim=1)
        second = torch.stack(second, dim=1) if order > 1 else None
        return Inputs(value, first, second, *(torch.tensor(part).to(x.device) for part in (axes, slots)))


def known_curvature(at: Places, D: torch.Tensor) -> torch.Tensor:
    """``div(D grad)`` of each function given beforehand, with constant ``D`` as of ``own_diffusion``, ``(n, m)``."""
    second = at.known.second
    if second.ndim == 4:
        return torch.einsum("nmde,nde->nm", second, D)
    return torch.einsum("nmd,nd->nm", second, stretch(D))


def passes(system: System) -> str:
    """What a divergence by forward mode costs (``pyness.systems.derivatives``)."""
    return f"{system.dim} forward passes" if system.dim > 1 else "one forward pass"


def _any_way(count: int, inputs: int, generator: torch.Generator) -> torch.Tensor:
    """Weights of units in directions and of sharpnesses drawn evenly, ``(count, inputs)``."""
    direction = torch.randn(count, inputs, generator=generator, dtype=torch.float64)
    sharpness = torch.rand(count, 1, generator=generator, dtype=torch.float64)
    return (BLUNTEST + (SHARPEST - BLUNTEST) * sharpness) * direction / direction.norm(dim=1, keepdim=True)


def _from_pairs(
    system: System, cloud: torch.Tensor, inputs: torch.Tensor, count: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Units that switch over the distance between two points, likelier where the drift differs much between them.

    After Bolager et al., "Sampling weights of deep neural networks" (2023), with the drift in place of the unknown
    function: the landscape bends where the drift does.
    """
    candidates = 30 * count
    one, two = torch.randint(0, len(cloud), (2, candidates), generator=generator)
    shrink = torch.rand(candidates, 1, generator=generator, dtype=torch.float64)
    shrink = torch.exp(math.log(SHORTEST_PAIR) * shrink).to(cloud)
    start, end = cloud[one], cloud[one] + shrink * (cloud[two] - cloud[one])
    spread = inputs.std(0).clamp_min(1e-12)
    begin, finish = inputs[one], inputs[one] + shrink * (inputs[two] - inputs[one])
    difference = (finish - begin) / spread
    distance = difference.norm(dim=1).clamp_min(1e-3)
    chance = (system.drift(end) - system.drift(start)).norm(dim=1) / distance
    chance = torch.nan_to_num(chance, nan=0.0, posinf=0.0) + 1e-12
    chosen = torch.multinomial(chance.cpu(), count, generator=generator)
    weights = PAIR_SHARPNESS * difference[chosen] / distance[chosen, None] ** 2 / spread
    middle = (begin + finish)[chosen] / 2
    return weights, -(weights * middle).sum(1)
