"""What is learnt from samples: the potential landscape."""

from pyness.landscape.fit import fit_landscape
from pyness.landscape.landscape import Landscape
from pyness.landscape.options import METHODS, resolve_options
from pyness.landscape.reduced import ReducedLandscape

__all__ = ["METHODS", "Landscape", "ReducedLandscape", "fit_landscape", "resolve_options"]
