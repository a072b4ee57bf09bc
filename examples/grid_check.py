"""Check an estimator against the grid: entropy production from samples alone, without any network.

For constant D, e_p = E[F . D^{-1} F + div F] over the steady state of an open system: no density, no score, but the
difference of two large averages. The grid solves the Fokker-Planck equation and knows nothing of samples.
"""

import pyness

system = pyness.systems.get("double-well")
samples = pyness.sample(system, engine="torch", walkers=4000, snapshots=20, seed=1)
x = samples.states

F = system.drift(x)
local = (F * system.diffusion.solve(x, F)).sum(-1) + system.drift_divergence(x)
sampled = pyness.Estimate.over_walkers(local)
solution = pyness.grid.steady_state(system, shape=(300, 300))

print(f"samples  {sampled}")
print(f"grid     {solution.epr_extrapolated:.5f}, at most {solution.epr_error:.2g} off before extrapolation")
print(f"exact    {system.truth.epr:.5f}")
print(f"the samples are {(sampled.value - system.truth.epr) / sampled.stderr:+.1f} standard errors off")
