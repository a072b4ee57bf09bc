"""The Julia engine: the solvers of DifferentialEquations.jl, fed with drifts translated from torch."""

from pyness.sampling.engines.julia.device import DeviceEngine
from pyness.sampling.engines.julia.engine import JuliaEngine
from pyness.sampling.engines.julia.runtime import ready

__all__ = ["DeviceEngine", "JuliaEngine", "ready"]
