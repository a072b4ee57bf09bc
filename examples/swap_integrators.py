"""Swap the integrator of each system and see whether the entropy production notices.

One line for each system: its name, and the integrators to swap. The first is what the system recommends; a name with
"julia:" in front takes the other engine. `pyness run suite.toml` does the same for whole runs, with [solver] in it.
"""

from matplotlib.figure import Figure

import pyness

SWAPS = {
    "double-well": [None, "SOSRA:rtol=0.1", "EM:dt=0.01"],
    "limit-cycle": [None, "SOSRA:rtol=0.5", "EM:dt=0.1"],
    "cell-cycle-3d": [None, "SOSRA:rtol=0.5", "EM:dt=0.01"],
    "ornstein-uhlenbeck": [None, "ImplicitEM:rtol=0.05", "EM:dt=0.2"],
    "aoup-harmonic": [None, "EulerHeun:dt=0.1", "EM:dt=0.2"],
}

figure = Figure(figsize=(8, 0.34 * sum(map(len, SWAPS.values())) + 1.2), layout="constrained")
ax = figure.subplots()
ticks = []
for name, solvers in SWAPS.items():
    system = pyness.systems.get(name)
    for solver in solvers:
        samples = pyness.sample(system, solver, engine="torch", walkers=1000)
        epr, test = pyness.score_free_epr(system, samples), pyness.stationarity(system, samples)
        label = f"{name}, {samples.metadata['solver']}"
        print(f"{label:<55} EPR {epr!s:<18} exact {system.truth.epr:<8.5g} {test}")
        at = -len(ticks)
        ax.errorbar(
            epr.value / system.truth.epr, at, xerr=2 * epr.stderr / system.truth.epr, fmt="o",
            color="#009E73" if test.passed else "#D55E00",
        )  # fmt: skip
        ticks.append(label)
    # a line between systems
    ax.axhline(0.5 - len(ticks), color="0.85", lw=0.8)
ax.axvline(1, color="0.6", lw=1)
ax.set_xscale("log")
ax.set_xticks([0.8, 1, 1.5, 2, 3, 4], ["0.8", "1", "1.5", "2", "3", "4"], minor=False)
ax.set_xticks([], minor=True)
ax.set_yticks([-k for k in range(len(ticks))], ticks)
ax.set_xlabel("entropy production rate / exact")
ax.set_title("orange: the stationarity test fails", loc="right", fontsize=9)
figure.savefig("swap_integrators.png", dpi=160)
