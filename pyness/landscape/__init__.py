"""What is learnt from samples: the potential landscape."""

from pyness.landscape.fit import check_options, fit_landscape
from pyness.landscape.landscape import Landscape

__all__ = ["Landscape", "check_options", "fit_landscape"]
