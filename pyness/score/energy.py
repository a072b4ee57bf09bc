"""The attention network as the gradient of one number: ``arch="attention"`` with ``gradient=True``.

``h(x, g) = sum_i e_i``, with ``e_i`` read out of what the attention network tells each particle, and ``m = grad h`` by
one backward pass, in ``x`` and ``g`` where positions have noise and in ``g`` alone where they have none. Parts that are
known beforehand are gradients in the same coordinates (``pyness.score.shift``), so their sum is. Where positions have
noise the defect ``C = E[v . s_t]`` of the stationary state is then 0 for any weights; without, it is not, since a
gradient in ``g`` leaves out the part ``E[v_x . grad_x h]`` (docs/active_matter.md, section 5).

The energy depends on a particle's activity through what its neighbours are told too, so where particles are many
divergences come of random probes: forward derivatives of the backward pass. Derivatives by positions want a smooth
energy: distances enter as functions that are smooth where particles touch, and curvatures of ``U``, which jump where a
force has a kink, do not enter.
"""

from __future__ import annotations

import torch

from pyness.errors import InputError
from pyness.score.attention import FAR, AttentionScore
from pyness.score.probing import few, signs_like
from pyness.score.shift import shift_with_terms
from pyness.systems import ParticleSystem
from pyness.systems.neighbours import Pairs

__all__ = ["EnergyScore"]

#: Numbers of states from which the size of the energy is taken, at the most.
SEEN = 20_000
#: Jump of the slope of a pair force, at its cutoff too, in units of ``eps / cutoff^2``, from which on it is a kink, and
#: as a share of the slope, up to which it is none.
KINK, STEEP = 0.05, 1e-3


