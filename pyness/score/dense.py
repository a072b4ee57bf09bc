"""A network for systems of few coordinates: all of them go in, a score or a potential comes out."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import nn

from pyness.sampling import Samples
from pyness.score.shift import shift_with_terms
from pyness.systems import ParticleSystem, System

__all__ = ["DenseScore"]

HARMONICS = 3


class DenseScore(nn.Module):
    """``s = shift + m`` with ``m`` a multilayer perceptron or, with ``gradient``, minus the gradient of one.

    Periodic coordinates enter as the cosine and sine of their first multiples, open ones standardised; the known drift
    enters as well. A score that is a gradient has no defect (active_matter.md, 5).

    Args:
        width, depth: of the hidden layers.
        gradient: whether the score is a gradient.
    """

    def __init__(self, system: System, shift: str, width: int = 64, depth: int = 3, gradient: bool = True) -> None:
        super().__init__()
        self.system, self.shift, self.gradient = system, shift, gradient
        kinds = system.domain.boundary
        features = sum(2 * HARMONICS if kind == "periodic" else 1 for kind in kinds)
        self.register_buffer("center", torch.zeros(system.dim))
        self.register_buffer("spread", torch.ones(system.dim))
        self.register_buffer("drift_spread", torch.ones(system.dim))
        self.register_buffer("scale", torch.ones(system.dim))
        sizes = [features + system.dim, *[width] * depth, 1 if gradient else system.dim]
        layers: list[nn.Module] = []
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b), nn.SiLU()]
        self.layers = nn.Sequential(*layers[:-1])
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)

    def calibrate(self, samples: Samples) -> None:
        """Take scales from samples: means, spreads, the size of the drift and of the score."""
        states = samples.states.reshape(-1, samples.dim)[:: max(1, samples.states.numel() // 200_000)].double()
        drift = self.system.drift(states)
        self.center.copy_(states.mean(0))
        self.spread.copy_(states.std(0).clamp_min(1e-6))
        self.drift_spread.copy_(drift.std(0).clamp_min(1e-6))
        self.scale.copy_(1 / self.spread)

    def _features(self, x: torch.Tensor) -> torch.Tensor:
        domain, parts = self.system.domain, []
        for axis, kind in enumerate(domain.boundary):
            if kind != "periodic":
                parts.append((x[..., axis] - self.center[axis]) / self.spread[axis])
                continue
            low, width = domain.low[axis], domain.width[axis]
            for k in range(1, HARMONICS + 1):
                angle = 2 * math.pi * k / width * (x[..., axis] - low)
                parts += [torch.cos(angle), torch.sin(angle)]
        drift = self.system.drift(x) / self.drift_spread
        # from states in double precision: without noise a score varies over far less than single precision resolves
        return torch.cat([torch.stack(parts, dim=-1), drift], dim=-1).to(self.center)

    def _lifted(self, x: torch.Tensor, second: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Features ``(n, f)`` and their first and second derivatives by each coordinate, ``(d, n, f)``."""
        firsts, seconds = [], []
        with torch.no_grad():
            value = self._features(x)
            for axis in range(self.system.dim):
                direction = torch.zeros_like(x)
                direction[:, axis] = 1.0

                def slope(y: torch.Tensor, v: torch.Tensor = direction) -> torch.Tensor:
                    return torch.func.jvp(self._features, (y,), (v,))[1]

                if second:
                    first, bend = torch.func.jvp(slope, (x,), (direction,))
                    seconds.append(bend)
                else:
                    first = slope(x)
                firsts.append(first)
        return value, torch.stack(firsts), torch.stack(seconds) if second else None

    def _carried(
        self, value: torch.Tensor, first: torch.Tensor, bend: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Output ``(n, out)`` with first and second derivatives ``(d, n, out)``, from those of the features.

        They are carried forward through the layers, so that one backward pass differentiates all of it with respect
        to the weights.
        """
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                value = layer(value)
                first = first @ layer.weight.mT
                bend = None if bend is None else bend @ layer.weight.mT
            else:
                gate = torch.sigmoid(value)
                slope = gate * (1 + value * (1 - gate))
                if bend is not None:
                    bend = slope * bend + gate * (1 - gate) * (2 + value * (1 - 2 * gate)) * first.square()
                value, first = value * gate, slope * first
        return value, first, bend

    def correction(self, x: torch.Tensor) -> torch.Tensor:
        """``m: (n, d)`` at ``x: (n, d)`` in double precision, 0 where a coordinate has no noise."""
        if self.gradient:
            m = -self._carried(*self._lifted(x, second=False))[1].squeeze(-1).mT
        else:
            m = self.scale * self.layers(self._features(x))
        return m * self._loud(m)

    def _loud(self, x: torch.Tensor) -> torch.Tensor:
        D = self.system.diffusion
        if not D.constant or D.kind == "matrix":
            return torch.ones(self.system.dim, dtype=x.dtype, device=x.device)
        return (D.value.expand(self.system.dim) > 0).to(x)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """The score ``(n, d)`` at ``states: (n, d)``."""
        known, _ = shift_with_terms(self.system, self.shift, states, None)
        return known.to(self.center) + self.correction(states.double())

    def lift(self, states: torch.Tensor) -> dict[str, torch.Tensor]:
        """All that ``with_terms`` needs of ``states: (n, d)`` and that no weight changes; states come first."""
        known, terms = shift_with_terms(self.system, self.shift, states, None)
        value, first, bend = self._lifted(states.double(), second=self.gradient)
        lifted = {"known": known.to(value), "terms": terms.to(value), "value": value, "first": first.transpose(0, 1)}
        return lifted if bend is None else {**lifted, "bend": bend.transpose(0, 1)}

    def with_terms(
        self, states: torch.Tensor, generator: torch.Generator | None = None, probes: int = 1, **lifted: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The score and ``d_i (D s)_i``, exact: one derivative per coordinate.

        Args:
            **lifted: what ``lift`` made of these states, to save its work.
        """
        lifted = lifted or self.lift(states)
        x = lifted["value"]
        D = self.system.diffusion.value.expand(self.system.dim).to(x)
        bend = lifted["bend"].transpose(0, 1) if self.gradient else None
        out, first, bend = self._carried(x, lifted["first"].transpose(0, 1), bend)
        if self.gradient:
            m, slopes = -first.squeeze(-1).mT * self._loud(x), -bend.squeeze(-1).mT
        else:
            m = self.scale * out * self._loud(x)
            slopes = self.scale * torch.diagonal(first, dim1=0, dim2=2)
        return lifted["known"] + m, lifted["terms"] + D * slopes


def fits(system: System) -> bool:
    """Whether this network is meant for the system: anything but several particles."""
    return not (isinstance(system, ParticleSystem) and system.n_particles > 2)
