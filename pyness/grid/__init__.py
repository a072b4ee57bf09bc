"""The steady Fokker-Planck equation on a grid, d <= 3: the ground truth that users can check against."""

from pyness.grid.solution import GridLandscape, GridSolution
from pyness.grid.steady_state import steady_state

__all__ = ["GridLandscape", "GridSolution", "steady_state"]
