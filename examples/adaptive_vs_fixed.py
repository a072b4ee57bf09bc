"""Adaptive or fixed step? Each system with a ladder of steps and one of tolerances: bias of the steady state, and cost.

Squares have a fixed step, circles choose theirs; filled ones are biased by more than their errors. A line to add a
system: its name, and the integrators to try.
"""

import torch
from matplotlib.figure import Figure

import pyness


def multiplicative(D=0.1, b=0.2):
    """Noise that grows with the state: dX = -A X dt + sqrt(2 (D + b X^2)) dW, two coordinates that turn."""
    turn = torch.tensor([[1.0, 1.0], [-1.0, 1.0]])
    return pyness.System(
        "multiplicative noise", 2, lambda x: -x @ turn.to(x).mT, lambda x: D + b * x**2, pyness.Box([-2, -2], [2, 2]),
        plan={"burn_in": 6.0, "snapshots": 10, "spacing": 1.0},
    )  # fmt: skip


SYSTEMS = {
    "double-well": "EM:dt=0.05 EM:dt=0.02 EM:dt=0.005 EulerHeun:dt=0.05 SOSRA:rtol=1 SOSRA:rtol=0.1",
    "limit-cycle": "EM:dt=0.1 EM:dt=0.02 EulerHeun:dt=0.02 EulerHeun:dt=0.005 SOSRA:rtol=1 SOSRA:rtol=0.1",
    multiplicative: "EM:dt=0.3 EM:dt=0.1 EM:dt=0.03 EM:dt=0.01 ImplicitEM:rtol=0.1 ImplicitEM:rtol=0.01",
    "aoup-harmonic": "EM:dt=0.2 EM:dt=0.05 EulerHeun:dt=0.2 SOSRA:rtol=1 SOSRA:rtol=0.1",
}

figure = Figure(figsize=(11, 8), layout="constrained")
panels = figure.subplots(-(-len(SYSTEMS) // 2), 2, squeeze=False).ravel()
for ax, (system, solvers) in zip(panels, SYSTEMS.items(), strict=False):
    system = pyness.systems.get(system) if isinstance(system, str) else system()
    found = pyness.compare_solvers(system, solvers.split(), engine="torch", walkers=600, seeds=1)
    print(found, end="\n\n")
    pyness.plots.bias_against_cost(found, ax=ax).set_title(system.name, loc="left")
figure.savefig("adaptive_vs_fixed.png", dpi=160)
