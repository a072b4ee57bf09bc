"""The curvature method: a convex start at wider noise, a transient, then Gauss-Newton on all terms.

The HJB residual alone has many wrong solutions (its first-order part allows a circle of gradients at each point), and a
cold start ends in one of them. The way in is a continuation in the noise:

1. *Start.* EPR loss and contrast over states of the same dynamics at wider noise are convex and reach up the flanks;
   their minimum is the potential at that noise.
2. *Transient.* ``d Phi/dt = R(Phi)`` is the Fokker-Planck equation of ``-log p``. A few implicit steps of growing
   length carry the start to the right noise along the directions in which probability really flows.
3. *Gauss-Newton* on EPR + contrast + HJB + walls, full batches, with a line search on the exact objective.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from pyness.errors import TrainingError
from pyness.landscape.objective import Anchors, Contrast, EntropyProduction, Residual, Walls

__all__ = ["WEIGHTS", "Problem", "State", "convex_start", "epr_share"]

# the same for every system, since every term is dimensionless (see objective.py)
# ``epr`` is what it counts where its noise is small: see epr_weight
WEIGHTS = {"epr": 10.0, "contrast": 100.0, "hjb": 1000.0, "walls": 1000.0}
ANCHOR = 1e-2
CUT_WIDTH = 1.5
HESSIAN_ROWS = 8_000
FIRST_STEP, GROWTH = 5.0, 1.6
RIDGE = 1e-12
STEADY = 1e-9
LARGEST = 100.0
NOISE_PENALTY = 100.0
START_STEPS, START_RIDGE = 15, 1e-7


@dataclass
class State:
    """Where the iteration stands: all that a checkpoint needs besides the seed.

    Attributes:
        step: steps done.
        residual_weight: factor on the weight of the residual terms: one over their size at the end of the transient,
            so that what the network cannot represent counts like one unit.
        coefficients: ``(m,)``.
        done: whether nothing changes any more.
    """

    step: int = 0
    residual_weight: float = 0.0
    coefficients: torch.Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    done: bool = False


@dataclass
class Problem:
    """All terms of one landscape, assembled.

    Attributes:
        rate: the Fisher rate ``S``.
        top: points whose potential is more than this above the samples' lowest (in k_B T) fade from the residual.
        lowest: which rows of ``residual`` are samples.
        epr_share: factor on the weight of the EPR loss, ``epr_share(...)``.
    """

    epr: EntropyProduction
    contrast: Contrast
    residual: Residual
    walls: Walls
    anchors: Anchors
    rate: float
    top: float
    lowest: slice
    epr_share: float

    def fade(self, k: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight of each point in the residual, and of each on a wall: 1 up to ``top``, 0 well above."""
        potential = self.residual.potential(k)
        limit = self.top + potential[self.lowest].min()
        return tuple(torch.sigmoid((limit - height) / CUT_WIDTH) for height in (potential, self.walls.potential(k)))

    def parts(self, k: torch.Tensor, fade: tuple[torch.Tensor, torch.Tensor] | None = None) -> dict[str, float]:
        """The value of each term."""
        fade, at_walls = self.fade(k) if fade is None else fade
        walls = at_walls * self.walls.misfit(k)
        return {
            "epr": self.epr.value(k).item(),
            "contrast": self.contrast.value(k).item(),
            "hjb": (fade * self.residual.weight * self.residual.residual(k)).square().mean().item(),
            "walls": walls.square().mean().item() if len(walls) else 0.0,
        }

    def objective(self, k: torch.Tensor, fade: tuple[torch.Tensor, torch.Tensor], hjb: float) -> float:
        """The weighted sum, with the residual terms scaled by ``hjb``."""
        parts = self.parts(k, fade)
        scale = {"epr": self.epr_share, "contrast": 1.0, "hjb": hjb, "walls": hjb}
        total = sum(WEIGHTS[name] * scale[name] * value for name, value in parts.items())
        return total + hjb * WEIGHTS["hjb"] * ANCHOR**2 * self._anchored(k)

    def _anchored(self, k: torch.Tensor) -> float:
        misfit = self.anchors.misfit(k)
        return misfit.square().mean().item() if len(misfit) else 0.0

    def transient_step(self, k: torch.Tensor, number: int) -> torch.Tensor:
        """One implicit step of ``d Phi/dt = R``, in least squares over the residual's points."""
        inverse_time = self.rate / (FIRST_STEP * GROWTH**number)
        (fade, at_walls), value = self.fade(k), self.residual.basis.value[:, :-1]
        # a slope counts by its weight, a change per unit time by the length of the step
        weight = fade / (1 / self.residual.weight + inverse_time)
        rows = weight[:, None] * (value * inverse_time - self.residual.jacobian(k))
        hessian = rows.mT @ rows / len(rows)
        slope = -rows.mT @ (weight * self.residual.residual(k)) / len(rows)
        self._add_linear(hessian, slope, k, at_walls, 1.0)
        self._hold_faded(hessian, fade, 1.0)
        return k - _solve(hessian, slope)

    def newton_step(self, k: torch.Tensor, hjb: float) -> tuple[torch.Tensor, float]:
        """One Gauss-Newton step on the whole objective; returns the new coefficients and the step length taken."""
        fade, at_walls = fades = self.fade(k)
        weight = fade * self.residual.weight
        rows = weight[:, None] * self.residual.jacobian(k)
        share = 2 * WEIGHTS["hjb"] * hjb
        hessian = share * (rows.mT @ rows) / len(rows)
        slope = share * (rows.mT @ (weight * self.residual.residual(k))) / len(rows)
        self._add_linear(hessian, slope, k, at_walls, share)
        self._hold_faded(hessian, fade, share)
        hessian += WEIGHTS["epr"] * self.epr_share * self.epr.gram
        slope += WEIGHTS["epr"] * self.epr_share * self.epr.slope(k)
        curve, pull = self.contrast.system(k, HESSIAN_ROWS)
        hessian += WEIGHTS["contrast"] * curve
        slope += WEIGHTS["contrast"] * pull
        direction = -_solve(hessian, slope)
        before, length = self.objective(k, fades, hjb), 1.0
        for _ in range(8):
            candidate = k + length * direction
            if self.objective(candidate, fades, hjb) < before:
                return candidate, length
            length /= 3
        return k, 0.0

    def _add_linear(
        self, hessian: torch.Tensor, slope: torch.Tensor, k: torch.Tensor, at_walls: torch.Tensor, share: float
    ) -> None:
        misfit = self.anchors.misfit(k)
        anchored = (self.anchors.rows[misfit != 0], misfit[misfit != 0], ANCHOR**2 / max(1, len(misfit)))
        walls = (at_walls[:, None] * self.walls.rows, at_walls * self.walls.misfit(k))
        no_flux = (*walls, WEIGHTS["walls"] / WEIGHTS["hjb"] / max(1, len(at_walls)))
        for rows, off, factor in (anchored, no_flux):
            hessian += share * factor * (rows.mT @ rows)
            slope += share * factor * (rows.mT @ off)

    def _hold_faded(self, hessian: torch.Tensor, fade: torch.Tensor, share: float) -> None:
        """Points that are faded out keep the value they have, weakly, until they come into reach."""
        rows = (1e-3 * (1 - fade))[:, None] * self.residual.basis.value[:, :-1]
        hessian += share * (rows.mT @ rows) / len(rows)

    def run(
        self,
        state: State,
        transient: int,
        steps: int,
        after: Callable[[State, dict[str, float]], None],
    ) -> State:
        """Iterate from ``state`` to the end, calling ``after`` with the terms at the end of each step.

        Raises:
            TrainingError: a coefficient that is not finite.
        """
        while not state.done and state.step < transient + steps:
            k = state.coefficients
            if state.step < transient:
                moved, length = self.transient_step(k, state.step), 1.0
            else:
                if state.step == transient:
                    # what the network cannot represent must not outvote what the samples say
                    state.residual_weight = min(LARGEST, 1.0 / (WEIGHTS["hjb"] * self.parts(k)["hjb"]))
                # the residual comes in over four steps, so that basins find their depths first
                grown = min(1.0, 10.0 ** (-1 + 0.5 * (state.step - transient)))
                hjb = grown * state.residual_weight
                moved, length = self.newton_step(k, hjb)
                change = (moved - k).norm() / k.norm().clamp_min(1e-300)
                state.done = bool(grown == 1.0 and change < STEADY)
            if not bool(torch.isfinite(moved).all()):
                raise TrainingError(
                    f"the potential is not finite after step {state.step + 1}", "give more samples or fewer features"
                )
            state.coefficients, state.step = moved, state.step + 1
            after(state, self.parts(moved) | {"length": length})
        return state


