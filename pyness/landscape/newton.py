"""The curvature method: a convex start at wider noise, then Levenberg-Marquardt on all terms and all weights.

The HJB residual alone has many wrong solutions (its first-order part allows a circle of gradients at each point), and a
cold start ends in one of them. The way in is a wider noise: EPR loss and contrast over states of the same dynamics
there are convex in the output weights and reach up the flanks; their minimum is, to leading order, the potential. From
there every weight of the network is free, since units that move to where the landscape bends represent it far better
than many that stay where they were drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from pyness.errors import TrainingError
from pyness.landscape.network import Network
from pyness.landscape.objective import Anchors, Contrast, EntropyProduction, Objective, Residual, Ridge, Term, Walls

__all__ = ["PATIENCE", "SHARP", "SMOOTH", "WEIGHTS", "Evidence", "Problem", "State", "convex_start", "epr_share"]

# the same for every system, since every term is dimensionless (see objective.py)
# ``epr`` is what it counts where its noise is small: see epr_share
WEIGHTS = {"epr": 10.0, "contrast": 100.0, "hjb": 1000.0, "walls": 1000.0, "anchors": 1.0}
#: A weighted residual of this mean square (a slope wrong by some 1 %) has no need to fall further.
ENOUGH = 1e-4
CUT_WIDTH = 1.5
#: After so many steps the branch is settled, and an anchor that still presses was placed wrongly. Once only: were they
#: let go of one after another, another branch could come in behind them.
RELEASE = 30
FIRST_DAMPING, LEAST_DAMPING = 1e-3, 1e-12
START_DAMPING = 1e-6
#: Of the start for its heights, and for going on from it.
SHARP, SMOOTH = 1e-5, 1e-2
TRIES = 10
SETTLED, PATIENCE = 0.01, 5
NOISE_PENALTY = 200.0
START_STEPS = 15


@dataclass
class State:
    """Where the iteration stands: all that a checkpoint needs besides the seed.

    Attributes:
        step: steps done.
        parameters: ``(P,)`` of the network.
        damping: of the next step, in units of the mean curvature by an output weight.
        kept: ``(n,)``, which anchors are left, if the others have been released.
        settled: how many steps in a row changed next to nothing or had next to nothing left to change.
    """

    step: int = 0
    parameters: torch.Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    damping: float = FIRST_DAMPING
    kept: torch.Tensor | None = None
    settled: int = 0


@dataclass
class Evidence:
    """What states say of the potential.

    Attributes:
        epr_share: factor on the weight of the EPR loss, ``epr_share(...)``.
        contrast: None for the EPR loss alone.
        walker: ``(n,)``, which walker each state is of, in the order in which the terms take them.
    """

    epr: EntropyProduction
    epr_share: float
    contrast: Contrast | None
    walker: torch.Tensor

    @property
    def terms(self) -> dict[str, Term]:
        return {"epr": self.epr} | ({"contrast": self.contrast} if self.contrast is not None else {})


@dataclass
class Problem:
    """All terms of one landscape, those that its method has no use for being None.

    Attributes:
        evidence: of the samples.
        rate: the Fisher rate ``S``.
        top: points whose potential is more than this above the samples' lowest (in k_B T) fade from the residual.
        lowest: which points of ``residual`` are samples.
    """

    evidence: Evidence | None
    residual: Residual | None
    walls: Walls | None
    anchors: Anchors | None
    rate: float
    top: float
    lowest: slice

    def weighed(self, network: Network) -> Objective:
        """The objective as it stands at ``network``: what fades, how high the anchors are, the residual's weight."""
        terms = self.evidence.terms if self.evidence is not None else {}
        scales = {"epr": self.evidence.epr_share} if self.evidence is not None else {}
        if self.residual is None:
            return Objective(terms, {name: WEIGHTS[name] * scales.get(name, 1.0) for name in terms})
        potential = network.value(self.residual.at)
        limit = self.top + potential[self.lowest].min()
        self.residual.fade = torch.sigmoid((limit - potential) / CUT_WIDTH)
        terms["hjb"] = self.residual
        if self.walls is not None:
            self.walls.fade = torch.sigmoid((limit - network.value(self.walls.at)) / CUT_WIDTH)
            terms["walls"] = self.walls
        if self.anchors is not None:
            self.anchors.floor = (limit - network.value(self.anchors.zero).mean()).item()
            terms["anchors"] = self.anchors
        # what the network cannot represent must not outvote what the samples say: all of the residual is one unit
        scale = 1.0 / (WEIGHTS["hjb"] * max(self.residual.loss(network).item(), ENOUGH))
        scales |= {"hjb": scale, "walls": scale}
        return Objective(terms, {name: WEIGHTS[name] * scales.get(name, 1.0) for name in terms})

    def run(
        self, network: Network, state: State, steps: int, after: Callable[[State, Network, dict[str, float]], None]
    ) -> Network:
        """Iterate from ``state`` until nothing changes or needs to, or for ``steps`` in all.

        ``after`` gets the terms at the end of each step.

        Raises:
            TrainingError: a weight that is not finite.
        """
        network = network.with_parameters(state.parameters)
        if state.kept is not None:
            self.anchors.keep(state.kept)
        while state.settled < PATIENCE and state.step < steps:
            objective = self.weighed(network)
            network, parts, decrease = _descend(objective, network, state)
            settled = decrease < SETTLED or parts.get("hjb", 1.0) < ENOUGH
            state.settled = state.settled + 1 if settled else 0
            state.step += 1
            if state.step == RELEASE and self.anchors is not None:
                self._release(network, state)
            after(state, network, parts | {"decrease": decrease, "damping": state.damping})
        return network

    def _release(self, network: Network, state: State) -> None:
        held = (self.anchors.misfit(network) >= 0).cpu()
        if bool(held.any()):
            state.kept = held
            self.anchors.keep(held)


