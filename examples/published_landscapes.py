"""The landscapes of the EPR-Net paper beyond the plane, and one whose noise depends on the state: a figure of each.

python published_landscapes.py cell-cycle-3d lorenz     # those alone; without names all, which takes an hour

Fewer walkers and units than the systems recommend, so error bars are wider; `pyness run NAME` does the whole.
"""

import sys

import pyness

# what is changed of the recommended plan, the collective variables where the landscape is learnt in few, and otherwise
# which two coordinates the picture has
SYSTEMS = {
    "gaussian-mixture-12d": ({"walkers": 2000}, None, (0, 1)),
    "lorenz": ({"walkers": 4000}, None, (0, 2)),
    "cell-cycle-3d": ({"walkers": 4000}, ["CDK1", "Plk1"], (0, 1)),
    "cell-cycle-8d": ({"walkers": 1000}, None, (0, 2)),
    "stem-cell-52d": ({"walkers": 1000}, ["GATA6", "NANOG"], (0, 1)),
    "toggle-switch-langevin": ({"walkers": 2000, "snapshots": 10}, None, (0, 1)),
}

for name in sys.argv[1:] or SYSTEMS:
    plan, reduce, coordinates = SYSTEMS[name]
    system = pyness.systems.get(name)
    samples = pyness.sample(system, seed=0, **plan)
    landscape = pyness.fit_landscape(system, samples, seed=0, units=40, steps=30, reduce=reduce)
    report = landscape.report(samples)
    print(report)
    shown = samples if reduce is None else landscape.reduced(samples)
    pyness.plots.overview(landscape, shown, report, path=f"{name}.png", coordinates=coordinates)