def epr_share(squared_drift: float, rate: float, coefficients: int, states: int) -> float:
    """How much of its weight the EPR loss keeps: little where its sampling noise would be fitted.

    With ``m`` coefficients and ``n`` states a least squares fit of ``F`` by gradients picks up ``m / n`` of the drift's
    square as noise, to be held against the Fisher rate ``S`` it is after. On the limit cycle that is several times
    ``S``; there the contrast and the residual, which do not have this noise, must lead.
    """
    return 1.0 / (1.0 + NOISE_PENALTY * coefficients / states * squared_drift / rate)


def convex_start(epr: EntropyProduction, share: float, contrast: Contrast) -> torch.Tensor:
    """Minimum of EPR loss and contrast over widened states, by Newton's method with step halving."""
    k = torch.zeros_like(epr.linear)
    ridge = START_RIDGE * WEIGHTS["contrast"] * torch.eye(len(k), dtype=k.dtype, device=k.device)

    def objective(k: torch.Tensor) -> float:
        data = WEIGHTS["epr"] * share * epr.value(k) + WEIGHTS["contrast"] * contrast.value(k)
        return (data + 0.5 * k @ (ridge @ k)).item()

    before = objective(k)
    for _ in range(START_STEPS):
        curve, pull = contrast.system(k, HESSIAN_ROWS)
        hessian = WEIGHTS["epr"] * share * epr.gram + WEIGHTS["contrast"] * curve + ridge
        slope = WEIGHTS["epr"] * share * epr.slope(k) + WEIGHTS["contrast"] * pull + ridge @ k
        direction, length, after = -_solve(hessian, slope), 1.0, before
        while length > 1e-3:
            after = objective(k + length * direction)
            if after < before:
                break
            length /= 3
        if not after < before - 1e-6 * abs(before):
            break
        k, before = k + length * direction, after
    return k


def _solve(hessian: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    size = hessian.diagonal().mean()
    ridge = RIDGE
    identity = torch.eye(len(slope), dtype=hessian.dtype, device=hessian.device)
    while ridge < 1e-3:
        factor, info = torch.linalg.cholesky_ex(hessian + ridge * size * identity)
        if int(info) == 0:
            return torch.cholesky_solve(slope[:, None], factor)[:, 0]
        ridge *= 100
    raise TrainingError("the normal equations are singular", "give more samples or fewer features")
