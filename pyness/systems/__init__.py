"""What is simulated: systems, their domains, and the registry of published ones."""

from pyness.systems import (  # noqa: F401  (they register)
    active,
    cell_cycle_3d,
    cell_cycle_8d,
    chemical_langevin,
    double_well,
    gaussian_mixture,
    gene_networks,
    limit_cycle,
    lorenz,
    ornstein_uhlenbeck,
    stem_cell,
)
from pyness.systems.activity import OrnsteinUhlenbeckActivity, RotatingActivity
from pyness.systems.box import Box
from pyness.systems.diffusion import Diffusion
from pyness.systems.network_files import GeneNetwork, read_network
from pyness.systems.particles import ParticleSystem
from pyness.systems.prescribed import from_potential
from pyness.systems.registry import get, kind, names, parameters, register
from pyness.systems.stem_cell import hill_network
from pyness.systems.system import System
from pyness.systems.truth import EvaluationGrid, Truth

__all__ = [
    "Box",
    "Diffusion",
    "EvaluationGrid",
    "GeneNetwork",
    "OrnsteinUhlenbeckActivity",
    "ParticleSystem",
    "RotatingActivity",
    "System",
    "Truth",
    "from_potential",
    "get",
    "hill_network",
    "kind",
    "names",
    "parameters",
    "read_network",
    "register",
]
