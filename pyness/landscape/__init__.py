"""What is learnt from samples: the potential landscape."""

from pyness.landscape.fit import fit_landscape
from pyness.landscape.landscape import Landscape

__all__ = ["Landscape", "fit_landscape"]
