"""The picture people know: persistent repelling discs, coloured by how far each is from equilibrium.

    python examples/mips.py [--particles 256] [--time 10000] [--steps 1000]

Samples the phase-separating system, learns the score of the activities, and prints how much of the exactly known
entropy production of the activities the score resolves. The published size is ``--particles 4096 --time 20000``.
"""

import argparse

import pyness

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--particles", type=int, default=256)
parser.add_argument("--time", type=float, default=10_000.0, help="burn-in; the persistence time is 10000")
parser.add_argument("--steps", type=int, default=1000)
parser.add_argument("--walkers", type=int, default=8)
arguments = parser.parse_args()

system = pyness.systems.get("aoup-mips", n_particles=arguments.particles)
samples = pyness.sample(
    system,
    engine="torch",
    walkers=arguments.walkers,
    burn_in=arguments.time,
    snapshots=100,
    spacing=arguments.time / 200,
)
score = pyness.fit_score(system, samples, steps=arguments.steps)
report = score.report(samples)
print(report)
for name, found in report.extra.get("regions", {}).items():
    print(
        f"{name}: {found['particles']['value']:.3f} of the particles, {found['share']['value']:.3f} of what is learnt"
    )

last = samples.states[0, -1].double()
rate = score.local(last[None]).activity[0] / system.activity.rate
axes = pyness.plots.particles(system, last, rate, label=r"$|v_g|^2 / \gamma^2$")
axes.figure.savefig("mips.png", dpi=200, bbox_inches="tight")