class EnergyScore(AttentionScore):
    """``s = shift + grad h``; arguments as for ``AttentionScore``.

    Raises:
        InputError: a radius larger than half the box; where positions have noise, a pair force with a kink.
    """

    gradient = True
    units = ("size",)

    def __init__(self, system: ParticleSystem, shift: str, **sizes: int | float | bool | None) -> None:
        _check_smooth(system)
        super().__init__(system, shift, **sizes)
        if system.noise > 0:
            # as wide as two of the functions of distance: curvature within less would learn single samples by heart
            self.core = (self.radius or FAR) / 8

    def outputs(self, mixed: int) -> int:
        return 1 + mixed

    def _scale(self, states: torch.Tensor, laplacian: torch.Tensor) -> None:
        """The size with which one product of unit weight has a slope of the size of a score, ``-E[div F]``."""
        # of all states: of few of them it may come out as less than 0
        fisher = -self.system.drift_divergence(states).mean().clamp_max(0.0)
        states = states[:: max(1, states.numel() // SEEN)]
        with torch.no_grad():
            self.weigh.bias.fill_(1.0)
            slope = self.correction(states, self._pairs(self.system.split(states)[0]))
            self.weigh.bias.fill_(0.0)
        # products have random signs: that many of them together have a slope of the root of their number
        square = (slope.square() * self.system.diffusion.value.to(slope)).sum(-1).mean() / (len(self.weigh.bias) - 1)
        self.size.copy_((fisher.to(square) / square.clamp_min(1e-30)).sqrt())

    def _laplacian(self, x: torch.Tensor, pairs: Pairs) -> torch.Tensor:
        return super()._laplacian(x, pairs) if self.system.noise == 0 else x.new_zeros(x.shape[:-1])

    def _radial(self, r: torch.Tensor) -> torch.Tensor:
        # smooth in the displacement where particles touch, at which the distance has a cone
        return super()._radial(r * r * torch.rsqrt(r * r + self.core**2))

    def energy(self, states: torch.Tensor, pairs: Pairs) -> torch.Tensor:
        """``h`` of ``states: (n, dim)`` in double precision, ``(n,)``."""
        _, dots, scalars = self.mixed(self._rows(self.system.split(states)[1]), self.context(states, pairs))
        weights = self.weigh(self.read(scalars))
        each = weights[:, 0] + (weights[:, 1:] * dots).sum(-1)
        return self.size * each.reshape(len(states), -1).sum(-1)

    def correction(self, states: torch.Tensor, pairs: Pairs) -> torch.Tensor:
        """``grad h``, ``(n, dim)``, at ``states: (n, dim)`` in double precision, 0 where a coordinate has no noise."""
        x, g = self.system.split(states)
        if self.system.noise > 0:
            m = torch.func.grad(lambda z: self.energy(z, pairs).sum())(states)
        else:
            m = self.system.join(torch.zeros_like(x), self._slope(1, x, g, pairs))
        return m.to(self.force)

    def _slope(self, block: int, x: torch.Tensor, g: torch.Tensor, pairs: Pairs) -> torch.Tensor:
        """``grad h`` by positions (block 0) or by activities (1), of their shape."""

        def energy(x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
            return self.energy(self.system.join(x, g), pairs).sum()

        return torch.func.grad(energy, argnums=block)(x, g)

    def with_terms(
        self, states: torch.Tensor, generator: torch.Generator | None = None, probes: int = 1
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The score and ``d_i (D s)_i``: exact where particles are few, else unbiased with random ``probes``."""
        system = self.system
        states = states.double()
        at = system.split(states)
        pairs = self._pairs(at[0])
        known, terms = shift_with_terms(system, self.shift, states, pairs)
        m, t = ([torch.zeros_like(y) for y in at] for _ in range(2))
        for block, D in enumerate((system.noise, system.activity.rate)):
            if not D:
                continue

            def slope(y: torch.Tensor, block: int = block) -> torch.Tensor:
                return self._slope(block, *((y, at[1]) if block == 0 else (at[0], y)), pairs)

            signs = signs_like(at[block], generator, probes)
            for z in signs:
                m[block], change = torch.func.jvp(slope, (at[block],), (z,))
                t[block] = t[block] + D * z * change / (1 if few(z.shape) else len(signs))
        m, t = (system.join(*columns).to(self.force) for columns in (m, t))
        return known.to(m) + m, terms.to(m) + t


def _check_smooth(system: ParticleSystem) -> None:
    """Refuse a kink in the pair force, which would make the score of positions jump and hide it from divergences.

    Raises:
        InputError: with what to do.
    """
    if system.noise == 0 or not system.interacts:
        return
    reach = system.cutoff or FAR
    where, jump = _largest_kink(system, reach)
    if jump * reach**2 > KINK * system.noise:
        raise InputError(
            f"gradient is True for {system.name!r}, the slope of whose pair force jumps by {jump:.3g} at {where:.3g}",
            "leave gradient out, or give a force that is smooth up to its cutoff",
        )


def _largest_kink(system: ParticleSystem, reach: float) -> tuple[float, float]:
    """Where the slope of the pair force jumps most, its cutoff included, and by how much; 0 where it is smooth."""

    def slope(r: torch.Tensor) -> torch.Tensor:
        return torch.func.jvp(system.pair_forces, (r,), (torch.ones_like(r),))[1]

    edges = reach * torch.linspace(0.01, 1 - 1e-9, 257, dtype=torch.float64)
    last = slope(edges[-1:]).abs().max().item() if system.cutoff is not None else 0.0
    found = (reach, last)
    for species in range(len(slope(edges))):
        low, high = edges[:-1], edges[1:]
        for _ in range(24):
            middle = (low + high) / 2
            a, b, c = (slope(r)[species] for r in (low, middle, high))
            left = (b - a).abs() > (c - b).abs()
            low, high = torch.where(left, low, middle), torch.where(left, middle, high)
        a, c = slope(low)[species], slope(high)[species]
        # what is steep and smooth changes by a small share of itself within so little
        jump = torch.where((c - a).abs() > STEEP * torch.maximum(a.abs(), c.abs()), (c - a).abs(), 0.0)
        if jump.max() > found[1]:
            found = (low[jump.argmax()].item(), jump.max().item())
    return found
