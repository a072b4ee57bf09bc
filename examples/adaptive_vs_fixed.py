"""Adaptive or fixed step? Each system with a ladder of steps and one of tolerances: bias of the steady state, and cost.

Squares have a fixed step, circles choose theirs; filled ones are biased by more than their errors. A line to add a
system: what it is, and the integrators to try. The stiff cell cycle takes most of the time;

    python adaptive_vs_fixed.py double-well aoup-ring

takes those two alone.
"""

import sys

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


def cell_cycle():
    """Stiff: rates up to 5e5, and a period of 0.036. All go on from states that the trapezoidal rule has burnt in."""
    system = pyness.systems.get("cell-cycle-8d")
    begun = pyness.sample(system, engine="torch", walkers=600, burn_in=0.2, snapshots=1, spacing=0.01)
    return system, {"start": begun, "burn_in": 0.01, "snapshots": 5, "spacing": 0.0072}


SYSTEMS = {
    "limit-cycle": "EM:dt=0.1 EM:dt=0.02 EulerHeun:dt=0.02 EulerHeun:dt=0.005 SOSRA:rtol=1 SOSRA:rtol=0.1",
    "cell-cycle-8d": "EM:dt=1e-5 EM:dt=2e-6 EulerHeun:dt=2e-6 SOSRA:rtol=1 ImplicitEM:rtol=1 "
    "ImplicitEM:theta=0.5,dt=2e-4,adaptive=false ImplicitEM:theta=0.5,dt=1e-4,adaptive=false",
    "double-well": "EM:dt=0.05 EM:dt=0.02 EM:dt=0.005 EulerHeun:dt=0.05 SOSRA:rtol=1 SOSRA:rtol=0.1",
    "multiplicative": "EM:dt=0.3 EM:dt=0.1 EM:dt=0.03 EM:dt=0.01 ImplicitEM:rtol=0.1 ImplicitEM:rtol=0.01",
    "aoup-ring": "EM:dt=0.5 EM:dt=0.2 EM:dt=0.05 EulerHeun:dt=0.5 SOSRA:rtol=0.3 SOSRA:rtol=0.03",
}
KINDS = {
    "cell-cycle-8d": "stiff, 8 variables", "double-well": "additive noise", "aoup-ring": "active",
}  # fmt: skip

asked = sys.argv[1:] or list(SYSTEMS)
columns = min(3, len(asked))
figure = Figure(figsize=(5.2 * columns, 4.2 * -(-len(asked) // columns)), layout="constrained")
panels = figure.subplots(-(-len(asked) // columns), columns, squeeze=False).ravel()
for ax, name in zip(panels, asked, strict=False):
    if name == "cell-cycle-8d":
        system, plan = cell_cycle()
    else:
        system, plan = multiplicative() if name == "multiplicative" else pyness.systems.get(name), {}
    found = pyness.compare_solvers(system, SYSTEMS[name].split(), engine="torch", walkers=600, seeds=1, **plan)
    print(found, end="\n\n")
    ax = pyness.plots.bias_against_cost(found, ax=ax)
    ax.set_title(f"{system.name} ({KINDS[name]})" if name in KINDS else system.name, loc="left")
    if name == "limit-cycle" and len(asked) < len(panels):
        # where in state space the adaptive method takes which steps
        steps = found.to_dict()["solvers"]["SOSRA:rtol=0.1"]["steps"]["over_states"]
        pyness.plots.step_map(steps, ax=panels[-1]).set_title("limit-cycle: steps of SOSRA:rtol=0.1", loc="left")
for ax in panels[len(asked) :]:
    if not ax.has_data():
        ax.remove()
figure.savefig("adaptive_vs_fixed.png", dpi=160)
