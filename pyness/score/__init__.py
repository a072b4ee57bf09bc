"""The gradient of the log density, learnt: of few coordinates or of many particles."""

from pyness.score.fit import fit_score
from pyness.score.score import Score

__all__ = ["Score", "fit_score"]