def epr_share(squared_drift: float, rate: float, parameters: int, states: int, dim: int) -> float:
    """How much of its weight the EPR loss keeps: little where its sampling noise would be fitted.

    With ``P`` parameters and ``n`` states a least squares fit of ``F`` by gradients picks up ``P / n`` of the drift's
    square along one direction, a ``d``-th of the whole, as noise, to be held against the Fisher rate ``S`` it is after.
    On the limit cycle that is of the size of ``S``; there the contrast and the residual, which do not have this noise,
    must lead.
    """
    return 1.0 / (1.0 + NOISE_PENALTY * parameters / states * squared_drift / dim / rate)


def convex_start(network: Network, wide: Evidence, ridge: float) -> Network:
    """``network`` with the output weights that minimise EPR loss and contrast, at wider noise as a rule.

    The smaller the ``ridge`` the closer the heights; but large output weights that cancel make a stiff start for the
    inner ones.
    """
    terms = wide.terms | {"ridge": Ridge()}
    weights = {"epr": WEIGHTS["epr"] * wide.epr_share, "contrast": WEIGHTS["contrast"], "ridge": ridge}
    objective, state = Objective(terms, weights), State(damping=START_DAMPING)
    for _ in range(START_STEPS):
        network, _, decrease = _descend(objective, network, state, outer=True)
        if decrease < SETTLED:
            break
    return network


def _descend(
    objective: Objective, network: Network, state: State, outer: bool = False
) -> tuple[Network, dict[str, float], float]:
    """One damped Gauss-Newton step, on the output weights alone if ``outer``; sets ``state``'s weights and damping.

    Returns the network, its terms, and how much the objective fell. The damping is the same in every direction: weights
    that hardly matter must not run away with a step that is scaled to them.
    """
    parameters = network.parameters.detach().requires_grad_()
    start = objective.parts(network.with_parameters(parameters))
    before = objective.weigh(start)
    (slope,) = torch.autograd.grad(before, parameters)
    columns = network.outer if outer else slice(None)
    slope, hessian = slope[columns], objective.hessian(network, outer)
    unit = hessian.diagonal()[network.outer].mean()
    if not bool(torch.isfinite(slope).all() & torch.isfinite(unit)):
        raise TrainingError(f"the potential is not finite after step {state.step}", "give more samples or fewer units")
    identity = torch.eye(len(slope), dtype=slope.dtype, device=slope.device)
    parameters, before = parameters.detach(), before.item()
    for _ in range(TRIES):
        factor, failed = torch.linalg.cholesky_ex(hessian + state.damping * unit * identity)
        if not int(failed):
            change = -torch.cholesky_solve(slope[:, None], factor)[:, 0]
            moved = parameters.clone()
            moved[columns] += change
            candidate = network.with_parameters(moved)
            with torch.no_grad():
                parts = objective.parts(candidate)
            decrease = before - objective.weigh(parts).item()
            if decrease > 0:
                expected = -(slope @ change + 0.5 * change @ hessian @ change).item()
                gain = decrease / max(expected, 1e-300)
                factor = 0.2 if gain > 0.5 else 3.0 if gain < 0.2 else 1.0
                state.damping = max(factor * state.damping, LEAST_DAMPING)
                state.parameters = moved
                return candidate, {name: value.item() for name, value in parts.items()}, decrease
        state.damping = max(4 * state.damping, LEAST_DAMPING)
    state.parameters = parameters
    return network, {name: value.item() for name, value in start.items()}, 0.0
