"""From a system to samples of its steady state: ``sample``, ``Plan``, ``Samples``."""

from pyness.sampling.plan import Plan
from pyness.sampling.resolve import Resolved, resolve
from pyness.sampling.run import sample
from pyness.sampling.samples import Samples
from pyness.sampling.walls import Walls

__all__ = ["Plan", "Resolved", "Samples", "Walls", "resolve", "sample"]
