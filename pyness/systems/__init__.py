"""What is simulated: systems, their domains, and the registry of published ones."""

from pyness.systems import (  # noqa: F401  (they register)
    active,
    cell_cycle_3d,
    double_well,
    gaussian_mixture,
    gene_networks,
    limit_cycle,
    lorenz,
    ornstein_uhlenbeck,
)
from pyness.systems.activity import OrnsteinUhlenbeckActivity, RotatingActivity
from pyness.systems.box import Box
from pyness.systems.diffusion import Diffusion
from pyness.systems.particles import ParticleSystem
from pyness.systems.prescribed import from_potential
from pyness.systems.registry import get, kind, names, parameters, register
from pyness.systems.system import System
from pyness.systems.truth import EvaluationGrid, Truth

__all__ = [
    "Box",
    "Diffusion",
    "EvaluationGrid",
    "OrnsteinUhlenbeckActivity",
    "ParticleSystem",
    "RotatingActivity",
    "System",
    "Truth",
    "from_potential",
    "get",
    "kind",
    "names",
    "parameters",
    "register",
]
