"""The gradient of the log density, learnt: of few coordinates or of many particles."""

from pyness.score.fit import fit_score
from pyness.score.resolve import resolve_options
from pyness.score.score import Score
from pyness.score.smoothing import AlphaScan, scan_alpha

__all__ = ["AlphaScan", "Score", "fit_score", "resolve_options", "scan_alpha"]
