"""Figures. Every function takes ``ax=`` and returns it; none touches pyplot's state or the global style."""

from pyness.plots.active import active_overview, current_portrait, particles
from pyness.plots.curves import profile, step_histogram, training
from pyness.plots.fields import PlanarField
from pyness.plots.integrators import bias_against_cost, comparison, step_map
from pyness.plots.overview import overview
from pyness.plots.pairs import pairs
from pyness.plots.planar import density, flow, landscape, local_epr

__all__ = [
    "PlanarField",
    "active_overview",
    "bias_against_cost",
    "comparison",
    "current_portrait",
    "density",
    "flow",
    "landscape",
    "local_epr",
    "overview",
    "pairs",
    "particles",
    "profile",
    "step_histogram",
    "step_map",
    "training",
]
