"""The picture people know: persistent repelling discs, coloured by how far each is from equilibrium.

    python examples/mips.py [--particles 1024] [--walkers 4] [--model FILE] [--out mips.png]

Samples the phase-separating system, learns the score of the activities (or takes one learnt from fewer particles, such
as ``model.safetensors`` of ``pyness run aoup-mips --set n_particles=256``), prints how much of the exactly known
entropy production of the activities the score resolves, in all and by phase, and draws the last snapshot of a walker
that the training has not seen. The published size is ``--particles 4096``.
"""

import argparse

import pyness

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--particles", type=int, default=1024)
parser.add_argument("--walkers", type=int, default=4)
parser.add_argument("--model", help="a score learnt before")
parser.add_argument("--out", default="mips.png")
arguments = parser.parse_args()

system = pyness.systems.get("aoup-mips", n_particles=arguments.particles)
samples = pyness.sample(system, engine="torch", walkers=arguments.walkers)
score = pyness.Score.load(arguments.model, system) if arguments.model else pyness.fit_score(system, samples)
report = score.report(samples)
print(report)
unresolved = report.extra["error_against_current"]
print(f"unresolved: {unresolved['value']:.3f} ± {unresolved['stderr']:.3f} of the entropy production of the activities")
for by in ("region", "density", "distance"):
    print(score.profile(samples, by))

last = samples.split(0.5, seed=0)[0].states[0, -1].double()
rate = score.local(last[None]).activity[0] / system.activity.rate
axes = pyness.plots.particles(
    system, last, rate, label=r"entropy production of the activity, $|v_g|^2 / \gamma$, in $k_B \gamma$"
)
axes.set_title(
    f"{system.n_particles} particles, packing {system.parameters['packing']:g}: "
    f"{100 * unresolved['value']:.1f} ± {100 * unresolved['stderr']:.1f} % of $E|v_g|^2$ unresolved",
    fontsize=9,
)
axes.figure.savefig(arguments.out, dpi=200, bbox_inches="tight")
