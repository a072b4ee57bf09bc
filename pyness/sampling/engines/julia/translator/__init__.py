"""From a system written in torch to Julia source: trace, intermediate form, numpy evaluation, source."""

from pyness.sampling.engines.julia.translator.agreement import refuse_disagreement
from pyness.sampling.engines.julia.translator.particles import ParticleTranslation, translate_particles
from pyness.sampling.engines.julia.translator.translation import LARGEST_STATIC, Translation, translate

__all__ = [
    "LARGEST_STATIC", "ParticleTranslation", "Translation", "refuse_disagreement", "translate", "translate_particles",
]  # fmt: skip
