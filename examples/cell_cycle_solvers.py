"""Which integrator for the 8-variable cell cycle? Stiff, close to poles, and its entropy production is easily spoilt.

Explicit steps must resolve rates of up to 5e5: at 1e-5 no walker is lost, but the fast variables are so much too hot
that the entropy production is several times too large. Implicit Euler makes them too cold instead. The trapezoidal rule
(ImplicitEM with theta=0.5) has the exact variance of a linear variable at any step, so that it may take the steps of
the slow ones.

    python examples/cell_cycle_solvers.py [WALKERS]
"""

import sys

import pyness

SOLVERS = [
    "EM:dt=1e-5",
    "EM:dt=2e-6",
    "EulerHeun:dt=2e-6",
    "SOSRA:rtol=0.1",
    "ImplicitEM:dt=1e-4,adaptive=false",
    "ImplicitEM:theta=0.5,dt=2e-4,adaptive=false",
    "ImplicitEM:theta=0.5,dt=1e-4,adaptive=false",
    "ImplicitEM:theta=0.5,dt=5e-5,adaptive=false",
]


def main() -> None:
    walkers = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    system = pyness.systems.get("cell-cycle-8d")
    # walkers that have lost their phase, from which each method goes on for a period and is then looked at
    begun = pyness.sample(system, engine="torch", walkers=walkers, burn_in=0.5, snapshots=1, spacing=0.01)
    print(f"{'solver':46} {'seconds':>8} {'failed':>6} {'max |z|':>8}  E[CycB]  entropy production")
    for solver in SOLVERS:
        samples = pyness.sample(
            system, solver, engine="torch", start=begun, walkers=walkers, burn_in=0.036, burn_in_dt=None, snapshots=10,
            spacing=0.0072, max_failed=1.0,
        )  # fmt: skip
        stats, mean = samples.stats, samples.states[..., 0].mean().item()
        z = pyness.stationarity(system, samples).max_z
        epr = pyness.score_free_epr(system, samples)
        print(f"{solver:46} {stats['seconds']:8.1f} {stats['failed_walkers']:6d} {z:8.1f}  {mean:.4f}   {epr}")


if __name__ == "__main__":
    main()
