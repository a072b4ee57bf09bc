"""From a system written in torch to Julia source: trace, intermediate form, numpy evaluation, source."""

from pyness.sampling.engines.julia.translator.agreement import refuse_disagreement
from pyness.sampling.engines.julia.translator.translation import Translation, translate

__all__ = ["Translation", "refuse_disagreement", "translate"]
