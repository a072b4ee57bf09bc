"""Bring your own system: a drift, a diffusion, a box. The grid gives its steady state, the picture shows it."""

import torch

import pyness


def drift(z):
    """A FitzHugh-Nagumo oscillator: fast voltage x, slow recovery y."""
    x, y = z[..., 0], z[..., 1]
    return torch.stack([5 * (x - x**3 / 3 - y), x + 0.3 - 0.5 * y], dim=-1)


system = pyness.System(
    "fitzhugh-nagumo", 2, drift, diffusion=0.1, domain=pyness.Box([-3, -2], [3, 2]), variables=("x", "y")
)
solution = pyness.grid.steady_state(system, shape=(240, 240))
print(solution)
print(f"share of time with x > 0: {solution.mass(lambda z: z[:, 0] > 0):.3f}")
pyness.plots.overview(solution.landscape, path="fitzhugh-nagumo.png")
